"""Networks without PyTorch at hand: what is refused, and how; the conversion itself is run by `tests.bench.torch`."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mlnb.errors import ModelError
from mlnb.model.answers import as_estimator
from mlnb.model.networks import labels, numbers
from mlnb.model.onnx_blocks import Block
from mlnb.model.onnx_graph import Graph


def test_labels_that_skorch_cannot_tell_are_refused() -> None:
    network = SimpleNamespace(classes_=np.array(["late", "due"]), module_=None)
    with pytest.raises(ModelError, match=r"the places 0, 1, ... of its labels, which are \['late', 'due'\]"):
        labels(Graph(), network, [])


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as where it is not installed
    graph = Graph()
    with pytest.raises(ModelError, match=r"pip install 'mlnb\[torch\]'"):
        numbers(graph, SimpleNamespace(module_=None), [Block(graph.input("x", text=False), 1)])


def test_everything_else_is_an_estimator_already() -> None:
    model = Ridge()
    assert as_estimator(model) is model
    assert "torch" not in sys.modules
