"""Long and broad pipelines: 200 stages in a row, planned and taken from the cache, and 20 branches side by side."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlnb.run.engine import cores
from tests.bench.cost import spend
from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.table import Table

_SIZES = (50, 100, 200)
_PLAN_LIMIT_S, _STAGE_LIMIT_S, _BUSY_LIMIT = 1.0, 0.003, 0.85
_BRANCHES = 20
_TIMES = """
import json, sys, time
from pathlib import Path
from mlnb.project import Project
path = Path(sys.argv[1])
project = Project(path.parent)
project.plan(path.with_name("1.ipynb")), project.reuse(path.with_name("1.ipynb"))
def best(act):
    costs = []
    for _ in range(int(sys.argv[2])):
        started = time.process_time()
        done = act()
        costs.append(time.process_time() - started)
    return min(costs), done
plan_s, _ = best(lambda: project.plan(path))
reuse_s, record = best(lambda: project.reuse(path))
assert {stage.state for stage in record.stages} == {"cached"}, record
print(json.dumps([plan_s, reuse_s, len(record.stages)]))
"""
_BURN = "total = 0\nfor i in range({rounds}):\n    total += i * i % 7\n"


def bench(place: Place) -> Table:
    """Measure; CPU seconds are the best of the repetitions, because other work only ever adds to them."""
    costs = _chains(place)
    rows = [
        [f"{size} stages", f"{plan:.3f}", f"{reuse:.3f}", f"{1000 * reuse / size:.2f}", "", ""]
        for size, (plan, reuse) in costs.items()
    ]
    small, middle, large = (costs[size][1] for size in _SIZES)
    each = (large - small) / (_SIZES[2] - _SIZES[0])
    growth = ((large - middle) / 100) / max((middle - small) / 50, 1e-6)
    alone, together = _branches(place)
    for name, one in (("one by one", alone), ("side by side", together)):
        rows.append([f"{_BRANCHES} branches {name}", "", "", "", f"{one.slots:.0%}", f"{one.cores:.0%}"])
    held = costs[200][0] < _PLAN_LIMIT_S and each < _STAGE_LIMIT_S and growth < 2 and together.slots > _BUSY_LIMIT
    return Table(
        f"scale: stages in a row from the cache, branches side by side (best of {max(place.count, 3)})",
        ["pipeline", "plan, CPU s", "plan and reuse, CPU s", "ms per stage", "slots busy", "cores busy"],
        rows,
        [
            f"A further cached stage costs {1000 * each:.2f} ms (limit {1000 * _STAGE_LIMIT_S:.0f}); from 100 to 200 "
            f"stages it is {growth:.2f} times what it is from 50 to 100 (1 is linear, limit 2).",
            f"{_BRANCHES} branches of equal work: {together.span_s:.1f} s side by side, {alone.span_s:.1f} s one by one.",
            f"Slots busy: stages that were executing on average, of those that may (limit {_BUSY_LIMIT:.0%}). Cores busy: "
            f"CPU seconds of engine and branches, of what the cores have; {_load()} others were running when it ended.",
        ],
        held=held,
    )


def _load() -> str:
    """Return how many other processes want the cores, on average over the last minute."""
    return f"{max(os.getloadavg()[0] - cores(), 0):.0f}" if hasattr(os, "getloadavg") else "nobody knows how many"


def _chains(place: Place) -> dict[int, tuple[float, float]]:
    """Return CPU seconds of planning, and of planning and reusing, chains of stages; the longest one fills the cache."""
    folder = place.make("scale")
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    setup = "def step(x):\n    return x + 1"
    chain = ["%%stage s0\nx0 = step(0)", *(f"%%stage s{at}\nx{at} = step(x{at - 1})" for at in range(1, max(_SIZES)))]
    for size in (1, *_SIZES):  # the last stage's value is demanded, as it is in the longer ones
        write_notebook(folder / f"{size}.ipynb", [setup, *chain[:size], f"%%stage end{size}\nx{size - 1}"])
    for size in sorted((1, *_SIZES), reverse=True):
        place.spend(sys.executable, "-m", "mlnb", "run", f"{size}.ipynb", "-q", cwd=folder)
    count = str(max(place.count, 3))
    costs = {}
    for size in _SIZES:
        told = spend((sys.executable, "-c", _TIMES, folder / f"{size}.ipynb", count), folder, place.environ)[1]
        plan_s, reuse_s, stages = json.loads(told)
        if stages != size + 1:
            raise RuntimeError(f"{stages} stages were run, not {size + 1}.")
        costs[size] = plan_s, reuse_s
    return costs


@dataclass(frozen=True, slots=True)
class _Broad:
    """A run of branches: seconds from the first one's start to the last one's end, and what was busy meanwhile."""

    span_s: float
    slots: float
    cores: float


def _branches(place: Place) -> tuple[_Broad, _Broad]:
    """Run branches of equal work one by one, and as many at once as there are cores."""
    folder = place.make("branches")
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    burn = _BURN.format(rounds=6_000_000)
    branches = [f"%%stage b{at}\n{burn}r{at} = total + {at}" for at in range(_BRANCHES)]
    total = " + ".join(f"r{at}" for at in range(_BRANCHES))
    write_notebook(folder / "broad.ipynb", [*branches, f"%%stage all\nanswer = {total}"])
    return _broad(place, folder, 1), _broad(place, folder, cores())


def _broad(place: Place, folder: Path, jobs: int) -> _Broad:
    engine = place.spend(
        sys.executable, "-m", "mlnb", "run", "broad.ipynb", "--force", "--jobs", str(jobs), "-q", cwd=folder
    )
    record = place.mlnb(folder, "runs", "show", "last")
    branches = [stage for stage in record["stages"] if stage["name"] != "all"]
    starts = [datetime.fromisoformat(stage["started_at"]).timestamp() for stage in branches]
    ends = [start + stage["seconds"] for start, stage in zip(starts, branches, strict=True)]
    span_s = max(ends) - min(starts)
    slots = sum(stage["seconds"] for stage in branches) / span_s / jobs
    return _Broad(span_s, slots, (engine.cpu_s + sum(stage["cpu_s"] for stage in branches)) / span_s / cores())
