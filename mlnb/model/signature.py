"""Rows of JSON become arrays that a model can score, or a list of faults that names each column and row.

Carried into the service: standard library, numpy, `mlnb.errors` and the modules that it imports. What is accepted:

- a number column takes numbers, never ``true`` or ``"1"``; a whole-number column also takes ``1.0``, not ``1.5``;
- a boolean column takes ``true`` and ``false`` only; a text column takes strings only;
- a date column takes ISO 8601 strings; those with an offset become UTC;
- ``null`` is the one spelling of *missing*, and only columns that had a missing value in the sample take it. NaN and
  infinity are not JSON and are refused;
- a list column takes lists of such values, of exactly the sample's length where all of its lists have one length;
- a category that the sample did not know is no fault: what it means is the model's matter, mostly its encoder's.

Rows are counted from 0, as in the request's JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.model.kinds import TASKS, Column, Label, Output, Values
from mlnb.model.schema import row_schema
from mlnb.model.table import Table

__all__ = ["Column", "Label", "Output", "Signature", "Table", "Values"]

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes
    ----------
    inputs : tuple of Column
        The columns of the rows that a caller sends.
    task : str
        One of `mlnb.model.kinds.TASKS`; `mlnb.model.answers.Scores` says what each answers.
    classes : tuple of str, int, float or bool
        A classifier's labels, in the order of the probabilities; empty for every other task.
    probabilities : bool
        Whether the model gives probabilities.
    output : str
        Type of a prediction, or of the values in it: ``float64``, ``int64``, ``bool`` or ``string``.
    features : tuple of Column
        What the estimator itself takes, where a hook prepares it from the inputs, or where lists of fixed length are
        laid out one value a column; else empty.
    frame : bool
        Whether the estimator takes a data frame rather than an array.
    outputs : tuple of Output
        What each value of an answer is, where there are several (`mlnb.model.kinds.NESTED`); else empty.
    items : str
        The list column whose items a ranker orders, among what the estimator takes; else "".
    """

    inputs: tuple[Column, ...]
    task: str
    classes: tuple[Label, ...] = ()
    probabilities: bool = False
    output: str = "float64"
    features: tuple[Column, ...] = ()
    frame: bool = True
    outputs: tuple[Output, ...] = ()
    items: str = ""
    _table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", Table(self.inputs))

    def check(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Values]:
        """Return the rows by column, ready for the scorer, as `Table.check` says."""
        return self._table.check(rows)

    def json_schema(self) -> dict[str, object]:
        """Return the JSON Schema of one row."""
        return row_schema(self.inputs)

    def to_json(self) -> dict[str, object]:
        """Return the signature as JSON, format 2."""
        return {
            "format": FORMAT,
            "inputs": [column.to_json() for column in self.inputs],
            "task": self.task,
            "classes": list(self.classes),
            "probabilities": self.probabilities,
            "output": self.output,
            "features": [column.to_json() for column in self.features],
            "frame": self.frame,
            "outputs": [output.to_json() for output in self.outputs],
            "items": self.items,
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Signature:
        """Return the signature that `to_json` wrote, of format 1 or 2: the first knew neither lists nor outputs.

        Raises
        ------
        NewerFormatError
            If a newer mlnb wrote it.
        CorruptError
            If it is no signature.
        """
        try:
            found = int(mapping["format"])
            NewerFormatError.check("signature.json", found, FORMAT)
            if mapping["task"] not in TASKS:
                raise ValueError(f"task {mapping['task']!r}")
            return cls(
                tuple(Column.from_json(column) for column in mapping["inputs"]),
                str(mapping["task"]),
                tuple(mapping["classes"]),
                bool(mapping["probabilities"]),
                str(mapping["output"]),
                tuple(Column.from_json(column) for column in mapping["features"]),
                bool(mapping["frame"]),
                tuple(Output.from_json(output) for output in mapping.get("outputs", ())),
                str(mapping.get("items", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(
                f"The signature is damaged: {type(error).__name__} {error}.",
                "Deploy the model again.",
                path="signature.json",
                digest="",
            ) from error
