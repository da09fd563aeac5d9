"""A signature becomes what strangers ask a service for: an OpenAPI document and Open Inference Protocol metadata.

Carried into the service: the standard library, `mlnb.model.answer_numbers`, `mlnb.model.kinds`, `mlnb.model.schema` and
`mlnb.model.signature`.

Sources: OpenAPI Specification 3.1.0; Open Inference Protocol v2, "Server Metadata" and "Model Metadata"
(https://github.com/kserve/open-inference-protocol). The metadata describe tensors with one axis for the rows, -1 long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlnb.model.answer_numbers import answer_names, explained
from mlnb.model.kinds import NESTED, TASKS, Column
from mlnb.model.schema import labels_schema, row_schema
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
_ROW: Mapping[str, object] = {"$ref": "#/components/schemas/Row"}
_REFUSAL: Mapping[str, object] = {"$ref": "#/components/schemas/Refusal"}


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


def openapi(
    model: str, version: str, aliases: Sequence[str], signature: Signature, *, explains: bool = False
) -> dict[str, object]:
    """Return the OpenAPI document of a model's service.

    Parameters
    ----------
    model, version : str
        Name, and number of the version that the default alias answers with.
    aliases : sequence of str
        Those that can be asked by name.
    signature : Signature
        Of that version.
    explains : bool
        Whether the service answers ``/explain``; models whose answers are no fixed list of numbers never do.
    """
    rows: dict[str, object] = {"type": "array", "minItems": 1, "items": _ROW}
    moment: dict[str, object] = {"type": "string", "format": "date-time"}
    times: dict[str, object] = {"type": "array", "items": moment, "description": "When each row happened."}
    asked: dict[str, object] = {
        "type": "object",
        "properties": {"rows": rows, "timestamps": times},
        "required": ["rows"],
        "additionalProperties": False,
    }
    alias: dict[str, object] = {"name": "alias", "in": "path", "required": True, "schema": {"enum": list(aliases)}}
    predict: dict[str, object] = _operation(f"Answer each row with {TASKS[signature.task]}.", "Answer", "Predict")
    by_default: dict[str, object] = {"operationId": "predict", **predict}
    by_alias: dict[str, object] = {"operationId": "predict_alias", **predict}
    explain: dict[str, object] = {}
    shares: dict[str, object] = {}
    if explains and explained(signature):
        told = _operation("Share out each answer among the columns.", "Explanations", "Predict")
        explain = {"/explain": {"post": {"operationId": "explain", **told}}}
        shares = {"Explanations": _explanations(signature)}
    label: dict[str, object] = {"operationId": "label", **_operation("Tell what came true.", "Accepted", "Labels")}
    return {
        "openapi": "3.1.0",
        "info": {"title": model, "version": version, "description": f"A {signature.task}, served by mlnb."},
        "paths": {
            "/predict": {"post": by_default},
            "/aliases/{alias}/predict": {
                "parameters": [alias],
                "post": by_alias,
            },
            **explain,
            "/labels": {"post": label},
            "/healthz": {"get": _probe("Whether the process lives.")},
            "/readyz": {"get": _probe("Whether predictions are answered.")},
            f"/v2/models/{model}": {"get": _probe("Metadata of the Open Inference Protocol.")},
        },
        "components": {
            "schemas": {
                "Row": row_schema(signature.inputs),
                "Predict": asked,
                "Answer": answer_schema(signature),
                **shares,
                "Labels": _object(labels={"type": "object", "additionalProperties": _label(signature)}),
                "Accepted": _object(accepted={"type": "integer"}),
                "Refusal": _object(
                    error=_object(problem=_text(), remedy=_text(), faults={"type": "array", "items": _text()})
                ),
            }
        },
    }


def answer_schema(signature: Signature) -> dict[str, object]:
    """Return the JSON Schema of the body that answers a predict request."""
    told: dict[str, object] = {"predictions": {"type": "array", "items": _prediction(signature)}}
    if signature.probabilities:
        told["probabilities"] = {"type": "array", "items": _chances(signature)}
    if signature.task == "ranker":
        told["scores"] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    return _object(**told, ids={"type": "array", "items": _text()}, version=_text())


def _label(signature: Signature) -> dict[str, object]:
    """Return the schema of what came true of one row; of several values some may not be known yet."""
    if not signature.outputs:
        return {"type": _SCALARS}
    count, known = len(signature.outputs), {"type": [*_SCALARS, "null"]}
    listed = {"type": "array", "items": known, "minItems": count, "maxItems": count}
    named = {one.name: known for one in signature.outputs}
    by_name = {"type": "object", "properties": named, "additionalProperties": False, "minProperties": 1}
    return {"anyOf": [listed, by_name, {"type": _SCALARS}]}


def _explanations(signature: Signature) -> dict[str, object]:
    """Return the schema of what `mlnb.service.explain` answers."""
    number: dict[str, object] = {"type": ["number", "null"]}
    shares = _object(**{one.name: number for one in signature.inputs})
    each = _object(answer=number, base=number, shares=shares, standard_errors=shares)
    whole: dict[str, object] = {"type": "integer", "minimum": 0}
    answers = _object(**dict.fromkeys(answer_names(signature), each))
    one = _object(exact={"type": "boolean"}, evaluations=whole, background=whole, answers=answers)
    return _object(version=_text(), budget=whole, explanations={"type": "array", "items": one})


def _prediction(signature: Signature) -> dict[str, object]:
    if signature.task == "ranker":
        return {"type": "array", "items": labels_schema(signature.output, ())}
    if signature.task not in NESTED:
        return labels_schema(signature.output, signature.classes)
    each = [{**labels_schema(one.dtype, one.classes), "title": one.name} for one in signature.outputs]
    return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}


def _chances(signature: Signature) -> dict[str, object]:
    chance: dict[str, object] = {"type": "number", "minimum": 0, "maximum": 1}
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


_SCALARS = ["string", "number", "boolean"]


def _operation(summary: str, answer: str, body: str) -> dict[str, object]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    refused = {"description": "Refused.", "content": {"application/json": {"schema": _REFUSAL}}}
    asked = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": asked},
        "responses": {"200": {"description": "Answered.", "content": content}, "default": refused},
    }


def _probe(summary: str) -> dict[str, object]:
    return {"summary": summary, "responses": {"200": {"description": "Yes."}}}


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _text() -> dict[str, object]:
    return {"type": "string"}
