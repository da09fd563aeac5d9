"""One pipeline of six small stages, run by mlnb, by bare papermill and by Ploomber; and once more with nothing to do.

papermill once per stage means what people write by hand: six notebooks, each with its imports, that hand values over
in files. All in one kernel is the floor: one notebook, no isolation, nothing kept between runs. Ploomber, installed in
an environment of its own, is given the same six as scripts.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.cost import Cost, medians
from tests.bench.notebook import write_notebook
from tests.bench.place import Place
from tests.bench.ploomber import Ploomber
from tests.bench.steps import IMPORTS, STEPS, Step, hand_over
from tests.bench.table import Table, ratio

_COLD, _NOTHING = "mlnb run, cold", "mlnb run, nothing to do"
_PLOOMBER_NOTHING = "ploomber build, nothing to do"
_NOTHING_LIMIT_S = 0.8


def bench(place: Place) -> Table:
    """Measure; every repetition of a cold run has a folder of its own."""
    numbers = itertools.count()
    heard: list[str] = []
    projects: list[Path] = []

    def fresh(run: Callable[[Path], Cost]) -> Callable[[], Cost]:
        def measured() -> Cost:
            folder = place.make(f"run-{next(numbers)}")
            cost = run(folder)
            heard.append((folder / "aucs.txt").read_text("utf-8"))
            return cost

        return measured

    def cold(folder: Path) -> Cost:
        projects.append(folder)
        (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
        stages = [f"%%stage {step.name}\n{step.source}" for step in STEPS]
        write_notebook(folder / "steps.ipynb", [IMPORTS, *stages])
        return _run(place, folder)

    def each(folder: Path) -> Cost:
        return sum((_papermill(place, folder, step.name, hand_over(step)) for step in STEPS), Cost(0, 0))

    contestants = {
        _COLD: fresh(cold),
        _NOTHING: lambda: _run(place, projects[-1]),
        "papermill, once per stage": fresh(each),
        "papermill, all in one kernel": fresh(
            lambda folder: _papermill(place, folder, "all", [IMPORTS, *(step.source for step in STEPS)])
        ),
    }
    ploomber = Ploomber(place)
    built: list[Path] = []

    def build(folder: Path) -> Cost:
        built.append(folder)
        ploomber.write(folder, [(step.name, _givers(step), "\n".join(hand_over(step))) for step in STEPS])
        return ploomber.build(folder)

    if not ploomber.missing:
        contestants |= {"ploomber build": fresh(build), _PLOOMBER_NOTHING: lambda: ploomber.build(built[-1])}
    costs = medians(place.count, contestants)
    states = _states(place, projects[-1])
    if len(set(heard)) != 1 or states != {"cached"}:
        raise RuntimeError(f"The contestants did not do the same work: {heard}, {states}.")
    ours = costs[_COLD].cpu_s
    rows = [[name, f"{c.cpu_s:.2f}", f"{c.wall_s:.2f}", ratio(c.cpu_s, ours)] for name, c in costs.items()]
    nothing = costs[_NOTHING].cpu_s
    notes = [
        f"Every contestant found the same AUCs, {heard[0]}; the last mlnb run took all stages from its cache.",
        f"Nothing to do: {nothing:.2f} CPU s for a fresh process (limit {_NOTHING_LIMIT_S}).",
        f"Ploomber could not be installed here: {ploomber.missing}"
        if ploomber.missing
        else f"Ploomber with nothing to do takes {costs[_PLOOMBER_NOTHING].cpu_s / nothing:.1f} times as much.",
    ]
    return Table(
        f"run: six stages with pandas and scikit-learn, 2,000 rows (medians of {place.count})",
        ["contestant", "CPU s", "wall s", "CPU, times a cold mlnb run"],
        rows,
        notes,
        held=nothing < _NOTHING_LIMIT_S,
    )


def _run(place: Place, folder: Path) -> Cost:
    return place.spend(sys.executable, "-m", "mlnb", "run", "steps.ipynb", cwd=folder)


def _states(place: Place, folder: Path) -> set[str]:
    return {stage["state"] for stage in place.mlnb(folder, "run", "steps.ipynb")["stages"]}


def _papermill(place: Place, folder: Path, name: str, sources: list[str]) -> Cost:
    notebook = write_notebook(folder / f"{name}.ipynb", sources)
    papermill = Path(sys.executable).parent / "papermill"
    return place.spend(papermill, notebook.name, f"{name}.out.ipynb", cwd=folder)


def _givers(step: Step) -> tuple[str, ...]:
    """Return the steps that give what a step takes: Ploomber orders them by that."""
    return tuple(dict.fromkeys(other.name for other in STEPS if set(other.gives) & set(step.takes)))
