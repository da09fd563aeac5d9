"""A ``ModelInferRequest`` becomes rows, and answers become a ``ModelInferResponse``.

What `mlnb.service.tensors` says of tensors holds here, too. Values are in the typed ``contents`` of each tensor, or for
all of them in ``raw_input_contents``, as the binary extension writes them; the answer is raw where the request was, or
where its parameter ``binary_data_output`` asks for it. The ids of the predictions are in the parameter
``prediction_ids``.

Source: Open Inference Protocol v2, "Inference using gRPC" (https://github.com/kserve/open-inference-protocol).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from mlnb.model.answers import Scores
from mlnb.model.signature import Signature
from mlnb.service.forms import IDS_TOLD, Form, Written
from mlnb.service.grpc_messages import INFERENCE, Message
from mlnb.service.protocols import Json, PredictRequest, Route, encode
from mlnb.service.tensors import (
    Output,
    bad,
    from_bytes,
    outputs_of,
    refuse_crowd,
    request_of,
    rows_of,
    sizes_of,
    to_bytes,
)

_KIND = b"application/grpc"
_LARGE_BYTES, _CROWD = 65_536, 16_384
_RESPONSE = INFERENCE["ModelInferResponse"]
_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class InferMessage:
    """The form of one ``ModelInfer`` call.

    Parameters
    ----------
    message : Message
        The ``ModelInferRequest``.
    """

    def __init__(self, message: Message) -> None:
        self._message = message
        self._raw = bool(message.raw_input_contents) or _asks_for_raw(message)

    def read(self, body: bytes, signature: Signature, max_rows: int) -> PredictRequest:
        """Return the rows; the body is the message, which was parsed when the model was looked for."""
        message, found = self._message, dict[str, list[Json]]()
        raw = message.raw_input_contents
        if not message.inputs:
            raise bad("The request has no inputs.")
        refuse_crowd(max(len(message.inputs), len(message.outputs)))
        if raw and len(raw) != len(message.inputs):
            raise bad(f"raw_input_contents has {len(raw)} entries for {len(message.inputs)} inputs.")
        for at, tensor in enumerate(message.inputs):
            name = tensor.name
            if not name or name in found:
                raise bad(f"The tensor {name!r:.60} comes twice." if name else "A tensor has no name.")
            sizes = sizes_of(name, tensor.datatype, list(tensor.shape), max_rows)
            values = _raw_values(tensor, raw[at]) if raw else _typed_values(tensor)
            found[name] = rows_of(name, values, sizes)
        return request_of(found, signature)

    def write(self, scores: Scores, ids: Sequence[str], version: str, signature: Signature) -> Written:
        """Return the wanted outputs."""
        message = self._message
        outputs = outputs_of(scores, signature, [one.name for one in message.outputs])
        model, _, number = version.rpartition("/")
        answer = _RESPONSE(model_name=message.model_name or model, model_version=number, id=message.id)
        if len(ids) <= IDS_TOLD:
            answer.parameters["prediction_ids"].string_param = ",".join(ids)
        for one in outputs:
            tensor = answer.outputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
            if self._raw:
                answer.raw_output_contents.append(to_bytes(one.values, one.datatype))
            else:
                getattr(tensor.contents, _FIELDS[one.datatype]).extend(_typed(one))
        return Written(answer.SerializeToString(), _KIND)


def open_infer(body: bytes, route: Route) -> tuple[Route, Form]:
    """Return the route with the model that a ``ModelInferRequest`` names, and its form.

    Raises
    ------
    RequestError
        400 where the body is no such message.
    """
    if len(body) > _LARGE_BYTES and _is_crowded(body):
        raise bad(f"The request has more than {_CROWD} fields.")
    try:
        message = INFERENCE["ModelInferRequest"].FromString(body)
    except DecodeError as error:
        raise bad("The body is no ModelInferRequest.", [str(error)]) from error
    named = Route(route.name, "", route.method, "", route.form, message.model_name, message.model_version)
    return named, InferMessage(message)


def warned(body: bytes, told: str) -> bytes:
    """Return a ``ModelInferResponse`` with the parameter ``prediction_warnings``: joined messages are merged ones."""
    further = _RESPONSE()
    further.parameters["prediction_warnings"].string_param = told
    return body + bytes(further.SerializeToString())


def _is_crowded(body: bytes) -> bool:
    """Say whether a body has more fields than any request needs: an empty tensor takes 40 times its two bytes."""
    at = 0
    for _ in range(_CROWD):
        tag, at = _varint(body, at)
        if tag & 7 == 2:
            size, at = _varint(body, at)
            at += size
        elif tag & 7 == 0:
            at = _varint(body, at)[1]
        else:
            at += {1: 8, 5: 4}.get(tag & 7, len(body))  # of a kind that is none, the parser says so
        if at >= len(body):
            return False
    return True


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number of protobuf's and where it ends; where the body ends first, the parser says so."""
    found = shift = 0
    while at < len(body):
        found |= (body[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if body[at - 1] < 128 or shift > 63:
            break
    return found, at


def _asks_for_raw(message: Message) -> bool:
    return "binary_data_output" in message.parameters and message.parameters["binary_data_output"].bool_param is True


def _raw_values(tensor: Message, content: bytes) -> list[Json]:
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise bad(f"The tensor {tensor.name!r:.60} has contents beside raw_input_contents.")
    return from_bytes(memoryview(content), tensor.datatype, tensor.name)


def _typed_values(tensor: Message) -> list[Json]:
    name, datatype = tensor.name, tensor.datatype
    field = _FIELDS.get(datatype)
    if field is None:
        raise bad(f"The tensor {name!r:.60} of {datatype} has no contents.", [f"{datatype} goes as raw_input_contents"])
    strange = [one.name for one, _ in tensor.contents.ListFields() if one.name != field]
    if strange:
        raise bad(f"The tensor {name!r:.60} of {datatype} has {strange[0]}.", [f"{datatype} goes as {field}"])
    values = list(getattr(tensor.contents, field))
    if datatype == "BYTES":
        return [_text(one, name) for one in values]
    return [None if one != one else one for one in values] if datatype.startswith("FP") else values  # NaN


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise bad(f"A text of tensor {name!r:.60} is not UTF-8.") from error


def _typed(output: Output) -> list[object]:
    if output.datatype == "BYTES":
        return [one.encode() if isinstance(one, str) else encode(one) for one in output.values]
    return [math.nan if one is None else one for one in output.values]
