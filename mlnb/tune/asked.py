"""A notebook, a written space and an objective become the `Search` of one study, and the stages that it needs."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlnb.errors import UsageError
from mlnb.notebook.spelling import did_you_mean
from mlnb.pipeline.graph import Json, Pipeline
from mlnb.pipeline.setup import tree_of
from mlnb.tune.search import Search
from mlnb.tune.space import Axis, digest_of_space, read_space


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks of a study, as it was written.

    Attributes
    ----------
    space : tuple of str
        As in ``C=log(1e-3,10)``.
    maximize, minimize : str
        The number to search by; one of the two.
    trials, jobs : int
        Trials in all, those of earlier sessions included; trials at once.
    timeout_s : float
        No trial begins after so many seconds; 0 for no limit.
    sampler, pruner : str
        ``tpe``, ``random`` or ``grid``; ``median``, ``halving`` or ``none``.
    seed : int
        Of the sampler.
    """

    space: tuple[str, ...]
    maximize: str = ""
    minimize: str = ""
    trials: int = 30
    jobs: int = 1
    timeout_s: float = 0.0
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0


def search_of(pipeline: Pipeline, wish: Wish, values: Mapping[str, Json]) -> tuple[Search, tuple[str, ...]]:
    """Return the search that a wish means, and the stages that every trial runs.

    Parameters
    ----------
    values : mapping of str to JSON value
        The parameters as they are without the search.

    Raises
    ------
    UsageError
        If the space, the objective or a parameter is misspelt.
    """
    objective, direction = _objective(wish.maximize, wish.minimize)
    stages = _stages_for(pipeline, objective)
    space = read_space(pipeline.parameters, wish.space)
    searched = {axis.name for axis in space}
    fixed = {name: value for name, value in values.items() if name not in searched}
    return Search(
        name=_name(pipeline, space, objective, direction, fixed),
        space=space,
        objective=objective,
        direction=direction,
        trials=wish.trials,
        jobs=wish.jobs,
        timeout_s=wish.timeout_s,
        sampler=wish.sampler,
        pruner=wish.pruner,
        seed=wish.seed,
    ), stages


def _objective(maximize: str, minimize: str) -> tuple[str, Literal["maximize", "minimize"]]:
    """Return the number to search by and the direction.

    Raises
    ------
    UsageError
        If none or both are given.
    """
    if bool(maximize) == bool(minimize):
        raise UsageError(
            "A study needs one number to search by.", "Write --maximize evaluate.auc, or --minimize train.loss."
        )
    return (maximize, "maximize") if maximize else (minimize, "minimize")


def _stages_for(pipeline: Pipeline, objective: str) -> tuple[str, ...]:
    """Return the stages that may give the objective; a study runs only them and what they need.

    Raises
    ------
    UsageError
        If `objective` names a stage that there is not.
    """
    stages = [stage for stage in pipeline.stages if stage.kind == "stage"]
    giver, dot, _ = objective.partition(".")
    names = [stage.name for stage in stages]
    if dot and giver in names:
        return (giver,)
    if dot and not any(giver in (*stage.metrics, *stage.outputs) for stage in stages):
        raise UsageError(
            f"There is no stage {giver!r} to give {objective!r}.",
            did_you_mean(giver, names, f"Stages: {', '.join(names)}."),
        )
    return tuple(stage.name for stage in stages if objective in (*stage.metrics, *stage.outputs))


def _name(pipeline: Pipeline, space: Sequence[Axis], objective: str, direction: str, values: object) -> str:
    """Return the study's name: another search, or other code, has another one; comments and outputs do not count."""
    code = [
        ast.dump(tree_of(cell))
        for cell in pipeline.document.cells
        if cell.kind == "code" and cell not in pipeline.parameter_cells
    ]
    return f"{Path(pipeline.document.path).stem}-{digest_of_space(space, objective, direction, values, code)}"
