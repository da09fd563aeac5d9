"""The thresholds of fitted trees become rows whose numbers lie exactly on them, as the tree itself sees them.

A tree of a pipeline compares what the steps before it have made. Its threshold is led back to a raw number by search:
two neighbouring floating-point numbers of one column, of which the tree sends one to the left and one to the right.
Those two, and the nearest number of float32, are the rows in which an export errs first: there a rounding in the wrong
place takes the other branch. Rows are real ones that reach the node, with that one column changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.hooks import USER_FAULTS, build_frame
from mlnb.model.inference import Specimen
from mlnb.model.kinds import Column, Values

_NODES = 90
_TREES = 40
_BASE_ROWS = 300
_SECANTS = 4
_NARROW = 1e-12
_HALVINGS = 64
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = dict[str, Values]


@dataclass(frozen=True, slots=True)
class Split:
    """One comparison in a fitted tree.

    Attributes
    ----------
    feature : int
        Which number of those that the tree takes.
    threshold : float
        What it is compared with.
    single : bool
        Whether the number is rounded to float32 first.
    row : int
        A row, of those that were given, that reaches the node; -1 where that is not known.
    """

    feature: int
    threshold: float
    single: bool
    row: int = -1


def threshold_rows(estimator: Any, specimen: Specimen) -> list[tuple[str, Rows]]:
    """Return rows on thresholds by column; none where the estimator has no trees, or its steps cannot be searched."""
    columns = specimen.signature.features or specimen.signature.inputs
    steps, final = flat(estimator)
    count = len(next(iter(specimen.features.values())))
    at = np.unique(np.linspace(0, count - 1, min(count, _BASE_ROWS)).astype(np.int64))
    base = {name: values[at] for name, values in specimen.features.items()}
    through = _Through(steps, columns, frame=specimen.signature.frame)
    try:
        seen = through.see(base)
        splits = _chosen(final, seen)
        if not splits:
            return []
        return _led_back(splits, base, seen, through)
    except (*USER_FAULTS, np.exceptions.DTypePromotionError):
        return []


def flat(estimator: Any) -> tuple[list[Any], Any]:
    """Return the transformers before the last estimator, and that estimator; a search is its best estimator."""
    steps: list[Any] = []
    while True:
        if hasattr(estimator, "steps") and hasattr(estimator, "named_steps"):
            steps += [step for _, step in estimator.steps[:-1] if step not in (None, "passthrough")]
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_") and hasattr(estimator, "cv_results_"):
            estimator = estimator.best_estimator_
        else:
            return steps, estimator


class _Through:
    """Raw columns through the steps before the trees."""

    def __init__(self, steps: Sequence[Any], columns: Sequence[Column], *, frame: bool) -> None:
        self.columns = columns
        self._steps = steps
        self._frame = frame

    def see(self, rows: Mapping[str, Values]) -> Floats:
        """Return what the trees see, of shape (rows, features)."""
        if not self._steps and not any(one.categories or one.dtype == "string" for one in self.columns):
            return np.column_stack([rows[one.name].astype(np.float64) for one in self.columns])
        made: Any = build_frame(rows, self.columns)
        if not self._frame:
            made = np.column_stack([rows[one.name] for one in self.columns])
        for step in self._steps:
            made = step.transform(made)
        if not self._steps:
            made = made.apply(lambda one: one.cat.codes if one.dtype == "category" else one)
        if hasattr(made, "toarray"):
            made = made.toarray()
        return np.asarray(made, dtype=np.float64)


def _chosen(final: Any, seen: Floats) -> list[Split]:
    splits = list(_splits(final, seen))
    usual = [one for one in splits if one.feature < seen.shape[1] and np.isfinite(one.threshold)]
    return [usual[at * len(usual) // _NODES] for at in range(_NODES)] if len(usual) > _NODES else usual


def _splits(model: Any, seen: Floats) -> Iterator[Split]:
    """Yield comparisons of all trees that see the same numbers as the model."""
    if hasattr(model, "_predictors"):
        nodes = np.concatenate([tree.nodes for trees in model._predictors for tree in trees])
        inner = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
        for node in inner:
            yield Split(int(node["feature_idx"]), float(node["num_threshold"]), single=False)
        return
    from mlnb.model.boosters import booster_splits

    for feature, threshold, single in booster_splits(model):
        yield Split(feature, threshold, single)
    trees = list(_sklearn_trees(model, None))
    chosen = [trees[at * len(trees) // _TREES] for at in range(_TREES)] if len(trees) > _TREES else trees
    for tree, features in chosen:
        yield from _of_tree(tree, seen if features is None else seen[:, features], features, -(-_NODES // len(chosen)))


def _sklearn_trees(model: Any, features: Ints | None) -> Iterator[tuple[Any, Ints | None]]:
    """Yield fitted trees, each with the places of the features that it takes; None for all in their order."""
    if hasattr(model, "tree_"):
        yield model.tree_, features
        return
    inner = getattr(model, "estimators_", None)
    if inner is None:
        calibrated = getattr(model, "calibrated_classifiers_", None)
        inner = [one.estimator for one in calibrated] if calibrated else [getattr(model, "estimator_", None)]
    taken = getattr(model, "estimators_features_", None)
    for at, one in enumerate(np.ravel(np.asarray(inner, dtype=object))):
        if one is not None and not hasattr(one, "steps") and not isinstance(one, str):
            yield from _sklearn_trees(one, features if taken is None else np.asarray(taken[at]))


def _of_tree(tree: Any, seen: Floats, features: Ints | None, count: int) -> Iterator[Split]:
    inner = np.flatnonzero(tree.children_left >= 0)
    if not inner.size:
        return
    some = inner[np.unique(np.linspace(0, len(inner) - 1, min(len(inner), count)).astype(np.int64))]
    reached = tree.decision_path(seen.astype(np.float32)).tocsc()
    for node in some.tolist():
        rows = reached.indices[reached.indptr[node] : reached.indptr[node + 1]]
        feature = int(tree.feature[node])
        place = feature if features is None else int(features[feature])
        yield Split(place, float(tree.threshold[node]), single=True, row=int(rows[0]) if len(rows) else -1)


def _led_back(
    splits: Sequence[Split], base: Mapping[str, Values], seen: Floats, through: _Through
) -> list[tuple[str, Rows]]:
    """Return the rows in which each split's number lies around its threshold."""
    numbers = [one for one in through.columns if one.dtype.startswith(("float", "int", "uint")) and not one.many]
    numbers = [one for one in numbers if not one.categories]
    moves = _moves(numbers, base, seen, through)
    splits = [one for one in splits if one.feature in moves]
    if not splits:
        return []
    count = len(seen)
    at = np.array([one.row if one.row >= 0 else 7 * place % count for place, one in enumerate(splits)])
    names = [moves[one.feature].name for one in splits]
    search = _Search(splits, {name: values[at] for name, values in base.items()}, names, through)
    low, high = search.bracket(seen)
    left, right = search.narrow(low, high)
    made: dict[str, list[tuple[int, float]]] = {}
    kinds = {one.name: one for one in numbers}
    for place, name in enumerate(names):
        if np.isfinite(left[place]) and np.isfinite(right[place]):
            for value in _around(kinds[name], left[place], right[place]):
                made.setdefault(name, []).append((int(at[place]), value))
    groups = []
    for name, pairs in made.items():
        rows = {one: values[[row for row, _ in pairs]] for one, values in base.items()}
        rows[name] = np.array([value for _, value in pairs]).astype(base[name].dtype)
        groups.append((name, rows))
    return groups


def _moves(numbers: Sequence[Column], base: Mapping[str, Values], seen: Floats, through: _Through) -> dict[int, Column]:
    """Return by which column each of the trees' features is moved most."""
    if not numbers:
        return {}
    rows = {name: np.repeat(values[:1], 2 * len(numbers), axis=0) for name, values in base.items()}
    for place, column in enumerate(numbers):
        found = base[column.name].astype(np.float64)
        ends = (np.nanmin(found), np.nanmax(found)) if np.isfinite(found).any() else (0.0, 1.0)
        rows[column.name] = rows[column.name].astype(np.float64)
        rows[column.name][2 * place : 2 * place + 2] = ends
    apart = np.abs(np.diff(through.see(rows).reshape(len(numbers), 2, -1), axis=1))[:, 0]
    scale = np.nan_to_num(apart)
    return {
        feature: numbers[int(scale[:, feature].argmax())]
        for feature in range(seen.shape[1])
        if scale[:, feature].max() > 0
    }


class _Search:
    """Looks for the raw numbers between which splits change their minds, all at once."""

    def __init__(self, splits: Sequence[Split], rows: Rows, names: Sequence[str], through: _Through) -> None:
        self._features = np.array([one.feature for one in splits])
        self._thresholds = np.array([one.threshold for one in splits])
        self._single = np.array([one.single for one in splits])
        self._turns = np.where(self._single, _rounding_turns(self._thresholds), self._thresholds)
        self._rows = rows
        self._names = np.array(names)
        self._through = through

    def bracket(self, seen: Floats) -> tuple[Floats, Floats]:
        """Return two raw numbers for each split, on either side of it where such were found."""
        low, high = np.empty(len(self._names)), np.empty(len(self._names))
        for name in np.unique(self._names):
            found = self._rows[name].astype(np.float64)
            known = found[np.isfinite(found)]
            ends = (known.min(), known.max()) if known.size else (0.0, 1.0)
            span = (ends[1] - ends[0]) or max(1.0, abs(ends[1]))
            low[self._names == name], high[self._names == name] = ends[0] - span, ends[1] + span
        for _ in range(_SECANTS):  # most steps are linear in one column: the crossing is found at once
            one, other = self._made(low), self._made(high)
            with np.errstate(all="ignore"):
                guess = low + (self._turns - one) * (high - low) / (other - one)
            guess = np.where((guess > low) & (guess < high), guess, low + (high - low) / 2)
            done = np.abs(high - low) <= _NARROW * np.abs(guess)
            for share in (_NARROW, 1e-3):
                margin = np.maximum(np.abs(guess) * _NARROW, np.abs(high - low) * share)
                tried = np.maximum(guess - margin, low), np.minimum(guess + margin, high)
                hit = ~done & (self._goes_left(tried[0]) != self._goes_left(tried[1]))
                low, high, done = np.where(hit, tried[0], low), np.where(hit, tried[1], high), done | hit
                if done.all():
                    break
            if (np.abs(high - low) <= 4 * _NARROW * np.maximum(np.abs(guess), 1e-300)).all():
                break
        return low, high

    def narrow(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Return the two neighbouring numbers between which each split changes its mind; NaN where there are none."""
        start = self._goes_left(low)
        crossing = start != self._goes_left(high)
        left, right = np.where(crossing, low, np.nan), np.where(crossing, high, np.nan)
        for _ in range(_HALVINGS):
            middle = left + (right - left) / 2
            open_ = crossing & (middle > left) & (middle < right)
            if not open_.any():
                break
            same = self._goes_left(np.where(open_, middle, low)) == start
            left, right = np.where(open_ & same, middle, left), np.where(open_ & ~same, middle, right)
        return left, right

    def _made(self, values: Floats) -> Floats:
        rows = {name: held.copy() for name, held in self._rows.items()}
        for name in np.unique(self._names):
            rows[name] = np.where(self._names == name, values, rows[name].astype(np.float64))
        return np.asarray(self._through.see(rows)[np.arange(len(values)), self._features])

    def _goes_left(self, values: Floats) -> npt.NDArray[np.bool_]:
        made = self._made(values)
        with np.errstate(all="ignore"):
            rounded = np.where(self._single, made.astype(np.float32).astype(np.float64), made)
        return np.asarray(rounded <= self._thresholds)


def _rounding_turns(thresholds: Floats) -> Floats:
    """Return the numbers beyond which rounding to float32 leads above the thresholds."""
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below, np.float32(np.inf))
    return np.asarray((below.astype(np.float64) + above.astype(np.float64)) / 2)


def _around(column: Column, left: float, right: float) -> list[float]:
    """Return both numbers and the nearest of float32, as the column can hold them."""
    if column.dtype.startswith("float"):
        single = float(np.float32(left))
        return list(dict.fromkeys([left, right, single]))
    limits = np.iinfo(column.dtype)
    whole = sorted({float(np.floor(left)), float(np.ceil(right))})
    return [value for value in whole if limits.min <= value <= limits.max]
