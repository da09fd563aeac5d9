"""A signature becomes the Open Inference Protocol's metadata of a model, and the JSON Schemas of what it answers.

Carried into the service: the standard library, `mlnb.model.answer_numbers`, `mlnb.model.kinds`, `mlnb.model.schema` and
`mlnb.model.signature`.

Sources: Open Inference Protocol v2, "Server Metadata" and "Model Metadata"
(https://github.com/kserve/open-inference-protocol). The metadata describe tensors with one axis for the rows, -1 long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlnb.model.answer_numbers import answer_names
from mlnb.model.kinds import NESTED, Column, Label
from mlnb.model.schema import labels_schema
from mlnb.model.signature import Signature

_WHOLE = {f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
DATATYPES: Mapping[str, str] = {
    "float64": "FP64",
    "float32": "FP32",
    "bool": "BOOL",
    "string": "BYTES",
    "datetime": "BYTES",
    **_WHOLE,
}
_PLATFORMS: Mapping[str, str] = {"onnx": "onnxruntime_onnx", "skops": "sklearn_skops", "native": "python_cloudpickle"}
_SCALARS = ["string", "number", "boolean"]
_NUMBER = ["number", "null"]  # NaN and infinity, which a model may well answer, are null in JSON


def inference_metadata(model: str, versions: Sequence[str], exporter: str, signature: Signature) -> dict[str, object]:
    """Return the Open Inference Protocol's metadata of a model: what ``GET /v2/models/<model>`` answers.

    Parameters
    ----------
    model : str
        Its name.
    versions : sequence of str
        The numbers that are served.
    exporter : str
        Who wrote the model file.
    signature : Signature
        Of the version that answers.
    """
    outputs: list[dict[str, object]] = [_tensor("predictions", signature.output or "string", *_answer_shape(signature))]
    if signature.probabilities:
        outputs.append(_tensor("probabilities", "float64", *_chances_shape(signature)))
    if signature.task == "ranker":
        outputs.append(_tensor("scores", "float64", -1))
    return {
        "name": model,
        "versions": list(versions),
        "platform": _PLATFORMS.get(exporter, exporter),
        "inputs": [_tensor(one.name, one.dtype, *_inner_shape(one)) for one in signature.inputs],
        "outputs": outputs,
    }


def answer_schema(signature: Signature) -> dict[str, object]:
    """Return the JSON Schema of the body that answers a predict request."""
    told: dict[str, object] = {"predictions": {"type": "array", "items": _prediction(signature)}}
    if signature.probabilities:
        told["probabilities"] = {"type": "array", "items": _chances(signature)}
    if signature.task == "ranker":
        told["scores"] = {"type": "array", "items": {"type": "array", "items": {"type": _NUMBER}}}
    return _object(**told, ids={"type": "array", "items": _text()}, version=_text())


def output_names(signature: Signature) -> tuple[str, ...]:
    """Return the names of the tensors that a model answers with."""
    chances = ("probabilities",) if signature.probabilities else ()
    return ("predictions", *chances, *(("scores",) if signature.task == "ranker" else ()))


def label_schema(signature: Signature) -> dict[str, object]:
    """Return the schema of what came true of one row; of several values some may not be known yet."""
    if not signature.outputs:
        return {"type": _SCALARS}
    count, known = len(signature.outputs), {"type": [*_SCALARS, "null"]}
    told: dict[str, object] = {"type": _SCALARS}
    listed = {"type": "array", "items": known, "minItems": count, "maxItems": count, "contains": told}
    named = {one.name: known for one in signature.outputs}
    by_name = {
        "type": "object",
        "properties": named,
        "additionalProperties": False,
        "minProperties": 1,
        "not": {"additionalProperties": {"type": "null"}},
    }
    return {"anyOf": [listed, by_name, {"type": _SCALARS}]}


def explanations_schema(signature: Signature) -> dict[str, object]:
    """Return the schema of what `mlnb.service.explain` answers."""
    number: dict[str, object] = {"type": _NUMBER}
    shares = _object(**{one.name: number for one in signature.inputs})
    each = _object(answer=number, base=number, shares=shares, standard_errors=shares)
    whole: dict[str, object] = {"type": "integer", "minimum": 0}
    answers = _object(**dict.fromkeys(answer_names(signature), each))
    one = _object(exact={"type": "boolean"}, evaluations=whole, background=whole, answers=answers)
    return _object(version=_text(), budget=whole, explanations={"type": "array", "items": one})


def _prediction(signature: Signature) -> dict[str, object]:
    if signature.task == "ranker":
        return {"type": "array", "items": _value(signature.output, ())}
    if signature.task not in NESTED:
        return _value(signature.output, signature.classes)
    count, names = len(signature.outputs), [one.name for one in signature.outputs]
    each = [_value(one.dtype, one.classes) for one in signature.outputs]
    told: dict[str, object] = {"type": "array", "minItems": count, "maxItems": count, "x-names": names}
    if all(one == each[0] for one in each):
        return {**told, "items": each[0]}
    return {**told, "prefixItems": each, "items": False}


def _value(dtype: str, classes: Sequence[Label]) -> dict[str, object]:
    schema = labels_schema(dtype, classes)
    return {"type": _NUMBER} if schema == {"type": "number"} else schema


def _chances(signature: Signature) -> dict[str, object]:
    chance: dict[str, object] = {"type": _NUMBER, "minimum": 0, "maximum": 1}
    if signature.task != "multiclassifier":
        return {"type": "array", "items": chance}
    return {"type": "array", "items": {"type": "array", "items": chance}}


def _tensor(name: str, dtype: str, *shape: int) -> dict[str, object]:
    return {"name": name, "datatype": DATATYPES[dtype], "shape": [-1, *shape]}


def _inner_shape(column: Column) -> tuple[int, ...]:
    if not column.many:
        return ()
    return (-1 if column.length is None else column.length,)


def _answer_shape(signature: Signature) -> tuple[int, ...]:
    if signature.task == "ranker":
        return (-1,)
    return (len(signature.outputs),) if signature.task in NESTED else ()


def _chances_shape(signature: Signature) -> tuple[int, ...]:
    if signature.task == "multiclassifier":
        return (len(signature.outputs), -1)
    return (len(signature.outputs or signature.classes),)


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _text() -> dict[str, object]:
    return {"type": "string"}
