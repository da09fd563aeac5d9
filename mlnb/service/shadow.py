"""Requests that were answered become the answers that another version would have given, logged and sent to nobody.

One thread beside the event loop; a request that finds `PLACES` others waiting is dropped and counted, so a version that
cannot follow costs the answers nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

from mlnb.errors import RequestError
from mlnb.service.counts import Tally
from mlnb.service.forms import Form
from mlnb.service.log import Ids, Record
from mlnb.service.predict import predict, refusal
from mlnb.service.router import Routing

PLACES = 64
_LOGGER = logging.getLogger("mlnb.service")
Append = Callable[[Sequence[Record]], object]


@dataclass(frozen=True, slots=True)
class Asked:
    """An answered request as a shadow is asked it.

    Attributes
    ----------
    body : bytes
        As received.
    form : Form
        How it is read.
    alias, request_id : str
        As of the answer.
    answered : sequence of str
        The ids of the predictions that were sent.
    max_rows : int
        As of the answer.
    """

    body: bytes
    form: Form
    alias: str
    request_id: str
    answered: Sequence[str]
    max_rows: int


class Shadows:
    """The shadows of one process.

    Parameters
    ----------
    ids : Ids
        Maker of the ids.
    append : callable
        Puts records into the prediction log; called on the event loop.
    """

    def __init__(self, ids: Ids, append: Append) -> None:
        self._ids = ids
        self._append = append
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "mlnb-shadow")

    def offer(self, asked: Asked, routing: Routing, tally: Tally) -> None:
        """Give a shadow the copy of a request, or drop it; `routing` has the shadow's version behind the alias."""
        if self._waiting >= PLACES:
            tally.dropped += 1
            return
        started = perf_counter()
        try:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, asked, routing)
        except RuntimeError:  # closed meanwhile
            return
        self._waiting += 1
        work.add_done_callback(lambda done: self._take(done, tally, perf_counter() - started))

    def close(self) -> None:
        """Leave what is waiting."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _answer(self, asked: Asked, routing: Routing) -> list[Record]:
        arrived = perf_counter()
        try:
            predicted = predict(
                asked.body,
                routing,
                asked.alias,
                asked.form,
                request_id=asked.request_id,
                arrived=arrived,
                max_rows=asked.max_rows,
                ids=self._ids,
                logged=True,
            )
        except RequestError as error:
            record = refusal(
                error,
                asked.body,
                routing,
                asked.alias,
                request_id=asked.request_id,
                arrived=arrived,
                ids=self._ids,
            )
            return [record._replace(role="shadow", shadow_of=next(iter(asked.answered), None))]
        pairs = zip(predicted.records, asked.answered, strict=False)
        return [record._replace(role="shadow", shadow_of=answered) for record, answered in pairs]

    def _take(self, done: asyncio.Future[list[Record]], tally: Tally, seconds: float) -> None:
        self._waiting -= 1
        if done.cancelled():
            return
        error = done.exception()  # anything: a hook is foreign code
        if error is not None:
            _LOGGER.error("A shadow failed: %s: %s", type(error).__name__, error)
            tally.observe(500, seconds)
            return
        records = done.result()
        if records:
            tally.observe(records[0].status, records[0].latency_ms / 1000.0)
            self._append(records)
