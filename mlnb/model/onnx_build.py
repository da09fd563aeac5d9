"""A fitted estimator becomes that ONNX model, of several ways to write it, that agrees best with it on real rows.

scikit-learn computes in float64 and rounds to float32 only where a tree takes the numbers. The ways, in this order:

1. *float64*: all steps by mlnb's own writers (`onnx_preprocess`, `onnx_answers`), those of skl2onnx where it has none;
2. *float32*: everything by skl2onnx alone.

The first way that agrees within 1e-6 on every row and label is taken at once; else the one that agrees best. The way is
told with the repairs in it: what was written otherwise than skl2onnx would have.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from mlnb.errors import InexactError, ModelError
from mlnb.model import (  # noqa: F401 -- they register their writers
    networks,
    onnx_boosters,
    onnx_ensembles,
    onnx_forests,
    onnx_kernels,
    onnx_linear,
    onnx_nearest,
    onnx_targets,
)
from mlnb.model.inference import Specimen
from mlnb.model.kinds import NESTED, Column
from mlnb.model.onnx_answers import Answer, Choice, answer, column, none_of
from mlnb.model.onnx_blocks import Block, matrix, refusal
from mlnb.model.onnx_convert import convert_whole, faults, loads
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_preprocess import emit
from mlnb.model.parity import Parity, measure
from mlnb.model.scorer import OnnxRuntime
from mlnb.model.signature import Signature

_CLOSE = 1e-6


@dataclass(frozen=True, slots=True)
class Built:
    """One way that could be written and scored.

    Attributes
    ----------
    content : bytes
        The model.
    way : str
        How it computes, with the repairs in it.
    parity : Parity
        How faithful it is on the specimen's rows.
    """

    content: bytes
    way: str
    parity: Parity


def build_onnx(estimator: Any, specimen: Specimen, limit: float) -> Built:
    """Return the most faithful ONNX model of an estimator.

    Raises
    ------
    InexactError
        If every way would be wrong on some rows, also where the sample has none of them.
    ModelError
        If no way can be written; its problem says why the first cannot.
    """
    columns = specimen.signature.features or specimen.signature.inputs
    ways: list[Callable[[], tuple[bytes, str]]] = [
        lambda: _composed(estimator, columns, specimen.signature),
        lambda: (convert_whole(estimator, columns), "float32"),
    ]
    built: list[Built] = []
    why: list[str] = []
    for write in ways:
        try:
            content, way = write()
            loads(content)
            built.append(Built(content, way, _measured(content, specimen, limit)))
        except InexactError:
            raise
        except faults() as error:
            told = error.problem if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            why.append(" ".join(told.split())[:200])
            continue
        if built[-1].parity.flips == 0 and built[-1].parity.max_abs <= min(_CLOSE, limit):
            break
    if not built:
        raise refusal(why[0])
    return min(built, key=lambda one: (not one.parity.passed, one.parity.flips, one.parity.max_abs))


def _composed(estimator: Any, columns: Sequence[Column], signature: Signature) -> tuple[bytes, str]:
    """Return the model that the writers make, and the way."""
    graph = Graph()
    alike = signature.frame or all(one.dtype == "float32" for one in columns)  # one array has one dtype
    blocks = [_block(graph, one, single=alike and one.dtype == "float32") for one in columns]
    if hasattr(estimator, "predict"):
        _declare(graph, answer(graph, estimator, blocks), signature)
    else:
        graph.output(matrix(graph, emit(graph, estimator, blocks)).tensor, "mlnb.prediction", TensorProto.DOUBLE, 2)
    return graph.finish(), "; ".join(["float64", *graph.repairs])


def _declare(graph: Graph, made: Answer, signature: Signature) -> None:
    """Declare an answer as the outputs of the graph, as `OnnxRuntime` reads them."""
    if made.numbers is not None:
        graph.output(made.numbers, "mlnb.prediction", TensorProto.DOUBLE, 2)
        return
    choices = made.choices
    labels = [graph.add("Gather", _labels(one), one.place, axis=0) for one in choices]
    kind = TensorProto.STRING if choices[0].classes.dtype.kind in "OU" else TensorProto.INT64
    nested = signature.task in NESTED
    whole = graph.add("Concat", *labels, axis=1) if nested else graph.add("Reshape", labels[0], np.array([-1]))
    graph.output(whole, "mlnb.prediction", kind, 1 + nested)
    if not signature.probabilities:
        return
    told = [one.chances for one in choices if one.chances is not None]
    if len(told) < len(choices):
        raise refusal("a classifier in it gives no probabilities in ONNX")
    if signature.task == "multilabel":
        places = [np.flatnonzero(one.classes == 1) for one in choices]
        told = [
            column(graph, one, int(at[0])) if len(at) else none_of(graph, one)
            for one, at in zip(told, places, strict=True)
        ]
        graph.output(graph.add("Concat", *told, axis=1), "mlnb.probabilities", TensorProto.DOUBLE, 2)
    elif nested:
        graph.output_sequence(told, "mlnb.probabilities", TensorProto.DOUBLE)
    else:
        graph.output(told[0], "mlnb.probabilities", TensorProto.DOUBLE, 2)


def _labels(one: Choice) -> Any:
    """Return the labels as texts or whole numbers."""
    if one.classes.dtype.kind in "OU":
        if not all(isinstance(label, str) for label in one.classes):
            raise refusal("its labels are neither all texts nor all numbers")
        return one.classes
    whole = one.classes.astype(np.int64)
    if len(set(whole.tolist())) < len(whole):
        raise refusal("its labels are numbers that whole numbers cannot tell apart")
    return whole


def _block(graph: Graph, one: Column, *, single: bool) -> Block:
    kind = {"string": "text", "datetime": "date"}.get(one.dtype, "number")
    return Block(graph.input(one.name, text=kind == "text", width=one.width), one.width, kind, single=single)


def _measured(content: bytes, specimen: Specimen, limit: float) -> Parity:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        runtime = OnnxRuntime(Path(file.name), specimen.signature)
    got = runtime.score(specimen.features)
    return measure(specimen.expected, got, specimen.signature.task, limit)
