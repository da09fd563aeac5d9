"""Arrays of Arrow become the checked columns that a scorer takes, or faults that name row and column.

What is accepted is what `mlnb.model.table` accepts in JSON, in the types of a file: a number column takes numbers of
any width that hold its values; a missing value is null or NaN; a text column takes texts, dictionary-encoded or not;
a date column takes timestamps and dates. In a CSV file everything is text first, and is read as pandas reads it.

A column whose Arrow type fits is taken as a whole, without a Python object per row (texts: one for each different
text). Only where that fails are the values looked at singly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlnb.batch.piece import Cells, Fault, Piece
from mlnb.errors import SignatureError
from mlnb.model.kinds import Column, Values
from mlnb.model.table import Table

_TRUTHS: Mapping[str, bool] = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def check(piece: Piece, columns: Sequence[Column], *, most: int | None = None) -> tuple[dict[str, Values], list[Fault]]:
    """Return the piece's columns as `mlnb.model.table.Table.check` gives them, and the faults in the order of the rows.

    Parameters
    ----------
    piece : Piece
        It has every column.
    columns : sequence of Column
        What the model takes.
    most : int, optional
        How many faults of a column are looked for; all of them by default.

    Returns
    -------
    columns : dict of str to array, each of shape (rows,)
        What a row with a fault holds here means nothing.
    faults : list of Fault
        At most one of each row and column.
    """
    arrays: dict[str, Values] = {}
    faults = list(piece.faults)
    unread = {fault.row - piece.row for fault in piece.faults}
    for column in columns:
        cells = piece.columns[column.name]
        array = None if isinstance(cells, list) else _whole(column, cells, text=piece.text)
        if array is None:
            array, wrong = _singly(column, cells, text=piece.text, most=most)
            faults += [Fault(piece.file, piece.row + at, column.name, why) for at, why in wrong if at not in unread]
        arrays[column.name] = array
    return arrays, sorted(faults, key=lambda fault: fault.row)


def _whole(column: Column, cells: pa.Array, *, text: bool) -> Values | None:
    """Return the column as an array, None where its type or one of its values is not what the model takes."""
    if column.many or (cells.null_count and not column.nullable):
        return None
    try:
        match column.dtype:
            case "string":
                return _texts(cells)
            case "bool":
                return _truths(column, cells)
            case "datetime":
                return _moments(cells)
            case _:
                return _numbers(column, cells, text=text)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _texts(cells: pa.Array) -> Values | None:
    kind = cells.type
    if pa.types.is_null(kind):
        return np.full(len(cells), None, dtype=object)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return None
    coded = cells if pa.types.is_dictionary(cells.type) else pc.dictionary_encode(cells.cast(pa.large_string()))
    words = coded.dictionary.to_numpy(zero_copy_only=False)
    codes = coded.indices
    if codes.null_count:
        words = np.append(words, [None])
        codes = codes.cast(pa.int64()).fill_null(len(words) - 1)
    return np.asarray(np.asarray(words, dtype=object)[codes.to_numpy(zero_copy_only=False)])


def _truths(column: Column, cells: pa.Array) -> Values | None:
    if not pa.types.is_boolean(cells.type):
        return None
    values = cells.to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=object if column.nullable else bool)


def _moments(cells: pa.Array) -> Values | None:
    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(cells.type):
        return None
    return np.asarray(cells.cast(pa.timestamp("us", cells.type.tz), safe=False).to_numpy(zero_copy_only=False))


def _numbers(column: Column, cells: pa.Array, *, text: bool) -> Values | None:
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    whole = not column.dtype.startswith("float")
    kind = cells.type
    if pa.types.is_null(kind) or (text and not whole):
        cells = cells.cast(pa.float64())
    elif text:
        cells = _whole_or_float(cells)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    if whole and pa.types.is_integer(cells.type) and not column.nullable:
        return np.asarray(cells.cast(pa.from_numpy_dtype(np.dtype(column.dtype))).to_numpy())
    missing = cells.null_count
    if whole and pa.types.is_integer(cells.type):
        cells = cells.cast(pa.from_numpy_dtype(np.dtype(column.dtype)))
    values = np.asarray(cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if not _finite(values, missing, nullable=column.nullable):
        return None
    if not whole:
        return _narrowed(values, column)
    found = values if not column.nullable else values[np.isfinite(values)]
    limits = np.iinfo(column.dtype)
    if (found != np.floor(found)).any() or (found < limits.min).any() or (found > limits.max).any():
        return None
    return values if column.nullable else values.astype(column.dtype)


def _whole_or_float(cells: pa.Array) -> pa.Array:
    try:
        return cells.cast(pa.int64())
    except pa.ArrowInvalid:  # 3.0, as pandas writes whole numbers beside missing ones
        return cells.cast(pa.float64())


def _finite(values: Values, missing: int, *, nullable: bool) -> bool:
    """Say whether only what is missing is not finite, and nothing is missing where nothing may be."""
    finite = np.isfinite(values)
    if finite.all():
        return True
    return nullable and (int(np.count_nonzero(~finite)) == missing or not np.isinf(values).any())


def _narrowed(values: Values, column: Column) -> Values | None:
    if column.dtype == "float64":
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(column.dtype)
    return None if np.isinf(narrow).any() else narrow


def _singly(column: Column, cells: Cells, *, text: bool, most: int | None) -> tuple[Values, list[tuple[int, str]]]:
    """Return the column with something in place of what is wrong, and (place, reason) of that."""
    table = Table((column,))
    values = [_plain(column, cell, text=text) for cell in (cells if isinstance(cells, list) else cells.to_pylist())]
    try:
        return table.check_columns({column.name: values})[column.name], []
    except SignatureError:
        pass
    good: list[int] = []
    wrong: list[tuple[int, str]] = []
    for at, value in enumerate(values):
        try:
            table.check_columns({column.name: [value]})
            good.append(at)
        except SignatureError as error:
            wrong.append((at, error.faults[0].removeprefix("rows[0]").removeprefix(": ").removeprefix(_named(column))))
            if len(wrong) == most:
                break
    if not good:
        return np.full(len(values), None, dtype=object), wrong
    known = table.check_columns({column.name: [values[at] for at in good]})[column.name]
    array = np.zeros((len(values), *known.shape[1:]), dtype=known.dtype)
    array[good] = known
    return array, wrong


def _named(column: Column) -> str:
    return f"column {column.name!r} "


def _plain(column: Column, value: Any, *, text: bool) -> object:
    """Return a value of Arrow or of CSV as JSON would hold it, where it is of the column's kind at all."""
    match value:
        case str() if text:
            return _read(column, value)
        case float() if value != value:
            return None
        case Decimal():
            return float(value)
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001  # a date has no zone
        case list():
            return [_plain(column, one, text=text) for one in value]
        case _:
            return value


def _read(column: Column, word: str) -> object:
    if column.dtype in {"string", "datetime"}:
        return word
    word = word.strip()
    if column.dtype == "bool":
        return _TRUTHS.get(word, word)
    try:
        number = float(word)
    except ValueError:
        return word
    return int(word) if word.lstrip("+-").isdecimal() else number
