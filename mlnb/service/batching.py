"""Requests that gather in one turn of the event loop become one call of the model.

Under load several requests are read from their connections before any of them is scored; asking the model once for all
of them costs little more than asking it for one. A request that is alone does not come here. Rows that the signature
refuses are told to their own request; the others are answered as if it had not come.

A model may add up in another order when it is asked for many rows: linear models and networks differ by up to 6e-15 of
the answer (16 estimators of scikit-learn, batches of 2 to 40 rows; trees not at all). Who needs the very same bits,
whatever comes beside a request, sets ``batching = false``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from msgspec import Struct

from mlnb.model.answers import Scores
from mlnb.service.predict import Scored, score
from mlnb.service.protocols import Row
from mlnb.service.router import LoadedVersion

MOST_ROWS = 256


class _Waiting(Struct, frozen=True):
    version: LoadedVersion
    rows: list[Row]
    scored: asyncio.Future[Scored]


class Batcher:
    """Scores on the event loop, together what came together.

    Parameters
    ----------
    charge : callable
        Told after each call of a model for how many seconds its requests were scored.

    Attributes
    ----------
    calls, requests : int
        How often models were asked, and for how many requests.
    """

    def __init__(self, charge: Callable[[float], None]) -> None:
        self._charge = charge
        self._waiting: list[_Waiting] = []
        self.calls = self.requests = 0

    def score(self, version: LoadedVersion, rows: list[Row]) -> asyncio.Future[Scored]:
        """Return a version's answers to the rows of one request, as `mlnb.service.predict.score` would.

        The future fails as that function would.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scored] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush, loop)
        self._waiting.append(_Waiting(version, rows, future))
        return future

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        while waiting:
            first = waiting[0].version
            batch, others, count = list[_Waiting](), list[_Waiting](), 0
            for one in waiting:
                if one.version is first and (not batch or count + len(one.rows) <= MOST_ROWS):
                    batch.append(one)
                    count += len(one.rows)
                else:
                    others.append(one)
            if others:
                loop.call_soon(self._answer, first, batch)
            else:
                self._answer(first, batch)
            waiting = others

    def _answer(self, version: LoadedVersion, batch: list[_Waiting]) -> None:
        batch = [one for one in batch if not one.scored.done()]  # a caller may have left meanwhile
        if not batch:
            return
        self.calls += 1
        self.requests += len(batch)
        began = perf_counter()
        try:
            scored = score(version, [row for one in batch for row in one.rows])
            self._charge(perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # goes to whoever asked
            if len(batch) == 1:
                batch[0].scored.set_exception(error)
            else:  # one is not to suffer for another
                for one in batch:
                    self._answer(version, [one])
            return
        end = 0
        for one in batch:
            start, end = end, end + len(one.rows)
            one.scored.set_result(scored if len(batch) == 1 else _part(scored, start, end))


def _part(scored: Scored, start: int, end: int) -> Scored:
    """Return the answers to the rows from `start` to `end`, counted from the first of them."""
    given = scored.scores
    chances = None if given.probabilities is None else given.probabilities[start:end]
    ranks = None if given.scores is None else given.scores[start:end]
    unusual = [replace(one, row=one.row - start) for one in scored.unusual if start <= one.row < end]
    return Scored(Scores(given.predictions[start:end], chances, ranks), unusual)
