"""What is asked of a study, as values; nothing here needs Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlnb.tune.space import Axis

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "halving", "none")


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of a study.

    Attributes
    ----------
    name : str
        Of the study.
    space : tuple of Axis
        What is searched.
    objective, direction : str
        A number that the pipeline gives, and ``maximize`` or ``minimize``.
    trials : int
        Trials in all, those of earlier sessions included.
    jobs : int
        Trials at once.
    timeout_s : float
        No trial begins after so many seconds; 0 for no limit.
    sampler, pruner : str
        Of `SAMPLERS` and `PRUNERS`.
    seed : int
        Of the sampler.
    """

    name: str
    space: tuple[Axis, ...]
    objective: str
    direction: Literal["maximize", "minimize"]
    trials: int = 30
    jobs: int = 1
    timeout_s: float = 0.0
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0
