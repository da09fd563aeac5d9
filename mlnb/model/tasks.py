"""Truth and answers of a task become a `Subject`: a sample to measure, what draws it, and what was inferred."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlnb.errors import UsageError
from mlnb.model import curves
from mlnb.model.bootstrap import Flags, Floats, Ints, Sample
from mlnb.model.columns import array_of, class_names, distinct, floats_of, places
from mlnb.model.evaluation import Confusion, Curve
from mlnb.model.metrics_classes import MOST_CLASSES_TOLD, BinarySample, ClassSample
from mlnb.model.metrics_numbers import NumberSample, fitting_block, naive_error
from mlnb.model.metrics_ranking import query_metrics

Array = npt.NDArray[Any]
TASKS = ("binary", "multiclass", "regression", "ranking", "forecast")
_MOST_INFERRED = 20
_FEWEST_SERIES = 10


class Divisible(Sample, Protocol):
    """A sample of which some units can be looked at alone."""

    def part(self, rows: Flags, /) -> Divisible:
        """Return the sample of some of the rows (of queries: of some queries)."""

    def scarcest(self) -> int:
        """Return how many units the rarest class has, or how many there are."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes
    ----------
    task : str
        One of `TASKS`.
    sample : Divisible
        Units and their metrics.
    unit : str
        What is drawn.
    curves, confusion
        What draws it.
    notes : tuple of str
        What was inferred or left out.
    query : ndarray of int, shape (rows,), optional
        Of a ranking: the query of each row; -1 where it is left out.
    horizon : ndarray, shape (rows,), optional
        Of a forecast: the steps ahead of each row.
    counts : mapping of str to int
        Rows of each class that is told apart.
    """

    task: str
    sample: Divisible
    unit: str = "row"
    curves: tuple[Curve, ...] = ()
    confusion: Confusion | None = None
    notes: tuple[str, ...] = ()
    query: Ints | None = None
    horizon: Array | None = None
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Forecasting:
    """What a forecast is told apart from its numbers: see `mlnb.model.evaluate.evaluate`."""

    horizon: object = None
    series: object = None
    season: int = 1
    history: object = None

    @property
    def said(self) -> bool:
        """Whether anything was said that only a forecast has."""
        return self.season != 1 or any(one is not None for one in (self.horizon, self.series, self.history))


def inferred(truth: Array, answers: Array, classes: Sequence[object]) -> tuple[str, str]:
    """Return ``binary``, ``multiclass`` or ``regression``, and why."""
    wide = answers.ndim == 2
    if truth.dtype.kind == "b":
        return "binary", "the truth is true or false"
    if classes or wide or truth.dtype.kind not in "iuf":
        size = len(classes) or (
            answers.shape[1] if wide else len(distinct([*truth.tolist(), *_labels(truth, answers)]))
        )
        if size < 2:
            raise _one_value()
        return ("binary" if size == 2 else "multiclass"), f"there are {size} classes"
    values = np.unique(truth)
    if values.size == 1:
        raise _one_value()
    whole = bool(np.all(values == np.round(values)))
    if values.size == 2 and whole and set(values.tolist()) in ({0, 1}, {-1, 1}):
        return "binary", f"the truth is {values[0]:g} or {values[1]:g}"
    if whole and values.size <= _MOST_INFERRED and np.isin(answers, values).all():
        return ("binary" if values.size == 2 else "multiclass"), f"truth and answers have {values.size} whole values"
    return "regression", "the truth is numbers"


def binary(
    truth: Array, answers: Array, classes: Sequence[object], positive: object, threshold: float | None
) -> Subject:
    """Return two classes; `positive` is the greater one where it is None."""
    known = list(classes) or _classes(truth, answers)
    if len(known) == 1 and truth.dtype.kind in "biuf" and known[0] in (0, 1):
        known = [False, True]
    if positive is not None and len(known) == 1 and positive not in known:
        known = [*known, positive]
    if len(known) != 2:
        raise UsageError(
            f"The task binary has two classes, but these are {len(known)}: {', '.join(map(repr, known[:10]))}.",
            'Say both, classes=[False, True], or task="multiclass".',
        )
    good = known[1] if positive is None else positive
    where = places([good], known, "positive=")[0]
    marked = places(truth.tolist(), known, "truth") == where
    notes = [f"The positive class is {class_names([good])[0]}."]
    if _are_labels(truth, answers):
        if answers.ndim == 2:
            raise UsageError("The answers are classes in two columns.", "Pass one answer for each row.")
        answered = places(answers.tolist(), known, "answers") == where
        sample = BinarySample(marked, answered, None, chances=False)
        notes.append("The answers are classes, not scores: there is no area, no curve and no calibration.")
    else:
        scores = floats_of(_column_of(answers, int(where)), "answers")
        chances = bool(scores.min() >= 0 and scores.max() <= 1)
        limit = threshold if threshold is not None else 0.5 if chances else 0.0
        if not chances:
            notes.append("The scores are not all between 0 and 1: no log_loss, brier, ece and calibration.")
        notes.append(f"Scores above {limit:g} count as answered positive.")
        sample = BinarySample(marked, scores > limit, scores, chances=chances)
    names = class_names(known if where == 1 else known[::-1])
    table = curves.confusion(marked.astype(np.int64), sample.answered.astype(np.int64), names)
    return Subject("binary", sample, curves=curves.of_binary(sample), confusion=table, notes=tuple(notes))


def multiclass(truth: Array, answers: Array, classes: Sequence[object]) -> Subject:
    """Return several classes, answered by their names or by a probability for each."""
    notes, probabilities = [], None
    if answers.ndim == 2:
        known = list(classes) or distinct(truth.tolist())
        if answers.shape[1] != len(known):
            raise UsageError(
                f"The answers have {answers.shape[1]} columns, but the truth has {len(known)} classes.",
                "Pass the classes in the order of the columns: classes=model.classes_.",
            )
        scores = floats_of(answers, "answers")
        answered = scores.argmax(axis=1)
        if scores.min() >= 0 and np.abs(scores.sum(axis=1) - 1).max() <= 1e-3:
            probabilities = scores
        else:
            notes.append("The columns are not probabilities: the largest is the answer, and there is no area and loss.")
    else:
        known = list(classes) or _classes(truth, answers)
        answered = places(answers.tolist(), known, "answers")
    marked, names = places(truth.tolist(), known, "truth"), class_names(known)
    sample = ClassSample(marked, answered, probabilities, names)
    few = len(names) <= MOST_CLASSES_TOLD
    if not few:
        notes.append(f"{len(names)} classes are too many for a table of each: only the totals are here.")
    absent = [name for place, name in enumerate(names) if not (marked == place).any()]
    if absent and few:
        notes.append(f"No row is of class {', '.join(absent)}: means over classes are over the others.")
    return Subject(
        "multiclass",
        sample,
        curves=curves.of_classes(sample),
        confusion=curves.confusion(marked, answered, names) if few else None,
        notes=tuple(notes),
        counts={name: int((marked == place).sum()) for place, name in enumerate(names)},
    )


def numbers(truth: Array, answers: Array, quantiles: Sequence[float], ahead: Forecasting | None) -> Subject:
    """Return numbers, or quantiles of them; with `ahead` as a forecast, whose rows follow each other in time."""
    true, given = floats_of(truth, "truth"), floats_of(answers, "answers")
    levels = tuple(float(level) for level in quantiles)
    notes: list[str] = []
    if levels:
        given, levels = _quantiles(given, levels)
    elif given.ndim == 2:
        raise UsageError(
            f"The answers have {given.shape[1]} columns.", "Say of which quantiles: quantiles=[0.1, 0.5, 0.9]."
        )
    middle = given[:, levels.index(0.5)] if 0.5 in levels else None
    sample = NumberSample(true, middle if levels else given, given if levels else None, levels)
    if levels and middle is None:
        notes.append("Without the quantile 0.5 there is no rmse, mae and their like.")
    if (true == 0).any():
        notes.append(f"{int((true == 0).sum())} true values are 0: there is no mape.")
    if ahead is None:
        return Subject("regression", sample, curves=curves.of_numbers(sample), notes=tuple(notes))
    return _forecast(sample, ahead, notes)


def queries(truth: Array, answers: Array, groups: object, cuts: Sequence[int]) -> Subject:
    """Return queries, each with rows of some relevance in the order of their scores."""
    relevance, scores = floats_of(truth, "truth"), floats_of(answers, "answers")
    if groups is None:
        raise UsageError("A ranking needs to know which rows belong to one query.", "Pass groups=query_ids.")
    if relevance.min() < 0 or scores.ndim != 1:
        raise UsageError("A ranking needs relevance of 0 or more, and one score for each row.", "Correct them.")
    if not cuts or any(cut < 1 for cut in cuts):
        raise UsageError(f"k={list(cuts)} holds no cut-offs.", "Pass whole numbers from 1, as in k=(5, 10).")
    _, query = np.unique(array_of(groups, "groups", truth.size).astype(str), return_inverse=True)
    useful = np.bincount(query, weights=relevance > 0) > 0
    kept = useful[query]
    if not kept.any():
        raise UsageError("No query has a relevant row, so that there is nothing to rank.", "Check the relevance.")
    notes = []
    if not useful.all():
        notes.append(f"{int((~useful).sum())} of {useful.size} queries have no relevant row and are left out.")
    renumbered = np.cumsum(useful) - 1
    inside = renumbered[query[kept]]
    sample = query_metrics(relevance[kept], scores[kept], inside, tuple(sorted(set(cuts))))
    return Subject(
        "ranking",
        sample,
        unit="query",
        curves=curves.of_queries(relevance[kept], scores[kept], inside),
        notes=tuple(notes),
        query=np.where(kept, renumbered[query], -1),
    )


def _one_value() -> UsageError:
    return UsageError(
        "The truth has one value only, so that its task cannot be inferred.",
        'Say it, for classes with all of them: task="binary", classes=[False, True].',
    )


def _forecast(sample: NumberSample, ahead: Forecasting, notes: list[str]) -> Subject:
    size = sample.truth.size
    horizon = None if ahead.horizon is None else array_of(ahead.horizon, "horizon", size)
    labels = np.zeros(size, dtype=np.int64) if ahead.series is None else array_of(ahead.series, "series", size)
    known, series = np.unique(labels.astype(str), return_inverse=True)
    scales = _scales(ahead, known.tolist(), notes)
    longest = 1 if horizon is None else np.unique(horizon).size
    whole = known.size >= _FEWEST_SERIES
    wanted = max(ahead.season, longest, math.ceil(size ** (1 / 3)))
    block = 1 if whole else fitting_block(wanted, size)
    if not whole:
        notes.append("The rows are taken to follow each other in time; neighbours are drawn together.")
        if block < wanted:
            notes.append(f"{size} rows are few for blocks of {wanted}: the intervals are rough, probably too narrow.")
    drawn = NumberSample(
        sample.truth,
        sample.answers,
        sample.quantiles,
        sample.levels,
        None if scales is None else scales[series],
        forecast=True,
        series=series if whole else None,
        block=block,
    )
    unit = "series" if whole else f"block of {block} rows" if block > 1 else "row"
    return Subject("forecast", drawn, unit, curves.of_numbers(sample), notes=tuple(notes), horizon=horizon)


def _scales(ahead: Forecasting, series: Sequence[str], notes: list[str]) -> Floats | None:
    """Return the naive error of each series on its history; None where that is not known of all."""
    if ahead.history is None:
        notes.append("There is no mase: it needs the values that the model was fitted to, history=y_train.")
        return None
    if isinstance(ahead.history, Mapping):
        histories = {str(name): values for name, values in ahead.history.items()}
    elif len(series) == 1:
        histories = {series[0]: ahead.history}
    else:
        raise UsageError("There are several series, but one history.", "Pass history={series: values}.")
    missing = [name for name in series if name not in histories]
    if missing:
        raise UsageError(f"The series {missing[0]!r} has no history.", "Pass history={series: values} with all series.")
    found = [floats_of(array_of(histories[name], "history"), "history") for name in series]
    scales = np.array([naive_error(values, ahead.season) for values in found])
    if np.isnan(scales).any():
        notes.append("There is no mase: a history is constant, or not longer than a season.")
        return None
    return scales


def _quantiles(given: Floats, levels: tuple[float, ...]) -> tuple[Floats, tuple[float, ...]]:
    columns = given[:, None] if given.ndim == 1 else given
    if columns.shape[1] != len(levels) or not all(0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
        raise UsageError(
            f"quantiles={list(levels)} does not fit answers with {columns.shape[1]} columns.",
            "Give the level of each column, all different and between 0 and 1.",
        )
    order = np.argsort(levels)
    return columns[:, order], tuple(levels[place] for place in order)


def _classes(truth: Array, answers: Array) -> list[object]:
    found = distinct([*truth.tolist(), *_labels(truth, answers)])
    return [False, True] if truth.dtype.kind == "b" and set(found) <= {False, True} else found


def _labels(truth: Array, answers: Array) -> list[object]:
    return list(answers.tolist()) if _are_labels(truth, answers) and answers.ndim == 1 else []


def _are_labels(truth: Array, answers: Array) -> bool:
    """Say whether the answers are classes: no numbers, or only values that the truth has."""
    if answers.dtype.kind not in "iuf":
        return True
    if answers.ndim == 2 or truth.dtype.kind not in "biuf":
        return False
    return bool(np.isin(answers, (0, 1) if truth.dtype.kind == "b" else np.unique(truth)).all())


def _column_of(answers: Array, place: int) -> Array:
    if answers.ndim == 1:
        return answers
    if answers.shape[1] != 2:
        raise UsageError(f"Two classes cannot have {answers.shape[1]} columns.", "Pass predict_proba(X) or its column.")
    column: Array = answers[:, place]
    return column
