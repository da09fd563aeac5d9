"""Rows of JSON become arrays that a model can score, or a list of faults that names each column and row.

Carried into the service: standard library, numpy and `mlnb.errors` only. What is accepted:

- a number column takes numbers, never ``true`` or ``"1"``; a whole-number column also takes ``1.0``, not ``1.5``;
- a boolean column takes ``true`` and ``false`` only; a text column takes strings only;
- a date column takes ISO 8601 strings; those with an offset become UTC;
- ``null`` is the one spelling of *missing*, and only columns that had a missing value in the sample take it. NaN and
  infinity are not JSON and are refused;
- a category that the sample did not know is no fault: what it means is the model's matter, mostly its encoder's.

Rows are counted from 0, as in the request's JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from operator import itemgetter
from types import NoneType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlnb.errors import CorruptError, NewerFormatError, SignatureError

FORMAT = 1
FAULTS_SHOWN = 20
_COLUMN = ("name", "dtype", "nullable", "categories", "minimum", "maximum", "missing")
Label: TypeAlias = str | int | float | bool
Values: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the rows.

    Attributes
    ----------
    name : str
        Its name.
    dtype : str
        ``float64``, ``float32``, ``int64``, ... ``uint8``, ``bool``, ``string`` or ``datetime``.
    nullable : bool
        Whether ``null`` is accepted: the sample had a missing value here.
    categories : tuple of str, int, float or bool
        The known ones of a categorical column, in order; empty if it is not categorical.
    minimum, maximum : float or None
        Of the sample's numbers; told, not enforced.
    missing : str
        What the estimator saw for a missing text: ``nan`` or ``none``.
    """

    name: str
    dtype: str
    nullable: bool = False
    categories: tuple[Label, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    missing: str = "nan"

    def to_json(self) -> dict[str, object]:
        """Return the column as JSON."""
        told: dict[str, object] = {name: getattr(self, name) for name in _COLUMN}
        return {**told, "categories": list(self.categories)}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Column:
        """Return the column that `to_json` wrote."""
        return cls(**{**{name: mapping[name] for name in _COLUMN}, "categories": tuple(mapping["categories"])})


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Attributes
    ----------
    inputs : tuple of Column
        The columns of the rows that a caller sends.
    task : str
        ``classifier`` (answers are labels: clusters and outliers too) or ``regressor``.
    classes : tuple of str, int, float or bool
        A classifier's labels, in the order of the probabilities.
    probabilities : bool
        Whether the model gives probabilities.
    output : str
        Type of a prediction: ``float64``, ``int64``, ``bool`` or ``string``.
    features : tuple of Column
        What the estimator itself takes, where a hook prepares it from the inputs; else empty.
    frame : bool
        Whether the estimator takes a data frame rather than an array.
    """

    inputs: tuple[Column, ...]
    task: str
    classes: tuple[Label, ...] = ()
    probabilities: bool = False
    output: str = "float64"
    features: tuple[Column, ...] = ()
    frame: bool = True
    _table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", Table(self.inputs))

    def check(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Values]:
        """Return the rows by column, ready for the scorer, as `Table.check` says."""
        return self._table.check(rows)

    def json_schema(self) -> dict[str, object]:
        """Return the JSON Schema of one row."""
        return {
            "type": "object",
            "properties": {column.name: _property(column) for column in self.inputs},
            "required": [column.name for column in self.inputs],
            "additionalProperties": False,
        }

    def to_json(self) -> dict[str, object]:
        """Return the signature as JSON, format 1."""
        return {
            "format": FORMAT,
            "inputs": [column.to_json() for column in self.inputs],
            "task": self.task,
            "classes": list(self.classes),
            "probabilities": self.probabilities,
            "output": self.output,
            "features": [column.to_json() for column in self.features],
            "frame": self.frame,
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Signature:
        """Return the signature that `to_json` wrote.

        Raises
        ------
        NewerFormatError
            If a newer mlnb wrote it.
        CorruptError
            If it is no signature.
        """
        try:
            found = int(mapping["format"])
            if found > FORMAT:
                raise NewerFormatError(
                    f"The signature has format {found}, this mlnb knows {FORMAT} at the most.",
                    "Upgrade mlnb.",
                    path="signature.json",
                    found=found,
                    known=FORMAT,
                )
            return cls(
                tuple(Column.from_json(column) for column in mapping["inputs"]),
                str(mapping["task"]),
                tuple(mapping["classes"]),
                bool(mapping["probabilities"]),
                str(mapping["output"]),
                tuple(Column.from_json(column) for column in mapping["features"]),
                bool(mapping["frame"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(
                f"The signature is damaged: {type(error).__name__} {error}.",
                "Deploy the model again.",
                path="signature.json",
                digest="",
            ) from error


class Table:
    """Columns, prepared to check many small requests: what can be known beforehand is known.

    Parameters
    ----------
    columns : tuple of Column
        The columns of a row, in order.
    """

    __slots__ = ("_names", "_row", "columns")

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns
        self._names = tuple(column.name for column in columns)
        self._row: Callable[[Any], Any] = itemgetter(*self._names)

    def check(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Values]:
        """Return the rows by column.

        Returns
        -------
        dict of str to array, each of shape (rows,)
            In the columns' dtype; a missing number is NaN (whole numbers that may be missing are float64), a missing
            date is NaT, a missing text or boolean is None in an array of objects.

        Raises
        ------
        SignatureError
            If rows do not fit; ``faults`` names the first 20.
        """
        if type(rows) is not list or not rows:
            raise _refused(["there are no rows"] if isinstance(rows, list) else ["rows is not a list of objects"])
        width = len(self.columns)
        try:
            if any(type(row) is not dict or len(row) != width for row in rows):
                raise KeyError
            taken = list(zip(*map(self._row, rows), strict=True)) if width > 1 else [[self._row(row) for row in rows]]
        except KeyError:
            raise _refused(list(islice(self._misshapen(rows), FAULTS_SHOWN))) from None
        return self.check_columns(dict(zip(self._names, taken, strict=True)))

    def check_columns(self, values: Mapping[str, Sequence[object]]) -> dict[str, Values]:
        """Return arrays of the values that are already by column; otherwise as `check`."""
        faults = [f"column {name!r} is missing" for name in self._names if name not in values]
        faults += [self._unexpected(name) for name in values if name not in self._names]
        if faults:
            raise _refused(faults)
        arrays: dict[str, Values] = {}
        for column in self.columns:
            array = _array(column, values[column.name])
            if array is None:
                parsed, wrong = _parse_all(column, values[column.name])
                array = None if wrong else _array(column, parsed)
                faults += wrong
            if array is not None:
                arrays[column.name] = array
            elif len(faults) >= FAULTS_SHOWN:
                break
        if faults:
            raise _refused(faults)
        return arrays

    def _misshapen(self, rows: Sequence[object]) -> Iterator[str]:
        for at, row in enumerate(rows):
            if not isinstance(row, dict):
                yield f"rows[{at}] is {_told(row)}, not an object with a value for each column"
                continue
            yield from (f"rows[{at}]: column {name!r} is missing" for name in self._names if name not in row)
            yield from (f"rows[{at}]: {self._unexpected(name)}" for name in row if name not in self._names)

    def _unexpected(self, name: object) -> str:
        close = get_close_matches(str(name), self._names, n=1)
        return f"unexpected column {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")


def _array(column: Column, values: Sequence[object]) -> Values | None:
    """Return the values as an array if they all have the column's own type; None leaves them to be looked at singly."""
    kinds = set(map(type, values))
    if column.nullable:
        kinds.discard(NoneType)
    match column.dtype:
        case "string":
            return _objects(values) if kinds <= {str} else None
        case "bool":
            if not kinds <= {bool}:
                return None
            return _objects(values) if column.nullable else np.array(values, dtype=np.bool_)
        case "datetime":
            return np.array(values, dtype="datetime64[us]") if kinds <= {datetime} else None
        case _:
            return _numbers(column, values, kinds)


def _numbers(column: Column, values: Sequence[object], kinds: set[type]) -> Values | None:
    whole = not column.dtype.startswith("float")
    if not kinds <= ({int} if whole else {int, float}):
        return None
    try:
        if whole:
            array = np.array([value for value in values if value is not None], dtype=column.dtype)
            return array if array.size == len(values) and not column.nullable else np.array(values, dtype=np.float64)
        if column.dtype == "float64":
            array = np.array(values, dtype=np.float64)
        else:
            with np.errstate(over="ignore"):
                array = np.array(values, dtype=column.dtype)
    except OverflowError:
        return None
    finite = np.isfinite(array)
    return array if finite.all() or np.count_nonzero(~finite) == sum(value is None for value in values) else None


def _objects(values: Sequence[object]) -> Values:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _parse_all(column: Column, values: Sequence[object]) -> tuple[list[object], list[str]]:
    parsed: list[object] = []
    faults: list[str] = []
    for at, value in enumerate(values):
        try:
            parsed.append(_parse(column, value.item() if isinstance(value, np.generic) else value))
        except ValueError as error:
            faults.append(f"rows[{at}]: column {column.name!r} {error}")
            if len(faults) == FAULTS_SHOWN:
                break
    return parsed, faults


def _parse(column: Column, value: object) -> object:
    """Return a value of exactly the column's type; a ValueError ends a sentence that begins with the column."""
    if value is None:
        if column.nullable:
            return None
        raise ValueError("may not be null: no row of the model's sample lacked it")
    match column.dtype:
        case "string" if isinstance(value, str):
            return str(value)
        case "bool" if isinstance(value, bool):
            return value
        case "string" | "bool":
            wanted = "a string" if column.dtype == "string" else "true or false"
            raise ValueError(f"must be {wanted}, but is {_told(value)}")
        case "datetime":
            return _moment(value)
        case _:
            return _number(column, value)


def _number(column: Column, value: object) -> int | float:
    whole = not column.dtype.startswith("float")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be {'a whole number' if whole else 'a number'}, but is {_told(value)}")
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError(f"is {value}, which is not JSON: send null where a value is missing")
    if whole:
        if value != int(value):
            raise ValueError(f"must be a whole number, but is {value}")
        limits = np.iinfo(column.dtype)
        if not limits.min <= value <= limits.max:
            raise ValueError(f"is {value}, which is beyond {column.dtype}")
        return int(value)
    if abs(value) > float(np.finfo(column.dtype).max):
        raise ValueError(f"is {value}, which is beyond {column.dtype}")
    return float(value)


def _moment(value: object) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"must be an ISO 8601 date and time, but is {_told(value)}") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _told(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {value[:40]!r}"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case int() | float():
            return f"the number {str(value)[:40]}"
        case _:
            return f"a {type(value).__name__}"


def _refused(faults: list[str]) -> SignatureError:
    shown = faults[:FAULTS_SHOWN]
    more = f" (the first {FAULTS_SHOWN} faults are told)" if len(faults) >= FAULTS_SHOWN else ""
    return SignatureError(
        f"The rows do not fit the model: {shown[0]}{f' and {len(shown) - 1} more' if shown[1:] else ''}{more}.",
        "Send each row as an object with exactly the model's columns; `mlnb models show` lists them.",
        faults=shown,
    )


def _property(column: Column) -> dict[str, object]:
    match column.dtype:
        case "string" | "datetime":
            kind = "string"
        case "bool":
            kind = "boolean"
        case _:
            kind = "number" if column.dtype.startswith("float") else "integer"
    told: dict[str, object] = {"type": [kind, "null"] if column.nullable else kind}
    if column.dtype == "datetime":
        told["format"] = "date-time"
    if column.categories:
        told["examples"] = list(column.categories[:FAULTS_SHOWN])
    if column.minimum is not None:
        told["description"] = f"From {column.minimum:g} to {column.maximum:g} in the sample."
    return told
