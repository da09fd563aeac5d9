"""Millions of predictions go through one service: memory, descriptors and the database stay as they were.

``--count`` is how many millions. With each the log is rolled into Parquet while it is written, as in operation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from mlnb.service.log_reader import read_predictions
from tests.bench.deployed import MODEL
from tests.bench.load import Load, drive
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.table import Table

LAP = 1_000_000
_CONNECTIONS = 16
_GROWTH = 1.10
_SPARE_BYTES = 16 * 1024 * 1024
_SPARE_FILES = 4


@dataclass(frozen=True, slots=True)
class Lap:
    """A service after one more lap.

    Attributes
    ----------
    answered : int
        Requests answered with 200 in this lap.
    rate, p99_ms : float
        Of them a second, and the latency that 1 % exceeded.
    resident_bytes, files : int
        Of all its processes.
    database_bytes, segment_bytes : int
        On disk.
    """

    answered: int
    rate: float
    p99_ms: float
    resident_bytes: int
    files: int
    database_bytes: int
    segment_bytes: int


def bench(place: Place) -> Table:
    """Drive ``--count`` million requests of one row."""
    return soak(place, place.count, LAP)


def soak(place: Place, laps: int, requests: int) -> Table:
    """Drive laps of so many requests; the first lap is what the others are compared with."""
    deployed = place.deployed
    deployed.forget()
    bodies = [json.dumps({"rows": [row]}).encode() for row in draw(500, seed=5)]
    found: list[Lap] = []
    for _ in range(laps + 1):  # one to warm up
        load = asyncio.run(_lap(place, bodies, requests))
        answered = len(load.latencies_ms) - load.refused
        found.append(_measured(deployed.process, deployed.log, answered, load))
    logged, once = _logged(deployed.log)
    sent = sum(lap.answered for lap in found)
    first, last = found[0], found[-1]
    flat = (
        last.resident_bytes <= first.resident_bytes * _GROWTH + _SPARE_BYTES
        and last.files <= first.files + _SPARE_FILES
        and last.database_bytes <= first.database_bytes * 2 + _SPARE_BYTES
    )
    held = flat and logged == sent and once
    return Table(
        f"log_soak: {_CONNECTIONS} connections, {requests:,} requests of one row a lap, rolled meanwhile",
        ["lap", "answered", "requests/s", "p99, ms", "memory, MB", "open files", "databases, MB", "segments, MB"],
        [
            [
                str(number),
                f"{lap.answered:,}",
                f"{lap.rate:,.0f}",
                f"{lap.p99_ms:.1f}",
                f"{lap.resident_bytes / 1e6:.0f}",
                str(lap.files),
                f"{lap.database_bytes / 1e6:.1f}",
                f"{lap.segment_bytes / 1e6:.1f}",
            ]
            for number, lap in enumerate(found)
        ],
        [
            f"{logged:,} of {sent:,} answered requests are in the log, each {'once' if once else 'NOT ONCE'}.",
            f"Memory, files and databases stay flat: {'holds' if flat else 'DOES NOT HOLD'}.",
        ],
        held,
    )


async def _lap(place: Place, bodies: Sequence[bytes], requests: int) -> Load:
    """Send requests while what is logged is rolled."""
    deployed = place.deployed
    rolling = asyncio.create_task(asyncio.to_thread(place.mlnb, deployed.project, "services", "roll", MODEL))
    load = await drive(deployed.url, bodies, connections=_CONNECTIONS, requests=requests, limit_s=requests / 100)
    await rolling
    return load


def _measured(process: psutil.Process, log: Path, answered: int, load: Load) -> Lap:
    processes = [process, *process.children(recursive=True)]
    return Lap(
        answered,
        load.rate,
        load.percentile(99),
        sum(one.memory_info().rss for one in processes),
        sum(one.num_fds() for one in processes),
        sum(path.stat().st_size for path in log.glob("worker-*.db*")),
        sum(path.stat().st_size for path in log.glob("segments/*.parquet")),
    )


def _logged(log: Path) -> tuple[int, bool]:
    numbers = [np.array([int(name[:16], 16) for name in batch.id], np.uint64) for batch in read_predictions(log)]
    together = np.concatenate(numbers) if numbers else np.empty(0, np.uint64)
    return together.size, bool(np.unique(together).size == together.size)
