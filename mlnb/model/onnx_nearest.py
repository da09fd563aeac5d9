"""Estimators that look for what is nearest become distances in float64: clusters, mixtures and neighbours.

A neighbour among equally near ones is a matter of the order in memory: where the fitted rows themselves leave that
open, the estimator is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.onnx_answers import Answer, Choice, column, likeliest, softmax, writes
from mlnb.model.onnx_blocks import Block, inexact, matrix, refusal
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_linear import affine, dense

_WIDE = 64


@writes("KMeans", "MiniBatchKMeans", "MeanShift", "AffinityPropagation", "Birch")
def clusters(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the nearest of several centres."""
    birch = type(estimator).__name__ == "Birch"
    centres = np.asarray(estimator.subcluster_centers_ if birch else estimator.cluster_centers_, dtype=np.float64)
    product = affine(graph, matrix(graph, blocks).tensor, -2 * centres, (centres**2).sum(axis=1))
    place = graph.add("ArgMin", product, axis=1, keepdims=1)
    if not birch:
        return Answer(choices=(Choice(np.arange(len(centres)), place),))
    known, places = np.unique(np.asarray(estimator.subcluster_labels_), return_inverse=True)
    return Answer(choices=(Choice(known, graph.add("Gather", places.astype(np.int64), place, axis=0)),))


@writes("NearestCentroid")
def centroids(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the nearest of the classes' centres."""
    if estimator.metric != "euclidean":
        raise refusal("the NearestCentroid does not measure straight")
    spread = np.asarray(estimator.within_class_std_dev_, dtype=np.float64)
    scale = np.where(spread != 0, spread, 1.0)
    tensor = graph.add("Div", matrix(graph, blocks).tensor, scale)
    scores = []
    for centre, prior in zip(estimator.centroids_ / scale, estimator.class_prior_, strict=True):
        total = _squares(graph, graph.add("Sub", tensor, centre))
        scores.append(graph.add("Sub", np.array([2.0 * np.log(prior)]), total))
    made = _discriminated(graph, estimator.classes_, graph.add("Concat", *scores, axis=1))
    if not np.isclose(estimator.class_prior_, 1 / len(estimator.classes_)).all():
        return Answer(choices=(made,))
    centres = np.asarray(estimator.centroids_, dtype=np.float64)
    product = affine(graph, matrix(graph, blocks).tensor, -2 * centres, (centres**2).sum(axis=1))
    place = graph.add("ArgMin", product, axis=1, keepdims=1)
    return Answer(choices=(Choice(made.classes, place, made.chances, made.decision),))


def _squares(graph: Graph, tensor: str) -> str:
    return graph.add("ReduceSum", graph.add("Mul", tensor, tensor), np.array([1]), keepdims=1)


def _discriminated(graph: Graph, classes: npt.NDArray[Any], scores: str) -> Choice:
    """Return the choice of the largest of the scores, which are logarithms of chances but for a term."""
    place = graph.add("ArgMax", scores, axis=1, keepdims=1)
    decision = scores
    if len(classes) == 2:
        decision = graph.add("Sub", column(graph, scores, 1), column(graph, scores, 0))
    return Choice(classes, place, softmax(graph, scores), decision)


@writes("GaussianMixture", "BayesianGaussianMixture")
def mixture(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a mixture of normal distributions."""
    tensor = matrix(graph, blocks).tensor
    means, cholesky = np.asarray(estimator.means_), np.asarray(estimator.precisions_cholesky_)
    count = len(means)
    distances = []
    for at, mean in enumerate(means):
        match estimator.covariance_type:
            case "full" | "tied":
                factor = cholesky[at] if estimator.covariance_type == "full" else cholesky
                turned = graph.add("Sub", graph.add("MatMul", tensor, np.ascontiguousarray(factor)), mean @ factor)
            case _:
                turned = graph.add("Mul", graph.add("Sub", tensor, mean), np.atleast_1d(cholesky[at]))
        distances.append(_squares(graph, turned))
    # the terms that no row changes are what scikit-learn gives at the means, where the distance is zero
    fixed = np.diag(estimator._estimate_log_prob(means)) + estimator._estimate_log_weights()
    whole = graph.add("Concat", *distances, axis=1) if count > 1 else distances[0]
    scores = graph.add("Sub", fixed, graph.add("Mul", whole, np.array([0.5])))
    return Answer(choices=(likeliest(graph, np.arange(count), softmax(graph, scores)),))


@writes("KNeighborsClassifier", "KNeighborsRegressor")
def neighbours(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the nearest of the rows that it was fitted with."""
    fitted, taught = np.asarray(dense(estimator._fit_X), dtype=np.float64), np.asarray(estimator._y)
    _refuse_chance(fitted, taught)
    straight = estimator.effective_metric_ == "euclidean" or (
        estimator.effective_metric_ == "minkowski" and estimator.effective_metric_params_.get("p", 2) == 2
    )
    if not straight or estimator.weights != "uniform" or fitted.shape[1] > _WIDE:
        raise refusal("neighbours are weighed, are not measured straight, or have too many columns")
    distance = _distances(graph, matrix(graph, blocks).tensor, fitted)
    count = np.array([estimator.n_neighbors])
    _, nearest = graph.add_several("TopK", 2, distance, count, axis=1, largest=0, sorted=1)
    graph.repaired("distances in float64")
    told = taught.reshape(len(taught), -1)
    if not hasattr(estimator, "classes_"):
        picked = graph.add("Gather", told.astype(np.float64), nearest, axis=0)
        return Answer(graph.add("ReduceMean", picked, np.array([1]), keepdims=0))
    several = isinstance(estimator.classes_, list)
    choices = []
    for at, classes in enumerate(estimator.classes_ if several else [estimator.classes_]):
        votes = np.equal.outer(told[:, at], np.arange(len(classes))).astype(np.float64)
        shares = graph.add("ReduceMean", graph.add("Gather", votes, nearest, axis=0), np.array([1]), keepdims=0)
        choices.append(likeliest(graph, np.asarray(classes), shares))
    return Answer(choices=tuple(choices))


def _refuse_chance(fitted: npt.NDArray[Any], taught: npt.NDArray[Any]) -> None:
    """Refuse rows that are equal but were taught differently: which of them is nearer is chance."""
    both = np.column_stack([fitted, taught.reshape(len(taught), -1)])
    if len(np.unique(fitted, axis=0)) < len(np.unique(both, axis=0)):
        raise inexact("which neighbour is nearest is chance: equal rows were taught different answers")


def _distances(graph: Graph, tensor: str, fitted: npt.NDArray[np.float64]) -> str:
    """Append squared distances, summed column by column, as the trees of scikit-learn sum them."""
    total = ""
    for at in range(fitted.shape[1]):
        apart = graph.add("Sub", column(graph, tensor, at), np.ascontiguousarray(fitted[:, at][None, :]))
        square = graph.add("Mul", apart, apart)
        total = graph.add("Add", total, square) if total else square
    return total
