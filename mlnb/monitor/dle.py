"""Rows whose labels are not known yet become the error that is to be expected of their answers: direct loss estimation.

On the reference, whose labels are known, boosted trees learn the absolute and the squared error of an answer from the
inputs and the answer itself; on new rows the mean of what they say is the expected error. The trees are kept as plain
numbers, so that a report needs no library to ask them. The interval holds what a row's own error differs from the
expected one, as cross-validation has seen it, over the rows that are asked about and over those of the reference.

References
----------
NannyML, "How it works: estimating performance", section Direct Loss Estimation. Friedman, "Greedy function
approximation: a gradient boosting machine", Annals of Statistics 29, 2001.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.cbpe import Estimate
from mlnb.monitor.feature import Categorical, Feature
from mlnb.monitor.values import Floats, Ints, Values, names, numbers

_TREES, _DEPTH, _RATE = 60, 3, 0.1
_FOLDS = 5
_SEED = 0
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Tree:
    """A regression tree; node 0 is the root.

    Attributes
    ----------
    feature : tuple of int
        Which column each node looks at, -1 for a leaf.
    threshold : tuple of float
        Rows up to it go left.
    left, right : tuple of int
        The nodes below.
    value : tuple of float
        What a leaf says.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def at(self, table: Floats) -> Floats:
        """Return what the tree says of each row, shape (rows,)."""
        feature, left, right = np.array(self.feature), np.array(self.left), np.array(self.right)
        threshold, value = np.array(self.threshold), np.array(self.value)
        node = np.zeros(len(table), dtype=np.int64)
        while (going := np.flatnonzero(feature[node] >= 0)).size:
            at = node[going]
            low = table[going, feature[at]] <= threshold[at]
            node[going] = np.where(low, left[at], right[at])
        found: Floats = value[node]
        return found


@dataclass(frozen=True, slots=True)
class Loss:
    """What an error of an answer is expected to be.

    Attributes
    ----------
    start : float
        The mean error of the reference.
    trees : tuple of Tree
        Whose answers are added, times `rate`.
    rate : float
    deviation : float
        Of a row's error from what was expected of it, by cross-validation.
    """

    start: float
    trees: tuple[Tree, ...]
    rate: float
    deviation: float

    def at(self, table: Floats) -> Floats:
        """Return the expected error of each row, not below 0."""
        total = np.full(len(table), self.start)
        for tree in self.trees:
            total += self.rate * tree.at(table)
        found: Floats = np.maximum(total, 0.0)
        return found


def encoded(features: Sequence[Feature], columns: Mapping[str, Values], predictions: Values) -> Floats:
    """Return inputs and answers as numbers, shape (rows, features + 1).

    A category is its place in the reference, -1 for a missing or a new one; a missing number lies below all that the
    reference had.
    """
    absent = [None] * len(predictions)
    table = [_encoded(feature, columns.get(feature.name, absent)) for feature in features]
    return np.column_stack([*table, numbers(predictions)[0]])


def learn(table: Floats, errors: Floats) -> Loss:
    """Return what is learned of errors, shape (rows,), from rows as `encoded` gives them."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    asked = GradientBoostingRegressor(
        n_estimators=_TREES,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        subsample=0.8,
        min_samples_leaf=max(5, len(errors) // 100),
        random_state=_SEED,
    )
    told = cross_val_predict(asked, table, errors, cv=KFold(_FOLDS, shuffle=True, random_state=_SEED))
    fitted = asked.fit(table, errors)
    trees = tuple(_tree(one.tree_) for one in fitted.estimators_[:, 0])
    return Loss(float(fitted.init_.constant_.ravel()[0]), trees, _RATE, float(np.std(errors - told)))


def expect_errors(absolute: Loss, squared: Loss, table: Floats, reference_rows: int) -> dict[str, Estimate]:
    """Return the expected ``mae`` and ``rmse`` of rows as `encoded` gives them; empty for no row."""
    known = table[~np.isnan(table[:, -1])]
    if not len(known):
        return {}
    share = 1.0 / len(known) + 1.0 / reference_rows
    mae, mse = float(absolute.at(known).mean()), float(squared.at(known).mean())
    rmse = math.sqrt(mse)
    slope = 1.0 / (2.0 * rmse) if rmse else 0.0
    return {
        "mae": Estimate.around(mae, absolute.deviation**2 * share),
        "rmse": Estimate.around(rmse, (slope * squared.deviation) ** 2 * share),
    }


def _encoded(feature: Feature, values: Values) -> Floats:
    if isinstance(feature, Categorical):
        index = {name: place for place, name in enumerate(feature.categories)}
        return np.array([index.get(name, -1) if name is not None else -1 for name in names(values)], dtype=np.float64)
    floats, _ = numbers(values)
    below = feature.minimum - max(1.0, feature.maximum - feature.minimum) if feature.edges else -1.0
    found: Floats = np.clip(np.where(np.isnan(floats), below, floats), -1e30, 1e30)
    return found


def _tree(tree: object) -> Tree:
    def kept(name: str) -> Ints | Floats:
        found: Ints | Floats = getattr(tree, name)
        return found

    leaf = kept("children_left") < 0
    return Tree(
        feature=tuple(np.where(leaf, -1, kept("feature")).tolist()),
        threshold=tuple(np.where(leaf, 0.0, kept("threshold")).tolist()),
        left=tuple(kept("children_left").tolist()),
        right=tuple(kept("children_right").tolist()),
        value=tuple(np.round(kept("value")[:, 0, 0], _DIGITS).tolist()),
    )
