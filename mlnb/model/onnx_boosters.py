"""Models of XGBoost, LightGBM and CatBoost become ensembles of ONNX, alone or behind the steps of a pipeline.

What `mlnb.model.boosters` reads of their own dumps is written as it is computed there: one cast to float32 where the
library casts, the comparison that it makes, sets of categories as sets, and a missing number where each split sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.boosters import forest_of
from mlnb.model.forest import Forest, Tree
from mlnb.model.onnx_answers import Answer, Choice, both, column, floats32, likeliest, softmax, writes
from mlnb.model.onnx_blocks import Block, matrix, refusal, singles
from mlnb.model.onnx_graph import ML, Graph
from mlnb.model.onnx_origins import Cuts, before_functions
from mlnb.model.onnx_trees import Trees

_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold
_LESS_OR_EQUAL, _LESS = 0, 1


@writes(
    "XGBClassifier",
    "XGBRegressor",
    "XGBRanker",
    "XGBRFClassifier",
    "XGBRFRegressor",
    "LGBMClassifier",
    "LGBMRegressor",
    "LGBMRanker",
    "CatBoostClassifier",
    "CatBoostRegressor",
    "CatBoostRanker",
)
def booster(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a fitted model of boosted trees."""
    from sklearn.base import is_classifier

    forest = forest_of(estimator)
    graph.repaired(f"trees of {type(estimator).__module__.partition('.')[0]} from its own dump")
    raw = _sums(graph, forest, *_compared(graph, forest, blocks))
    linked = _linked(graph, forest, raw)
    if not is_classifier(estimator):
        return Answer(linked)
    targets, classes = len(forest.start), np.asarray(estimator.classes_)
    if forest.link == "sigmoid" and targets > 1:
        each = [both(graph, column(graph, linked, at)) for at in range(targets)]
        return Answer(choices=tuple(_either(graph, chances) for chances in each))
    if forest.link == "sigmoid":
        return Answer(choices=(likeliest(graph, classes, both(graph, linked), raw),))
    if forest.link not in ("softmax", "sigmoids") or len(classes) != targets:
        raise refusal(f"{type(estimator).__name__} gives labels in a way that is not known here")
    return Answer(choices=(likeliest(graph, classes, linked, raw),))


def _either(graph: Graph, chances: str) -> Choice:
    return likeliest(graph, np.array([0, 1]), chances)


def _compared(graph: Graph, forest: Forest, blocks: Sequence[Block]) -> tuple[str, Cuts]:
    """Return what the trees compare, of shape (rows, features), and the thresholds that belong to it."""
    given = list(blocks)
    if forest.categories or forest.labels or any(block.kind != "number" for block in given):
        columns = singles(graph, given)
        labels = _labels(forest, columns)
        given = [_coded(graph, labels.get(at), one) for at, one in enumerate(columns)]
    block = matrix(graph, given)
    tensor = floats32(graph, block.tensor) if forest.single else block.tensor
    if not np.isnan(forest.missing):
        tensor = graph.add("Where", graph.add("Equal", tensor, np.array([forest.missing])), np.array([np.nan]), tensor)
    if forest.zero_missing:
        small = graph.add("LessOrEqual", graph.add("Abs", tensor), np.array([_ZERO]))
        tensor = graph.add("Where", small, np.array([np.nan]), tensor)
    splits = [(_feature(one), np.array(one.threshold)) for one in forest.trees]
    usual = np.isnan(forest.missing) and not forest.zero_missing
    origin = block.origin and replace(block.origin, everywhere=block.origin.everywhere and bool(usual))
    made = Block(tensor, block.width, origin=origin)
    return before_functions(graph, made, splits, single=forest.single, less=forest.less) or (tensor, Cuts({}))


def _feature(tree: Tree) -> npt.NDArray[np.int64]:
    """Return what each node compares; -1 where it compares no number."""
    triples = zip(tree.left, tree.feature, tree.members, strict=True)
    return np.array([at if left >= 0 and members is None else -1 for left, at, members in triples])


def _labels(forest: Forest, columns: Sequence[Block]) -> Mapping[int, Sequence[object]]:
    """Return the labels of each column of categories, in the order of their codes."""
    if not forest.labels:
        return forest.categories
    places = sorted({*forest.categories, *(at for at, one in enumerate(columns) if one.kind == "text")})
    if len(places) != len(forest.labels):
        raise refusal("an ordered column of numbered categories cannot be told from a number: give it labels of text")
    return dict(zip(places, forest.labels, strict=True))


def _coded(graph: Graph, labels: Sequence[object] | None, block: Block) -> Block:
    """Return a column with the codes of its categories; unknown ones are missing."""
    if block.kind == "number" and labels is None:
        return block
    if block.kind == "text":
        if not labels:
            raise refusal("a column of texts reaches the boosted trees: encode it in a step before")
        codes = graph.add(
            "LabelEncoder",
            block.tensor,
            domain=ML,
            keys_strings=[str(label) for label in labels],
            values_floats=[float(code) for code in range(len(labels))],
            default_float=float("nan"),
        )
        return Block(graph.cast(codes, TensorProto.DOUBLE), 1)
    if block.kind != "number":
        raise refusal("a column of dates reaches the boosted trees")
    if not labels:  # codes are sent: the libraries cut off what is behind the point
        whole = graph.add("Mul", graph.add("Sign", block.tensor), graph.add("Floor", graph.add("Abs", block.tensor)))
        return Block(whole, 1)
    known = np.array([float(label) for label in labels])[None, :]  # type: ignore[arg-type]
    equal = graph.cast(graph.add("Equal", block.tensor, known), TensorProto.DOUBLE)
    place = graph.cast(graph.add("ArgMax", equal, axis=1, keepdims=1), TensorProto.DOUBLE)
    hit = graph.add("Greater", graph.add("ReduceMax", equal, np.array([1]), keepdims=1), np.zeros(1))
    return Block(graph.add("Where", hit, place, np.array([np.nan])), 1)


def _sums(graph: Graph, forest: Forest, tensor: str, cuts: Cuts) -> str:
    made = Trees()
    if forest.divisor == 1.0:
        for target, value in enumerate(forest.start):
            made.constant(value, target)
    for tree in forest.trees:
        made.grow(
            np.array(tree.left),
            np.array(tree.right),
            np.array(tree.feature),
            cuts.of(_feature(tree), np.array(tree.threshold)),
            np.array(tree.missing_left, dtype=np.float64),
            np.array(tree.value),
            tree.target,
            tree.members if any(one is not None for one in tree.members) else [],
            mode=_LESS if forest.less else _LESS_OR_EQUAL,
        )
    raw = made.put(graph, tensor, len(forest.start))
    if forest.divisor == 1.0:
        return raw
    return graph.add("Add", graph.add("Div", raw, np.array([forest.divisor])), np.array(forest.start))


def _linked(graph: Graph, forest: Forest, raw: str) -> str:
    match forest.link:
        case "exp":
            return graph.add("Exp", raw)
        case "sigmoid" | "sigmoids":
            return graph.add("Sigmoid", raw if forest.scale == 1.0 else graph.add("Mul", raw, np.array([forest.scale])))
        case "softmax":
            return softmax(graph, raw)
        case "square":
            return graph.add("Mul", raw, graph.add("Abs", raw))
        case "softplus":
            return graph.add("Log", graph.add("Add", graph.add("Exp", raw), np.ones(1)))
        case _:
            return raw
