"""A fitted pipeline becomes a registered version in a Bento by `mlnb deploy`, and a logged model by MLflow, both warm.

What `mlnb deploy` does between the run and the trial: export, parity, reference, card, lock, registration, Bento. MLflow's
``log_model`` writes a pickle and guesses or takes the requirements. The peer's Python is MLFLOW_PYTHON, or an environment
that is made for the bench.

Warm: one process that has done it once, for both. Each of ours is another model of another run; its lock is known, as the
needs are the same. Beside it, the first of a new process, as the command line has it each time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.cost import spend
from tests.bench.mlflow_peer import median, mlflow_python
from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_LEAST_TIMES = 5.0
_MOST_S = 1.5
_CELLS = (
    "%load_ext mlnb",
    "from tests.bench.mixed import fitted, frame",
    "%%stage train\nsample = frame(2000, seed=SEED)\nmodel = fitted(seed=SEED)",
    "%%deploy late --model model --sample sample --to production",
)
_DEPLOY = """
import json, os, resource, sys, time
from pathlib import Path
from mlnb.project import Project
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
marks = {}
def notify(event):
    told = event.to_json() if hasattr(event, "to_json") else {}
    if told.get("event") == "ship":
        marks[told["step"], told["state"]] = time.perf_counter(), cpu()
project = Project(Path.cwd())
found = []
try:
    for notebook in sys.argv[1:]:
        project.deploy(Path(notebook), notify=notify)
        (began, before), (ended, after) = marks["register", "started"], marks["package", "done"]
        middle = marks["register", "done"]
        found.append([ended - began, after - before, middle[0] - began])
finally:
    project.services.stop("late")
print(json.dumps(found))
"""
_ROOT = Path(__file__).parents[2]


def bench(place: Place) -> Table:
    """Measure all three in processes that had done it once before."""
    count = max(2, place.count)
    project = place.make("package")
    (project / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    notebooks = [
        str(write_notebook(project / f"late{at}.ipynb", [cell.replace("SEED", str(at)) for cell in _CELLS]))
        for at in range(count + 2)
    ]
    environ = place.environ | {"PYTHONPATH": str(_ROOT)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    told = json.loads(spend((sys.executable, "-c", _DEPLOY, *notebooks[1:]), project, environ)[1])[1:]
    fresh = json.loads(spend((sys.executable, "-c", _DEPLOY, notebooks[0]), project, environ)[1])[0]
    mine, mine_cpu, registering = ([one[at] for one in told] for at in range(3))
    ours = median(mine)
    prepare = (
        "import joblib; from tests.bench.mixed import fitted, frame;"
        "joblib.dump(fitted(), 'model.joblib'); frame(2000, seed=0).to_parquet('sample.parquet')"
    )
    spend((sys.executable, "-c", prepare), project, environ)
    script = str(Path(__file__).with_name("mlflow_peer.py"))
    given = ("model.joblib", "sample.parquet", str(project), str(count))
    environ.pop("PYTHONPATH")
    theirs = (mlflow_python(place.folder), script, "log", *given)
    peers = {how: json.loads(spend((*theirs, how), project, environ)[1]) for how in ("inferred", "pinned")}
    inferred = median(peers["inferred"]["seconds"])
    rows = [
        _row("mlnb: register + package", mine, ours, mine_cpu),
        _row("  of which register", registering, ours),
        _row("mlnb, the first in a process", [fresh[0]], ours, [fresh[1]]),
        *(_row(f"mlflow log_model, {how}", one["seconds"], ours, one["cpu_s"]) for how, one in peers.items()),
    ]
    notes = [
        f"mlnb is {inferred / ours:.1f} times as fast as log_model with inferred requirements (at least {_LEAST_TIMES:g}).",
        f"mlnb needs {ours:.2f} s (at most {_MOST_S:g}).",
        "mlnb's CPU counts the whole of the process that builds the Bento, also while it loads beside the run.",
    ]
    held = inferred / ours >= _LEAST_TIMES and ours <= _MOST_S
    return Table(
        f"package: a fitted pipeline registered and packaged, warm (medians of {count})",
        ["contestant", "seconds", "least", "times mlnb", "CPU s"],
        rows,
        notes,
        held,
    )


def _row(name: str, seconds: list[float], ours: float, cpu: Sequence[float] = ()) -> list[str]:
    """Return a contestant's medians, and its least seconds: those of the moment when the machine was least busy."""
    middle = median(seconds)
    return [
        name,
        f"{middle:.2f}",
        f"{min(seconds):.2f}",
        ratio(middle, ours),
        f"{median(list(cpu)):.2f}" if cpu else "",
    ]
