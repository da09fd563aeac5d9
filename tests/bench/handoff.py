"""A frame of a million rows is handed from one stage to the next: 20 numbers, and the same beside texts and times.

What counts is the ratio to what nobody can avoid: writing the same bytes and hashing them. pickle writes no digest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.cost import spend
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_MOST_TIMES_RAW = 1.3
_MOST_FIRST_MS = 20.0
_MOST_TIMES_DATA = 1.3
_RAW, _OURS = "raw write + sha256, fsync", "mlnb"


def bench(place: Place) -> Table:
    """Measure in processes of their own; memory in one that does nothing else."""
    rows: list[list[str]] = []
    notes: list[str] = []
    held = True
    for kind in ("numbers", "mixed"):
        folder = place.make(f"handoff-{kind}")
        told = _tell(place, "costs", kind, str(folder), str(max(3, place.count)))
        median = told["median"]
        for name, times in median.items():
            rows.append(
                [
                    f"{kind}, {told['bytes'] / 1e6:.0f} MB: {name}",
                    f"{times['give']:.0f}",
                    f"{times['cpu']:.0f}",
                    ratio(times["give"], median[_RAW]["give"]),
                    f"{times['take']:.1f}" if "take" in times else "",
                ]
            )
        stage = place.make(f"handoff-{kind}-stage")
        _tell(place, "peak", kind, str(stage), "1")
        memory = _tell(place, "peak", kind, str(stage), "1")
        limits = (
            (median[_OURS]["give"] / median[_RAW]["give"], _MOST_TIMES_RAW, "x raw write + sha256"),
            (told["quickest"], _MOST_FIRST_MS, "ms to the sum of one column, the quickest of all"),
            (memory["peak"] / memory["data"], _MOST_TIMES_DATA, f"x its own {memory['data'] / 1e6:.0f} MB at the peak"),
        )
        held = held and all(found <= most for found, most, _ in limits)
        said = "; ".join(f"{found:.2f} {what} (at most {most:g})" for found, most, what in limits)
        notes.append(f"{kind}: {said}.")
    return Table(
        f"handoff: 1,000,000 rows from one stage to the next (medians of {max(3, place.count)})",
        ["contestant", "give, ms", "give, CPU ms", "times raw", "take + one column, ms"],
        rows,
        [*notes, "The files are in the page cache when they are taken, as they are right after the stage before."],
        held,
    )


def _tell(place: Place, *words: str) -> Any:
    command = [sys.executable, "-m", "tests.bench.hand_over", *words]
    return json.loads(spend(command, Path(__file__).parents[2], place.environ)[1])
