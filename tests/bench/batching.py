"""Requests that come together are scored together, beside each by itself: under load, and where one caller asks.

The same Bento twice, with ``MLNB_BATCHING`` on and off and nothing logged; single rows in closed loops.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field

from tests.bench import servers
from tests.bench.load import Load, drive
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.servers import Contestant
from tests.bench.table import Table, ratio

_SECONDS = 4.0
_WARM_UP = 50
_ENDLESS = 10_000_000
_CONNECTIONS = (1, 16, 64)
_MOST_IDLE = 1.1
_TURNS = 3


@dataclass(slots=True)
class _Found:
    """Loads of one server for each number of connections, one for each repetition."""

    loads: dict[int, list[Load]] = field(default_factory=dict)

    def rate(self, connections: int) -> float:
        return statistics.median(load.rate for load in self.loads[connections])

    def ms(self, connections: int, percent: int) -> float:
        return statistics.median(load.percentile(percent) for load in self.loads[connections])


def bench(place: Place) -> Table:
    """Measure both in turn, three times for each repetition."""
    place.deployed.stop()
    both = {"MLNB_LOG": "off", "MLNB_QUEUE": "1000000"}  # nothing is refused, however slow the machine is
    on = servers.ours(place, "scored together", MLNB_BATCHING="true", **both)
    off = servers.ours(place, "each by itself", MLNB_BATCHING="false", **both)
    found = {one.name: _Found() for one in (on, off)}
    with on.server, off.server:
        for _ in range(_TURNS * place.count):
            for one in (on, off):
                _measure(one, found[one.name])
    ours, theirs = found[on.name], found[off.name]
    idle, busy = ours.ms(1, 50) / theirs.ms(1, 50), ours.rate(_CONNECTIONS[-1]) / theirs.rate(_CONNECTIONS[-1])
    held = busy > 1 and idle <= _MOST_IDLE
    columns = [f"{each}: {what}" for each in _CONNECTIONS for what in ("req/s", "of off", "p50 ms", "p99 ms")]
    return Table(
        f"batching: {_SECONDS:g} s each, one worker, single rows (medians of {_TURNS * place.count})",
        ["requests", *columns],
        [[name, *_cells(one, theirs)] for name, one in found.items()],
        [
            f"{_CONNECTIONS[-1]} connections: {busy:.2f}x as many answers (more than 1); one: {idle:.2f}x the median "
            f"latency (at most {_MOST_IDLE:g}x): {'holds' if held else 'DOES NOT HOLD'}.",
        ],
        held,
    )


def _measure(one: Contestant, found: _Found) -> None:
    bodies = [one.body([row]) for row in draw(200, seed=3)]
    for connections in _CONNECTIONS:
        for requests in (_WARM_UP, _ENDLESS):
            load = asyncio.run(
                drive(one.server.url, bodies, connections=connections, requests=requests, limit_s=_SECONDS)
            )
            if load.refused:
                raise RuntimeError(f"{one.name} refused {load.refused} of {len(load.latencies_ms)} requests.")
        found.loads.setdefault(connections, []).append(load)


def _cells(one: _Found, off: _Found) -> list[str]:
    cells = []
    for each in _CONNECTIONS:
        cells += [f"{one.rate(each):,.0f}", ratio(one.rate(each), off.rate(each))]
        cells += [f"{one.ms(each, percent):.2f}" for percent in (50, 99)]
    return cells
