"""A fitted estimator becomes its answer in an ONNX graph: numbers, or a class and its chances for each output.

What is known of an estimator is a *writer*, found by the name of its class in a library that is known here; an
estimator that holds others asks `answer` for theirs. One without a writer is converted by skl2onnx, in float64 where
onnxruntime takes that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.model.onnx_blocks import Block, matrix, refusal
from mlnb.model.onnx_convert import convert
from mlnb.model.onnx_graph import ML, Graph

Classes: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a classifier says of one output.

    Attributes
    ----------
    classes : array
        Its labels.
    place : str
        Tensor of the label's place among them: whole numbers of shape (rows, 1).
    chances : str or None
        Tensor of doubles of shape (rows, classes).
    decision : str or None
        Tensor of what ``decision_function`` gives: doubles of shape (rows, 1) for two classes, else (rows, classes).
    """

    classes: Classes
    place: str
    chances: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an estimator says of all outputs: numbers of shape (rows, outputs) in a tensor, or choices."""

    numbers: str | None = None
    choices: tuple[Choice, ...] = ()


Writer: TypeAlias = Callable[[Graph, Any, Sequence[Block]], Answer]
_WRITERS: dict[str, Writer] = {}
_LIBRARIES = ("sklearn.", "xgboost.", "lightgbm.", "catboost.")
_KNOWN = ("sklearn.", "xgboost.", "lightgbm.", "catboost.", "skorch.", "mlnb.")  # whose classes have writers


def writes(*names: str) -> Callable[[Writer], Writer]:
    """Return a decorator that makes a function the writer of the libraries' classes of these names."""

    def keep(writer: Writer) -> Writer:
        for name in names:
            _WRITERS[name] = writer
        return writer

    return keep


def answer(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Append a fitted estimator to the graph.

    Raises
    ------
    ModelError
        If it cannot be expressed.
    """
    writer = _WRITERS.get(type(estimator).__name__) if type(estimator).__module__.startswith(_KNOWN) else None
    return writer(graph, estimator, blocks) if writer is not None else _stock(graph, estimator, blocks)


def numbers(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> str:
    """Append a fitted regressor and return the tensor of its numbers, of shape (rows, outputs)."""
    made = answer(graph, estimator, blocks).numbers
    if made is None:
        raise refusal(f"{type(estimator).__name__} gives labels where numbers are needed")
    return made


def choice(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Choice:
    """Append a fitted classifier of one output."""
    made = answer(graph, estimator, blocks).choices
    if len(made) != 1:
        raise refusal(f"{type(estimator).__name__} does not give one label")
    return made[0]


def chances(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> str:
    """Append a fitted classifier and return the tensor of its probabilities."""
    made = choice(graph, estimator, blocks).chances
    if made is None:
        raise refusal(f"{type(estimator).__name__} gives no probabilities")
    return made


def floats32(graph: Graph, tensor: str) -> str:
    """Round doubles as scikit-learn's trees round what they are given, and return them as doubles again."""
    return graph.cast(graph.cast(tensor, TensorProto.FLOAT), TensorProto.DOUBLE)


def likeliest(graph: Graph, classes: Classes, chances: str, decision: str | None = None) -> Choice:
    """Return the choice of the largest chance, the first of equal ones."""
    return Choice(classes, graph.add("ArgMax", chances, axis=1, keepdims=1), chances, decision)


def by_sign(
    graph: Graph, classes: Classes, decision: str, chances: str | None = None, *, zero_is_first: bool = True
) -> Choice:
    """Return the choice of a decision: between two classes by its sign, among more the largest."""
    if len(classes) > 2:
        return Choice(classes, graph.add("ArgMax", decision, axis=1, keepdims=1), chances, decision)
    above = graph.add("Greater" if zero_is_first else "GreaterOrEqual", decision, np.zeros(1))
    return Choice(classes, graph.cast(above, TensorProto.INT64), chances, decision)


def both(graph: Graph, positive: str) -> str:
    """Return the chances of two classes from that of the second, of shape (rows, 1)."""
    return graph.add("Concat", graph.add("Sub", np.ones(1), positive), positive, axis=1)


def softmax(graph: Graph, tensor: str) -> str:
    """Append what ``sklearn.utils.extmath.softmax`` does."""
    top = graph.add("ReduceMax", tensor, np.array([1]), keepdims=1)
    return normalised(graph, graph.add("Exp", graph.add("Sub", tensor, top)))


def normalised(graph: Graph, tensor: str) -> str:
    """Divide each row by its sum."""
    return graph.add("Div", tensor, graph.add("ReduceSum", tensor, np.array([1]), keepdims=1))


def column(graph: Graph, tensor: str, at: int) -> str:
    """Return one column, of shape (rows, 1)."""
    return graph.add("Gather", tensor, np.array([at]), axis=1)


def none_of(graph: Graph, tensor: str) -> str:
    """Return a column of zeros with as many rows."""
    return graph.add("Mul", graph.cast(graph.add("IsNaN", column(graph, tensor, 0)), TensorProto.DOUBLE), np.zeros(1))


def mean(graph: Graph, tensors: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """Return the average of several tensors, summed in their order."""
    scaled = list(tensors)
    if weights is not None:
        scaled = [
            graph.add("Mul", one, np.array([float(weight)])) for one, weight in zip(tensors, weights, strict=True)
        ]
    total = scaled[0]
    for one in scaled[1:]:
        total = graph.add("Add", total, one)
    return graph.add("Div", total, np.array([float(len(tensors) if weights is None else np.sum(weights))]))


@writes("Pipeline")
def _pipeline(graph: Graph, pipeline: Any, blocks: Sequence[Block]) -> Answer:
    from mlnb.model.onnx_preprocess import emit

    made = list(blocks)
    for _, step in pipeline.steps[:-1]:
        made = emit(graph, step, made)
    return answer(graph, pipeline.steps[-1][1], made)


@writes("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
def _search(graph: Graph, search: Any, blocks: Sequence[Block]) -> Answer:
    return answer(graph, search.best_estimator_, blocks)


@writes("FrozenEstimator")
def _frozen(graph: Graph, frozen: Any, blocks: Sequence[Block]) -> Answer:
    return answer(graph, frozen.estimator, blocks)


def _stock(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Convert by skl2onnx."""
    block = matrix(graph, blocks)
    model, double = convert(estimator, block.width or int(estimator.n_features_in_))
    made = graph.embed(model, block.tensor if double else graph.cast(block.tensor, TensorProto.FLOAT))
    if not hasattr(estimator, "classes_"):
        shaped = graph.add("Reshape", made[0], np.array([-1, _width(model)]))
        return Answer(graph.cast(shaped, TensorProto.DOUBLE))
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1 or classes.dtype.kind == "f":
        raise refusal(f"{type(estimator).__name__} was converted to something that is no label")
    if classes.dtype.kind in "OU":
        keys = [str(one) for one in classes]
        places = list(range(len(keys)))
        found = graph.add("LabelEncoder", made[0], domain=ML, keys_strings=keys, values_int64s=places)
    else:
        labels = graph.cast(made[0], TensorProto.INT64)
        equal = graph.add("Equal", graph.add("Reshape", labels, np.array([-1, 1])), classes.astype(np.int64)[None, :])
        found = graph.add("ArgMax", graph.cast(equal, TensorProto.FLOAT), axis=1)
    told = graph.cast(made[1], TensorProto.DOUBLE) if hasattr(estimator, "predict_proba") else None
    return Answer(choices=(Choice(classes, graph.add("Reshape", found, np.array([-1, 1])), told),))


def _width(model: Any) -> int:
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return int(dims[1].dim_value) if len(dims) > 1 and dims[1].dim_value else 1
