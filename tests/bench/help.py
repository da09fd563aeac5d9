"""``mlnb --help`` against an empty interpreter and against papermill's help."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.bench.cost import medians
from tests.bench.place import Place
from tests.bench.table import Table, ratio

LIMIT_S = 0.3
_RUNS_EACH = 5
_OURS = "python -m mlnb --help"


def bench(place: Place) -> Table:
    """Measure; each command runs once unmeasured, so that its bytecode and the disk's cache are warm."""
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        _OURS: (sys.executable, "-m", "mlnb", "--help"),
        "papermill --help": (Path(sys.executable).parent / "papermill", "--help"),
    }
    for command in commands.values():
        place.spend(*command)
    count = _RUNS_EACH * place.count
    costs = medians(count, {name: partial(place.spend, *command) for name, command in commands.items()})
    ours = costs[_OURS]
    rows = [[name, f"{c.cpu_s:.3f}", f"{c.wall_s:.3f}", ratio(c.cpu_s, ours.cpu_s)] for name, c in costs.items()]
    held = ours.cpu_s < LIMIT_S
    verdict = f"The limit of {LIMIT_S} s CPU {'holds' if held else 'DOES NOT HOLD'}: {ours.cpu_s:.3f} s."
    return Table(
        f"help: what it costs to be asked (medians of {count})",
        ["command", "CPU s", "wall s", "CPU, times ours"],
        rows,
        [verdict],
        held,
    )
