"""Our service at five times what it can answer, beside itself without load shedding and a stock BentoML service.

The peak is what a closed loop of 16 or 32 callers gets answered. Then five times as much is offered in an open loop:
goodput is what was answered with 200 while it was offered, latencies count from when a request was sent.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import NamedTuple

from tests.bench.open_loop import Met, offer
from tests.bench.peer import Peer
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.table import Table

_SECONDS = 4.0
_ROWS = 50  # a request costs the service much more than the load generator, which shares its cores
_CALLERS = 512
_TIMES = 5
_LEAST_GOODPUT, _MOST_P99_MS = 0.9, 1000.0


class _Found(NamedTuple):
    peak: float
    met: Met

    @property
    def kept(self) -> float:
        """Goodput as a share of the peak."""
        return self.met.goodput / self.peak

    @property
    def lost(self) -> int:
        """Requests that were sent and got no answer."""
        return self.met.statuses[0] + self.met.unanswered


def bench(place: Place) -> Table:
    """Measure one after another."""
    body = json.dumps({"rows": draw(_ROWS, seed=5)}).encode()
    found: dict[str, list[_Found]] = {}
    deployed = place.deployed
    for _ in range(place.count):
        for name, queue in (("mlnb", ""), ("mlnb, no shedding (queue = 1,000,000)", "1000000")):
            deployed.stop()
            place.environ.update({"MLNB_QUEUE": queue} if queue else {})
            deployed.start()
            place.environ.pop("MLNB_QUEUE", None)
            found.setdefault(name, []).append(measure(deployed.url, body))
        deployed.stop()
        with ExitStack() as stack:
            peer = stack.enter_context(Peer(place, "PydanticOnnx"))
            found.setdefault("BentoML, pydantic (ONNX), not logged", []).append(measure(peer.url, body))
    deployed.start()
    ours, lost = _median(found["mlnb"]), sum(one.lost for one in found["mlnb"])
    return Table(
        f"overload: {_ROWS} rows a request, {_TIMES}x the peak offered over {_CALLERS} connections for {_SECONDS:g} s",
        ["server, one worker", "peak/s", "goodput/s", "kept", "p50 ms", "p99 ms", "refused", "failed", "unsent"],
        [[name, *_cells(_median(each))] for name, each in found.items()],
        [
            "p50 and p99 of the requests that were accepted. Failed: connections ended, or no answer within 10 s.",
            "Unsent: due while all connections waited for an answer. Only mlnb logs (durable).",
            f"Limits for mlnb: {_LEAST_GOODPUT:.0%} of the peak kept, p99 {_MOST_P99_MS:g} ms, no request failed.",
        ],
        held=ours.kept >= _LEAST_GOODPUT and ours.met.percentile(99) <= _MOST_P99_MS and not lost,
    )


def measure(url: str, body: bytes, seconds: float = _SECONDS, callers: int = _CALLERS) -> _Found:
    """Return the peak, and what was met at five times as much."""

    def run(rate: float, connections: int) -> Met:
        return asyncio.run(offer(url, body, rate=rate, seconds=seconds, connections=connections))

    run(float("inf"), 16)
    peak = max(run(float("inf"), connections).goodput for connections in (16, 32))
    return _Found(peak, run(_TIMES * peak, callers))


def _median(each: list[_Found]) -> _Found:
    return sorted(each, key=lambda one: one.kept)[len(each) // 2]


def _cells(one: _Found) -> list[str]:
    met = one.met
    return [
        f"{one.peak:.0f}",
        f"{met.goodput:.0f}",
        f"{one.kept:.2f}",
        f"{met.percentile(50):.0f}" if met.accepted_ms else "-",
        f"{met.percentile(99):.0f}" if met.accepted_ms else "-",
        str(sum(count for status, count in met.statuses.items() if status not in (0, 200))),
        str(one.lost),
        str(met.unsent),
    ]
