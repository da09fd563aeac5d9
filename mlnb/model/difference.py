"""Two answers to the same rows become, row by row, how far apart they are, whether a label flipped, and by a tie.

Numbers: ``|got - expected| / max(1, |expected|)``, the largest over several outputs. Labels: the largest absolute
difference of the probabilities, and a *flip* where a label differs; where the estimator's own chances of both labels
are equal within 1e-6 (the resolution of sums in float32), the flip is a *tie*, because there the label is a matter of
rounding. Rankings: numbers as above for the score of each item, a flip where the order differs, a tie where only items
of equal score changed places. What is missing or not finite where the expected is finite differs infinitely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.answers import Scores
from mlnb.model.kinds import LABELLED

TIE = 1e-6
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Apart:
    """How two answers to the same rows differ.

    Attributes
    ----------
    differences : array of float, shape (rows,)
        As the module defines them; infinite where an answer is missing.
    flipped : array of bool, shape (rows,)
        Whether a label, or the order of a ranking, differs.
    tied : array of bool, shape (rows,)
        Which of those are ties.
    """

    differences: Floats
    flipped: Flags
    tied: Flags


def compare(expected: Scores, got: Scores, task: str) -> Apart:
    """Compare two answers to the same number of rows.

    Parameters
    ----------
    expected, got : Scores
        The estimator's answers and the export's.
    task : str
        One of `mlnb.model.kinds.TASKS`.
    """
    rows = len(expected.predictions)
    nowhere = np.zeros(rows, dtype=bool)
    if task == "ranker":
        return _rankings(expected, got)
    if task not in LABELLED:
        return Apart(_numbers(expected.predictions, got.predictions, relative=True), nowhere, nowhere)
    pairs = zip(expected.predictions, got.predictions, strict=True)
    flipped = np.array([one != other for one, other in pairs], dtype=bool)
    if expected.probabilities is None:
        return Apart(np.zeros(rows), flipped, nowhere)
    differences = _numbers(_level(expected.probabilities), _level(got.probabilities), relative=False)
    tied = nowhere.copy()
    for row in np.flatnonzero(flipped):
        tied[row] = _is_tie(expected.predictions[row], got.predictions[row], expected.probabilities[row], task)
    return Apart(differences, flipped, tied)


def _numbers(expected: Any, got: Any, *, relative: bool) -> Floats:
    try:
        one = np.asarray(expected, dtype=np.float64)
        other = np.asarray(got, dtype=np.float64)
    except (TypeError, ValueError):  # of different lengths, or no numbers
        return np.full(len(expected), np.inf)
    if one.shape != other.shape:
        return np.full(len(one), np.inf)
    one, other = one.reshape(len(one), -1), other.reshape(len(one), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(other - one)
        if relative:
            apart /= np.maximum(1, np.abs(one))
    apart[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    apart[np.isnan(apart)] = np.inf
    return np.asarray(apart.max(axis=1, initial=0), dtype=np.float64)


def _level(chances: Sequence[Sequence[Any]] | None) -> Sequence[Sequence[Any]]:
    """Return the chances of each row side by side, also where each output has its own."""
    if chances and not any(isinstance(one, list) for one in chances[0]):
        return chances
    level: list[list[Any]] = []
    for row in chances or []:
        flat: list[Any] = []
        for one in row:
            flat.extend(one if isinstance(one, list) else [one])
        level.append(flat)
    return level


def _is_tie(expected: Any, got: Any, chances: Sequence[Any], task: str) -> bool:
    if task == "classifier":
        return _even(chances)
    if not isinstance(got, list) or len(got) != len(expected):
        return False
    differing = [chance for one, other, chance in zip(expected, got, chances, strict=True) if one != other]
    return all(_even(one) if isinstance(one, list) else abs(one - 0.5) <= TIE for one in differing)


def _even(chances: Sequence[float]) -> bool:
    top = np.sort(np.asarray(chances, dtype=np.float64))
    return bool(len(top) > 1 and top[-1] - top[-2] <= TIE)


def _rankings(expected: Scores, got: Scores) -> Apart:
    rows = len(expected.predictions)
    differences = np.full(rows, np.inf)
    flipped, tied = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
    if expected.scores is None or got.scores is None:
        return Apart(differences, flipped, tied)
    answers = zip(expected.predictions, expected.scores, got.predictions, got.scores, strict=True)
    for row, (items, scores, found, told) in enumerate(answers):
        if sorted(map(repr, items)) != sorted(map(repr, found)):
            continue
        one = sorted(zip(map(repr, items), scores, strict=True))
        other = sorted(zip(map(repr, found), told, strict=True))
        apart = _numbers([[score for _, score in one]], [[score for _, score in other]], relative=True)
        differences[row] = apart[0] if items else 0.0
        flipped[row] = items != found
        if flipped[row]:
            own = dict(one)
            moved = [(own[repr(item)], score) for item, score in zip(found, scores, strict=True)]
            tied[row] = all(abs(mine - score) <= TIE * max(1.0, abs(score)) for mine, score in moved)
    return Apart(differences, flipped, tied)
