"""Networks of PyTorch, alone or held by skorch, become operations of an ONNX graph, by PyTorch's own exporter.

The extra `mlnb[torch]` brings what that exporter needs. A network is traced in float32 on the CPU, in a copy, with any
number of rows; what skorch does to its result (softmax, sigmoid) is part of the trace. The answers of skorch are the
places of the classes, so that only labels 0, 1, ... can be told. What cannot be traced, such as a branch that depends
on the rows, is refused, and the network is kept as it is.

See https://docs.pytorch.org/docs/stable/onnx_export.html and https://skorch.readthedocs.io/en/stable/user/neuralnet.html.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from importlib.util import find_spec
from io import StringIO
from typing import Any

import numpy as np
from onnx import TensorProto

from mlnb.model.answers import Network
from mlnb.model.hooks import USER_FAULTS
from mlnb.model.onnx_answers import Answer, Choice, likeliest, writes
from mlnb.model.onnx_blocks import Block, matrix, refusal
from mlnb.model.onnx_graph import OPSETS, Graph

_ROWS = 2  # of the trace; with one row a dimension of any length is not told from one of length 1


@writes("Network", "NeuralNetRegressor")
def numbers(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a network whose results are the answers."""
    module = estimator.module if isinstance(estimator, Network) else estimator.module_
    return Answer(_embedded(graph, module, _same, blocks))


@writes("NeuralNetClassifier", "NeuralNetBinaryClassifier")
def labels(graph: Graph, estimator: Any, blocks: Sequence[Block]) -> Answer:
    """Write a network of skorch that gives labels."""
    classes = np.asarray(estimator.classes_)
    if not np.array_equal(classes, np.arange(len(classes))):
        raise refusal(f"skorch answers with the places 0, 1, ... of its labels, which are {classes.tolist()[:5]}")
    chances = _embedded(graph, estimator.module_, estimator._get_predict_nonlinearity(), blocks)
    if not hasattr(estimator, "threshold"):
        return Answer(choices=(likeliest(graph, classes, chances),))
    second = graph.add("Gather", chances, np.array([1]), axis=1)
    place = graph.cast(graph.add("Greater", second, np.array([float(estimator.threshold)])), TensorProto.INT64)
    return Answer(choices=(Choice(classes, place, chances),))


def _embedded(graph: Graph, module: Any, then: Callable[[Any], Any], blocks: Sequence[Block]) -> str:
    """Return the tensor of doubles, of shape (rows, outputs), that a network and a function after it make."""
    block = matrix(graph, blocks)
    if not block.width:
        raise refusal("the number of columns that reach the network is not known")
    model = _traced(module, then, block.width)
    made = graph.embed(model, graph.cast(block.tensor, TensorProto.FLOAT))[0]
    graph.repaired("network traced by PyTorch, in float32")
    flat = len(model.graph.output[0].type.tensor_type.shape.dim) == 1
    shaped = graph.add("Reshape", made, np.array([-1, 1])) if flat else made
    return graph.cast(shaped, TensorProto.DOUBLE)


def _traced(module: Any, then: Callable[[Any], Any], width: int) -> Any:
    if find_spec("onnxscript") is None:
        raise refusal("PyTorch's exporter needs onnxscript: pip install 'mlnb[torch]'")
    import torch

    class Answering(torch.nn.Module):  # type: ignore[misc]  # PyTorch is no dependency
        def __init__(self) -> None:
            super().__init__()
            self.inner = deepcopy(module)

        def forward(self, rows: Any) -> Any:
            made = self.inner(rows)
            return then(made[0] if isinstance(made, tuple) else made)

    try:
        with _silent():
            program = torch.onnx.export(
                Answering().to("cpu").eval(),
                (torch.zeros(_ROWS, width),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                opset_version=OPSETS[""],
                verbose=False,
            )
    except USER_FAULTS as error:
        raise refusal(f"PyTorch cannot trace the network ({_first(error)})") from error
    return program.model_proto


def _first(error: BaseException) -> str:
    """Return the first cause in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).partition(chr(10))[0].split())[:160]}"


def _same(made: Any) -> Any:
    return made


@contextmanager
def _silent() -> Iterator[None]:
    """Keep PyTorch's remarks on itself from the person, and its listing of what it cannot trace."""
    before = logging.root.manager.disable
    quiet = StringIO()
    with warnings.catch_warnings(action="ignore"), redirect_stdout(quiet), redirect_stderr(quiet):
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
