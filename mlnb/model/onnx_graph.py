"""Single operations become one ONNX graph: names that cannot clash, constants, and other graphs embedded in it.

An operand is the name of a tensor, or numbers or texts that become a constant. Names are numbered in the order of their
making, so that the same estimator gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlnb.errors import ModelError

#: ONNX versions that parts are converted to: the operators' and the machine-learning operators'.
OPSETS = {"": 18, "ai.onnx.ml": 3}
ML = "ai.onnx.ml"
_IR_VERSION = 9
_TREES_OF_3 = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_TREES_OF_5 = 5
Operand: TypeAlias = str | npt.NDArray[Any] | float


class Graph:
    """A graph under construction.

    Attributes
    ----------
    repairs : list of str
        What was written otherwise than skl2onnx would have, in words and in the order of writing.
    """

    def __init__(self) -> None:
        self.repairs: list[str] = []
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._made = 0

    def input(self, name: str, *, text: bool, width: int = 1) -> str:
        """Declare an input of shape (rows, width), doubles or strings."""
        kind = TensorProto.STRING if text else TensorProto.DOUBLE
        self._inputs.append(helper.make_tensor_value_info(name, kind, [None, width]))
        return self.add("Identity", name)

    def add(self, operator: str, *operands: Operand, domain: str = "", **attributes: object) -> str:
        """Append an operation with one output and return the output's name."""
        tensors = [one if isinstance(one, str) else self.constant(one) for one in operands]
        made = self._name(operator)
        self._nodes.append(helper.make_node(operator, tensors, [made], made, domain=domain, **attributes))
        return made

    def add_several(self, operator: str, count: int, *operands: Operand, **attributes: object) -> list[str]:
        """Append an operation with several outputs and return their names."""
        tensors = [one if isinstance(one, str) else self.constant(one) for one in operands]
        made = [self._name(operator) for _ in range(count)]
        self._nodes.append(helper.make_node(operator, tensors, made, made[0], **attributes))
        return made

    def repaired(self, how: str) -> None:
        """Remember a repair, once."""
        if how not in self.repairs:
            self.repairs.append(how)

    def constant(self, values: npt.ArrayLike) -> str:
        """Return the name of a constant tensor: doubles, whole numbers (int64) or strings."""
        array = np.asarray(values)
        if array.dtype in (np.float16, np.float32):  # what was fitted with float32
            array = array.astype(np.float64)
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

    def output_sequence(self, tensors: Sequence[str], name: str, kind: int) -> None:
        """Declare several tensors of two dimensions as the next output of the graph."""
        self._nodes.append(helper.make_node("SequenceConstruct", list(tensors), [name]))
        self._outputs.append(helper.make_tensor_sequence_value_info(name, kind, [None, None]))

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
        opsets = [helper.make_opsetid("", OPSETS[""]), helper.make_opsetid(ML, _ml_version(nodes))]
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


def _ml_version(nodes: list[Any]) -> int:
    """Return 5 for a graph with an ensemble of version 5, which does not know the ensembles before."""
    kinds = {node.op_type for node in nodes if node.domain == ML}
    if "TreeEnsemble" not in kinds:
        return OPSETS[ML]
    if kinds.intersection(_TREES_OF_3):
        raise ModelError("trees of skl2onnx and of mlnb cannot be in one graph", "Another way is tried.", name="onnx")
    return _TREES_OF_5
