"""True classes and a classifier's answers become samples whose metrics are functions of the rows' weights.

Names and definitions are scikit-learn's. Where it warns and answers 0 for a class that does not occur at all, the
metric here is NaN: it is not defined.
"""

from __future__ import annotations

import math

import numpy as np

from mlnb.model.bootstrap import Flags, Floats, Ints, exact
from mlnb.model.sums import CellSums, Ranks

BINS = 10
MOST_CLASSES_TOLD = 30
_EPS = float(np.finfo(np.float64).eps)


class BinarySample:
    """Rows of two classes; rows that no metric can tell apart are one unit.

    Parameters
    ----------
    positive : ndarray of bool, shape (rows,)
        Whether the row's true class is the positive one.
    answered : ndarray of bool, shape (rows,)
        Whether the answer is.
    scores : ndarray of float, shape (rows,), optional
        The higher, the likelier positive; None where only classes were answered.
    chances : bool
        Whether the scores are probabilities.

    Attributes
    ----------
    cell : ndarray of int, shape (rows,)
        The unit of each row: its class, answer, tenth and place among the scores. Over 512 different scores
        neighbours share a unit, whose losses are their mean: a resample costs the same, however many rows there are.
    sizes : ndarray of int, shape (units,)
        Rows of each unit.
    """

    block = 1

    def __init__(self, positive: Flags, answered: Flags, scores: Floats | None, *, chances: bool) -> None:
        self.positive, self.answered, self.scores, self.chances = positive, answered, scores, chances
        ranked = ("roc_auc", "average_precision") if scores is not None else ()
        chanced = ("log_loss", "brier", "ece") if chances else ()
        self.names = (*ranked, *chanced, "accuracy", "balanced_accuracy", "precision", "recall", "f1", "mcc")
        self.rows = positive.size
        self._ranks = Ranks(positive, scores) if scores is not None else None
        group = self._ranks.group if self._ranks is not None else np.zeros(self.rows, dtype=np.int64)
        tenth = bin_of(scores) if scores is not None and chances else np.zeros(self.rows, dtype=np.int64)
        key = ((group * BINS + tenth) * 2 + positive) * 2 + answered
        kinds, self.cell, self.sizes = np.unique(key, return_inverse=True, return_counts=True)
        self.units = self.cost = kinds.size
        self._table = CellSums(kinds % 4, 4)
        self._sides = CellSums(kinds // (4 * BINS) * 2 + kinds // 2 % 2, 2 * self._ranks.groups if self._ranks else 1)
        if scores is not None and chances:
            self._bins = CellSums(kinds // 4 % BINS, BINS)
            losses = log_losses(np.where(positive, scores, 1 - scores))
            columns = (losses, np.square(scores - positive), positive - scores)
            means = [np.bincount(self.cell, weights=column) / self.sizes for column in columns]
            self._losses, self._gaps = np.column_stack(means[:2]), means[2]

    def values(self, weights: Floats) -> Floats:
        """Return the metrics of weighted units, shape (resamples, metrics)."""
        found = []
        if self._ranks is not None:
            found.append(self._ranks.areas(self._sides(weights)))
        if self.chances:
            total = weights.sum(axis=1)[:, None]
            gaps = np.abs(self._bins(weights * self._gaps)).sum(axis=1)[:, None]
            found += [weights @ self._losses / total, gaps / total]
        tables = self._table(weights).reshape(-1, 2, 2)
        precision, recall, f1 = (values[:, 1] for values in by_class(tables))
        found.append(
            np.column_stack([accuracy(tables), balanced_accuracy(tables), precision, recall, f1, matthews(tables)])
        )
        return np.concatenate(found, axis=1)

    def part(self, rows: Flags) -> BinarySample:
        """Return the sample of some of the rows."""
        scores = None if self.scores is None else self.scores[rows]
        return BinarySample(self.positive[rows], self.answered[rows], scores, chances=self.chances)

    def scarcest(self) -> int:
        """Return how many rows the rarer class has."""
        good = int(self.positive.sum())
        return min(good, self.rows - good)


class ClassSample:
    """Rows of several classes.

    Parameters
    ----------
    truth, answers : ndarray of int, shape (rows,)
        Places in `classes`.
    probabilities : ndarray of float, shape (rows, classes), optional
    classes : tuple of str
        Their names.
    apart : bool
        Whether each class has its own precision, recall and f1 as well (not with more than 30 classes).
    """

    block = 1
    sizes = None

    def __init__(
        self,
        truth: Ints,
        answers: Ints,
        probabilities: Floats | None,
        classes: tuple[str, ...],
        *,
        apart: bool = True,
    ) -> None:
        self.truth, self.answers, self.probabilities, self.classes = truth, answers, probabilities, classes
        self.rows = self.units = truth.size
        self._size = len(classes)
        self.cost = self.units * (1 if probabilities is None else 1 + self._size) + self._size**2
        chanced = ("roc_auc_ovr", "log_loss", "brier") if probabilities is not None else ()
        self.told = classes if apart and self._size <= MOST_CLASSES_TOLD else ()
        told = [f"{name}[class={one}]" for one in self.told for name in ("precision", "recall", "f1")]
        plain = ("accuracy", "balanced_accuracy", "precision_macro", "f1_macro", "mcc")
        self.names: tuple[str, ...] = (*chanced, *plain, *told)
        self._table = CellSums(truth * self._size + answers, self._size**2)
        self._ranks: list[Ranks] = []
        if probabilities is not None:
            chosen = probabilities[np.arange(self.units), truth]
            off = np.square(probabilities).sum(axis=1) - 2 * chosen + 1
            self._losses = np.column_stack([log_losses(chosen), off])
            self._ranks = [Ranks(truth == one, probabilities[:, one]) for one in range(self._size)]
            self._sides = [
                CellSums(2 * ranks.group + (truth == one), 2 * ranks.groups) for one, ranks in enumerate(self._ranks)
            ]

    def values(self, weights: Floats) -> Floats:
        """Return the metrics of weighted rows, shape (resamples, metrics)."""
        found = []
        if self._ranks:
            pairs = zip(self._ranks, self._sides, strict=True)
            areas = np.column_stack([ranks.areas(sides(weights))[:, 0] for ranks, sides in pairs])
            found += [_mean_of_known(areas)[:, None], weights @ self._losses / weights.sum(axis=1)[:, None]]
        tables = self._table(weights).reshape(-1, self._size, self._size)
        precision, recall, f1 = by_class(tables)
        found.append(
            np.column_stack(
                [
                    accuracy(tables),
                    balanced_accuracy(tables),
                    _mean_of_known(precision),
                    _mean_of_known(f1),
                    matthews(tables),
                ]
            )
        )
        if self.told:
            found.append(np.stack([precision, recall, f1], axis=2).reshape(weights.shape[0], -1))
        return np.concatenate(found, axis=1)

    def part(self, rows: Flags) -> ClassSample:
        """Return the sample of some of the rows."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return ClassSample(self.truth[rows], self.answers[rows], probabilities, self.classes, apart=False)

    def scarcest(self) -> int:
        """Return how many rows the rarest class that occurs has."""
        counts = np.bincount(self.truth)
        return int(counts[counts > 0].min())


def accuracy(tables: Floats) -> Floats:
    """Return the share of right answers; tables have shape (resamples, true classes, answered classes)."""
    shares: Floats = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return shares


def balanced_accuracy(tables: Floats) -> Floats:
    """Return the mean recall of the classes that occur."""
    return _mean_of_known(by_class(tables)[1])


def by_class(tables: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and f1 of each class, shape (resamples, classes); NaN where a class does not occur."""
    right = np.diagonal(tables, axis1=1, axis2=2)
    true, answered = tables.sum(axis=2), tables.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(answered > 0, right / answered, np.where(true > 0, 0.0, np.nan))
        recall = np.where(true > 0, right / true, np.nan)
        f1 = np.where(true + answered > 0, 2 * right / (true + answered), np.nan)
    return precision, recall, f1


def matthews(tables: Floats) -> Floats:
    """Return Matthews' correlation coefficient (Gorodkin's for several classes); 0 where all answers are one class."""
    total = tables.sum(axis=(1, 2))
    true, answered = tables.sum(axis=2), tables.sum(axis=1)
    right = np.trace(tables, axis1=1, axis2=2)
    spreads = (total**2 - np.square(true).sum(axis=1)) * (total**2 - np.square(answered).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (right * total - (true * answered).sum(axis=1)) / np.sqrt(spreads)
    return np.where(spreads > 0, found, 0.0)


def log_losses(chosen: Floats) -> Floats:
    """Return each row's loss from the probability that its true class was given, clipped to [2.2e-16, 1 - 2.2e-16]."""
    return -np.log(np.clip(chosen, _EPS, 1 - _EPS))


def roc_auc(positive: Flags, scores: Floats) -> float:
    """Return the chance that a positive outscores a negative, ties counting half; NaN if a class is absent."""
    if not positive.size:
        return math.nan
    return float(exact(BinarySample(positive, positive, scores, chances=False))[0])


def bin_of(chances: Floats) -> Ints:
    """Return the tenth of [0, 1] that each probability lies in; a bound belongs to the tenth below it."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], chances)


def _mean_of_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)
