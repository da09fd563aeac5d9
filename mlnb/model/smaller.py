"""An ONNX model becomes smaller ones, each measured beside it: size, latency, and what it answers otherwise.

- *float32*: every double is a float: constants, trees, what is computed;
- *float16*: besides, the constants of matrices and tables are kept as halves and widened when the model is loaded;
  trees stay floats, because onnxruntime knows none of halves;
- *int8*: besides, matrices are whole numbers of eight bits with a scale, what comes in is scaled row by row (dynamic
  quantization, https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).

Nothing is chosen here: a table is made, and a model is written where a person asks for one by name.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from mlnb.errors import ModelError
from mlnb.model.answers import Scores
from mlnb.model.kinds import Values
from mlnb.model.parity import Parity, measure
from mlnb.model.scorer import OnnxRuntime, Scorer, load_onnxruntime

NAMES = ("float32", "float16", "int8")
_LARGE = 64
_BATCH = 1000
_REPEATS = 30


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model, measured.

    Attributes
    ----------
    name : str
        ``as it is``, ``float32``, ``float16`` or ``int8``.
    size_bytes : int
        Of the file; 0 where it could not be made.
    row_ms : float
        Median time of one row by itself.
    thousand_ms : float
        Median time of 1,000 rows at once.
    parity : Parity or None
        Its answers to the version's sample beside those of the estimator; None where it could not be made.
    note : str
        Why it could not be made, or what it is not worth.
    """

    name: str
    size_bytes: int
    row_ms: float
    thousand_ms: float
    parity: Parity | None
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the candidate as JSON."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "row_ms": self.row_ms,
            "thousand_ms": self.thousand_ms,
            "parity": None if self.parity is None else self.parity.to_json(),
            "note": self.note,
        }


def make(name: str, content: bytes) -> bytes:
    """Return the smaller model of this name.

    Raises
    ------
    ModelError
        If there is none of that name, or onnxruntime cannot load what was made.
    """
    makers: Mapping[str, Callable[[Any], bytes]] = {"float32": _in_floats, "float16": _in_halves, "int8": _in_bytes}
    if name not in makers:
        raise ModelError(f"There is no smaller model {name!r}.", f"Ask for one of {', '.join(NAMES)}.", name=name)
    import onnx
    from google.protobuf.message import DecodeError

    from mlnb.model.onnx_convert import faults, loads

    refusing: tuple[type[Exception], ...] = (*faults(), DecodeError)
    try:
        made = makers[name](onnx.load_from_string(content))
        loads(made)
    except refusing as error:
        told = " ".join(str(error).split())[:160]
        raise ModelError(
            f"The model cannot be written as {name} ({type(error).__name__}: {told}).",
            "Keep it as it is.",
            name=name,
        ) from error
    return made


def compare(
    scorer: Scorer, content: bytes, columns: Mapping[str, Values], expected: Scores, limit: float
) -> tuple[Candidate, ...]:
    """Measure a model and the smaller ones that can be made of it.

    Parameters
    ----------
    scorer : Scorer
        The loaded version, for its signature and hooks.
    content : bytes
        Its ONNX file.
    columns : mapping of str to array
        The version's sample, checked.
    expected : Scores
        The estimator's answers to it.
    limit : float
        The largest accepted difference.
    """
    found = [_measured("as it is", content, scorer, columns, expected, limit)]
    for name in NAMES:
        try:
            made = make(name, content)
        except ModelError as error:
            found.append(Candidate(name, 0, 0.0, 0.0, None, error.problem))
            continue
        note = "it holds no matrices, so that nothing was quantized" if name == "int8" and not _quantized(made) else ""
        found.append(_measured(name, made, scorer, columns, expected, limit, note))
    return tuple(found)


def _measured(
    name: str,
    content: bytes,
    scorer: Scorer,
    columns: Mapping[str, Values],
    expected: Scores,
    limit: float,
    note: str = "",
) -> Candidate:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(content)
        file.flush()
        tried = Scorer(scorer.signature, OnnxRuntime(Path(file.name), scorer.signature), "onnx", scorer.hooks)
    parity = measure(expected, tried.score(columns), scorer.signature.task, limit, columns=columns)
    count = len(expected.predictions)
    one, many = ({key: values[np.arange(wanted) % count] for key, values in columns.items()} for wanted in (1, _BATCH))
    return Candidate(name, len(content), _time(tried, one), _time(tried, many), parity, note)


def _time(scorer: Scorer, columns: Mapping[str, Values]) -> float:
    taken = []
    for _ in range(_REPEATS):
        started = perf_counter()
        scorer.score(columns)
        taken.append(1000 * (perf_counter() - started))
    return median(taken)


def _in_floats(model: Any) -> bytes:
    return _written(_floats(model))


def _floats(model: Any) -> Any:
    """Turn every double of the graph into a float; what callers send stays as it is."""
    from onnx import TensorProto, helper

    graph = model.graph
    kept = list(graph.node)
    del graph.node[:]
    for taken in graph.input:
        if taken.type.tensor_type.elem_type == TensorProto.DOUBLE:
            narrowed = f"{taken.name}.float32"
            graph.node.append(helper.make_node("Cast", [taken.name], [narrowed], to=TensorProto.FLOAT))
            for node in kept:
                node.input[:] = [narrowed if one == taken.name else one for one in node.input]
    for node in kept:
        _narrow(node)
    graph.node.extend(kept)
    for tensor in graph.initializer:
        _round(tensor)
    for given in [*graph.output, *graph.value_info]:
        kind = given.type.sequence_type.elem_type if given.type.HasField("sequence_type") else given.type
        if kind.tensor_type.elem_type == TensorProto.DOUBLE:
            kind.tensor_type.elem_type = TensorProto.FLOAT
    return model


def _narrow(node: Any) -> None:
    from onnx import TensorProto

    for held in node.attribute:
        if held.HasField("t"):
            _round(held.t)
        if node.op_type == "Cast" and held.name == "to" and held.i == TensorProto.DOUBLE:
            held.i = TensorProto.FLOAT


def _round(tensor: Any) -> None:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.DOUBLE:
        with np.errstate(over="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _in_halves(model: Any) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    made = _floats(model)
    widened = []
    for tensor in made.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < _LARGE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
        widened.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    nodes = [*widened, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return _written(made)


def _in_bytes(model: Any) -> bytes:
    load_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="mlnb-int8-") as folder, _silent():
        given, made = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        given.write_bytes(_in_floats(model))
        quantize_dynamic(given, made, weight_type=QuantType.QInt8)
        return made.read_bytes()


def _quantized(content: bytes) -> bool:
    import onnx

    return any(
        "Integer" in node.op_type or "Quant" in node.op_type for node in onnx.load_from_string(content).graph.node
    )


def _written(model: Any) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep onnxruntime from advising on every call to run its preprocessing first, which wants another library."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def lines(candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """Return a row of texts for each candidate: name, size, times, difference, labels, and what there is to say."""
    whole = candidates[0].size_bytes
    rows: list[tuple[str, ...]] = []
    for one in candidates:
        if one.parity is None:
            rows.append((one.name, "-", "-", "-", "-", "-", one.note))
            continue
        size = f"{one.size_bytes:,} ({one.size_bytes / whole:.0%})"
        verdict = "" if one.parity.passed else f"beyond the limit {one.parity.limit:g}"
        said = "; ".join(told for told in (verdict, one.note) if told)
        times = f"{one.row_ms:.3f}", f"{one.thousand_ms:.2f}"
        rows.append((one.name, size, *times, f"{one.parity.max_abs:.2g}", str(one.parity.flips), said))
    return rows
