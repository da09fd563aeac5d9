"""Trees, forests and boosted trees of scikit-learn become ensembles of ONNX that answer to the last bit as they do.

Its trees and forests round their input to float32 and compare with thresholds in float64; HistGradientBoosting does not
round, and splits by sets of categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.onnx_answers import Answer, both, by_sign, chances, floats32, likeliest, numbers, softmax, writes
from mlnb.model.onnx_blocks import Block, matrix, refusal, singles
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_origins import Cuts, before_functions
from mlnb.model.onnx_trees import Floats, Trees

_CAST = "trees in float64 after one cast to float32"
_SPLIT = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """What trees compare: a tensor of shape (rows, features), and the thresholds that belong to it."""

    tensor: str
    cuts: Cuts = field(default_factory=lambda: Cuts({}))


def seen(graph: Graph, blocks: Sequence[Block], trees: Sequence[Any], features: Sequence[Any] = ()) -> Seen:
    """Return what trees of scikit-learn take; each its own features, by their places, where those are given."""
    splits = [(tree.feature, tree.threshold) for tree in trees]
    if len(features):
        pairs = zip(features, splits, strict=True)
        splits = [(np.where(at < 0, at, np.asarray(own)[np.maximum(at, 0)]), cut) for own, (at, cut) in pairs]
    found = before_functions(graph, matrix(graph, blocks), splits, single=True)
    if found is not None:
        return Seen(*found)
    graph.repaired(_CAST)
    return Seen(floats32(graph, matrix(graph, blocks).tensor))


def leaf_sums(graph: Graph, given: Seen, trees: Sequence[Any], tables: Sequence[Floats]) -> str:
    """Return the sum over trees of the row of a table that each tree's leaf picks.

    Parameters
    ----------
    graph : Graph
        Grows by one ensemble; by a table too where rows are wide.
    given : Seen
        What the trees compare.
    trees : sequence of sklearn.tree._tree.Tree
        The trees.
    tables : sequence of array, shape (nodes, width)
        One for each tree.
    """
    made = Trees()
    width = tables[0].shape[1]
    if width <= _SPLIT:
        for target in range(width):
            for tree, table in zip(trees, tables, strict=True):
                _grow(made, given, tree, table[:, target], target)
        return made.put(graph, given.tensor, width)
    first = 0
    for at, (tree, table) in enumerate(zip(trees, tables, strict=True)):
        _grow(made, given, tree, first + np.arange(len(table), dtype=np.float64), at)
        first += len(table)
    picked = graph.cast(made.put(graph, given.tensor, len(trees)), TensorProto.INT64)
    rows = graph.add("Gather", np.concatenate(tables), picked, axis=0)
    return graph.add("ReduceSum", rows, np.array([1]), keepdims=0)


def _grow(trees: Trees, given: Seen, tree: Any, value: npt.NDArray[Any], target: int = 0) -> None:
    threshold = given.cuts.of(tree.feature, tree.threshold)
    missing = _missing_left(tree)
    trees.grow(tree.children_left, tree.children_right, tree.feature, threshold, missing, value, target)


def _missing_left(tree: Any) -> npt.NDArray[Any]:
    """Return for each node whether a missing number goes left."""
    missing = getattr(tree, "missing_go_to_left", None)
    return np.zeros(tree.node_count) if missing is None else np.asarray(missing)


def _average(graph: Graph, given: Seen, trees: Sequence[Any], tables: Sequence[Floats]) -> str:
    total = leaf_sums(graph, given, trees, tables)
    return total if len(trees) == 1 else graph.add("Div", total, np.array([float(len(trees))]))


@writes("DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier")
def classifier(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a tree or a forest of classes, of one or several outputs."""
    trees = [one.tree_ for one in getattr(estimator, "estimators_", [estimator])]
    several = isinstance(estimator.classes_, list)
    given = seen(graph, blocks, trees)
    choices = []
    for at, classes in enumerate(estimator.classes_ if several else [estimator.classes_]):
        tables = [tree.value[:, at, : len(classes)] for tree in trees]
        choices.append(likeliest(graph, classes, _average(graph, given, trees, tables)))
    return Answer(choices=tuple(choices))


@writes("DecisionTreeRegressor", "ExtraTreeRegressor", "RandomForestRegressor", "ExtraTreesRegressor")
def regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a tree or a forest of numbers, of one or several outputs."""
    trees = [one.tree_ for one in getattr(estimator, "estimators_", [estimator])]
    given = seen(graph, blocks, trees)
    return Answer(_average(graph, given, trees, [tree.value[:, :, 0] for tree in trees]))


@writes("GradientBoostingClassifier", "GradientBoostingRegressor")
def boosting(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write boosted trees."""
    raw = _boosted(graph, estimator, blocks)
    if not hasattr(estimator, "classes_"):
        return Answer(raw)
    if len(estimator.classes_) > 2:
        return Answer(choices=(by_sign(graph, estimator.classes_, raw, softmax(graph, raw)),))
    doubled = graph.add("Mul", raw, np.array([2.0 if estimator.loss == "exponential" else 1.0]))
    told = both(graph, graph.add("Sigmoid", doubled))
    return Answer(choices=(by_sign(graph, estimator.classes_, raw, told, zero_is_first=False),))


def _boosted(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> str:
    stages = estimator.estimators_
    given = seen(graph, blocks, [one.tree_ for one in stages.ravel()])
    targets = stages.shape[1]
    start = _start(estimator)
    made = Trees()
    for target, value in enumerate(start if start is not None else []):
        made.constant(float(value), target)
    for stage in stages:
        for target, one in enumerate(stage):
            _grow(made, given, one.tree_, estimator.learning_rate * one.tree_.value[:, 0, 0], target)
    raw = made.put(graph, given.tensor, targets)
    if start is not None:
        return raw
    guess = _first_guess(graph, estimator, floats32(graph, matrix(graph, blocks).tensor))
    return graph.add("Add", guess, raw)


def _start(estimator: Any) -> npt.NDArray[Any] | None:
    """Return the raw values that all rows begin with, None if a fitted estimator gives them."""
    if estimator.init_ == "zero":
        return np.zeros(estimator.estimators_.shape[1])
    if type(estimator.init_).__name__ in ("DummyClassifier", "DummyRegressor"):
        empty = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
        return np.asarray(estimator._raw_predict_init(empty)[0], dtype=np.float64)
    return None


def _first_guess(graph: Graph, estimator: Any, tensor: str) -> str:
    block = [Block(tensor, int(estimator.n_features_in_))]
    if not hasattr(estimator, "classes_"):
        return numbers(graph, estimator.init_, block)
    if len(estimator.classes_) > 2:
        raise refusal("the boosting of several classes begins with an estimator of its own")
    guess = graph.add("Gather", chances(graph, estimator.init_, block), np.array([1]), axis=1)
    eps = float(np.finfo(np.float64).eps)
    inside = graph.add("Min", graph.add("Max", guess, np.array([eps])), np.array([1 - eps]))
    odds = graph.add("Log", graph.add("Div", inside, graph.add("Sub", np.ones(1), inside)))
    return graph.add("Mul", odds, np.array([0.5 if estimator.loss == "exponential" else 1.0]))


@writes("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
def histogram(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a HistGradientBoosting, its categories as sets."""
    made = list(blocks)
    if estimator._preprocessor is not None:
        graph.repaired("native categories as set-membership nodes")
        made = _encoded(graph, estimator, blocks)
    graph.repaired("trees in float64")
    nodes = [tree.nodes for iteration in estimator._predictors for tree in iteration]
    splits = [
        (np.where(one["is_leaf"] | one["is_categorical"], -1, one["feature_idx"]), one["num_threshold"])
        for one in nodes
    ]
    found = before_functions(graph, matrix(graph, made), splits, single=False)
    given = Seen(matrix(graph, made).tensor) if found is None else Seen(*found)
    raw = _histogram_trees(estimator, given.cuts).put(graph, given.tensor, estimator.n_trees_per_iteration_)
    if hasattr(estimator, "classes_"):
        if estimator.n_trees_per_iteration_ > 1:
            return Answer(choices=(likeliest(graph, estimator.classes_, softmax(graph, raw), raw),))
        told = both(graph, graph.add("Sigmoid", raw))
        return Answer(choices=(by_sign(graph, estimator.classes_, raw, told),))
    link = type(estimator._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise refusal(f"the HistGradientBoosting has the link {link}")
    return Answer(graph.add("Exp", raw) if link == "LogLink" else raw)


def _encoded(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> list[Block]:
    """Return its categories as it encodes them, then its numbers."""
    from mlnb.model.onnx_preprocess import emit

    columns = singles(graph, blocks)
    places = np.flatnonzero(estimator.is_categorical_)
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    made = emit(graph, encoder, [columns[at] for at in places])
    return made + [one for at, one in enumerate(columns) if at not in places]


def _histogram_trees(estimator: Any, cuts: Cuts) -> Trees:
    made = Trees()
    for target, value in enumerate(np.ravel(estimator._baseline_prediction)):
        made.constant(float(value), target)
    for iteration in estimator._predictors:
        for target, tree in enumerate(iteration):
            nodes = tree.nodes
            leaf = nodes["is_leaf"].astype(bool)
            sets = _sets(tree) if nodes["is_categorical"][~leaf].any() else []
            left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
            made.grow(
                left,
                right,
                nodes["feature_idx"],
                cuts.of(np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)), nodes["num_threshold"]),
                nodes["missing_go_to_left"],
                nodes["value"],
                target,
                sets,
            )
    return made


def _sets(tree: Any) -> list[Floats | None]:
    """Return for each node the encoded categories that go left, None where it compares numbers."""
    words = np.ascontiguousarray(tree.raw_left_cat_bitsets).astype("<u4")
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    return [
        _members(bits[node["bitset_idx"]]) if node["is_categorical"] and not node["is_leaf"] else None
        for node in tree.nodes
    ]


def _members(bits: npt.NDArray[np.uint8]) -> Floats:
    """Return the numbers of the bits that are set; where none is, one that no category has: a set holds something."""
    members = np.flatnonzero(bits).astype(np.float64)
    return members if len(members) else np.array([-1.0])


@writes("IsolationForest")
def isolation(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an IsolationForest: the average depth of a row decides."""
    features = [np.asarray(one) for one in estimator.estimators_features_]
    given = seen(graph, blocks, [one.tree_ for one in estimator.estimators_], features)
    trees = Trees()
    lengths = zip(
        estimator.estimators_,
        features,
        estimator._decision_path_lengths,
        estimator._average_path_length_per_tree,
        strict=True,
    )
    for one, own, path, rest in lengths:
        tree = one.tree_
        feature = own[np.maximum(tree.feature, 0)]
        threshold = given.cuts.of(np.where(tree.feature < 0, -1, feature), tree.threshold)
        depth = np.asarray(path) + np.asarray(rest) - 1.0
        trees.grow(tree.children_left, tree.children_right, feature, threshold, _missing_left(tree), depth)
    depths = trees.put(graph, given.tensor, 1)
    usual = float(_average_path_length(estimator._max_samples)) * len(estimator.estimators_)
    score = graph.add("Pow", np.array([2.0]), graph.add("Neg", graph.add("Div", depths, np.array([usual]))))
    decision = graph.add("Sub", graph.add("Neg", score), np.array([float(estimator.offset_)]))
    return Answer(choices=(by_sign(graph, np.array([-1, 1]), decision, zero_is_first=False),))


def _average_path_length(samples: int) -> float:
    from sklearn.ensemble._iforest import _average_path_length as sklearns

    return float(sklearns([samples])[0])
