"""The modes of the prediction log beside a plain SQLite file and a file of JSON lines: rates, and what a power cut takes.

The rates are of the log alone: 16 callers in one event loop, each logs its next row when the last one may be answered.
The power cut is real as far as a file system goes: an ext4 of its own is shut down without writing its journal
(``EXT4_IOC_SHUTDOWN``), unmounted and mounted again; it needs root.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns

from mlnb.service.configuration import Configuration
from mlnb.service.log import Ids, PredictionLog, Record
from mlnb.service.log_reader import read_predictions
from mlnb.service.log_tables import LogDatabase
from tests.bench.place import Place
from tests.bench.table import Table

CALLERS = 16
_ROWS = 20_000
_SLOW_ROWS = 2_000
_MODES = ("off", "fast", "durable", "strict")
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, linux/fs/ext4/ext4.h
_IMAGE_BYTES = 64 * 1024 * 1024
_ROW = '{"month":5,"distance":1400.0,"hour":9,"carrier":"UA","origin":"EWR","dep_delay":12.0}'


def make_record(name: str) -> Record:
    """Return a row as a small model's is."""
    now = time_ns()
    return Record(name, name, now, now, "late", 1, "production", 200, 0.2, _ROW, "1", "[0.25,0.75]", None)


def bench(place: Place) -> Table:
    """Measure each mode and each peer, then cut the power."""
    rates: dict[str, list[float]] = {}
    for number in range(place.count):
        for mode in _MODES:
            rows = _SLOW_ROWS if mode == "strict" else _ROWS
            rates.setdefault(f"mlnb, {mode}", []).append(_ours(place.folder / f"{mode}-{number}", mode, rows))
        for name, rows, peer in _PEERS:
            rates.setdefault(name, []).append(_timed(peer, place.folder / f"{number}-{name.replace(' ', '-')}", rows))
    lost = {mode: cut_power(place.folder / f"power-{mode}", mode) for mode in ("durable", "strict")}
    told = {f"mlnb, {mode}": "needs root" if one is None else f"{one[1]} of {one[0]}" for mode, one in lost.items()}
    cut = lost["strict"]
    verdict = "not measured" if cut is None else "DOES NOT HOLD" if cut[1] else "holds"
    return Table(
        f"log: rows a second from {CALLERS} callers, each waiting for its own (medians of {place.count})",
        ["log", "rows/s", "answered but gone after a power cut"],
        [[name, f"{median(found):,.0f}", told.get(name, "")] for name, found in rates.items()],
        [f"A strict log may lose nothing that was answered: {verdict}."],
        held=cut is None or cut[1] == 0,
    )


def cut_power(folder: Path, mode: str) -> tuple[int, int] | None:
    """Log rows on a file system of its own, cut its power, and count what was answered and what of it is gone.

    Returns
    -------
    tuple of int, int, or None
        None where nothing can be mounted.
    """
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        return None
    image, mounted = folder.with_suffix(".img"), folder
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    _run("mkfs.ext4", "-q", str(image))
    _run("mount", "-o", "loop", str(image), str(mounted))
    try:
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(mounted / "log"), mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert writer.stdout is not None
        answered = [writer.stdout.readline().strip() for _ in range(random.Random(mode).randint(300, 600))]
        handle = os.open(mounted, os.O_RDONLY)
        fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        os.close(handle)
        writer.kill()
        writer.stdout.close()
        writer.wait()
    finally:
        _run("umount", str(mounted))
    _run("mount", "-o", "loop", str(image), str(mounted))
    try:
        kept = {name for batch in read_predictions(mounted / "log") for name in batch.id}
    finally:
        _run("umount", str(mounted))
    return len(answered), len(set(answered) - kept)


_WRITER = """
import asyncio, sys
from pathlib import Path
from mlnb.service.configuration import Configuration
from mlnb.service.log import Ids, PredictionLog, Record

async def main():
    log, ids = PredictionLog(Path(sys.argv[1]), Configuration(log=sys.argv[2])), Ids()
    while True:
        name = ids.take(1)[0]
        await log.append([Record(name, "r", 0, 0, "m", 1, "a", 200, 0.1, "{}", "1", None, None)])
        print(name, flush=True)

asyncio.run(main())
"""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _ours(folder: Path, mode: str, rows: int) -> float:
    async def measured() -> float:
        log, ids = PredictionLog(folder, Configuration(log=mode)), Ids()

        async def caller() -> None:
            for _ in range(rows // CALLERS):
                await log.append([make_record(ids.take(1)[0])])
                await asyncio.sleep(0)

        started = perf_counter()
        await asyncio.gather(*[caller() for _ in range(CALLERS)])
        seconds = perf_counter() - started
        log.close()
        return rows / seconds

    return asyncio.run(measured())


def _timed(peer: Callable[[Path, Sequence[Record]], None], path: Path, rows: int) -> float:
    records = [make_record(name) for name in Ids().take(rows)]
    started = perf_counter()
    peer(path, records)
    return rows / (perf_counter() - started)


def _autocommit(synchronous: str) -> Callable[[Path, Sequence[Record]], None]:
    def write(path: Path, records: Sequence[Record]) -> None:
        LogDatabase(path).close()
        with closing(sqlite3.connect(path / "worker-0.db", isolation_level=None)) as connection:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            for record in records:
                connection.execute(f"INSERT INTO predictions VALUES ({','.join('?' * len(record))})", record)

    return write


def _json_lines(*, safe: bool) -> Callable[[Path, Sequence[Record]], None]:
    def write(path: Path, records: Sequence[Record]) -> None:
        with path.open("w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record._asdict()) + "\n")
                file.flush()
                if safe:
                    os.fsync(file.fileno())

    return write


_PEERS = (
    ("SQLite, a commit for each row", _ROWS, _autocommit("NORMAL")),
    ("SQLite, a commit and fsync for each row", _SLOW_ROWS, _autocommit("FULL")),
    ("JSON lines, flushed", _ROWS, _json_lines(safe=False)),
    ("JSON lines, fsync for each", _SLOW_ROWS, _json_lines(safe=True)),
)
