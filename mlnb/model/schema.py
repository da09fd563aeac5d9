"""A model's columns and outputs become JSON Schema (draft 2020-12, as OpenAPI 3.1 takes it).

Carried into the service: the standard library and `mlnb.model.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlnb.model.kinds import Column, Label

_SHOWN = 20
_FLOAT32_END = (2 - 2**-24) * 2.0**127  # whatever is nearer to nought is rounded to a number, not to infinity


def row_schema(columns: Sequence[Column]) -> dict[str, object]:
    """Return the JSON Schema of one row of a request."""
    return {
        "type": "object",
        "properties": {column.name: column_schema(column) for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }


def type_of(dtype: str) -> str:
    """Return what JSON Schema calls a dtype."""
    known: Mapping[str, str] = {"string": "string", "datetime": "string", "bool": "boolean"}
    return known.get(dtype) or ("number" if dtype.startswith("float") else "integer")


def labels_schema(dtype: str, classes: Sequence[Label]) -> dict[str, object]:
    """Return the JSON Schema of a prediction: one of its classes, or of its type."""
    return {"enum": list(classes)} if classes else {"type": type_of(dtype)}


def column_schema(column: Column) -> dict[str, object]:
    """Return the JSON Schema of one value of a column; of a list column that of its lists."""
    kind = type_of(column.dtype)
    told: dict[str, object] = {"type": [kind, "null"] if column.nullable else kind, **_bounds(column.dtype)}
    if column.dtype == "datetime":
        told["format"] = "date-time"
    if column.categories:
        told["examples"] = list(column.categories[:_SHOWN])
    if column.minimum is not None:
        told["description"] = f"From {column.minimum:g} to {column.maximum:g} in the sample."
    if not column.many:
        return told
    listed: dict[str, object] = {"type": "array", "items": told}
    if column.length is not None:
        return {**listed, "minItems": column.length, "maxItems": column.length}
    return listed if column.empty else {**listed, "minItems": 1}


def _bounds(dtype: str) -> dict[str, object]:
    """Return the numbers that a dtype holds: whole ones by their bits, floats of 32 bits by IEEE 754."""
    if dtype == "float32":
        return {"exclusiveMinimum": -_FLOAT32_END, "exclusiveMaximum": _FLOAT32_END}
    if "int" not in dtype:
        return {}
    bits = int(dtype.rpartition("int")[2])
    if dtype.startswith("u"):
        return {"minimum": 0, "maximum": 2**bits - 1}
    return {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
