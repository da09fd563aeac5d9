"""Stored windows of 10,000 rows x 40 columns: does a further one cost the same after 10 and after 10,000 of them?

Appended is a window whose columns are at hand: 30 of floats, 10 of category names; it is counted, merged into its hour,
day and month in the file, and committed. Merged are 1,000 stored windows into one. Beside it what it costs to take as
many rows from a real prediction log, where reading JSON is nearly all of it. Peers: `numpy.histogram` and
`collections.Counter` over the same columns, and a scan of the whole log.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlnb.monitor.feature import categorical, numeric
from mlnb.monitor.joined import Realised
from mlnb.monitor.packed import Layout
from mlnb.monitor.reference import Reference
from mlnb.monitor.report import build_report, make_report
from mlnb.monitor.span import Span
from mlnb.monitor.stored import StoredWindows, stored_at
from mlnb.monitor.tally import tallies
from mlnb.monitor.window import Window, empty_window
from mlnb.service.log import Ids, PredictionLog, Record
from mlnb.service.log_reader import read_predictions
from tests.bench.table import Table

if TYPE_CHECKING:
    from tests.bench.place import Place

_ROWS, _NUMBERS, _NAMES = 10_000, 30, 10
_HOUR = 3_600_000_000_000
_START = 1_767_225_600_000_000_000  # 2026-01-01
_LIMIT_MS = 10.0
_Columns = Mapping[str, "np.ndarray | list[str]"]


class Cost(NamedTuple):
    """Milliseconds: of CPU at the least, of CPU, and by the clock; the latter two are medians."""

    least: float
    cpu: float
    wall: float


def bench(place: Place) -> Table:
    """Append, merge and take in; each figure is a median of at least 20."""
    random = np.random.default_rng(0)
    reference = _reference(_drawn(random, 5000))
    columns = _drawn(random, _ROWS)
    window = _counted(reference, columns, _START)
    times = 20 * place.count
    counted = _median(lambda: _counted(reference, columns, _START), times)
    with tempfile.TemporaryDirectory(prefix="mlnb-windows-") as text:
        folder = Path(text)
        with StoredWindows(stored_at(folder, 1), reference, version=1, digest="d") as stored:
            early = _append(stored, reference, columns, window, 10, times)
            late = _append(stored, reference, columns, window, 10_000, times)
            size = stored_at(folder, 1).stat().st_size
            layout = Layout.of(reference)
            packed = [layout.pack(replace(window, rows=_ROWS + at)) for at in range(1000)]
            merged = _median(lambda: layout.merge(packed), times)
            shown = _median(lambda: _shown(stored, reference), 3 * place.count)
        histogram = _median(lambda: _peer(reference, columns), times)
        taken, scanned = _from_log(folder / "log", reference, random)
    costs = {
        "only count its columns": counted,
        "append a window, 10 stored": early,
        "append a window, 10,000 stored": late,
        "numpy.histogram + Counter, nothing stored": histogram,
        "merge 1,000 windows": merged,
        "1,000 windows read, compared and ranked": shown,
        "10,000 new rows from the log (JSON)": taken,
        "the whole log of 60,000 rows scanned": scanned,
    }
    rows = [[name, *(f"{value:.1f}" for value in cost)] for name, cost in costs.items()]
    held = max(early.least, late.least, merged.least) <= _LIMIT_MS and shown.least < 1000
    held = held and late.least < 1.5 * early.least
    return Table(
        f"windows: {_ROWS:,} rows x {_NUMBERS + _NAMES} columns (medians of {times})",
        ["what", "CPU ms, least", "CPU ms", "wall ms"],
        rows,
        [
            "The limits of 10 ms and 1 s are of the least CPU: the machine is shared, and who else runs slows all.",
            f"A packed window has {len(packed[0]):,} bytes; the file of 10,000 has {size / 1e6:.0f} MB.",
        ],
        held,
    )


def _append(
    stored: StoredWindows, reference: Reference, columns: _Columns, window: Window, there: int, times: int
) -> Cost:
    """Fill up to so many windows, and return how long one more takes, in milliseconds."""
    for at in range(there):
        stored.add([replace(window, first=_START + at * _HOUR, last=_START + at * _HOUR)])
    places = iter(range(there, there + times + 1))  # a new hour each

    def append() -> None:
        stored.add([_counted(reference, columns, _START + next(places) * _HOUR)])

    return _median(append, times)


def _counted(reference: Reference, columns: _Columns, at: int) -> Window:
    member = np.zeros(_ROWS, dtype=np.int64)
    return replace(
        empty_window(reference, at, at + 1),
        last=at,
        rows=_ROWS,
        versions={1: _ROWS},
        features=tuple(tallies(feature, columns[feature.name], member, 1)[0] for feature in reference.features),
        prediction=tallies(reference.prediction, columns["n0"], member, 1)[0],
    )


def _shown(stored: StoredWindows, reference: Reference) -> object:
    windows = stored.windows(Span("hour"), until=_START + 1000 * _HOUR)
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return make_report(reference, Span("hour"), windows, Realised(), model="m", version=1, at=at)


def _peer(reference: Reference, columns: _Columns) -> None:
    for feature in reference.features:
        if feature.name.startswith("n"):
            np.histogram(columns[feature.name], bins=np.array(feature.edges))  # type: ignore[union-attr]
        else:
            Counter(columns[feature.name])


def _from_log(folder: Path, reference: Reference, random: np.random.Generator) -> tuple[Cost, Cost]:
    """Return what 10,000 new rows cost behind 50,000, and a scan of all."""
    ids = Ids()

    async def write(parts: int) -> None:
        log = PredictionLog(folder)
        for _ in range(parts):
            drawn = _drawn(random, _ROWS)
            rows = zip(*([*map(float, v)] if k[0] == "n" else v for k, v in drawn.items()), strict=True)
            texts = [json.dumps(dict(zip(drawn, row, strict=True))) for row in rows]
            await log.append(
                [
                    Record(key, "r", _START + 5, _START, "m", 1, "production", 200, 1.0, text, "0.5", None, None)
                    for key, text in zip(ids.take(_ROWS), texts, strict=True)
                ]
            )
        log.close()

    asyncio.run(write(5))
    with StoredWindows(stored_at(folder, 1), reference, version=1, digest="d") as stored:
        stored.update(folder)
        asyncio.run(write(1))
        taken = _once(lambda: stored.update(folder), _ROWS)
    at = datetime(2026, 11, 23, tzinfo=UTC)

    def scan() -> int:
        return build_report(reference, read_predictions(folder), model="m", version=1, at=at).total.rows

    return taken, _once(scan, 6 * _ROWS)


def _once(act: Callable[[], int], rows: int) -> Cost:
    began, used = time.perf_counter(), time.process_time()
    found = act()
    cpu, wall = (time.process_time() - used) * 1000, (time.perf_counter() - began) * 1000
    if found != rows:
        raise RuntimeError(f"{found} rows were counted, not {rows}.")
    return Cost(cpu, cpu, wall)


def _reference(columns: _Columns) -> Reference:
    features = tuple(
        numeric(name, values) if name.startswith("n") else categorical(name, values) for name, values in columns.items()
    )
    return Reference(5000, "regressor", (), features, numeric("prediction", columns["n0"]))


def _drawn(random: np.random.Generator, rows: int) -> _Columns:
    words = np.array([f"word {at}" for at in range(12)])
    numbers = {f"n{at}": random.normal(size=rows) for at in range(_NUMBERS)}
    return {**numbers, **{f"w{at}": words[random.integers(0, 12, rows)].tolist() for at in range(_NAMES)}}


def _median(act: Callable[[], object], times: int) -> Cost:
    """Return the medians in milliseconds, after one turn that does not count."""
    act()
    took = []
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        act()
        took.append((time.process_time() - used, time.perf_counter() - began))
    cpu, wall = zip(*took, strict=True)
    return Cost(*(one * 1000 for one in (min(cpu), statistics.median(cpu), statistics.median(wall))))
