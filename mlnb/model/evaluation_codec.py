"""An `Evaluation` becomes canonical JSON, format 1, and JSON the evaluation.

Equal evaluations give equal bytes; what is not a finite number is null and comes back as NaN. Raise `FORMAT` when a
field is added or changes its meaning, and go on reading the older ones in `from_json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlnb.errors import CorruptError
from mlnb.model.evaluation import Confusion, Curve, Evaluation, Interval, Metric, Slice
from mlnb.store.hashed import HashedFile
from mlnb.store.manifest import Fields, read_json, write_json

FORMAT = 1
FILE = "evaluations.json"
"""The file of a version's package that holds what its run has measured."""


class EvaluationCodec:
    """Evaluations <-> canonical JSON; nothing in it can execute code."""

    name = "evaluation"
    rank = 5
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is an evaluation."""
        return type(value) is Evaluation

    def write(self, value: Evaluation, file: HashedFile) -> None:
        """Write ASCII JSON."""
        file.write(to_bytes(value))

    def read(self, path: Path) -> Evaluation:
        """Return the evaluation."""
        return from_json(read_json(path, FORMAT))

    def faithful(self, value: Evaluation, copy: Evaluation) -> bool:
        """Say whether both are equal in every number."""
        return to_bytes(value) == to_bytes(copy)


def to_bytes(evaluation: Evaluation) -> bytes:
    """Return canonical JSON."""
    return json.dumps(
        to_json(evaluation), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False
    ).encode("ascii")


def to_json(evaluation: Evaluation) -> dict[str, object]:
    """Return a mapping that strict JSON can spell."""
    how, confusion = evaluation.interval, evaluation.confusion
    return {
        "format": FORMAT,
        "task": evaluation.task,
        "rows": evaluation.rows,
        "units": evaluation.units,
        "metrics": _spelled(evaluation.metrics),
        "slices": [
            {
                "column": one.column,
                "value": one.value,
                "rows": one.rows,
                "small": one.small,
                "metrics": _spelled(one.metrics),
            }
            for one in evaluation.slices
        ],
        "curves": [
            {"kind": one.kind, "label": one.label, "x": _finite(one.x), "y": _finite(one.y), "rows": list(one.rows)}
            for one in evaluation.curves
        ],
        "confusion": confusion
        and {"classes": list(confusion.classes), "counts": [list(row) for row in confusion.counts]},
        "interval": {
            "method": how.method,
            "level": how.level,
            "resamples": how.resamples,
            "seed": how.seed,
            "unit": how.unit,
        },
        "notes": list(evaluation.notes),
    }


def from_json(fields: Fields) -> Evaluation:
    """Return the evaluation that `to_json` wrote.

    Raises
    ------
    CorruptError
        If a field is missing or of another type.
    """
    how = fields.one("interval")
    return Evaluation(
        task=fields.text("task"),
        rows=fields.integer("rows"),
        units=fields.integer("units"),
        metrics=_metrics(fields),
        slices=tuple(
            Slice(one.text("column"), one.text("value"), one.integer("rows"), one.truth("small"), _metrics(one))
            for one in fields.many("slices")
        ),
        curves=tuple(
            Curve(one.text("kind"), one.text("label"), _floats(one, "x"), _floats(one, "y"), _counts(one, "rows"))
            for one in fields.many("curves")
        ),
        confusion=_confusion(fields),
        interval=Interval(
            how.text("method"), how.number("level"), how.integer("resamples"), how.integer("seed"), how.text("unit")
        ),
        notes=fields.texts("notes"),
    )


def write_all(path: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Write several evaluations by name into one file.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    write_json(path, {"format": FORMAT, "evaluations": {name: to_json(one) for name, one in evaluations.items()}})


def read_all(path: Path) -> dict[str, Evaluation]:
    """Return what `write_all` wrote.

    Raises
    ------
    CorruptError, NewerFormatError
        If it is not that, or a newer mlnb wrote it.
    """
    held = read_json(path, FORMAT).one("evaluations")
    return {name: from_json(held.one(name)) for name in held.mapping}


def _spelled(metrics: Sequence[Metric]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for one in metrics:
        value, low, high = _finite((one.value, one.low, one.high))
        rows.append({"name": one.name, "value": value, "low": low, "high": high})
    return rows


def _finite(values: Sequence[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _metrics(fields: Fields) -> tuple[Metric, ...]:
    return tuple(
        Metric(one.text("name"), *(_float(one, one.mapping.get(end)) for end in ("value", "low", "high")))
        for one in fields.many("metrics")
    )


def _confusion(fields: Fields) -> Confusion | None:
    if fields.mapping.get("confusion") is None:
        return None
    table = fields.one("confusion")
    rows = table.mapping.get("counts")
    if not isinstance(rows, list):
        raise _damaged(fields, "counts")
    counts = tuple(_counts(Fields(fields.source, {"counts": row}), "counts") for row in rows)
    return Confusion(table.texts("classes"), counts)


def _floats(fields: Fields, name: str) -> tuple[float, ...]:
    values = fields.mapping.get(name)
    if not isinstance(values, list):
        raise _damaged(fields, name)
    return tuple(_float(fields, value) for value in values)


def _float(fields: Fields, value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _damaged(fields, str(value))
    return float(value)


def _counts(fields: Fields, name: str) -> tuple[int, ...]:
    values = fields.mapping.get(name)
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise _damaged(fields, name)
    return tuple(int(value) for value in values)


def _damaged(fields: Fields, name: str) -> CorruptError:
    return CorruptError(
        f"{fields.source} is damaged: its field {name!r} is missing or of another type.",
        "Run the stage that made it again: mlnb run NOTEBOOK --force.",
        path=fields.source,
        digest="",
    )
