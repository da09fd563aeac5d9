"""The columns of a signature and the rows of a request become arrays, or a list of faults that names column and row.

Carried into the service: the standard library, numpy, `mlnb.errors` and `mlnb.model.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain, islice
from operator import itemgetter
from types import NoneType
from typing import Any

import numpy as np

from mlnb.errors import SignatureError
from mlnb.model.kinds import Column, Values

FAULTS_SHOWN = 20


class Table:
    """Columns, prepared to check many small requests: what can be known beforehand is known.

    Parameters
    ----------
    columns : tuple of Column
        The columns of a row, in order.
    """

    __slots__ = ("_blocks", "_names", "_row", "columns")

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.columns = columns
        self._blocks = _blocks_of(columns)
        self._names = tuple(column.name for column in columns)
        self._row: Callable[[Any], Any] = itemgetter(*self._names)

    def check(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Values]:
        """Return the rows by column.

        Returns
        -------
        dict of str to array, each of shape (rows,)
            In the columns' dtype; a missing number is NaN (whole numbers that may be missing are float64), a missing
            date is NaT, a missing text or boolean is None in an array of objects. A list column of fixed length has
            the shape (rows, length), another one is an array of arrays.

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
        for block in self._blocks:
            arrays |= block.arrays(values)
        if len(arrays) == len(self.columns):
            return {name: arrays[name] for name in self._names}
        for column in self.columns:
            if column.name in arrays:
                continue
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
        return {name: arrays[name] for name in self._names}

    def _misshapen(self, rows: Sequence[object]) -> Iterator[str]:
        for at, row in enumerate(rows):
            if not isinstance(row, dict):
                yield f"rows[{at}] is {_told(row)}, not an object with a value for each column"
                continue
            yield from (f"rows[{at}]: column {name!r} is missing" for name in self._names if name not in row)
            yield from (f"rows[{at}]: {self._unexpected(name)}" for name in row if name not in self._names)

    def _unexpected(self, name: object) -> str:
        close = get_close_matches(str(name), self._names, n=1)
        return f"unexpected column {name!r:.60}" + (f" (did you mean {close[0]!r}?)" if close else "")


class _Block:
    """Columns of one type, made arrays in one go: a request of one row has as many columns as values."""

    __slots__ = ("_dtype", "_kinds", "_names", "_nullable")

    def __init__(self, dtype: str, nullable: bool, names: tuple[str, ...]) -> None:
        self._names = names
        self._dtype = dtype
        self._nullable = nullable
        kinds = {str} if dtype == "string" else {int, float} if dtype == "float64" else {int}
        self._kinds = kinds | {NoneType} if nullable else kinds

    def arrays(self, values: Mapping[str, Sequence[object]]) -> dict[str, Values]:
        """Return all columns as arrays, or none where one of them is not as it should be."""
        listed = [values[name] for name in self._names]
        if not self._kinds.issuperset(map(type, chain.from_iterable(listed))):
            return {}
        made: Values
        try:
            if self._dtype == "string":
                made = np.empty((len(listed), len(listed[0])), dtype=object)
                made[:] = listed
            else:
                made = np.array(listed, dtype=self._dtype)
        except (OverflowError, ValueError):  # a number beyond the type; columns of different lengths
            return {}
        if self._dtype == "float64":
            strange = made.size - np.count_nonzero(np.isfinite(made))
            if strange and strange != sum(value is None for value in chain.from_iterable(listed)):
                return {}
        return dict(zip(self._names, made, strict=True))


def _blocks_of(columns: tuple[Column, ...]) -> tuple[_Block, ...]:
    """Return the blocks of the plain columns; the others are made arrays one by one."""
    names: dict[tuple[str, bool], list[str]] = {}
    for column in columns:
        if not column.many and (
            column.dtype in ("float64", "string") or (column.dtype == "int64" and not column.nullable)
        ):
            names.setdefault((column.dtype, column.nullable), []).append(column.name)
    return tuple(_Block(dtype, nullable, tuple(found)) for (dtype, nullable), found in names.items())


def _array(column: Column, values: Sequence[object]) -> Values | None:
    """Return the values as an array if they all have the column's own type; None leaves them to be looked at singly."""
    if column.many:
        return _lists(column, values)
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


def _lists(column: Column, values: Sequence[object]) -> Values | None:
    """Return lists as one array of shape (rows, length), or where the length is free as an array of arrays."""
    if any(type(value) is not list or _wrong_length(column, value) for value in values):
        return None
    listed: Sequence[list[object]] = values  # type: ignore[assignment]  # each has just been looked at
    flat = _array(replace(column, many=False), list(chain.from_iterable(listed)))
    if flat is None:
        return None
    if column.length is not None:
        return flat.reshape(len(listed), column.length)
    array = np.empty(len(listed), dtype=object)
    end = 0
    for at, one in enumerate(listed):
        array[at] = flat[end : end + len(one)]
        end += len(one)
    return array


def _wrong_length(column: Column, value: list[object]) -> str:
    if column.length is not None and len(value) != column.length:
        return f"must hold {column.length} values, but holds {len(value)}"
    return "" if value or column.empty or column.length == 0 else "may not be an empty list: none of the sample was"


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
    parse = _parse_list if column.many else _parse
    for at, value in enumerate(values):
        try:
            parsed.append(parse(column, value.item() if isinstance(value, np.generic) else value))
        except ValueError as error:
            faults.append(f"rows[{at}]: column {column.name!r} {error}")
            if len(faults) == FAULTS_SHOWN:
                break
    return parsed, faults


def _parse_list(column: Column, value: object) -> list[object]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list, but is {_told(value)}")
    wrong = _wrong_length(column, list(value))
    if wrong:
        raise ValueError(wrong)
    made: list[object] = []
    for at, one in enumerate(value):
        try:
            made.append(_parse(column, one.item() if isinstance(one, np.generic) else one))
        except ValueError as error:
            raise ValueError(f"at {at} {error}") from None
    return made


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
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):  # the first and last hours that there are may have no UTC
        raise ValueError(f"must be an ISO 8601 date and time, but is {_told(value)}") from None


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
