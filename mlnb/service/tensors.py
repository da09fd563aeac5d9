"""Tensors of the Open Inference Protocol become rows, and answers become tensors: JSON, and the binary extension.

A request names one tensor for each column, with the rows along its first axis; or one tensor of any name, shape
``[rows, columns]``, holds all columns in the model's order. NaN in a binary tensor is a missing value. The ids of the
predictions are in the answer's parameter ``prediction_ids``.

Sources: Open Inference Protocol v2, "Inference" (https://github.com/kserve/open-inference-protocol); Triton Inference
Server, "Binary Tensor Data Extension".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlnb.errors import RequestError
from mlnb.model.answers import Scores
from mlnb.model.kinds import Column
from mlnb.model.metadata import DATATYPES
from mlnb.model.signature import Signature
from mlnb.service.forms import IDS_TOLD, Written, fitted, placed
from mlnb.service.protocols import FAULTS_SHOWN, Json, PredictRequest, Row, document_of, encode, refuse_many

_NUMPY: Mapping[str, str] = {
    "BOOL": "?",
    **{f"{kind}INT{8 * size}": f"<{'u' if kind else 'i'}{size}" for kind in ("", "U") for size in (1, 2, 4, 8)},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_DTYPES = {name: np.dtype(told) for name, told in _NUMPY.items()}
_CODES = {"INT64": "q", "UINT64": "Q"}  # struct's, where they are not NumPy's
_FEW = 16  # values are read by struct, which has less to set up
_JSON_KINDS: Mapping[str, tuple[type, ...]] = {
    name: (bool,) if name == "BOOL" else (int, float) if name.startswith("FP") else (int,) for name in _NUMPY
} | {"BYTES": (str,)}
_BINARY = b"application/octet-stream"
_TENSORS = 4096  # more than any model has columns
_AXES = 3  # rows, columns, and the values of list columns
_REMEDY = "GET /v2/models/<model> describes the tensors; the Open Inference Protocol v2 describes the body."


class Tensors:
    """The form of one ``infer`` request.

    Parameters
    ----------
    json_bytes : int or None
        The header ``Inference-Header-Content-Length``: bytes of JSON before the binary tensors; None where all is JSON.
    model, number : str
        What the answer is to name.
    """

    def __init__(self, json_bytes: int | None, model: str) -> None:
        self._json_bytes = json_bytes
        self._model = model
        self._id: Json = None
        self._wanted: Sequence[str] = ()
        self._binary: Mapping[str, bool] = {}
        self._all_binary = False

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows."""
        head = body if self._json_bytes is None else body[: self._json_bytes]
        if self._json_bytes is not None and self._json_bytes > len(body):
            raise bad("Inference-Header-Content-Length is larger than the body.")
        document = document_of(head, _REMEDY, missing=True)
        self._take_wishes(document)
        tensors = _read_tensors(document.get("inputs"), memoryview(body)[len(head) :], max_rows)
        return request_of(tensors, signature)

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return the wanted outputs."""
        outputs, blobs = list[dict[str, object]](), list[bytes]()
        for one in outputs_of(scores, signature, self._wanted):
            output: dict[str, object] = {"name": one.name, "datatype": one.datatype, "shape": one.shape}
            if self._binary.get(one.name, self._all_binary):
                blobs.append(to_bytes(one.values, one.datatype))
                output["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                output["data"] = one.values
            outputs.append(output)
        answer: dict[str, object] = {"model_name": self._model, "model_version": version.rpartition("/")[2]}
        if self._id is not None:
            answer["id"] = self._id
        if len(ids) <= IDS_TOLD:
            answer["parameters"] = {"prediction_ids": ",".join(ids)}
        head = encode({**answer, "outputs": outputs})
        if not blobs:
            return Written(head)
        length = (b"inference-header-content-length", str(len(head)).encode())
        return Written(b"".join([head, *blobs]), _BINARY, (length,))

    def _take_wishes(self, document: Mapping[str, Json]) -> None:
        self._id, outputs = document.get("id"), document.get("outputs")
        if not isinstance(self._id, str | None):
            raise bad('"id" is not a string.')
        self._all_binary = _parameters(document, "the body").get("binary_data_output") is True
        if not isinstance(outputs, list | None):
            raise bad('"outputs" is not a list.')
        wanted, binary = list[str](), dict[str, bool]()
        for output in outputs or ():
            name = output.get("name") if isinstance(output, dict) else None
            if not isinstance(output, dict) or not isinstance(name, str):
                raise bad('An entry of "outputs" has no name.')
            wanted.append(name)
            own = _parameters(output, f"the output {name!r:.60}")
            if "binary_data" in own:
                binary[name] = own["binary_data"] is True
        self._wanted, self._binary = wanted, binary


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of an answer; its values lie one after another."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]


def outputs_of(scores: Scores, signature: Signature, wanted: Sequence[str]) -> list[Output]:
    """Return the tensors of an answer that are wanted, all of them where none is named.

    Raises
    ------
    RequestError
        400 for a name that is none of theirs or comes twice, or rows that no tensor holds.
    """
    given: dict[str, tuple[str, list[Any]]] = {
        "predictions": (DATATYPES[signature.output or "string"], scores.predictions)
    }
    if scores.probabilities is not None:
        given["probabilities"] = ("FP64", scores.probabilities)
    if scores.scores is not None:
        given["scores"] = ("FP64", scores.scores)
    unknown = [name for name in wanted if name not in given]
    if unknown:
        raise bad(f"The model gives no output {unknown[0]!r:.60}.", [f"outputs: {', '.join(given)}"])
    if len(set(wanted)) < len(wanted):
        raise bad("An output is asked for twice.")
    return [
        Output(name, given[name][0], _shape(name, given[name][1]), _flat(given[name][1])) for name in wanted or given
    ]


def request_of(tensors: Mapping[str, list[Json]], signature: Signature) -> PredictRequest:
    """Return what tensors ask, each of which is given as a value for each row.

    Raises
    ------
    RequestError
        400 where they do not have equally many rows, or are no columns.
    """
    counts = {len(rows) for rows in tensors.values()}
    if len(counts) > 1:
        raise bad("The tensors do not have equally many rows.", [f"{n!r:.60}: {len(r)}" for n, r in tensors.items()])
    return PredictRequest(_rows(tensors, signature), None)


def sizes_of(name: str, datatype: str, shape: Sequence[object], max_rows: int) -> list[int]:
    """Return the shape of a tensor whose rows lie along its first axis.

    Raises
    ------
    RequestError
        400 for a shape or datatype that is none, 413 for too many rows.
    """
    if datatype not in _JSON_KINDS:
        raise unknown_datatype(name, datatype)
    sizes: list[int] = []
    for one in shape:
        if type(one) is not int or one < 0:
            sizes.clear()
            break
        sizes.append(one)
    if not sizes:
        raise bad(f"The tensor {name!r:.60} has no shape with the rows along its first axis.")
    if len(sizes) > _AXES or 0 in sizes[2:]:  # an empty third axis would let the second be of any size
        raise bad(f"The tensor {name!r:.60} has a shape of more than {_AXES} axes, or with none along its third.")
    refuse_many(sizes[0], max_rows)
    return sizes


def refuse_crowd(tensors: int) -> None:
    """Raise RequestError, 400, for more tensors than any request needs: an empty one may have ever so many rows."""
    if tensors > _TENSORS:
        raise bad(f"The request has more than {_TENSORS} tensors.")


def rows_of(name: str, values: list[Json], sizes: Sequence[int]) -> list[Json]:
    """Return the values of a tensor, which lie one after another, as one value or list for each row."""
    if len(values) != math.prod(sizes):
        raise bad(f"The tensor {name!r:.60} has {len(values)} values for shape {list(sizes)}.")
    return _in_rows(values, sizes)


def unknown_datatype(name: str, told: object) -> RequestError:
    """Return the refusal of a tensor whose datatype is none."""
    shown = encode(told).decode()[:20]
    return bad(f"The tensor {name!r:.60} has datatype {shown}.", [f"known: {', '.join(_JSON_KINDS)}"])


def _read_tensors(value: Json, binary: memoryview, max_rows: int) -> dict[str, list[Json]]:
    """Return each tensor's rows."""
    if not isinstance(value, list) or not value:
        raise bad('"inputs" is not a list of tensors.')
    refuse_crowd(len(value))
    found: dict[str, list[Json]] = {}
    for tensor in value:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise bad("A tensor has no name.")
        name = str(tensor["name"])
        if name in found:
            raise bad(f"The tensor {name!r:.60} comes twice.")
        found[name], binary = _read_tensor(tensor, name, binary, max_rows)
    if binary:
        raise bad(f"{len(binary)} bytes of binary data belong to no tensor.")
    return found


def _read_tensor(
    tensor: Mapping[str, Json], name: str, binary: memoryview, max_rows: int
) -> tuple[list[Json], memoryview]:
    """Return the rows of a tensor, and the binary data that belong to the next ones."""
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(datatype, str):
        raise unknown_datatype(name, datatype)
    sizes = sizes_of(name, datatype, shape if isinstance(shape, list) else (), max_rows)
    size = _parameters(tensor, f"the tensor {name!r:.60}").get("binary_data_size")
    if size is None:
        flat, used = _leaves(tensor.get("data"), name), 0
        strange = next((one for one in flat if not _holds(datatype, one)), None)
        if strange is not None:
            raise bad(f"The tensor {name!r:.60} of {datatype} holds {encode(strange).decode()[:40]}.")
    elif type(size) is int and 0 <= size <= len(binary):
        flat, used = from_bytes(binary[:size], datatype, name), size
    else:
        raise bad(f"The tensor {name!r:.60} claims more binary data than there is.")
    return rows_of(name, flat, sizes), binary[used:]


def _parameters(holder: Mapping[str, Json], whose: str) -> Mapping[str, Json]:
    parameters = holder.get("parameters")
    if not isinstance(parameters, dict | None):
        raise bad(f'"parameters" of {whose} is not an object.')
    return parameters or {}


def _holds(datatype: str, value: Json) -> bool:
    """Say whether JSON may hold this value in a tensor; null is a missing value, and 1.0 is a whole number, too."""
    kind = type(value)
    return (
        value is None
        or kind in _JSON_KINDS[datatype]
        or (isinstance(value, float) and "INT" in datatype and value.is_integer())
    )


def _rows(tensors: Mapping[str, list[Json]], signature: Signature) -> list[Row]:
    columns = {column.name: column for column in signature.inputs}
    if len(tensors) == 1 and not columns.keys() & tensors.keys():
        (name, wide), *_ = tensors.items()
        uneven = next((one for one in wide if not isinstance(one, list) or len(one) != len(columns)), None)
        if uneven is not None or not wide:
            raise bad(f"The tensor {name!r:.60} is neither a column nor has {len(columns)} values in each row.")
        return [placed(one, signature) for one in wide if isinstance(one, list)]
    fit = {name: _fitted(rows, columns[name]) if name in columns else rows for name, rows in tensors.items()}
    return [dict(zip(fit, values, strict=True)) for values in zip(*fit.values(), strict=True)]


def _fitted(rows: list[Json], column: Column) -> list[Json]:
    """Return the one value of each row with shape ``[1]``, as clients send columns; lists of list columns stay."""
    if rows and isinstance(rows[0], list) and len(rows[0]) == 1 and not column.many:
        rows = [one[0] if isinstance(one, list) else one for one in rows]
    return [fitted(one, column) for one in rows] if "int" in column.dtype else rows


def _in_rows(flat: list[Json], shape: Sequence[int]) -> list[Json]:
    if len(shape) == 1:
        return flat
    if len(shape) == 2 and shape[1] == 1:
        return [[one] for one in flat]
    width = math.prod(shape[1:])
    rows = [flat[at * width : (at + 1) * width] for at in range(shape[0])]
    return [_in_rows(row, shape[1:]) for row in rows]


def _leaves(data: Json, name: str) -> list[Json]:
    if not isinstance(data, list):
        raise bad(f"The tensor {name!r:.60} has no data.")
    if not any(isinstance(one, list) for one in data):
        return data
    leaves: list[Json] = []
    within = [iter(data)]  # lists may lie in lists deeper than functions may call themselves
    while within:
        for one in within[-1]:
            if isinstance(one, list):
                within.append(iter(one))
                break
            leaves.append(one)
        else:
            within.pop()
    return leaves


def from_bytes(blob: memoryview, datatype: str, name: str) -> list[Json]:
    """Return the values of a binary tensor."""
    if datatype == "BYTES":
        return _texts(blob, name)
    kind = _DTYPES[datatype]
    if len(blob) % kind.itemsize:
        raise bad(f"The binary data of tensor {name!r:.60} are not whole values of {datatype}.")
    count = len(blob) // kind.itemsize
    if count <= _FEW:
        values: list[Json] = list(struct.unpack(f"<{count}{_CODES.get(datatype, kind.char)}", blob))
    else:
        values = np.frombuffer(blob, kind).tolist()
    return [None if one != one else one for one in values] if kind.kind == "f" else values  # NaN


def _texts(blob: memoryview, name: str) -> list[Json]:
    texts: list[Json] = []
    at = 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "little")
        if at + 4 + size > len(blob):
            raise bad(f"The binary data of tensor {name!r:.60} end within a text.")
        try:
            texts.append(bytes(blob[at + 4 : at + 4 + size]).decode())
        except UnicodeDecodeError as error:
            raise bad(f"A text of tensor {name!r:.60} is not UTF-8.") from error
        at += 4 + size
    return texts


def to_bytes(flat: list[Any], datatype: str) -> bytes:
    """Return values as a binary tensor."""
    if datatype == "BYTES":
        texts = [one.encode() if isinstance(one, str) else encode(one) for one in flat]
        return b"".join(len(one).to_bytes(4, "little") + one for one in texts)
    return np.array([math.nan if one is None else one for one in flat], _NUMPY[datatype]).tobytes()


def _shape(name: str, values: list[Any]) -> list[int]:
    shape, level = [len(values)], values
    while level and isinstance(level[0], list):
        widths = {len(one) for one in level}
        if len(widths) > 1:
            raise bad(f"The output {name!r} has rows of different lengths, which no tensor holds.", ["Ask row by row."])
        shape.append(widths.pop())
        level = [leaf for one in level for leaf in one]
    return shape


def _flat(values: list[Any]) -> list[Any]:
    while values and isinstance(values[0], list):
        values = [leaf for one in values for leaf in one]
    return values


def bad(problem: str, faults: Sequence[str] = ()) -> RequestError:
    """Return the refusal of tensors that are not of the form."""
    return RequestError(problem, _REMEDY, status=400, faults=list(faults)[:FAULTS_SHOWN])
