"""Streams of wrong and right answers, of which some get worse: which detector is wrong how often, and tells how late?

Each detector with the settings that it has in `mlnb.monitor.concept`: river's own for river's. A delay is censored at
the end of its stream. ADWIN comes first in a report as long as ours is slower at no more false alarms.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from mlnb.monitor.concept import ALPHA, OURS, find_changes
from tests.bench.table import Table

if TYPE_CHECKING:
    from tests.bench.place import Place

_SEEDS = 50
_BEFORE, _AFTER = 2000, 3000
_NULLS = (0.1, 0.3)
_RISES = ((0.1, 0.15), (0.1, 0.2), (0.1, 0.35), (0.3, 0.4))
_NAMES = ("ADWIN", OURS, "Page-Hinkley", "DDM", "HDDM")


def bench(place: Place) -> Table:
    """Run 50 streams of each kind for each repetition."""
    seeds, began = _SEEDS * place.count, time.perf_counter()
    wrong = dict.fromkeys(_NAMES, 0)
    cells: dict[str, list[str]] = {name: [] for name in _NAMES}
    for share in _NULLS:
        told = [_told(share, share, seed) for seed in range(seeds)]
        for name in _NAMES:
            wrong[name] += sum(name in one for one in told)
    for before, after in _RISES:
        told = [_told(before, after, seed) for seed in range(seeds)]
        for name in _NAMES:
            early = sum(one.get(name, _BEFORE + 1) <= _BEFORE for one in told)
            late = [one.get(name, _BEFORE + _AFTER) - _BEFORE for one in told]
            wrong[name] += early
            delays = [delay for delay in late if delay > 0]
            cells[name].append(f"{np.median(delays):,.0f}" if delays else "-")
    streams = seeds * (len(_NULLS) + len(_RISES))
    rows = [[name, f"{wrong[name]} ({wrong[name] / streams:.1%})", *cells[name]] for name in _NAMES]
    limit = ALPHA * streams + 4.0 * (ALPHA * streams) ** 0.5
    took = (time.perf_counter() - began) / streams
    return Table(
        f"streams: false alarms in {streams:,} streams, and the median delay after a rise, labelled answers",
        ("", "false alarms", *(f"{before:g} to {after:g}" for before, after in _RISES)),
        rows,
        [
            f"{_BEFORE:,} answers before the rise, {_AFTER:,} after it; all five on one stream take {took * 1000:.0f} ms.",
            f"Ours may be wrong in {ALPHA:.1%} of streams (4 sd of chance are granted).",
        ],
        wrong[OURS] <= limit,
    )


def _told(before: float, after: float, seed: int) -> dict[str, int]:
    random = np.random.default_rng(seed)
    errors = np.concatenate([random.random(_BEFORE) < before, random.random(_AFTER) < after]).astype(np.float64)
    found = find_changes(errors, np.arange(errors.size, dtype=np.int64), share=True, usual=float("nan"))
    return {one.detector: one.seen for one in found}
