"""Estimators that ask others become their answers put together, in the order in which scikit-learn sums them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.onnx_answers import (
    Answer,
    Choice,
    answer,
    both,
    by_sign,
    chances,
    choice,
    column,
    likeliest,
    mean,
    numbers,
    softmax,
    writes,
)
from mlnb.model.onnx_blocks import Block, matrix, refusal, singles
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_numeric import interpolate

_BINARY = np.array([0, 1])


def _whole(graph: Graph, blocks: Sequence[Block]) -> list[Block]:
    """Return columns of numbers as one block, so that several estimators read the same tensor."""
    return [matrix(graph, blocks)] if all(block.kind == "number" for block in blocks) else list(blocks)


def _votes(graph: Graph, place: str, count: int) -> str:
    """Return one for the class at the place and zero for others, of shape (rows, count)."""
    return graph.cast(graph.add("Equal", place, np.arange(count)[None, :]), TensorProto.DOUBLE)


@writes("VotingClassifier")
def voting(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a vote, or an average of probabilities."""
    given, count = _whole(graph, blocks), len(estimator.classes_)
    weights = estimator._weights_not_none
    if estimator.voting == "soft":
        told = [chances(graph, one, given) for one in estimator.estimators_]
        return Answer(choices=(likeliest(graph, estimator.classes_, mean(graph, told, weights)),))
    votes = [_votes(graph, choice(graph, one, given).place, count) for one in estimator.estimators_]
    total = mean(graph, votes, weights)
    return Answer(choices=(Choice(estimator.classes_, graph.add("ArgMax", total, axis=1, keepdims=1)),))


@writes("VotingRegressor")
def voting_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an average."""
    given = _whole(graph, blocks)
    return Answer(
        mean(graph, [numbers(graph, one, given) for one in estimator.estimators_], estimator._weights_not_none)
    )


@writes("BaggingClassifier")
def bagging(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an average of probabilities, or of votes, each of some of the columns."""
    columns, count = singles(graph, blocks), len(estimator.classes_)
    parts = []
    for one, features in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        made = choice(graph, one, _taken(graph, columns, features))
        if made.chances is None:
            parts.append(_votes(graph, made.place, count))
        else:
            parts.append(_spread(graph, made.chances, one.classes_, count))
    return Answer(choices=(likeliest(graph, estimator.classes_, mean(graph, parts)),))


@writes("BaggingRegressor")
def bagging_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an average, each of some of the columns."""
    columns = singles(graph, blocks)
    pairs = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    return Answer(mean(graph, [numbers(graph, one, _taken(graph, columns, features)) for one, features in pairs]))


def _taken(graph: Graph, columns: Sequence[Block], features: Any) -> list[Block]:
    taken = [columns[at] for at in np.arange(len(columns))[features]]
    return _whole(graph, taken)


def _spread(graph: Graph, told: str, classes: npt.NDArray[Any], count: int) -> str:
    """Return the chances of some of the classes as those of all."""
    if len(classes) == count:
        return told
    spread = np.zeros((len(classes), count))
    spread[np.arange(len(classes)), np.asarray(classes, dtype=np.int64)] = 1.0
    return graph.add("MatMul", told, spread)


@writes("AdaBoostClassifier")
def adaboost(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write weighted votes (SAMME)."""
    given, classes = _whole(graph, blocks), np.asarray(estimator.classes_)
    count, weights = len(classes), np.asarray(estimator.estimator_weights_)
    total = ""
    for one, weight in zip(estimator.estimators_, weights, strict=False):
        made = choice(graph, one, given)
        table = np.where(np.asarray(made.classes)[:, None] == classes[None, :], weight, -1 / (count - 1) * weight)
        said = graph.add("Reshape", graph.add("Gather", table, made.place, axis=0), np.array([-1, count]))
        total = graph.add("Add", total, said) if total else said
    total = graph.add("Div", total, np.array([float(weights.sum())]))
    if count == 2:
        decision = graph.add("Sub", column(graph, total, 1), column(graph, total, 0))
        half = graph.add("Div", decision, np.array([2.0]))
        told = softmax(graph, graph.add("Concat", graph.add("Neg", half), half, axis=1))
        return Answer(choices=(by_sign(graph, classes, decision, told),))
    told = softmax(graph, graph.add("Div", total, np.array([count - 1.0])))
    return Answer(choices=(by_sign(graph, classes, total, told),))


@writes("AdaBoostRegressor")
def adaboost_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the weighted median of the answers."""
    given = _whole(graph, blocks)
    told = [numbers(graph, one, given) for one in estimator.estimators_]
    whole = told[0] if len(told) == 1 else graph.add("Concat", *told, axis=1)
    weights = np.asarray(estimator.estimator_weights_, dtype=np.float64)[: len(told)]
    ordered, order = graph.add_several("TopK", 2, whole, np.array([len(told)]), axis=1, largest=0, sorted=1)
    sums = graph.add("CumSum", graph.add("Gather", weights, order, axis=0), np.array(1))
    half = graph.add("Mul", graph.add("Gather", sums, np.array([len(told) - 1]), axis=1), np.array([0.5]))
    reached = graph.cast(graph.add("GreaterOrEqual", sums, half), TensorProto.DOUBLE)
    median = graph.add("ArgMax", reached, axis=1, keepdims=1)
    return Answer(graph.add("GatherElements", ordered, median, axis=1))


@writes("CalibratedClassifierCV")
def calibrated(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write calibrated probabilities."""
    given = _whole(graph, blocks)
    parts = [_calibrated(graph, one, given) for one in estimator.calibrated_classifiers_]
    graph.repaired("calibration in float64")
    return Answer(choices=(likeliest(graph, estimator.classes_, mean(graph, parts)),))


def _calibrated(graph: Graph, part: Any, blocks: Sequence[Block]) -> str:
    made = choice(graph, part.estimator, blocks)
    count, own = len(part.classes), np.asarray(part.estimator.classes_)
    if len(own) != count:
        raise refusal("a calibrated classifier does not know all classes")
    raw = made.decision if hasattr(part.estimator, "decision_function") else made.chances
    if raw is None:
        raise refusal("a calibrated classifier gives neither a decision nor probabilities in ONNX")
    decides = hasattr(part.estimator, "decision_function")
    if part.method == "temperature":
        return _tempered(graph, part, raw, decides)
    if count == 2:
        only = raw if decides else column(graph, raw, 1)
        return both(graph, _calibrate(graph, part.calibrators[0], only))
    columns = [_calibrate(graph, one, column(graph, raw, at)) for at, one in enumerate(part.calibrators)]
    whole = graph.add("Concat", *columns, axis=1)
    total = graph.add("ReduceSum", whole, np.array([1]), keepdims=1)
    empty = graph.add("Equal", total, np.zeros(1))
    shared = graph.add("Div", whole, graph.add("Where", empty, np.ones(1), total))
    return graph.add("Where", empty, np.full((1, count), 1 / count), shared)


def _tempered(graph: Graph, part: Any, raw: str, decides: bool) -> str:
    calibrator = part.calibrators[0]
    if decides and len(part.classes) == 2:
        raise refusal("a temperature calibrates the decision of two classes")
    if not decides:
        raw = graph.add("Log", graph.add("Add", raw, np.array([float(np.finfo(np.float64).eps)])))
    return softmax(graph, graph.add("Mul", raw, np.array([float(calibrator.beta_)])))


def _calibrate(graph: Graph, calibrator: Any, tensor: str) -> str:
    if type(calibrator).__name__ == "IsotonicRegression":
        return interpolate(graph, tensor, calibrator.X_thresholds_, calibrator.y_thresholds_)
    scaled = graph.add(
        "Add", graph.add("Mul", tensor, np.array([float(calibrator.a_)])), np.array([float(calibrator.b_)])
    )
    return graph.add("Sigmoid", graph.add("Neg", scaled))


@writes("IsotonicRegression")
def isotonic(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an isotonic regression."""
    if estimator.out_of_bounds != "clip":
        raise refusal("the IsotonicRegression refuses values that it has not seen, or gives none")
    tensor = matrix(graph, blocks).tensor
    return Answer(interpolate(graph, tensor, estimator.X_thresholds_, estimator.y_thresholds_))


@writes("StackingClassifier", "StackingRegressor")
def stacking(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write an estimator of others' answers."""
    given = _whole(graph, blocks)
    parts = []
    for one, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        parts.append(_stacked(graph, estimator, answer(graph, one, given), method))
    if estimator.passthrough:
        parts.append(matrix(graph, given).tensor)
    whole = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    made = answer(graph, estimator.final_estimator_, [Block(whole, int(estimator.final_estimator_.n_features_in_))])
    if made.numbers is not None:
        return made
    final = made.choices[0]
    return Answer(choices=(Choice(estimator.classes_, final.place, final.chances, final.decision),))


def _stacked(graph: Graph, estimator: Any, made: Answer, method: str) -> str:
    if made.numbers is not None:
        return made.numbers
    (found,) = made.choices
    told = {"predict_proba": found.chances, "decision_function": found.decision}.get(method)
    if method == "predict":
        return graph.cast(found.place, TensorProto.DOUBLE)
    if told is None:
        raise refusal(f"an estimator of the stack does not give {method} in ONNX")
    return column(graph, told, 1) if method == "predict_proba" and len(estimator.classes_) == 2 else told


@writes("OneVsRestClassifier")
def one_vs_rest(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write one classifier for each class or label."""
    given = _whole(graph, blocks)
    if any(type(one).__name__ == "_ConstantPredictor" for one in estimator.estimators_):
        raise refusal("a class of the OneVsRestClassifier was never, or always, in its data")
    made = [choice(graph, one, given) for one in estimator.estimators_]
    scores = [_score(graph, one) for one in made]
    told = [one.chances for one in made if one.chances is not None]
    if estimator.multilabel_:
        return Answer(choices=tuple(Choice(_BINARY, one.place, one.chances) for one in made))
    positive = [column(graph, one, 1) for one in told] if hasattr(estimator, "predict_proba") else []
    if len(made) == 1:
        whole = both(graph, positive[0]) if positive else None
        return Answer(choices=(Choice(estimator.classes_, made[0].place, whole, made[0].decision),))
    ranked = graph.add("Concat", *scores, axis=1)
    place = graph.add("ArgMax", ranked, axis=1, keepdims=1)
    chances_of = None
    if positive:
        whole = graph.add("Concat", *positive, axis=1)
        total = graph.add("ReduceSum", whole, np.array([1]), keepdims=1)
        some = graph.add("Where", graph.add("Equal", total, np.zeros(1)), np.ones(1), total)
        chances_of = graph.add("Div", whole, some)
    return Answer(choices=(Choice(estimator.classes_, place, chances_of, ranked),))


def _score(graph: Graph, made: Choice) -> str:
    """Return what tells how much a binary classifier is for its second class, of shape (rows, 1)."""
    if made.decision is not None:
        return made.decision
    if made.chances is None:
        raise refusal("a binary classifier gives neither a decision nor probabilities in ONNX")
    return column(graph, made.chances, 1)


@writes("OneVsOneClassifier")
def one_vs_one(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write one classifier for each pair of classes."""
    given, count = _whole(graph, blocks), len(estimator.classes_)
    if count == 2 or estimator.pairwise_indices_ is not None:
        raise refusal("the OneVsOneClassifier has two classes or a kernel")
    made = [choice(graph, one, given) for one in estimator.estimators_]
    places = graph.cast(graph.add("Concat", *(one.place for one in made), axis=1), TensorProto.DOUBLE)
    scores = graph.add("Concat", *(_score(graph, one) for one in made), axis=1)
    first, second = np.zeros((len(made), count)), np.zeros((len(made), count))
    for at, (i, j) in enumerate(combinations(range(count), 2)):
        first[at, i], second[at, j] = 1.0, 1.0
    votes = graph.add("Add", graph.add("MatMul", places, second - first), first.sum(axis=0))
    sums = graph.add("MatMul", scores, second - first)
    bounded = graph.add("Mul", np.array([3.0]), graph.add("Add", graph.add("Abs", sums), np.ones(1)))
    decision = graph.add("Add", votes, graph.add("Div", sums, bounded))
    return Answer(choices=(by_sign(graph, estimator.classes_, decision),))


@writes("MultiOutputClassifier")
def multi_output(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write one classifier for each output."""
    given = _whole(graph, blocks)
    return Answer(choices=tuple(choice(graph, one, given) for one in estimator.estimators_))


@writes("MultiOutputRegressor")
def multi_output_regressor(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write one regressor for each output."""
    given = _whole(graph, blocks)
    told = [numbers(graph, one, given) for one in estimator.estimators_]
    return Answer(told[0] if len(told) == 1 else graph.add("Concat", *told, axis=1))


@writes("ClassifierChain", "RegressorChain")
def chain(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write estimators that each see what those before have said."""
    block = matrix(graph, blocks)
    method = getattr(estimator, "chain_method_", "predict")
    made: list[Answer] = []
    tensor = block.tensor
    for at, one in enumerate(estimator.estimators_):
        made.append(answer(graph, one, [Block(tensor, block.width + at if block.width else 0)]))
        tensor = graph.add("Concat", tensor, _told(graph, made[-1], method), axis=1)
    order = np.argsort(estimator.order_)
    if made[0].numbers is not None:
        told = [str(made[at].numbers) for at in order]
        return Answer(graph.add("Concat", *told, axis=1))
    return Answer(choices=tuple(made[at].choices[0] for at in order))


def _told(graph: Graph, made: Answer, method: str) -> str:
    if made.numbers is not None:
        return made.numbers
    (found,) = made.choices
    if method == "predict":
        return graph.add(
            "Reshape", graph.add("Gather", found.classes.astype(np.float64), found.place, axis=0), np.array([-1, 1])
        )
    if method == "decision_function" and found.decision is not None:
        return found.decision
    if method == "predict_proba" and found.chances is not None:
        return column(graph, found.chances, 1)
    raise refusal(f"a classifier of the chain does not give {method} in ONNX")


@writes("FixedThresholdClassifier", "TunedThresholdClassifierCV")
def thresholded(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a classifier of two classes with a threshold of its own."""
    made = choice(graph, estimator.estimator_, blocks)
    classes = np.asarray(estimator.classes_)
    method = getattr(estimator, "_response_method", None) or getattr(estimator, "response_method", "auto")
    proba = hasattr(estimator.estimator_, "predict_proba") and method != "decision_function"
    threshold = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", "auto"))
    at = 0.5 if proba else 0.0
    at = at if threshold == "auto" else float(threshold)
    label = getattr(estimator, "pos_label", None)
    positive = 1 if label is None else int(np.flatnonzero(classes == label)[0])
    if proba:
        score = column(graph, made.chances, positive) if made.chances else ""
    else:
        score = made.decision or ""
        score = graph.add("Neg", score) if score and positive == 0 else score
    if not score:
        raise refusal("a classifier with a threshold gives no score in ONNX")
    above = graph.cast(graph.add("GreaterOrEqual", score, np.array([at])), TensorProto.INT64)
    place = graph.add("Gather", np.array([1 - positive, positive]), above, axis=0)
    return Answer(choices=(Choice(classes, place, made.chances, made.decision),))


@writes("SelfTrainingClassifier")
def self_training(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the classifier that was trained."""
    return answer(graph, estimator.estimator_, blocks)


@writes("RFE", "RFECV")
def eliminated(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the estimator of the columns that were kept."""
    columns = singles(graph, blocks)
    return answer(graph, estimator.estimator_, [columns[at] for at in estimator.get_support(indices=True)])


@writes("OutputCodeClassifier")
def output_code(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write the nearest code of several binary classifiers' answers."""
    given = _whole(graph, blocks)
    told = [_score(graph, choice(graph, one, given)) for one in estimator.estimators_]
    codes = np.asarray(estimator.code_book_, dtype=np.float64)
    product = graph.add("MatMul", graph.add("Concat", *told, axis=1), np.ascontiguousarray(-2 * codes.T))
    place = graph.add("ArgMin", graph.add("Add", product, (codes**2).sum(axis=1)), axis=1, keepdims=1)
    return Answer(choices=(Choice(np.asarray(estimator.classes_), place),))
