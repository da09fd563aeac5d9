"""A fitted estimator becomes that ONNX model, of several ways to write it, that agrees best with it on real rows.

scikit-learn computes its preprocessing in float64 and rounds to float32 only where a tree takes the numbers. The ways:

1. *one cast*: preprocessing in float64 (`onnx_preprocess`), one cast to float32, then the estimator;
2. *float64*: the same without the cast, which suits all that is linear;
3. *float32*: everything by skl2onnx alone.

Trees begin with the first; others, and HistGradientBoosting, which compares in float64, with the second. The first way
that agrees within 1e-6 on every row and label is taken at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlnb.errors import ModelError
from mlnb.model.inference import Specimen
from mlnb.model.onnx_convert import convert_as, convert_whole, faults, loads
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_preprocess import Block, emit, matrix, refusal
from mlnb.model.onnx_trees import in_doubles, is_histogram
from mlnb.model.parity import Parity, measure
from mlnb.model.scorer import OnnxRuntime
from mlnb.model.signature import Column

_CLOSE = 1e-6
_TREES = ("sklearn.tree", "sklearn.ensemble")


@dataclass(frozen=True, slots=True)
class Built:
    """One way that could be written and scored."""

    content: bytes
    way: str
    parity: Parity


def build_onnx(estimator: Any, specimen: Specimen, limit: float) -> Built:
    """Return the most faithful ONNX model of an estimator.

    Raises
    ------
    ModelError
        If no way can be written; its problem says why the first cannot.
    """
    steps, final = _split(estimator)
    if getattr(final, "is_categorical_", None) is not None:
        raise refusal(
            f"{type(final).__name__} has native categories, which the converter would turn into comparisons of numbers"
        )
    columns = specimen.signature.features or specimen.signature.inputs
    outputs = 1 + specimen.signature.probabilities
    one_cast: _Way = ("one cast to float32", lambda: _compose(steps, final, columns, outputs, double=False))
    double: _Way = ("float64", lambda: _compose(steps, final, columns, outputs, double=True))
    single: _Way = ("float32", lambda: convert_whole(estimator, columns))
    trees = type(final).__module__.startswith(_TREES) and not is_histogram(final)
    built: list[Built] = []
    why: list[str] = []
    for way, write in [one_cast, double, single] if trees else [double, one_cast, single]:
        try:
            content = write()
            loads(content)
            built.append(Built(content, way, _measured(content, specimen, limit)))
        except faults() as error:
            told = error.problem if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            why.append(" ".join(told.split())[:200])
            continue
        if built[-1].parity.flips == 0 and built[-1].parity.max_abs <= min(_CLOSE, limit):
            break
    if not built:
        raise refusal(why[0])
    return min(built, key=lambda one: (not one.parity.passed, one.parity.flips, one.parity.max_abs))


_Way = tuple[str, Callable[[], bytes]]


def _split(estimator: Any) -> tuple[list[Any], Any]:
    """Return the transformers before the last estimator, and that estimator; a search is its best estimator."""
    from sklearn.pipeline import Pipeline

    steps: list[Any] = []
    while True:
        if isinstance(estimator, Pipeline):
            steps += [step for _, step in estimator.steps[:-1]]
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_") and hasattr(estimator, "cv_results_"):
            estimator = estimator.best_estimator_
        else:
            break
    return steps, estimator


def _compose(steps: Sequence[Any], final: Any, columns: Sequence[Column], outputs: int, *, double: bool) -> bytes:
    from onnx import TensorProto

    graph = Graph()
    blocks = [_block(graph, column) for column in columns]
    for step in steps:
        blocks = emit(graph, step, blocks)
    block = matrix(graph, blocks)
    model = convert_as(final, block.width or int(final.n_features_in_), double=double)
    if double and is_histogram(final):
        model = in_doubles(model, final)
    made = graph.embed(model, block.tensor if double else graph.cast(block.tensor, TensorProto.FLOAT))
    for at, tensor in enumerate(made[:outputs]):
        declared = model.graph.output[at].type.tensor_type
        name = ("mlnb.prediction", "mlnb.probabilities")[at]
        graph.output(tensor, name, declared.elem_type, max(1, len(declared.shape.dim)))
    return graph.finish()


def _block(graph: Graph, column: Column) -> Block:
    kind = {"string": "text", "datetime": "date"}.get(column.dtype, "number")
    return Block(graph.input(column.name, text=kind == "text"), 1, kind)


def _measured(content: bytes, specimen: Specimen, limit: float) -> Parity:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        runtime = OnnxRuntime(Path(file.name), specimen.signature)
    got = runtime.score(specimen.features)
    return measure(specimen.expected, got, specimen.signature.task, limit)
