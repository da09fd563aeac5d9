"""The traffic of a routing becomes the version that answers a request, what is counted of it, and a canary's end.

One `Experiments` in each worker. A request whose alias has no traffic never comes here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time

from mlnb.errors import RequestError
from mlnb.service.canary import Event, abort, judge, measure, timestamp
from mlnb.service.configuration import Configuration
from mlnb.service.counts import Arm, Counts, Tally, sweep
from mlnb.service.forms import Form
from mlnb.service.log import Ids, Record
from mlnb.service.log_content import Content
from mlnb.service.router import Router, Routing, Spread
from mlnb.service.shadow import Append, Asked, Shadows
from mlnb.service.traffic import COLUMN, EVENTS, caller_digest, place_of

_LOOK_S = 0.25
_AFTER_S = 0.002
_LOGGER = logging.getLogger("mlnb.service")


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers one request.

    Attributes
    ----------
    routing : Routing
        In which the version that was chosen stands behind the alias.
    alias : str
        That was asked.
    number : int
        The version that answers.
    role, caller
        As of `mlnb.service.log.Record`.
    spread : Spread
        The traffic that has chosen.
    """

    routing: Routing
    alias: str
    number: int
    role: str
    caller: str | None
    spread: Spread

    def marked(self, records: Iterable[Record]) -> list[Record]:
        """Return the records with how their version was chosen."""
        return [record._replace(role=self.role, caller=self.caller) for record in records]


class Experiments:
    """The traffic of one process.

    Parameters
    ----------
    state : Path
        The service's folder.
    ids : Ids
        Maker of the ids.
    append : callable
        Puts the records of shadows into the prediction log.
    configuration : Configuration
        The service's: ``max_rows``, and what is redacted.
    """

    def __init__(self, state: Path, ids: Ids, append: Append, configuration: Configuration) -> None:
        self._state = state
        self._counts = Counts(state)
        self._shadows = Shadows(ids, append)
        self._max_rows = configuration.max_rows
        self._content = Content(configuration)
        self._ended: set[str] = set()  # experiments whose canary has failed, which could not be written down
        self._swept: Routing | None = None

    def choose(
        self,
        routing: Routing,
        alias: str,
        form: Form,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        request_id: str,
    ) -> Choice | None:
        """Return who answers a request; None where its alias has no traffic."""
        chosen = alias or routing.default
        spread = routing.traffic.get(chosen)
        if spread is None:
            return None
        traffic = spread.traffic
        role = traffic.role
        key = self._key(spread, chosen, form, headers, body) if role else ""
        ended = traffic.id in self._ended
        number = spread.base if ended else traffic.choose(key or request_id, spread.base, time())
        column = traffic.sticky.removeprefix(COLUMN) if traffic.sticky.startswith(COLUMN) else ""
        caller = self._content.caller(column, caller_digest(key)) if key else None
        return Choice(spread.routings[number], chosen, number, role, caller, spread)

    @contextmanager
    def counted(self, choice: Choice, started: float) -> Iterator[None]:
        """Count the request that a ``with`` block answers; one that is refused for overload says nothing."""
        status = 500
        try:
            yield
            status = 200
        except RequestError as error:
            status = 0 if error.retry_after_s else error.status
            raise
        except asyncio.CancelledError:
            status = 0
            raise
        finally:
            if status:
                traffic = choice.spread.traffic
                limit = traffic.canary.max_p99_ms if traffic.canary else math.inf
                self._counts.of(Arm(traffic.id, choice.number)).observe(status, perf_counter() - started, limit)

    def copy(self, choice: Choice, form: Form, body: bytes, request_id: str, records: Sequence[Record]) -> None:
        """Give the shadows their share of the requests that were answered, a moment later: the answer goes first."""
        if choice.spread.shadows:
            asyncio.get_running_loop().call_later(_AFTER_S, self._copy, choice, form, body, request_id, records)

    def _copy(self, choice: Choice, form: Form, body: bytes, request_id: str, records: Sequence[Record]) -> None:
        for version, share in choice.spread.shadows:
            experiment = choice.spread.traffic.id
            if share < 1.0 and place_of(f"{experiment}{version.number}", request_id) >= share:
                continue
            asked = Asked(body, form, choice.alias, request_id, [record.id for record in records], self._max_rows)
            tally = self._counts.of(Arm(experiment, version.number, shadow=True))
            self._shadows.offer(asked, choice.spread.routings[version.number], tally)

    async def follow(self, router: Router) -> None:
        """Tell the other workers four times a second what was counted, and end a canary that fails, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_S)
            routing = router.routing
            if not routing.traffic and routing is self._swept:
                continue
            self._counts.keep({spread.traffic.id for spread in routing.traffic.values()})
            look = loop.run_in_executor(None, self._look, routing, self._counts.text())
            try:
                await look
            except OSError as error:
                _LOGGER.error("The traffic of %s cannot be written down: %s", routing.model, error)

    def close(self) -> None:
        """Write down what was counted, and let go of the shadows, once the one that runs has ended."""
        self._counts.write(self._counts.text())
        self._shadows.close()

    def _look(self, routing: Routing, counted: bytes) -> None:
        self._counts.write(counted)
        if routing is not self._swept:
            self._swept = routing
            told = {event.stem for event in (self._state / EVENTS).glob("*.json")}  # which the project has not seen yet
            sweep(self._state, told | {spread.traffic.id for spread in routing.traffic.values()})
        running = {alias: spread for alias, spread in routing.traffic.items() if spread.traffic.canary}
        if not running:
            return
        counts = self._counts.total(counted, {spread.traffic.id for spread in running.values()})
        for alias, spread in running.items():
            self._judge(routing, alias, spread, counts)

    def _judge(self, routing: Routing, alias: str, spread: Spread, counts: Mapping[Arm, Tally]) -> None:
        traffic, canary = spread.traffic, spread.traffic.canary
        if canary is None:
            return
        tally = counts.get(Arm(traffic.id, canary.version), Tally())
        base = counts.get(Arm(traffic.id, spread.base), Tally())
        reason = judge(canary, tally, base)
        if not reason:
            return
        share = canary.share(time())
        sentence = (
            f"{routing.model}/{canary.version} was taken back from {alias} at {share:.0%} of the requests: {reason}."
        )
        evidence = {**measure(tally, base), "share": share, "errors": float(tally.errors), "slow": float(tally.slow)}
        evidence["base_requests"] = float(base.requests)
        event = Event(traffic.id, routing.model, alias, canary.version, spread.base, timestamp(), sentence, evidence)
        try:
            first = abort(self._state, event)
        except OSError as error:
            if traffic.id not in self._ended:
                self._ended.add(traffic.id)  # here at once; for all workers as soon as it can be written down
                _LOGGER.error("%s That cannot be written down yet: %s.", sentence, error)
            return
        if first:
            _LOGGER.warning("%s", sentence)

    def _key(self, spread: Spread, alias: str, form: Form, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> str:
        """Return what names the caller; "" where nothing does."""
        sticky = spread.traffic.sticky
        if not sticky.startswith(COLUMN):
            wanted = sticky.encode()
            return next((value.decode("latin-1") for name, value in headers if name == wanted), "")
        signature = spread.routings[spread.base].aliases[alias].scorer.signature
        try:
            rows = form.read(body, signature, self._max_rows).rows
        except RequestError:  # whoever answers says so
            return ""
        value = rows[0].get(sticky.removeprefix(COLUMN)) if rows else None
        return "" if value is None else str(value)
