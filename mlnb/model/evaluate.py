"""Truth and answers become an `Evaluation`: metrics with intervals, the same for slices, and curves.

Small slices are those of fewer than 30 units, or with fewer than 5 units of their rarest class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlnb.errors import UsageError
from mlnb.model.bootstrap import METHOD, Flags, Floats, Ints, Resampling, Sample, exact, intervals
from mlnb.model.columns import array_of
from mlnb.model.evaluation import Evaluation, Interval, Metric, Slice
from mlnb.model.metrics_classes import BinarySample
from mlnb.model.slicing import Slicing, slicings
from mlnb.model.sums import CellSums
from mlnb.model.tasks import (
    TASKS,
    Array,
    Divisible,
    Forecasting,
    Subject,
    binary,
    inferred,
    multiclass,
    numbers,
    queries,
)

SMALL_UNITS = 30
SMALL_CLASS = 5
MOST_COLUMNS = 20


def evaluate(
    truth: object,
    answers: object,
    *,
    rows: object = None,
    slices: object = None,
    task: str = "",
    classes: Sequence[object] | None = None,
    positive: object = None,
    threshold: float | None = None,
    quantiles: Sequence[float] = (),
    groups: object = None,
    k: int | Sequence[int] = (5, 10),
    horizon: object = None,
    series: object = None,
    season: int = 1,
    history: object = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Measure how good answers are, with intervals, by slices, and with what is needed to draw it.

    Parameters
    ----------
    truth : array-like, shape (rows,)
        True classes or numbers; of a ranking the relevance, 0 or more.
    answers : array-like, shape (rows,) or (rows, columns)
        Scores, probabilities (``predict_proba(X)`` or its column), predicted classes or numbers; a column for each of
        `quantiles`.
    rows : frame or mapping of columns, optional
        The scored rows, for `slices`.
    slices : str, sequence of str, or mapping of str to values, optional
        Columns of `rows` by whose values the metrics are also told apart. Default: what the stage's ``--slices`` names.
    task : {"binary", "multiclass", "regression", "ranking", "forecast"}, optional
        Inferred where it is not said, which the result's notes tell.
    classes : sequence, optional
        All classes, in the order of the columns: ``model.classes_``. Default: the sorted values of the truth.
    positive : object, optional
        The positive class of two. Default: the greater one.
    threshold : float, optional
        Scores above it count as answered positive. Default: 0.5 for probabilities, 0 for other scores.
    quantiles : sequence of float
        Levels of the columns of `answers`, in (0, 1).
    groups : array-like, shape (rows,), optional
        Of a ranking: the query of each row.
    k : int or sequence of int, default (5, 10)
        Of a ranking: how many of the best answers count.
    horizon : array-like, shape (rows,), optional
        Of a forecast: how many steps ahead each row was answered. Errors are told apart by it.
    series : array-like, shape (rows,), optional
        Of a forecast of several series: which one. From ten series on, whole series are drawn for the intervals; of
        fewer, blocks of rows that follow each other.
    season : int, default 1
        Of a forecast: after how many rows a season returns, for MASE.
    history : array-like, or mapping of series to array-like, optional
        Of a forecast: the values that the model was fitted to, for MASE.
    resamples : int, default 1000
        Of the bootstrap; 0 for no intervals. Very many rows get fewer, at least 200.
    level : float, default 0.95
        Nominal coverage of the intervals.
    seed : int, default 0
        The same seed gives the same intervals.

    Returns
    -------
    Evaluation
        Shows itself in a notebook; ``evaluation["auc"]`` is a number.

    Raises
    ------
    UsageError
        If lengths differ, values are missing, or the task cannot be told.

    Examples
    --------
    >>> evaluation = evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], resamples=0)
    >>> evaluation["auc"]
    0.75
    """
    if resamples < 0 or not 0 < level < 1 or season < 1:
        raise UsageError("resamples, level or season is out of range.", "Use 0 or more, between 0 and 1, 1 or more.")
    asked = _Asked(task, tuple(classes) if classes is not None else (), positive, threshold, tuple(quantiles))
    asked = replace(asked, cuts=(k,) if isinstance(k, int) else tuple(k), groups=groups)
    true = array_of(truth, "truth")
    subject = _subject(true, answers, asked, Forecasting(horizon, series, season, history))
    how = Resampling(resamples, level, seed)
    size = true.shape[0]
    cuts = slicings(slices, rows, size)
    if subject.horizon is not None:
        cuts = (*slicings({"horizon": subject.horizon}, None, size), *cuts)
    if len(cuts) > MOST_COLUMNS:
        raise UsageError(f"There are {len(cuts)} columns to slice by.", f"Name at most {MOST_COLUMNS}.")
    return _evaluation(subject, cuts, how, size)


def paired_difference(
    truth: object,
    first: object,
    second: object,
    *,
    task: str = "",
    classes: Sequence[object] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Metric, ...]:
    """Return how much better the second answers score than the first on the same rows: second minus first.

    Both are measured on the same resamples, so what makes a row hard for both does not widen the interval.

    Raises
    ------
    UsageError
        As `evaluate`; also if the two kinds of answers have no metric in common.
    """
    asked = _Asked(task, tuple(classes) if classes is not None else ())
    both = [_subject(array_of(truth, "truth"), answers, asked, Forecasting()).sample for answers in (first, second)]
    names = tuple(name for name in both[0].names if name in both[1].names and "[" not in name)
    if not names:
        raise UsageError("The two answers have no metric in common.", "Pass scores twice, or classes twice.")
    return _metrics(_Difference(both[0], both[1], names), Resampling(resamples, level, seed), 0)


@dataclass(frozen=True, slots=True)
class _Asked:
    task: str
    classes: tuple[object, ...] = ()
    positive: object = None
    threshold: float | None = None
    quantiles: tuple[float, ...] = ()
    groups: object = None
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Difference:
    """Two samples of the same rows, drawn together."""

    first: Sample
    second: Sample
    names: tuple[str, ...]
    sizes: None = None

    @property
    def rows(self) -> int:
        return self.first.rows

    @property
    def units(self) -> int:
        return self.first.rows

    @property
    def block(self) -> int:
        return self.first.block

    @property
    def cost(self) -> int:
        return 2 * self.first.rows

    def values(self, weights: Floats) -> Floats:
        return self._of(self.second, weights) - self._of(self.first, weights)

    def _of(self, sample: Sample, weights: Floats) -> Floats:
        if isinstance(sample, BinarySample):
            weights = CellSums(sample.cell, sample.units)(weights)
        return sample.values(weights)[:, [sample.names.index(name) for name in self.names]]


def _subject(true: Array, answers: object, asked: _Asked, ahead: Forecasting) -> Subject:
    given = array_of(answers, "answers", true.shape[0])
    task, why = asked.task, ""
    if task and task not in TASKS:
        raise UsageError(f"There is no task {task!r}.", f"The tasks are {', '.join(TASKS)}.")
    if not task:
        if asked.groups is not None:
            task, why = "ranking", "groups are given"
        elif ahead.said:
            task, why = "forecast", "a horizon, series, season or history is given"
        elif asked.quantiles:
            task, why = "regression", "quantiles are given"
        else:
            task, why = inferred(true, given, asked.classes)
    match task:
        case "binary":
            subject = binary(true, given, asked.classes, asked.positive, asked.threshold)
        case "multiclass":
            subject = multiclass(true, given, asked.classes)
        case "ranking":
            subject = queries(true, given, asked.groups, asked.cuts)
        case _:
            subject = numbers(true, given, asked.quantiles, ahead if task == "forecast" else None)
    said = (f"The task was taken to be {task}, because {why}.",) if why else ()
    return replace(subject, notes=(*said, *subject.notes))


def _evaluation(subject: Subject, cuts: Sequence[Slicing], how: Resampling, size: int) -> Evaluation:
    sample = subject.sample
    found = _metrics(sample, how, 0)
    whole = tuple(one for one in found if "[" not in one.name)
    slices = [*_classes(found, subject.counts or {})]
    if slices and any(cut.column == "class" for cut in cuts):
        raise UsageError(
            "A column named 'class' cannot be sliced by: the classes of the truth have that name.",
            "Give the values another name: slices={'kind': rows['class']}.",
        )
    for cut in cuts:
        slices += _slices(subject, cut, how, len(slices))
    resamples = how.affordable(sample.cost)
    notes = list(subject.notes)
    absent = [one.name for one in whole if math.isnan(one.value)]
    if absent:
        notes.append(f"Not defined on these rows: {', '.join(absent)}.")
    alike = [one.name for one in whole if math.isnan(one.low) and not math.isnan(one.value)]
    if resamples and alike:
        notes.append(f"No interval, because resamples were alike or undefined: {', '.join(alike)}.")
    if resamples < how.resamples:
        notes.append(f"So many rows got {resamples} resamples instead of {how.resamples}.")
    if any(one.small for one in slices):
        notes.append(
            f"Small slices have fewer than {SMALL_UNITS} units, or fewer than {SMALL_CLASS} of their rarest class: "
            "do not lean on them."
        )
    return Evaluation(
        task=subject.task,
        rows=size,
        units=sample.rows,
        metrics=whole,
        slices=tuple(slices),
        curves=subject.curves,
        confusion=subject.confusion,
        interval=Interval(METHOD, how.level, resamples, how.seed, subject.unit),
        notes=tuple(notes),
    )


def _metrics(sample: Sample, how: Resampling, stream: int) -> tuple[Metric, ...]:
    values = exact(sample)
    low, high = intervals(sample, how, stream)
    return tuple(
        Metric(name, *(float(number) if math.isfinite(number) else math.nan for number in numbers))
        for name, *numbers in zip(sample.names, values, low, high, strict=True)
    )


def _classes(found: Sequence[Metric], counts: Mapping[str, int]) -> list[Slice]:
    """Return what was measured of single classes, ``f1[class=a]``, as slices."""
    slices = []
    for name, rows in counts.items():
        end = f"[class={name}]"
        own = tuple(
            replace(one, name=one.name.removesuffix(end)) for one in found if "[" in one.name and one.name.endswith(end)
        )
        if own:
            slices.append(Slice("class", name, rows, rows < SMALL_UNITS, own))
    return slices


def _slices(subject: Subject, cut: Slicing, how: Resampling, stream: int) -> list[Slice]:
    place = cut.place
    if subject.query is not None:
        place = _of_queries(cut, subject.query)
    found: list[Slice] = []
    for number, value in enumerate(cut.names):
        chosen: Flags = place == number
        if not chosen.any():
            continue
        part: Divisible = subject.sample.part(chosen)
        rows = int((cut.place == number).sum())
        small = part.rows < SMALL_UNITS or part.scarcest() < SMALL_CLASS
        found.append(Slice(cut.column, value, rows, small, _metrics(part, how, stream + len(found) + 1)))
    return found


def _of_queries(cut: Slicing, query: Ints) -> Ints:
    """Return which slice each query is in."""
    kept = query >= 0
    size = int(query.max()) + 1
    first = np.zeros(size, dtype=np.int64)
    first[query[kept]] = cut.place[kept]
    if (first[query[kept]] != cut.place[kept]).any():
        raise UsageError(
            f"The column {cut.column!r} differs within a query, so that it cannot tell queries apart.",
            "Slice a ranking by what belongs to the query.",
        )
    return first
