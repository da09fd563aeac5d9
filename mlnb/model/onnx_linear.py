"""Estimators that are a few matrix operations become those, in float64: linear ones, networks, Bayes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.onnx_answers import (
    Answer,
    Choice,
    both,
    by_sign,
    column,
    likeliest,
    none_of,
    normalised,
    numbers,
    softmax,
    writes,
)
from mlnb.model.onnx_blocks import Block, matrix, refusal
from mlnb.model.onnx_graph import Graph

_INLIER = np.array([-1, 1])


def affine(graph: Graph, tensor: str, weights: npt.ArrayLike, shift: npt.ArrayLike) -> str:
    """Append ``x @ weights.T + shift``."""
    factors = np.ascontiguousarray(np.atleast_2d(np.asarray(dense(weights), dtype=np.float64)).T)
    moved = np.atleast_1d(np.asarray(shift, dtype=np.float64))
    return graph.add("Add", graph.add("MatMul", tensor, factors), moved)


def dense(values: Any) -> Any:
    """Return a matrix that may be sparse as an array."""
    return values.toarray() if hasattr(values, "toarray") else values


@writes(
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "ElasticNet",
    "ElasticNetCV",
    "Lars",
    "LarsCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "BayesianRidge",
    "ARDRegression",
    "HuberRegressor",
    "TheilSenRegressor",
    "SGDRegressor",
    "PassiveAggressiveRegressor",
    "LinearSVR",
    "QuantileRegressor",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
)
def linear_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a linear regressor."""
    return Answer(affine(graph, matrix(graph, blocks).tensor, estimator.coef_, estimator.intercept_))


@writes("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
def generalised(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a linear regressor with a link."""
    raw = affine(graph, matrix(graph, blocks).tensor, estimator.coef_, estimator.intercept_)
    link = type(estimator._base_loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise refusal(f"the regressor has the link {link}")
    return Answer(graph.add("Exp", raw) if link == "LogLink" else raw)


@writes("RANSACRegressor")
def ransac(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the regressor of the inliers."""
    return Answer(numbers(graph, estimator.estimator_, blocks))


@writes("PLSRegression", "PLSCanonical")
def partial_least_squares(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write partial least squares."""
    centred = graph.add("Sub", matrix(graph, blocks).tensor, np.asarray(estimator._x_mean, dtype=np.float64))
    return Answer(affine(graph, centred, estimator.coef_, estimator.intercept_))


@writes(
    "LogisticRegression",
    "LogisticRegressionCV",
    "SGDClassifier",
    "Perceptron",
    "PassiveAggressiveClassifier",
    "LinearSVC",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "LinearDiscriminantAnalysis",
)
def linear_classifier(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a linear classifier."""
    decision = affine(graph, matrix(graph, blocks).tensor, estimator.coef_, estimator.intercept_)
    several = getattr(getattr(estimator, "_label_binarizer", None), "y_type_", "").startswith("multilabel")
    if several:
        signs = [column(graph, decision, at) for at in range(np.shape(estimator.coef_)[0])]
        return Answer(choices=tuple(by_sign(graph, np.array([0, 1]), one) for one in signs))
    told = _linear_chances(graph, estimator, decision) if hasattr(estimator, "predict_proba") else None
    return Answer(choices=(by_sign(graph, estimator.classes_, decision, told),))


def _linear_chances(graph: Graph, estimator: Any, decision: str) -> str:
    kind = type(estimator).__name__
    if kind == "SGDClassifier" and estimator.loss != "log_loss":
        if len(estimator.classes_) > 2:
            raise refusal(f"an SGDClassifier of several classes with the loss {estimator.loss} gives probabilities")
        inside = graph.add("Min", graph.add("Max", decision, np.array([-1.0])), np.ones(1))
        return both(graph, graph.add("Div", graph.add("Add", inside, np.ones(1)), np.array([2.0])))
    if len(estimator.classes_) == 2:
        return both(graph, graph.add("Sigmoid", decision))
    if kind == "SGDClassifier" or getattr(estimator, "solver", "") == "liblinear":
        return normalised(graph, graph.add("Sigmoid", decision))
    return softmax(graph, decision)


@writes("MLPClassifier", "MLPRegressor")
def network(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a multi-layer perceptron."""
    tensor = matrix(graph, blocks).tensor
    last = len(estimator.coefs_) - 1
    for at, (weights, shift) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        tensor = affine(graph, tensor, weights.T, shift)
        tensor = _activated(graph, tensor, estimator.activation if at < last else estimator.out_activation_)
    if not hasattr(estimator, "classes_"):
        return Answer(tensor)
    if estimator.out_activation_ == "softmax":
        return Answer(choices=(likeliest(graph, estimator.classes_, tensor),))
    outputs = [column(graph, tensor, at) for at in range(estimator.n_outputs_)]
    classes = estimator.classes_ if len(outputs) == 1 else np.array([0, 1])
    return Answer(choices=tuple(above_half(graph, classes, one) for one in outputs))


def above_half(graph: Graph, classes: npt.NDArray[Any], chance: str, threshold: float = 0.5) -> Choice:
    """Return the choice of the second class where its chance is above one half."""
    above = graph.cast(graph.add("Greater", chance, np.array([threshold])), TensorProto.INT64)
    return Choice(classes, above, both(graph, chance))


def _activated(graph: Graph, tensor: str, kind: str) -> str:
    match kind:
        case "identity":
            return tensor
        case "softmax":
            return softmax(graph, tensor)
        case "relu":
            return graph.add("Relu", tensor)
        case "tanh":
            return graph.add("Tanh", tensor)
        case "logistic":
            return graph.add("Sigmoid", tensor)
        case _:
            raise refusal(f"the network has the activation {kind}")


@writes("GaussianNB")
def gaussian_bayes(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a Gaussian naive Bayes classifier."""
    tensor = matrix(graph, blocks).tensor
    parts = []
    for mean, variance, prior in zip(estimator.theta_, estimator.var_, estimator.class_prior_, strict=True):
        apart = graph.add("Sub", tensor, mean)
        squares = graph.add("Div", graph.add("Mul", apart, apart), variance)
        total = graph.add("ReduceSum", squares, np.array([1]), keepdims=1)
        fixed = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        parts.append(graph.add("Sub", np.array([fixed]), graph.add("Mul", total, np.array([0.5]))))
    return _bayes(graph, estimator, graph.add("Concat", *parts, axis=1))


@writes("MultinomialNB", "ComplementNB", "BernoulliNB")
def discrete_bayes(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a naive Bayes classifier of counts or of what is there."""
    tensor = matrix(graph, blocks).tensor
    weights = estimator.feature_log_prob_
    prior = np.asarray(estimator.class_log_prior_, dtype=np.float64)
    if type(estimator).__name__ == "BernoulliNB":
        if estimator.binarize is not None:
            above = graph.add("Greater", tensor, np.array([float(estimator.binarize)]))
            tensor = graph.cast(above, TensorProto.DOUBLE)
        absent = np.log(1 - np.exp(weights))
        weights, prior = weights - absent, prior + absent.sum(axis=1)
    elif type(estimator).__name__ == "ComplementNB" and len(estimator.classes_) > 1:
        prior = np.zeros(len(estimator.classes_))
    return _bayes(graph, estimator, affine(graph, tensor, weights, prior))


def _bayes(graph: Graph, estimator: Any, joint: str) -> Answer:
    place = graph.add("ArgMax", joint, axis=1, keepdims=1)
    return Answer(choices=(Choice(estimator.classes_, place, softmax(graph, joint)),))


@writes("QuadraticDiscriminantAnalysis")
def quadratic(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a quadratic discriminant analysis."""
    tensor = matrix(graph, blocks).tensor
    parts = []
    for mean, rotation, scale, prior in zip(
        estimator.means_, estimator.rotations_, estimator.scalings_, estimator.priors_, strict=True
    ):
        turned = graph.add("MatMul", graph.add("Sub", tensor, mean), rotation * scale**-0.5)
        total = graph.add("ReduceSum", graph.add("Mul", turned, turned), np.array([1]), keepdims=1)
        fixed = -0.5 * np.sum(np.log(scale)) + np.log(prior)
        parts.append(graph.add("Sub", np.array([fixed]), graph.add("Mul", total, np.array([0.5]))))
    joint = graph.add("Concat", *parts, axis=1)
    decision = joint
    if len(estimator.classes_) == 2:
        decision = graph.add("Sub", column(graph, joint, 1), column(graph, joint, 0))
    return Answer(choices=(by_sign(graph, estimator.classes_, decision, softmax(graph, joint)),))


@writes("SGDOneClassSVM")
def linear_one_class(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a linear one-class support vector machine."""
    decision = affine(graph, matrix(graph, blocks).tensor, estimator.coef_, -np.asarray(estimator.offset_))
    return Answer(choices=(by_sign(graph, _INLIER, decision, zero_is_first=False),))


@writes("EllipticEnvelope")
def envelope(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an elliptic envelope."""
    apart = graph.add("Sub", matrix(graph, blocks).tensor, estimator.location_)
    turned = graph.add("MatMul", apart, np.asarray(estimator.get_precision(), dtype=np.float64))
    distance = graph.add("ReduceSum", graph.add("Mul", turned, apart), np.array([1]), keepdims=1)
    decision = graph.add("Neg", graph.add("Add", distance, np.array([float(estimator.offset_)])))
    return Answer(choices=(by_sign(graph, _INLIER, decision, zero_is_first=False),))


@writes("DummyClassifier", "DummyRegressor")
def dummy(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the same answer to every row."""
    nothing = none_of(graph, matrix(graph, blocks).tensor)
    if hasattr(estimator, "constant_"):
        return Answer(graph.add("Add", nothing, np.asarray(estimator.constant_, dtype=np.float64).reshape(1, -1)))
    if estimator.n_outputs_ != 1 or estimator.strategy not in ("prior", "most_frequent", "constant"):
        raise refusal("the DummyClassifier answers by chance, or has several outputs")
    told = estimator.predict_proba(np.zeros((1, 1)))
    place = int(np.argmax(told if estimator.strategy != "prior" else estimator.class_prior_))
    chosen = graph.add("Add", nothing, np.array([float(place)]))
    return Answer(
        choices=(Choice(estimator.classes_, graph.cast(chosen, TensorProto.INT64), graph.add("Add", nothing, told)),)
    )
