"""A worker becomes one of a crew: what it is asked about the service, it answers for all workers.

It asks the supervisor, which asks each worker, itself included. A worker that does not answer in time is told as
``silent``; where the supervisor itself does not answer, nobody can speak for the service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlnb.errors import RequestError
from mlnb.service.admission import Admission
from mlnb.service.footprint import footprint
from mlnb.service.metrics import Metrics, Sums, added
from mlnb.service.wire import Said, Wire

READINESS, METRICS = "readiness", "metrics"
_AGREED = ("mlnb_routing_revision", "mlnb_ready")  # of all workers the lowest is told
_ANSWER_S = 5.0
_STARTED = time.time()
Report = Callable[[str], Said]


@dataclass(frozen=True, slots=True)
class Told:
    """What the supervisor has told: its own part, and each worker's."""

    supervisor: Said
    reports: Sequence[Said] = field(default_factory=list)


class Crew:
    """The worker's end of the wire; its methods are called on one event loop.

    Parameters
    ----------
    wire : Wire
        To the supervisor.
    report : callable
        Returns this worker's own `READINESS` or `METRICS`.
    drain : callable
        Told the seconds for which idle connections may stay, when this worker is to end.
    orphaned : callable
        Called when the supervisor has ended.
    """

    def __init__(
        self, wire: Wire, report: Report, drain: Callable[[float], None], orphaned: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._report = report
        self._drain = drain
        self._orphaned = orphaned
        self._asked: dict[int, asyncio.Future[Told]] = {}
        self._number = 0

    def listen(self) -> None:
        """Begin to follow the wire."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._wire.fileno(), self._received)

    def say(self, message: Said) -> None:
        """Tell the supervisor."""
        self._wire.send(message)
        if self._wire.pending:
            self._loop.add_writer(self._wire.fileno(), self._flush)

    async def ask(self, what: str) -> Told:
        """Return what all workers report.

        Raises
        ------
        RequestError
            503, if the supervisor does not answer.
        """
        self._number += 1
        number = self._number
        answer: asyncio.Future[Told] = self._loop.create_future()
        self._asked[number] = answer
        self.say({"ask": number, "what": what})
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError as error:
            raise RequestError(
                "The supervisor of this service does not answer.", "Start the service again.", status=503
            ) from error
        finally:
            self._asked.pop(number, None)

    def _flush(self) -> None:
        self._wire.flush()
        if not self._wire.pending:
            self._loop.remove_writer(self._wire.fileno())

    def _received(self) -> None:
        messages, alive = self._wire.receive()
        for message in messages:
            self._take(message)
        if not alive:
            self._loop.remove_reader(self._wire.fileno())
            self._orphaned()

    def _take(self, message: Said) -> None:
        number = message.get("number")
        if "report" in message:
            what = str(message["report"])
            self.say({"of": self._report(what), "number": number, "what": what})
        elif "drain" in message:
            self._drain(_real(message["drain"]))
        elif isinstance(number, int) and (waiting := self._asked.get(number)) is not None and not waiting.done():
            reports = message.get("told")
            supervisor = message.get("supervisor")
            told = [one for one in reports if isinstance(one, dict)] if isinstance(reports, list) else []
            waiting.set_result(Told(supervisor if isinstance(supervisor, dict) else {}, told))


async def service_readiness(crew: Crew | None, report: Callable[[], Said]) -> Said:
    """Return the readiness of a service: what is true of all its workers; as this process has it where it is alone.

    Raises
    ------
    RequestError
        503, if the supervisor or every worker is silent.
    """
    if crew is None:
        own = report()
        return {**own, "workers": [{"pid": own["pid"], "state": "ready", "revision": own["revision"]}]}
    return readiness_of(await crew.ask(READINESS))


def readiness_of(told: Told) -> dict[str, object]:
    """Return the readiness of a service out of its workers': what is true of all that answer requests.

    Raises
    ------
    RequestError
        503, if no worker has answered.
    """
    bodies = {str(one["pid"]): _of(one) for one in told.reports if _of(one)}
    serving = [_of(one) for one in told.reports if one.get("state") == "ready" and _of(one)]
    if not bodies:
        raise RequestError("No worker of this service answers.", "See `mlnb services logs NAME`.", status=503)
    silent = any(one.get("state") == "silent" for one in told.reports)
    refused = [body["refused"] for body in bodies.values() if body.get("refused")]
    problems = [body["log"] for body in bodies.values() if body["log"] != "ok"]
    first = min(bodies.values(), key=lambda body: _real(body["revision"]))
    unlogged = sum(_real(_part(body, "logging").get("unlogged")) for body in bodies.values())
    return {
        **first,
        "logging": {**_part(first, "logging"), "unlogged": int(unlogged)},
        "ready": bool(serving) and not silent and all(body["ready"] for body in serving),
        "log": problems[0] if problems else "ok",
        "refused": refused[0] if refused else None,
        "pid": told.supervisor["pid"],
        "supervisor": told.supervisor,
        "workers": [
            {"pid": one["pid"], "state": one["state"], "revision": _of(one).get("revision")} for one in told.reports
        ],
    }


async def service_samples(crew: Crew | None, report: Callable[[], Said]) -> Sums:
    """Return the samples of a service: its workers', its former workers' and its supervisor's.

    Raises
    ------
    RequestError
        503, if the supervisor does not answer.
    """
    if crew is None:
        alone = _sums(report())
        state = {"process_start_time_seconds": _STARTED, 'mlnb_workers{state="ready"}': 1.0}
        return Sums(alone.totals, {**alone.gauges, **state})
    told = await crew.ask(METRICS)
    workers = [_sums(_of(one)) for one in told.reports if _of(one)]
    summed = added([*workers, _sums(told.supervisor)])
    lowest = {name: min((one.gauges[name] for one in workers), default=0.0) for name in _AGREED}
    return Sums(summed.totals, {**summed.gauges, **lowest})


def worker_samples(metrics: Metrics, admission: Admission, revision: int, *, ready: bool) -> Sums:
    """Return a worker's own samples: what it has counted, and what is so now."""
    shed: dict[str, float] = {
        "mlnb_requests_shed_total": admission.shed,
        "mlnb_requests_late_total": admission.late,
        **{f'mlnb_connections_ended_total{{status="{status}"}}': n for status, n in admission.ended.items()},
    }
    summed = added([metrics.sums(), footprint(), Sums(shed)])
    now = {"mlnb_routing_revision": revision, "mlnb_ready": int(ready)}
    return Sums(summed.totals, {**summed.gauges, **now, "http_server_active_requests": admission.under_way})


def _of(report: Said) -> Said:
    return _part(report, "of")


def _part(said: Said, name: str) -> Said:
    body = said.get(name)
    return body if isinstance(body, dict) else {}


def _sums(report: Said) -> Sums:
    totals, gauges = report.get("totals"), report.get("gauges")
    return Sums(totals if isinstance(totals, dict) else {}, gauges if isinstance(gauges, dict) else {})


def _real(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
