"""Single operations become one ONNX graph: names that cannot clash, constants, and other graphs embedded in it.

Names are numbered in the order of their making, so that the same estimator gives the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlnb.errors import ModelError

#: ONNX versions that the graph is written in: the operators' and the machine-learning operators'.
OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9


class Graph:
    """A graph under construction."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._made = 0

    def input(self, name: str, *, text: bool) -> str:
        """Declare an input column of shape (rows, 1), doubles or strings."""
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self._inputs.append(helper.make_tensor_value_info(name, kind, [None, 1]))
        return self.add("Identity", name)

    def add(self, operator: str, *tensors: str, domain: str = "", **attributes: object) -> str:
        """Append an operation with one output and return the output's name."""
        made = self._name(operator)
        self._nodes.append(helper.make_node(operator, list(tensors), [made], made, domain=domain, **attributes))
        return made

    def constant(self, values: npt.ArrayLike) -> str:
        """Return the name of a constant tensor: doubles, whole numbers (int64) or strings."""
        array = np.asarray(values)
        name = self._name("constant")
        if array.dtype.kind in "OU":
            texts = [str(text).encode() for text in array.ravel()]
            self._constants.append(helper.make_tensor(name, TensorProto.STRING, array.shape, texts))
        else:
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def cast(self, tensor: str, kind: int) -> str:
        """Return the tensor in another type, a constant of `onnx.TensorProto`."""
        return self.add("Cast", tensor, to=kind)

    def embed(self, model: Any, tensor: str) -> list[str]:
        """Append all of a model of one input, fed with `tensor`, and return the names of its outputs.

        Raises
        ------
        ModelError
            If the model is written in another version of ONNX.
        """
        versions = {imported.domain: imported.version for imported in model.opset_import}
        newer = [f"{domain or 'onnx'} {found}" for domain, found in versions.items() if found > OPSETS.get(domain, 0)]
        if newer:  # an older number says only that no operator in it has changed since
            raise ModelError(f"a part was converted to {', '.join(newer)}", "Upgrade skl2onnx.", name="onnx")
        self._made += 1
        part = onnx.compose.add_prefix(model, f"part{self._made}_").graph
        self._nodes.append(helper.make_node("Identity", [tensor], [part.input[0].name]))
        self._nodes.extend(part.node)
        self._constants.extend(part.initializer)
        return [output.name for output in part.output]

    def output(self, tensor: str, name: str, kind: int, dimensions: int) -> None:
        """Declare `tensor` as the next output of the graph; the first of its dimensions are the rows."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, [None] * dimensions))

    def finish(self) -> bytes:
        """Return the model's bytes; inputs that nothing reads are left out.

        Raises
        ------
        onnx.checker.ValidationError
            If the graph is not valid.
        """
        nodes = self._needed()
        read = {tensor for node in nodes for tensor in node.input}
        inputs = [one for one in self._inputs if one.name in read]
        constants = [one for one in self._constants if one.name in read]
        graph = helper.make_graph(nodes, "mlnb", inputs, self._outputs, constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="mlnb", ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _needed(self) -> list[Any]:
        wanted = {output.name for output in self._outputs}
        kept = []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1]

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"mlnb.{self._made}.{kind}"
