"""A signature becomes the JSON Schema of every body that asks for predictions or answers them, with examples.

Each schema takes just what the service takes, as far as a schema can say it. That lists must be equally long, no schema
can say: where a form has several, its schema is that of one row, and its description tells of more.

Sources: JSON Schema 2020-12, which OpenAPI 3.1 uses; the forms are those of `mlnb.service.forms` and
`mlnb.service.tensors`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mlnb.model.kinds import Column
from mlnb.model.metadata import DATATYPES, answer_schema, label_schema, output_names
from mlnb.model.schema import column_schema, row_schema, type_of
from mlnb.model.signature import Signature

Schema = dict[str, object]
_SHOWN = 2
_CSV: Mapping[str, str] = {  # some of what is taken
    "number": r"-?[0-9]{1,9}(\.[0-9]{1,9})?",
    "boolean": "(true|false)",
    "string": "[A-Za-z]{1,40}",
    "datetime": "20[0-9]{2}-0[1-9]-[01][1-9]",
}
_ID = "0123456789abcdef01234567"
ANYTHING: Mapping[str, object] = {"type": "object"}
TEXT: Mapping[str, object] = {"type": "string"}
_WARNINGS: Mapping[str, object] = {
    "type": "array",
    "description": "The first things about the rows that are unlike what the model has seen.",
    "items": {
        "type": "object",
        "properties": {"row": {"type": "integer", "minimum": 0}, "column": TEXT, "problem": TEXT},
        "required": ["row", "column", "problem"],
    },
}
_MAYBE: Mapping[str, object] = {"type": ["object", "null"]}
_MAYBE_TEXT: Mapping[str, object] = {"type": ["string", "null"]}


@dataclass(frozen=True, slots=True)
class Example:
    """Some of the package's sample and what the model answered to it.

    Attributes
    ----------
    rows : list of dict
        At most two.
    answers : dict of str to list
        ``predictions``, and what the model gives beside them, one for each row.
    """

    rows: list[dict[str, object]]
    answers: dict[str, list[object]]


@lru_cache(maxsize=16)
def read_example(package: Path, digest: str) -> Example:
    """Return the example of a package; `digest` tells packages at the same place apart."""
    sample = json.loads((package / "sample.json").read_bytes())
    told = json.loads((package / "expected.json").read_bytes())
    rows = [dict(zip(sample["columns"], row, strict=True)) for row in sample["data"][:_SHOWN]]
    names = ("predictions", "probabilities", "scores")
    return Example(rows, {name: told[name][:_SHOWN] for name in names if told.get(name) is not None})


def own_schemas(signature: Signature, max_rows: int) -> dict[str, Schema]:
    """Return the schemas ``Row``, ``Predict`` and ``Answer`` of our own form."""
    moment = {
        "type": "string",
        "format": "date-time",
        "pattern": "^(1[7-9]|2[01])[0-9]{2}-",
        "description": "ISO 8601 with its zone, from 1700 to 2199.",
    }
    rows = _rows({"$ref": "#/components/schemas/Row"}, max_rows)
    one = {**rows, "maxItems": 1}
    timed = _closed({"rows": one, "timestamps": {"type": "array", "items": moment, "minItems": 1, "maxItems": 1}})
    untimed = {"timestamps": {"type": "null"}}
    answer = answer_schema(signature)
    answer["properties"] = {**answer["properties"], "warnings": _WARNINGS}  # type: ignore[dict-item]
    told = "A row and the time at which it happened; several rows need as many times. So do columns with data."
    return {
        "Row": row_schema(signature.inputs),
        "Predict": {
            "anyOf": [
                {"title": "Rows", **_closed({"rows": rows, **untimed}, optional=tuple(untimed))},
                {
                    "title": "Columns with data",
                    **_closed({**_split(signature, max_rows), **untimed}, optional=tuple(untimed)),
                },
                {"title": "With timestamps", "description": told, **timed},
            ]
        },
        "Answer": answer,
    }


def foreign_schemas(signature: Signature, max_rows: int) -> dict[str, Schema]:
    """Return the schemas of what the protocols of others ask and answer, of the default version."""
    listed = _listed(signature, max_rows)
    by_column = _by_column(signature)
    several: Schema = {"anyOf": [listed, by_column]}
    names = [column.name for column in signature.inputs]
    parts = {**_split(signature, max_rows), "columns": {"enum": [names, None]}, "index": {"type": ["array", "null"]}}
    frame, named = _closed(parts, optional=("index", "columns")), _closed(parts, optional=("index",))
    params = {"params": _MAYBE}
    predictions = answer_schema(signature)["properties"]["predictions"]  # type: ignore[index]
    served = {"signature_name": _MAYBE_TEXT, "parameters": _MAYBE}
    return {
        "Invocations": {
            "anyOf": [
                *(
                    {"title": key, **_closed({key: schema, **params}, optional=("params",))}
                    for key, schema in (
                        ("dataframe_split", frame),
                        ("dataframe_records", listed),
                        ("inputs", several),
                        ("instances", several),
                    )
                ),
                {"$ref": "#/components/schemas/Predict"},
            ]
        },
        "Instances": {
            "anyOf": [
                {"title": "instances", **_closed({"instances": listed, **served}, optional=tuple(served))},
                {"title": "inputs", **_closed({"inputs": several, **served}, optional=tuple(served))},
            ]
        },
        "InputData": _closed({"input_data": {"anyOf": [named, listed, by_column]}, **params}, optional=("params",)),
        "Predictions": _closed({"predictions": predictions}),
        "PredictionsOrOutputs": {"anyOf": [_closed({"predictions": predictions}), _closed({"outputs": predictions})]},
        "BareList": predictions,
        "Infer": _infer(signature),
        "Inferred": _inferred(signature),
    }


def table_media(signature: Signature) -> dict[str, dict[str, object]]:
    """Return the media types of tables: JSON lines, and of a model without list columns CSV."""
    media: dict[str, dict[str, object]] = {"application/jsonlines": {}}
    if any(column.many for column in signature.inputs):
        return media
    kinds = [_CSV.get(column.dtype) or _CSV.get(type_of(column.dtype), "[0-9]{1,2}") for column in signature.inputs]
    pattern = ",".join(kinds)
    told = "A line for each row, in the order of the columns, or below a line with their names; nothing is null."
    return {"text/csv": {"schema": {"type": "string", "pattern": f"^{pattern}\n$", "description": told}}, **media}


def labels_body(signatures: Sequence[Signature], max_rows: int) -> Schema:
    """Return the schema of a labels request, of all versions that are live."""
    kinds: list[Schema] = []
    for signature in signatures:
        schema = label_schema(signature)
        if schema not in kinds:
            kinds.append(schema)
    label: Schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    names = {"pattern": "^[0-9a-f]{24}$", "description": "Each name is one of the ids of an answer."}
    told = {"type": "object", "propertyNames": names, "additionalProperties": label, "maxProperties": max_rows}
    return _closed({"labels": told})


def asked_examples(signature: Signature, example: Example) -> dict[str, dict[str, object]]:
    """Return example bodies by schema name and a few words."""
    rows, names = example.rows, [column.name for column in signature.inputs]
    values = [[row[name] for name in names] for row in rows]
    frame = {"columns": names, "data": values}
    tensors = [
        {
            "name": one.name,
            "datatype": DATATYPES[one.dtype],
            "shape": [1, one.length or 1] if one.many else [1],
            "data": _flat(rows[0][one.name], one),
        }
        for one in signature.inputs
    ]
    return {
        "Predict": {"rows": {"rows": rows}, "columns": frame},
        "Invocations": {
            "dataframe_split": {"dataframe_split": frame},
            "dataframe_records": {"dataframe_records": rows},
        },
        "Instances": {"objects": {"instances": rows}, "lists": {"instances": values}},
        "InputData": {"frame": {"input_data": frame}},
        "Infer": {"one_row": {"id": "trip-7", "inputs": tensors}},
        "Labels": {"one": {"labels": {_ID: _came_true(example.answers)}}},
    }


def answered_examples(example: Example, model: str, version: str) -> dict[str, dict[str, object]]:
    """Return example answers by schema name."""
    predictions = example.answers["predictions"]
    ids = [f"{int(_ID, 16) + at:024x}" for at in range(len(predictions))]
    return {
        "Answer": {"answer": {**example.answers, "ids": ids, "version": f"{model}/{version}"}},
        "Predictions": {"answer": {"predictions": predictions}},
        "PredictionsOrOutputs": {"answer": {"predictions": predictions}},
        "BareList": {"answer": predictions},
    }


def _rows(item: Mapping[str, object], max_rows: int) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": max_rows}


def _values(signature: Signature) -> Schema:
    """Return the schema of a row without names."""
    count = len(signature.inputs)
    each = [{"title": column.name, **column_schema(column)} for column in signature.inputs]
    return {"type": "array", "prefixItems": each, "items": False, "minItems": count, "maxItems": count}


def _split(signature: Signature, max_rows: int) -> dict[str, object]:
    told = "The columns, each once; the values of each row of the data are in their order."
    columns = {"const": [column.name for column in signature.inputs], "description": told}
    return {"columns": columns, "data": _rows(_values(signature), max_rows)}


def _listed(signature: Signature, max_rows: int) -> Schema:
    kinds: list[Mapping[str, object]] = [{"$ref": "#/components/schemas/Row"}, _values(signature)]
    if len(signature.inputs) == 1 and not signature.inputs[0].many:
        kinds.append(column_schema(signature.inputs[0]))
    return _rows({"anyOf": kinds}, max_rows)


def _by_column(signature: Signature) -> Schema:
    def each(column: Column) -> Schema:
        schema = column_schema(column)
        listed: Schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}
        return listed if column.many else {"anyOf": [schema, listed]}

    told = "Each column's values; of several rows, lists that are equally long."
    return {"description": told, **_closed({column.name: each(column) for column in signature.inputs})}


def _infer(signature: Signature) -> Schema:
    told = (
        "One tensor for each column, the rows along its first axis: of several rows, longer ones; or one tensor of any "
        "name with the columns along its second. With Inference-Header-Content-Length, the binary extension."
    )
    tensors = [_tensor(column) for column in signature.inputs]
    count = len(tensors)
    inputs: Schema = {"type": "array", "prefixItems": tensors, "items": False, "minItems": count, "maxItems": count}
    output = {
        "type": "object",
        "properties": {"name": {"enum": list(output_names(signature))}, "parameters": _MAYBE},
        "required": ["name"],
    }
    outputs = {"type": ["array", "null"], "items": output}
    body = {"id": _MAYBE_TEXT, "parameters": _MAYBE, "inputs": inputs, "outputs": outputs}
    return {"type": "object", "description": told, "properties": body, "required": ["inputs"]}


def _tensor(column: Column) -> Schema:
    value = column_schema(column)
    shape: object = {"enum": [[1], [1, 1]]}
    data: object = {"type": "array", "items": value, "minItems": 1, "maxItems": 1}
    if column.many:
        length = column.length or 1
        items = value["items"]
        shape, data = {"const": [1, length]}, {"type": "array", "items": items, "minItems": length, "maxItems": length}
    properties = {
        "name": {"const": column.name},
        "datatype": {"const": DATATYPES[column.dtype]},
        "shape": shape,
        "data": data,
        "parameters": {"type": ["object", "null"], "properties": {"binary_data_size": {"type": "null"}}},
    }
    return {"type": "object", "properties": properties, "required": ["name", "datatype", "shape", "data"]}


def _inferred(signature: Signature) -> Schema:
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    output = {
        "type": "object",
        "properties": {
            "name": {"enum": list(output_names(signature))},
            "datatype": {"enum": sorted(set(DATATYPES.values()))},
            "shape": sizes,
            "data": {"type": "array"},
            "parameters": ANYTHING,
        },
        "required": ["name", "datatype", "shape"],
    }
    return {
        "type": "object",
        "properties": {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "parameters": {"type": "object", "properties": {"prediction_ids": TEXT}},
            "outputs": {"type": "array", "items": output},
        },
        "required": ["model_name", "model_version", "outputs"],
    }


def _closed(properties: Mapping[str, object], *, optional: Sequence[str] = ()) -> Schema:
    needed = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": needed, "additionalProperties": False}


def _flat(value: object, column: Column) -> object:
    """Return the values of a row's tensor; of a list of any length the first, as the schema has it."""
    return value[: column.length or 1] if isinstance(value, list) else [value]


def _came_true(answers: Mapping[str, Sequence[object]]) -> object:
    """Return a label that is like a prediction: of a ranking its best item."""
    first = answers["predictions"][0]
    return first[0] if "scores" in answers and isinstance(first, list) else first
