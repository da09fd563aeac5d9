"""Truth and the answers of two models to the same rows become by how much the second is better: whole and by slices.

Both are measured on the same resamples, so what makes a row hard for both does not widen the interval. The intervals of
the slices hold together: each has the level ``1 - (1 - level) / slices`` (Bonferroni), so that among many slices
without a difference not one is called worse by chance alone more often than `level` says.

References
----------
Dunn, O. J. (1961). Multiple comparisons among means. JASA 56.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlnb.errors import UsageError
from mlnb.model.bootstrap import Flags
from mlnb.model.evaluate import SMALL_CLASS, SMALL_UNITS, evaluate, paired_difference
from mlnb.model.metric_names import better, candidates
from mlnb.model.slicing import slicings

if TYPE_CHECKING:
    from mlnb.model.answers import Scores
    from mlnb.model.signature import Signature, Values

TASKS: Mapping[str, str] = {"classifier": "multiclass", "regressor": "regression"}
"""What can be compared, and as which task of `mlnb.evaluate`; a classifier of two classes is ``binary``."""
_TAIL, _USUAL_RESAMPLES = 20, 2_000
_LEAST_TAIL, _MOST_RESAMPLES = 5, 20_000


@dataclass(frozen=True, slots=True)
class Gain:
    """One metric of two models, on all rows or on those of a slice.

    Attributes
    ----------
    metric : str
        As evaluations call it: ``roc_auc``.
    part : str
        The slice, ``[origin=JFK]``; empty for all rows.
    rows : int
        So many rows are in it.
    small : bool
        Whether those are too few to lean on.
    first, second : float
        What was measured of both; NaN where it is not defined.
    value, low, high : float
        Second less first, and its interval; NaN where none can be given.
    """

    metric: str
    part: str
    rows: int
    small: bool
    first: float
    second: float
    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """Return 1 where more is better, -1 where less is, 0 for a metric that has no better direction."""
        return {"higher": 1, "lower": -1}.get(better(self.metric), 0)

    @property
    def gain(self) -> float:
        """By how much the second is better; NaN where that has no meaning."""
        return self.value * self.sign if self.sign else math.nan

    @property
    def ends(self) -> tuple[float, float]:
        """The interval of `gain`, from low to high."""
        if not self.sign:
            return math.nan, math.nan
        return (self.low, self.high) if self.sign > 0 else (-self.high, -self.low)

    @property
    def verdict(self) -> str:
        """Return ``better``, ``worse`` or ``undecided``: whether the interval leaves out 0, and on which side."""
        low, high = self.ends
        return "better" if low > 0 else "worse" if high < 0 else "undecided"


@dataclass(frozen=True, slots=True)
class Gains:
    """What two models' answers to the same rows give.

    Attributes
    ----------
    rows : int
        Rows that both have answered.
    level, slice_level : float
        Nominal coverage of the whole's intervals, and of each slice's: those of all slices hold together at `level`.
    gains : tuple of Gain
        The whole's metrics first, then those of the slices.
    """

    rows: int
    level: float
    slice_level: float
    gains: tuple[Gain, ...]

    def of(self, metric: str, part: str = "") -> Gain | None:
        """Return one of them, by any name of the metric; None where it was not measured."""
        names = candidates(metric)
        found = {gain.metric: gain for gain in self.gains if gain.part == part}
        return next((found[name] for name in names if name in found), None)

    def slices(self, metric: str) -> tuple[Gain, ...]:
        """Return those of all slices."""
        parts = dict.fromkeys(gain.part for gain in self.gains if gain.part)
        found = (self.of(metric, part) for part in parts)
        return tuple(gain for gain in found if gain is not None)


def paired_gains(
    signature: Signature,
    truth: Values,
    columns: Mapping[str, Values],
    first: Scores,
    second: Scores,
    *,
    slices: Sequence[str] = (),
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Gains:
    """Compare two models on the same rows.

    Parameters
    ----------
    signature : Signature
        Of the second: task and classes.
    truth : array, shape (rows,)
        Labels in the answers' own kind.
    columns : mapping of str to array
        The rows by column, for the slices.
    first, second : Scores
        The answers of both.
    slices : sequence of str
        Columns whose values tell the rows apart.
    resamples : int
        Of the bootstrap; slices get more where their tails ask for it.
    level : float
        Nominal coverage.
    seed : int
        The same seed gives the same intervals.

    Raises
    ------
    UsageError
        If the task is neither a classifier's nor a regressor's, or a column is not there.
    """
    if signature.task not in TASKS:
        raise UsageError(
            f"The answers of a {signature.task} cannot be compared row by row.",
            "Compare classifiers and regressors; for others look at what their runs have measured.",
        )
    task = "binary" if len(signature.classes) == 2 else TASKS[signature.task]
    known = np.asarray(truth)
    answers = _answers(first, task), _answers(second, task)
    pair = _Pair(task, signature.classes if signature.task == "classifier" else None, known, answers)
    cuts = slicings(list(slices), columns, known.shape[0]) if slices else ()
    parts = [(f"[{cut.column}={name}]", cut.place == at) for cut in cuts for at, name in enumerate(cut.names)]
    parts = [(name, chosen) for name, chosen in parts if chosen.any()]
    slice_level = 1 - (1 - level) / max(len(parts), 1)
    found = list(pair.gains("", np.ones(known.shape[0], dtype=np.bool_), (resamples, level, seed)))
    draws = _draws(resamples, 1 - slice_level) if resamples else 0
    for at, (name, chosen) in enumerate(parts):
        found += pair.gains(name, chosen, (draws, slice_level, seed + 1 + at))
    return Gains(known.shape[0], level, slice_level, tuple(found))


@dataclass(frozen=True, slots=True)
class _Pair:
    task: str
    classes: Sequence[object] | None
    truth: Values
    answers: tuple[Values, Values]

    def gains(self, part: str, chosen: Flags, how: tuple[int, float, int]) -> list[Gain]:
        """Return every metric of the chosen rows that both have."""
        truth = self.truth[chosen]
        first, second = (values[chosen] for values in self.answers)
        known: dict[str, Any] = {"task": self.task, "classes": self.classes, "resamples": 0}
        measured = [
            {one.name: one.value for one in evaluate(truth, values, slices={}, **known).metrics}
            for values in (first, second)
        ]
        resamples, level, seed = how
        known |= {"resamples": resamples, "level": level, "seed": seed}
        return [
            Gain(
                one.name,
                part,
                len(truth),
                self._small(truth),
                measured[0].get(one.name, math.nan),
                measured[1].get(one.name, math.nan),
                one.value,
                one.low,
                one.high,
            )
            for one in paired_difference(truth, first, second, **known)
        ]

    def _small(self, truth: Values) -> bool:
        counts = [int((truth == one).sum()) for one in self.classes or ()]
        return len(truth) < SMALL_UNITS or (len(counts) > 0 and min(counts) < SMALL_CLASS)


def _draws(resamples: int, outside: float) -> int:
    """Return how many resamples give the slices' intervals: below each end 20 while that is cheap, never less than 5.

    With fewer the end is that of the most extreme resample: it is too narrow, and the slices do not hold together.
    More than `_MOST_RESAMPLES` are not drawn: at 0.95 that is 1 below each end of 500 slices.

    Examples
    --------
    >>> [_draws(1000, 0.05 / slices) for slices in (1, 2, 4, 20, 100, 500)]
    [1000, 1600, 2000, 4000, 20000, 20000]
    """
    usual = min(math.ceil(2 * _TAIL / outside), _USUAL_RESAMPLES)
    least = min(math.ceil(2 * _LEAST_TAIL / outside), _MOST_RESAMPLES)
    return max(resamples, usual, least)


def _answers(scores: Scores, task: str) -> Values:
    if task == "regression" or scores.probabilities is None:
        return np.asarray(scores.predictions)
    table = np.asarray(scores.probabilities, dtype=np.float64)
    return table[:, 1] if task == "binary" else table
