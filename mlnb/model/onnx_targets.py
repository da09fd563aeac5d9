"""A regressor that was taught a transformed target becomes its answer and the way back, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlnb.model.onnx_answers import Answer, numbers, writes
from mlnb.model.onnx_blocks import Block, refusal
from mlnb.model.onnx_functions import apply, expm1, log1p
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_numeric import interpolate


@writes("TransformedTargetRegressor")
def transformed_target(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a regressor and the way back from what it was taught."""
    raw = numbers(graph, estimator.regressor_, blocks)
    graph.repaired("TransformedTargetRegressor")
    return Answer(_undone(graph, estimator.transformer_, raw))


def _undone(graph: Graph, transformer: Any, tensor: str) -> str:
    match type(transformer).__name__:
        case "FunctionTransformer":
            if transformer.inverse_func is None:
                return tensor
            return apply(graph, transformer.inverse_func, tensor, transformer.inv_kw_args)
        case "Pipeline":
            for _, step in reversed(transformer.steps):
                tensor = _undone(graph, step, tensor)
            return tensor
        case "StandardScaler":
            return _unscaled(graph, tensor, transformer.scale_, transformer.mean_ if transformer.with_mean else None)
        case "RobustScaler":
            return _unscaled(graph, tensor, transformer.scale_, transformer.center_)
        case "MaxAbsScaler":
            return _unscaled(graph, tensor, transformer.scale_, None)
        case "MinMaxScaler":
            moved = graph.add("Sub", tensor, np.asarray(transformer.min_, dtype=np.float64))
            return graph.add("Div", moved, np.asarray(transformer.scale_, dtype=np.float64))
        case "QuantileTransformer" if transformer.output_distribution == "uniform":
            return _unranked(graph, transformer, tensor)
        case "PowerTransformer":
            return _unpowered(graph, transformer, tensor)
        case other:
            raise refusal(f"the way back through {other} is not known in ONNX")


def _unscaled(graph: Graph, tensor: str, scale: Any, shift: Any) -> str:
    if scale is not None:
        tensor = graph.add("Mul", tensor, np.asarray(scale, dtype=np.float64))
    return tensor if shift is None else graph.add("Add", tensor, np.asarray(shift, dtype=np.float64))


def _unranked(graph: Graph, transformer: Any, tensor: str) -> str:
    if transformer.n_features_in_ != 1:
        raise refusal("the way back through a QuantileTransformer has several columns")
    points = transformer.quantiles_[:, 0]
    found = interpolate(graph, tensor, transformer.references_, points)
    for edge, value in [(1.0, points[-1]), (0.0, points[0])]:
        found = graph.add("Where", graph.add("Equal", tensor, np.array([edge])), np.array([value]), found)
    return found


def _unpowered(graph: Graph, transformer: Any, tensor: str) -> str:
    if transformer.n_features_in_ != 1:
        raise refusal("the way back through a PowerTransformer has several columns")
    if transformer.standardize:
        tensor = _unscaled(graph, tensor, transformer._scaler.scale_, transformer._scaler.mean_)
    exponent = float(transformer.lambdas_[0])
    if transformer.method == "box-cox":
        if exponent == 0:
            return graph.add("Exp", tensor)
        inner = log1p(graph, graph.add("Mul", tensor, np.array([exponent])))
        return graph.add("Exp", graph.add("Div", inner, np.array([exponent])))
    size = graph.add("Abs", tensor)
    sides = []
    for one, sign in [(exponent, 1.0), (2 - exponent, -1.0)]:
        logarithm = size
        if abs(one) >= np.spacing(1.0):
            inner = log1p(graph, graph.add("Mul", size, np.array([one])))
            logarithm = graph.add("Div", inner, np.array([one]))
        sides.append(graph.add("Mul", expm1(graph, logarithm), np.array([sign])))
    return graph.add("Where", graph.add("GreaterOrEqual", tensor, np.zeros(1)), *sides)
