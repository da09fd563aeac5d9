"""Six stages with pandas and scikit-learn: the price of clean rooms, cold as in CI and warm as beside a live kernel.

Cold: every contestant is a fresh command. Warm: one Python process has papermill, or mlnb with its zygote, loaded and
runs the six stages again and again; mlnb is told to execute every stage, though it has all of them in its cache.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.cost import Cost, medians, spend
from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.steps import IMPORTS, STEPS, hand_over
from tests.bench.table import Table, ratio

_COLD = "mlnb run, cold"
_SHARED, _SIX = "papermill, all in one kernel, cold", "papermill, six processes, cold"
_WARM, _WARM_SIX = "Project.run, warm", "papermill.execute_notebook six times, warm"
_SHARED_LIMIT, _SIX_LIMIT, _WARM_LIMIT = 1.0, 2.5, 7.0
_MLNB_WARM = """
import json, os, resource, sys, time
from pathlib import Path
import psutil
from mlnb.project import Project
from mlnb.run.kernels.warm import lent
from mlnb.run.options import RunOptions
project, path = Project(Path.cwd()), Path("steps.ipynb").absolute()
def spent():
    found = [psutil.Process()]
    for process in psutil.process_iter(["cmdline"]):
        if "mlnb.run.kernels.zygote" in (process.info["cmdline"] or []) and str(project.root) in process.info["cmdline"]:
            found.append(process)
    return sum(sum(process.cpu_times()[:4]) for process in found)
def once():
    with lent() as (variables, _):
        os.environ.update(variables)
        record = project.run(path, options=RunOptions(force=True))
    assert {stage.state for stage in record.stages} == {"done"}, record
once()
costs = []
for _ in range(int(sys.argv[1])):
    before, started = spent(), time.perf_counter()
    once()
    costs.append([spent() - before, time.perf_counter() - started])
print(json.dumps(costs))
"""
_PAPERMILL_WARM = """
import json, sys, time
import papermill, psutil
def spent():
    return sum(psutil.Process().cpu_times()[:4])
def once(names):
    for name in names:
        papermill.execute_notebook(f"{name}.ipynb", f"{name}.out.ipynb", progress_bar=False)
once(sys.argv[2:3])
costs = []
for _ in range(int(sys.argv[1])):
    before, started = spent(), time.perf_counter()
    once(sys.argv[2:])
    costs.append([spent() - before, time.perf_counter() - started])
print(json.dumps(costs))
"""


def bench(place: Place) -> Table:
    """Measure; every repetition of a cold run has a folder of its own."""
    numbers = itertools.count()
    heard: list[str] = []

    def fresh(run: Callable[[Path], Cost]) -> Callable[[], Cost]:
        def measured() -> Cost:
            folder = _folder(place, f"pipeline-{next(numbers)}")
            cost = run(folder)
            heard.append((folder / "aucs.txt").read_text("utf-8"))
            return cost

        return measured

    costs = medians(
        place.count,
        {
            _COLD: fresh(lambda folder: place.spend(sys.executable, "-m", "mlnb", "run", "steps.ipynb", cwd=folder)),
            _SHARED: fresh(lambda folder: _papermill(place, folder, "all")),
            _SIX: fresh(lambda folder: sum((_papermill(place, folder, s.name) for s in STEPS), Cost(0, 0))),
        },
    )
    repeats = str(max(3, place.count))
    costs[_WARM] = _warm(place, _folder(place, "pipeline-warm"), heard, _MLNB_WARM, repeats)
    names = [step.name for step in STEPS]
    costs[_WARM_SIX] = _warm(place, _folder(place, "pipeline-peer"), heard, _PAPERMILL_WARM, repeats, *names)
    if len(set(heard)) != 1:
        raise RuntimeError(f"The contestants did not do the same work: {heard}.")
    return _table(place, costs, repeats)


def _table(place: Place, costs: dict[str, Cost], repeats: str) -> Table:
    shared = costs[_COLD].wall_s / costs[_SHARED].wall_s
    six = costs[_SIX].wall_s / costs[_COLD].wall_s
    warm = costs[_WARM_SIX].wall_s / costs[_WARM].wall_s
    rows = []
    for name, cost in costs.items():
        ours = costs[_WARM if name in (_WARM, _WARM_SIX) else _COLD]
        times = [ratio(cost.cpu_s, ours.cpu_s), ratio(cost.wall_s, ours.wall_s)]
        rows.append([name, f"{cost.cpu_s:.2f}", f"{cost.wall_s:.2f}", *times])
    return Table(
        f"pipeline: six stages with pandas and scikit-learn (medians of {place.count} cold, {repeats} warm)",
        ["contestant", "CPU s", "wall s", "CPU, times mlnb", "wall, times mlnb"],
        rows,
        [
            f"Cold, clean rooms take {shared:.2f} of one shared kernel's wall (limit {_SHARED_LIMIT:g}), and six papermill "
            f"processes take {six:.1f} times ours (at least {_SIX_LIMIT:g}).",
            f"Warm, papermill takes {warm:.1f} times ours (at least {_WARM_LIMIT:g}).",
        ],
        held=shared <= _SHARED_LIMIT and six >= _SIX_LIMIT and warm >= _WARM_LIMIT,
    )


def _folder(place: Place, name: str) -> Path:
    """Return a new folder with the pipeline as one notebook of ours, one plain one, and six that hand over by files."""
    folder = place.make(name)
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    write_notebook(folder / "steps.ipynb", [IMPORTS, *(f"%%stage {step.name}\n{step.source}" for step in STEPS)])
    write_notebook(folder / "all.ipynb", [IMPORTS, *(step.source for step in STEPS)])
    for step in STEPS:
        write_notebook(folder / f"{step.name}.ipynb", hand_over(step))
    return folder


def _warm(place: Place, folder: Path, heard: list[str], script: str, *words: str) -> Cost:
    told = spend((sys.executable, "-c", script, *words), folder, place.environ)[1]
    heard.append((folder / "aucs.txt").read_text("utf-8"))
    costs = json.loads(told.splitlines()[-1])
    return Cost(statistics.median(cpu for cpu, _ in costs), statistics.median(wall for _, wall in costs))


def _papermill(place: Place, folder: Path, name: str) -> Cost:
    papermill = Path(sys.executable).parent / "papermill"
    return place.spend(papermill, f"{name}.ipynb", f"{name}.out.ipynb", cwd=folder)
