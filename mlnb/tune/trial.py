"""What a study says while it goes on, and what it leaves: trials, intermediate values, the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mlnb.pipeline.graph import Json


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the pipeline with values that the search chose.

    Attributes
    ----------
    number : int
        0-based.
    state : str
        ``running``, ``done``, ``pruned`` (ended early, because it was worse than others at the same step) or
        ``failed``.
    values : Mapping[str, Json]
        The searched parameters.
    score : float or None
        The objective; of a pruned trial its last intermediate value.
    seconds : float
    run : str
        Id of its run.
    message : str
        Why it failed.
    """

    number: int
    state: str
    values: Mapping[str, Json]
    score: float | None = None
    seconds: float = 0.0
    run: str = ""
    message: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {**asdict(self), "values": dict(self.values)}


@dataclass(frozen=True, slots=True)
class Tuning:
    """What became of a study.

    Attributes
    ----------
    study : str
        Its name; the same search of the same code goes on under it.
    objective, direction : str
        The number, and ``maximize`` or ``minimize``.
    trials : tuple of Trial
        All trials, earlier sessions' too.
    best : Trial or None
        None where no trial was done.
    importance : Mapping[str, float]
        Share of the objective's variance that a parameter explains (fANOVA), where enough trials tell.
    """

    study: str
    objective: str
    direction: str
    trials: tuple[Trial, ...]
    best: Trial | None
    importance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TrialEvent:
    """A trial was started, has reported an intermediate value, or has ended.

    Attributes
    ----------
    happened : str
        ``started``, ``reported`` or ``finished``.
    trial : Trial
        As it is now.
    done, wanted : int
        Trials that have ended, and trials of the study in all.
    best : float or None
        Best score so far.
    step : int
        Of the intermediate value, -1 for none.
    """

    happened: str
    trial: Trial
    done: int
    wanted: int
    best: float | None = None
    step: int = -1

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object for whoever only listens."""
        return {
            "event": f"trial-{self.happened}",
            "trial": self.trial.to_json(),
            "done": self.done,
            "wanted": self.wanted,
            "best": self.best,
            "step": self.step,
        }
