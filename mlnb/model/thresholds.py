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

from mlnb.model.hooks import USER_FAULTS
from mlnb.model.inference import Specimen
from mlnb.model.kinds import Column, Values
from mlnb.model.threshold_search import Floats, Rows, Search, Split, Through

_NODES = 90
_TREES = 40
_BASE_ROWS = 300
_EXACT = (
    "Binarizer",
    "KBinsDiscretizer",
    "MaxAbsScaler",
    "MinMaxScaler",
    "MissingIndicator",
    "OneHotEncoder",
    "OrdinalEncoder",
    "PolynomialFeatures",
    "RobustScaler",
    "SimpleImputer",
    "SplineTransformer",
    "StandardScaler",
    "TargetEncoder",
)
_EXACT_FUNCTIONS = ("absolute", "ceil", "clip", "floor", "isnan", "negative", "rint", "round", "sign", "sqrt", "square")
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Rows on thresholds.

    Attributes
    ----------
    rows : list of (str, rows)
        By column: the rows in which an export has to take the estimator's branch.
    close : list of (str, rows)
        Those in which the last digit of a step before the trees decides, which no two libraries compute alike; empty
        where the steps are arithmetic that all compute alike, or columns are of float32, because then they are among
        `rows`.
    note : str
        What could not be searched, and why; empty where all could.
    """

    rows: list[tuple[str, Rows]]
    close: list[tuple[str, Rows]]
    note: str = ""


def find_thresholds(estimator: Any, specimen: Specimen) -> Thresholds:
    """Return rows on the thresholds of an estimator's trees; none where it has no trees."""
    columns = specimen.signature.features or specimen.signature.inputs
    steps, final = flat(estimator)
    count = len(next(iter(specimen.features.values())))
    at = np.unique(np.linspace(0, count - 1, min(count, _BASE_ROWS)).astype(np.int64))
    base = {name: values[at] for name, values in specimen.features.items()}
    through = Through(steps, columns, frame=specimen.signature.frame)
    try:
        seen = through.see(base)
        splits = _chosen(final, seen)
        inside = _behind_steps(final)
        hidden = (
            f"the trees of {inside} are not searched, because steps of their own stand before them" if inside else ""
        )
        if not splits:
            return Thresholds([], [], hidden)
        short = any(one.dtype == "float32" for one in columns)  # its last digit is large enough for real rows to meet
        found = _led_back(splits, base, seen, through, exact=short or all(_is_exact(one) for one in steps))
    except (*USER_FAULTS, np.exceptions.DTypePromotionError) as error:
        told = " ".join(str(error).split())[:120]
        return Thresholds([], [], f"not searched: {type(error).__name__}: {told}" if _has_trees(final) else "")
    return Thresholds(found.rows, found.close, "; ".join(one for one in (found.note, hidden) if one))


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


def _is_exact(step: Any) -> bool:
    """Say whether a step before the trees is arithmetic that all libraries round alike."""
    if step is None or isinstance(step, str):
        return True
    if hasattr(step, "transformers_"):
        return all(_is_exact(part) for _, part, _ in step.transformers_)
    if hasattr(step, "transformer_list") or hasattr(step, "named_steps"):
        return all(_is_exact(part) for _, part in getattr(step, "transformer_list", getattr(step, "steps", ())))
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        return False
    if name == "FunctionTransformer":
        return step.func is None or getattr(step.func, "__name__", "") in _EXACT_FUNCTIONS
    if name == "QuantileTransformer":
        return bool(step.output_distribution == "uniform")
    return name in _EXACT or hasattr(step, "get_support")


def _has_trees(final: Any) -> bool:
    """Say whether the estimator compares numbers, as far as that is known."""
    from mlnb.model.boosters import is_booster

    return hasattr(final, "_predictors") or is_booster(final) or next(_sklearn_trees(final, None), None) is not None


def _behind_steps(final: Any) -> str:
    """Return the name of an estimator whose parts have trees behind steps of their own; empty where none has."""
    hidden = any(
        hasattr(one, "steps") and _has_trees(flat(one)[1]) for one in _parts(getattr(final, "estimators_", []))
    )
    return type(final).__name__ if hidden else ""


def _parts(inner: Any) -> list[Any]:
    """Return the estimators of a list, or of an array of any shape; a pipeline among them stays whole."""
    return [one for row in inner for one in (row if isinstance(row, np.ndarray) else [row])]


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
    for at, one in enumerate(_parts(inner)):
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
    splits: Sequence[Split], base: Mapping[str, Values], seen: Floats, through: Through, *, exact: bool
) -> Thresholds:
    """Return the rows in which each split's number lies around its threshold."""
    numbers = [one for one in through.columns if one.dtype.startswith(("float", "int", "uint")) and not one.many]
    numbers = [one for one in numbers if not one.categories]
    moves = _moves(numbers, base, seen, through)
    able = [one for one in splits if one.feature in moves]
    if not able:
        return Thresholds([], [], _unmet(len(splits), len(splits)))
    count = len(seen)
    at = np.array([one.row if one.row >= 0 else 7 * place % count for place, one in enumerate(able)])
    names = [moves[one.feature].name for one in able]
    search = Search(able, {name: values[at] for name, values in base.items()}, names, through)
    left, right = search.narrow(*search.bracket())
    met = int((np.isfinite(left) & np.isfinite(right)).sum())
    kinds = [moves[one.feature] for one in able]
    nearest = _groups(base, kinds, at, left, right)
    note = _unmet(len(splits) - met, len(splits))
    if exact:
        return Thresholds(nearest, [], note)
    scale = np.nanmax(np.where(np.isfinite(seen), np.abs(seen), 0.0), axis=0)
    wide = search.widen(left, right, scale[[one.feature for one in able]])
    return Thresholds(_groups(base, kinds, at, *wide), nearest, note)


def _unmet(count: int, of: int) -> str:
    return f"{count} of {of} chosen thresholds are met by no change of one number" if count else ""


def _groups(
    base: Mapping[str, Values], kinds: Sequence[Column], at: Ints, left: Floats, right: Floats
) -> list[tuple[str, Rows]]:
    """Return by column the rows with its numbers on both sides."""
    made: dict[str, list[tuple[int, float]]] = {}
    for place, kind in enumerate(kinds):
        if np.isfinite(left[place]) and np.isfinite(right[place]):
            for value in _around(kind, left[place], right[place]):
                made.setdefault(kind.name, []).append((int(at[place]), value))
    groups = []
    for name, pairs in made.items():
        rows = {one: values[[row for row, _ in pairs]] for one, values in base.items()}
        rows[name] = np.array([value for _, value in pairs]).astype(base[name].dtype)
        groups.append((name, rows))
    return groups


def _moves(numbers: Sequence[Column], base: Mapping[str, Values], seen: Floats, through: Through) -> dict[int, Column]:
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


def _around(column: Column, left: float, right: float) -> list[float]:
    """Return both numbers and the nearest of float32, as the column can hold them."""
    if column.dtype.startswith("float"):
        single = float(np.float32(left))
        return list(dict.fromkeys([left, right, single]))
    limits = np.iinfo(column.dtype)
    whole = sorted({float(np.floor(left)), float(np.ceil(right))})
    return [value for value in whole if limits.min <= value <= limits.max]
