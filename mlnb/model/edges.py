"""An estimator and its sample become rows that are difficult to answer, with the estimator's own answers to them.

Every row is a real one with one column changed, so that the rest stays plausible. Nothing is generated that the
signature would not let a caller send. The kinds:

- ``missing``: no value in a column that may lack one, one at a time and all at once;
- ``unseen category``: a text that the sample does not have, an empty one, another case; and the known categories;
- ``extremes``: the sample's smallest and largest number, both by one and by ten ranges further out, zero, both truths;
- ``thresholds``: numbers at which a fitted tree changes its mind (`mlnb.model.thresholds`), and their neighbours;
- ``last digits``: the same where a step before the trees is no plain arithmetic, so that its last digit decides, which
  no two libraries compute alike; told, not judged: the judged thresholds are then those beyond the last digits;
- ``far``: 1e30, 1e300 and the limits of whole numbers; told, not judged, because no model is made for them;
- ``empty batch``: no rows at all.

Where the estimator itself raises, there is nothing to compare: that is told, column by column.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlnb.model.answers import Scores
from mlnb.model.hooks import USER_FAULTS
from mlnb.model.inference import Specimen
from mlnb.model.kinds import Column, Values
from mlnb.model.scorer import EstimatorRuntime
from mlnb.model.thresholds import find_thresholds

FAR = "far"
LAST_DIGITS = "last digits"
#: Kinds that are told and not judged, and what is told of them.
TOLD: Mapping[str, str] = {
    FAR: "told, not judged",
    LAST_DIGITS: "told, not judged: the last digit of a step before the trees decides",
}
_TOGETHER = ("missing", "unseen category", "extremes", "thresholds", LAST_DIGITS)
_COLUMNS = 60
_CATEGORIES = 20
_REFUSALS = 4
_UNSEEN = ("mlnb has never seen this", "", " ")
_FAR = {"float64": (1e30, 1e300), "float32": (1e30,)}
Rows = dict[str, Values]


@dataclass(frozen=True, slots=True)
class Edge:
    """Rows of one kind and what the estimator itself answers.

    Attributes
    ----------
    kind : str
        One of those above.
    columns : mapping of str to array
        The rows, as the estimator's signature has them.
    expected : Scores
        The estimator's answers.
    note : str
        For which rows it has none, or which could not be made, and why; empty where it has all.
    """

    kind: str
    columns: Mapping[str, Values]
    expected: Scores
    note: str = ""


def make_edges(estimator: Any, specimen: Specimen) -> tuple[Edge, ...]:
    """Return the edges of an estimator, and its answers to them."""
    columns = specimen.signature.features or specimen.signature.inputs
    runtime = EstimatorRuntime(estimator, specimen.signature)
    source = _Source(specimen.features, columns)
    made = []
    with quiet():
        cuts = find_thresholds(estimator, specimen)
        kinds: list[tuple[str, list[tuple[str, Rows]], str]] = [
            ("missing", list(_missing(source)), ""),
            ("unseen category", list(_unseen(source)), ""),
            ("extremes", list(_extremes(source)), ""),
            ("thresholds", cuts.rows, cuts.note),
            (LAST_DIGITS, cuts.close, ""),
            (FAR, list(_far(source)), ""),
            ("empty batch", [("", source.rows([]))], ""),
        ]
        asked = _asked_together(runtime, {kind: groups for kind, groups, _ in kinds if groups and kind in _TOGETHER})
        for kind, groups, note in kinds:
            if groups:
                made.append(_noted(asked.get(kind) or _asked(runtime, kind, groups), note))
            elif note:
                made.append(Edge(kind, source.rows([]), Scores([]), note))
    return tuple(made)


def _noted(edge: Edge, note: str) -> Edge:
    return replace(edge, note="; ".join(one for one in (edge.note, note) if one))


def quiet() -> warnings.catch_warnings[None]:
    """Return a context in which difficult rows are no reason to warn: they are difficult on purpose."""
    return warnings.catch_warnings(action="ignore")


def faults() -> tuple[type[Exception], ...]:
    """Return what estimators raise, those of the libraries that are imported included."""
    own = [("lightgbm.basic", "LightGBMError"), ("_catboost", "CatBoostError"), ("xgboost.core", "XGBoostError")]
    found = [getattr(sys.modules[module], name) for module, name in own if module in sys.modules]
    return (*USER_FAULTS, *found)


def stack(tables: Sequence[Mapping[str, Values]]) -> Rows:
    """Return the rows of all tables, one below the other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def joined(scores: Sequence[Scores]) -> Scores:
    """Return several answers as one."""
    chances = None if scores[0].probabilities is None else [row for one in scores for row in one.probabilities or []]
    ranks = None if scores[0].scores is None else [row for one in scores for row in one.scores or []]
    return Scores([answer for one in scores for answer in one.predictions], chances, ranks)


class _Source:
    """Real rows to change; each generated row takes the next one."""

    def __init__(self, features: Mapping[str, Values], columns: Sequence[Column]) -> None:
        self.columns = columns
        self._features = features
        self._count = len(next(iter(features.values())))
        self._next = 0

    def some(self, of: Sequence[Column]) -> list[Column]:
        """Return at most 60 of the columns, evenly spread; list columns are left as they are."""
        plain = [column for column in of if not column.many]
        return [plain[at * len(plain) // _COLUMNS] for at in range(_COLUMNS)] if len(plain) > _COLUMNS else plain

    def rows(self, at: Sequence[int]) -> Rows:
        """Return some of the real rows."""
        return {name: values[np.asarray(at, dtype=np.int64)] for name, values in self._features.items()}

    def values(self, column: Column) -> Values:
        """Return the numbers of a column that are there."""
        found = self._features[column.name]
        return found[np.isfinite(found.astype(np.float64))] if found.dtype != object else found

    def changed(self, changes: Sequence[Mapping[str, object]]) -> Rows:
        """Return one real row for each of the changes, with them made."""
        step = 7 if self._count % 7 else 11  # so that neighbours in a sorted sample are not all that is used
        at = [(self._next + step * place) % self._count for place in range(len(changes))]
        self._next += step * len(changes)
        rows = self.rows(at)
        for place, change in enumerate(changes):
            for name, value in change.items():
                rows[name][place] = value
        return rows


def _missing(source: _Source) -> Iterator[tuple[str, Rows]]:
    nullable = source.some([column for column in source.columns if column.nullable])
    for column in nullable:
        yield column.name, source.changed([{column.name: _nothing(column)}] * 3)
    if len(nullable) > 1:
        yield "all at once", source.changed([{column.name: _nothing(column) for column in nullable}] * 3)


def _nothing(column: Column) -> object:
    if column.dtype == "datetime":
        return np.datetime64("NaT")
    return None if column.dtype in {"string", "bool"} else np.nan


def _unseen(source: _Source) -> Iterator[tuple[str, Rows]]:
    for column in source.some([one for one in source.columns if one.dtype == "string" or one.categories]):
        known = list(column.categories)
        if column.dtype == "string":
            seen = known or sorted({str(one) for one in source.values(column) if one is not None})
            texts = [str(one) for one in seen[:3]]
            news = [*_UNSEEN, *(text.upper() for text in texts), *(f" {text}" for text in texts)]
            unseen: list[object] = [text for text in dict.fromkeys(news) if text not in seen]
        else:
            unseen = [] if column.dtype == "bool" else [max([0.0, *map(float, known)]) + 1]
        values = [*unseen, *known[:_CATEGORIES]]
        yield column.name, source.changed([{column.name: value} for value in values])


def _numbers(source: _Source) -> list[Column]:
    return source.some([one for one in source.columns if one.dtype != "string" and not one.categories])


def _extremes(source: _Source) -> Iterator[tuple[str, Rows]]:
    lowest: list[dict[str, object]] = [{} for _ in range(3)]
    highest: list[dict[str, object]] = [{} for _ in range(3)]
    for column in _numbers(source):
        found = source.values(column)
        if column.dtype == "bool":
            yield column.name, source.changed([{column.name: True}, {column.name: False}])
        elif found.size and column.dtype == "datetime":
            ends = found.min(), found.max()
            span = ends[1] - ends[0]
            values = [ends[0], ends[1], ends[0] - span, ends[1] + span]
            yield column.name, source.changed([{column.name: value} for value in values])
        elif found.size:
            low, high = float(found.min()), float(found.max())
            span = (high - low) or max(1.0, abs(high))
            downs = [_within(column, low - span * far) for far in (0, 1, 10)]
            ups = [_within(column, high + span * far) for far in (0, 1, 10)]
            values = list(dict.fromkeys([*downs, *ups, _within(column, 0.0)]))
            yield column.name, source.changed([{column.name: value} for value in values])
            for far in range(3):
                lowest[far][column.name], highest[far][column.name] = downs[far], ups[far]
    if len(lowest[0]) > 1:
        yield "all at once", source.changed([*lowest, *highest])


def _far(source: _Source) -> Iterator[tuple[str, Rows]]:
    for column in _numbers(source):
        if column.dtype in {"bool", "datetime"}:
            continue
        if column.dtype in _FAR:
            values = [sign * far for far in _FAR[column.dtype] for sign in (1, -1)]
        else:
            limits = np.iinfo(column.dtype)
            values = [_within(column, float(limits.min)), _within(column, float(limits.max))]
        yield column.name, source.changed([{column.name: value} for value in values])


def _within(column: Column, value: float) -> float:
    """Return the number that is nearest to the value and that a caller may send."""
    if column.dtype.startswith("float"):
        largest = float(np.finfo(column.dtype).max)
        return min(max(value, -largest), largest)
    limits = np.iinfo(column.dtype)
    return min(max(round(value), limits.min, -(2**53)), limits.max, 2**53)


def _asked_together(runtime: EstimatorRuntime, kinds: Mapping[str, Sequence[tuple[str, Rows]]]) -> dict[str, Edge]:
    """Ask for the rows of several kinds at once: each call of a pipeline costs more than rows; empty if it raises."""
    wholes = {kind: stack([rows for _, rows in groups]) for kind, groups in kinds.items()}
    try:
        scores = runtime.score(stack(list(wholes.values()))) if wholes else Scores([])
    except faults():
        return {}
    made: dict[str, Edge] = {}
    end = 0
    for kind, whole in wholes.items():
        count = len(next(iter(whole.values())))
        made[kind] = Edge(kind, whole, scores.take(range(end, end + count)))
        end += count
    return made


def _asked(runtime: EstimatorRuntime, kind: str, groups: Sequence[tuple[str, Rows]]) -> Edge:
    """Ask for all rows at once; where that raises, for the rows of each column by itself."""
    whole = stack([rows for _, rows in groups])
    try:
        return Edge(kind, whole, runtime.score(whole))
    except faults() as error:
        if len(groups) == 1:
            nothing = {name: values[:0] for name, values in whole.items()}
            return Edge(kind, nothing, Scores([]), _raises(groups[0][0], error))
    answered: list[Edge] = []
    refused: list[str] = []
    for at, (name, rows) in enumerate(groups):
        if len(refused) == _REFUSALS and not answered:
            refused += [f"{one}: not asked" for one, _ in groups[at:]]
            break
        try:
            answered.append(Edge(kind, rows, runtime.score(rows)))
        except faults() as error:
            refused.append(_raises(name, error))
    told = "; ".join(refused[:3]) + f"; and {len(refused) - 3} more" * (len(refused) > 3)
    if not answered:
        return Edge(kind, {name: values[:0] for name, values in whole.items()}, Scores([]), told)
    return Edge(kind, stack([edge.columns for edge in answered]), joined([edge.expected for edge in answered]), told)


def _raises(name: str, error: Exception) -> str:
    told = " ".join(str(error).split())[:120]
    return f"{name}: the estimator raises {type(error).__name__}: {told}".removeprefix(": ")
