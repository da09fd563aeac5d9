"""Support vector machines become their kernels and sums, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from mlnb.model.onnx_answers import Answer, Choice, by_sign, writes
from mlnb.model.onnx_blocks import Block, matrix, refusal
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_linear import affine, dense


def kernel(graph: Graph, estimator: Any, tensor: str) -> str:
    """Append the kernel between the rows and the support vectors."""
    vectors = np.asarray(dense(estimator.support_vectors_), dtype=np.float64)
    if estimator.kernel == "rbf":
        squares = graph.add("ReduceSum", graph.add("Mul", tensor, tensor), np.array([1]), keepdims=1)
        apart = graph.add("Add", squares, (vectors**2).sum(axis=1))
        apart = graph.add("Sub", apart, affine(graph, tensor, 2 * vectors, 0.0))
        return graph.add("Exp", graph.add("Mul", apart, np.array([-float(estimator._gamma)])))
    if estimator.kernel not in ("linear", "poly", "sigmoid"):
        raise refusal(f"the support vectors have the kernel {estimator.kernel}")
    product = affine(graph, tensor, vectors, 0.0)
    if estimator.kernel == "linear":
        return product
    moved = graph.add("Mul", product, np.array([float(estimator._gamma)]))
    moved = graph.add("Add", moved, np.array([float(estimator.coef0)]))
    if estimator.kernel == "sigmoid":
        return graph.add("Tanh", moved)
    return graph.add("Pow", moved, np.array([float(estimator.degree)]))


@writes("SVR", "NuSVR")
def support_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a support vector regressor."""
    found = kernel(graph, estimator, matrix(graph, blocks).tensor)
    return Answer(affine(graph, found, estimator.dual_coef_, estimator.intercept_))


@writes("OneClassSVM")
def one_class(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a one-class support vector machine."""
    found = kernel(graph, estimator, matrix(graph, blocks).tensor)
    decision = affine(graph, found, estimator.dual_coef_, estimator.intercept_)
    return Answer(choices=(by_sign(graph, np.array([-1, 1]), decision),))


@writes("SVC", "NuSVC")
def support_classifier(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a support vector classifier: each pair of classes votes, as in libsvm."""
    if estimator.probability is True or estimator.break_ties:
        raise refusal("a support vector classifier gives probabilities, or breaks ties, by iterating")
    found = kernel(graph, estimator, matrix(graph, blocks).tensor)
    count = len(estimator.classes_)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    ends = np.cumsum(estimator._n_support)
    starts = ends - estimator._n_support
    dual = np.asarray(dense(estimator._dual_coef_), dtype=np.float64)
    weights = np.zeros((len(pairs), dual.shape[1]))
    for at, (i, j) in enumerate(pairs):
        weights[at, starts[i] : ends[i]] = dual[j - 1, starts[i] : ends[i]]
        weights[at, starts[j] : ends[j]] = dual[i, starts[j] : ends[j]]
    decision = affine(graph, found, weights, estimator._intercept_)
    first = graph.cast(graph.add("Greater", decision, np.zeros(1)), TensorProto.DOUBLE)
    if count == 2:
        place = graph.cast(graph.add("Sub", np.ones(1), first), TensorProto.INT64)
        return Answer(choices=(Choice(estimator.classes_, place, None, graph.add("Neg", decision)),))
    for_i, for_j = np.zeros((len(pairs), count)), np.zeros((len(pairs), count))
    for at, (i, j) in enumerate(pairs):
        for_i[at, i], for_j[at, j] = 1.0, 1.0
    votes = graph.add("Add", graph.add("MatMul", first, for_i - for_j), for_j.sum(axis=0))
    place = graph.add("ArgMax", votes, axis=1, keepdims=1)
    return Answer(choices=(Choice(estimator.classes_, place),))
