"""A file of Parquet, CSV, Arrow or JSON lines becomes pieces: what the model takes, and the columns that are kept.

No file is read whole: Parquet comes by pages of a row group, CSV by blocks, Arrow by batches, JSON by lines. What
pandas.read_csv takes for missing is missing in CSV too; kept columns of CSV stay text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mlnb.batch.piece import Fault, Piece, rows_of_piece
from mlnb.batch.places import format_of, is_remote, local, opened, reading

_BLOCK_BYTES = 4 << 20
_MISSING = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"]
_MISSING += ["NA", "NULL", "NaN", "None", "n/a", "nan", "null"]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a file that can be read by itself.

    Attributes
    ----------
    file : str
    row : int
        The number of its first row in the file.
    units : tuple of int
        Row groups of Parquet; empty for all of the file.
    rows : int
        How many rows it has; 0 where only reading tells.
    """

    file: str
    row: int = 0
    units: tuple[int, ...] = ()
    rows: int = 0


def names_in(file: str) -> tuple[str, ...] | None:
    """Return the columns of a file; None where each row has its own, as in JSON lines."""
    with opened(file) as source, reading(file):
        match format_of(file):
            case "parquet":
                return tuple(pq.ParquetFile(source).schema_arrow.names)
            case "arrow":
                return tuple(pa.ipc.open_file(source).schema.names)
            case "csv":
                with _csv(source, None) as reader:
                    return tuple(reader.schema.names)
            case _:
                return None


def shares_of(file: str, rows: int) -> tuple[Share, ...]:
    """Return the parts of a file of about so many rows each; one where the format cannot be divided.

    Parameters
    ----------
    rows : int
        A part ends with the row group that fills it.
    """
    if format_of(file) != "parquet":
        return (Share(file),)
    sizes = _group_sizes(file)
    made: list[Share] = []
    first, units, count = 0, list[int](), 0
    for unit, size in enumerate(sizes):
        units.append(unit)
        count += size
        if count >= rows or unit == len(sizes) - 1:
            made.append(Share(file, first, tuple(units), count))
            first, units, count = first + count, [], 0
    return tuple(made) or (Share(file),)


def count_rows(file: str) -> int | None:
    """Return how many rows a file has, None where only reading it would tell."""
    if format_of(file) == "parquet":
        return sum(_group_sizes(file))
    if format_of(file) == "arrow" and not is_remote(file):
        with reading(file):
            return int(ds.dataset(local(file), format="ipc").count_rows())
    return None


def pieces_of(share: Share, columns: Sequence[str], texts: Sequence[str]) -> Iterator[Piece]:
    """Yield the rows of a file or a part of it, in order.

    Parameters
    ----------
    columns : sequence of str
        What is needed of it.
    texts : sequence of str
        Those of them that are text, and may be read as dictionaries.
    """
    rows = rows_of_piece(len(columns))
    with opened(share.file) as source, reading(share.file):
        if format_of(share.file) == "jsonl":
            yield from _json_lines(share.file, source, columns, rows)
            return
        at, text = share.row, format_of(share.file) == "csv"
        for batch in _batches(share, source, columns, texts, rows):
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows)
                arrays = dict(zip(part.schema.names, part.columns, strict=True))
                yield Piece(share.file, at, part.num_rows, arrays, text)
                at += part.num_rows


def _batches(
    share: Share, source: Any, columns: Sequence[str], texts: Sequence[str], rows: int
) -> Iterator[pa.RecordBatch]:
    match format_of(share.file):
        case "parquet":
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20, read_dictionary=list(texts))
            units = list(share.units) or list(range(file.num_row_groups))
            yield from file.iter_batches(rows, row_groups=units, columns=list(columns))
        case "arrow":
            batches = pa.ipc.open_file(source)
            for unit in range(batches.num_record_batches):
                yield batches.get_batch(unit).select(list(columns))
        case _:
            with _csv(source, columns) as reader:
                yield from reader


def _csv(source: Any, columns: Sequence[str] | None) -> pacsv.CSVStreamingReader:
    options = pacsv.ConvertOptions(null_values=_MISSING, strings_can_be_null=True)
    if columns is not None:
        options.include_columns = list(columns)
        options.column_types = {name: pa.string() for name in columns}
    return pacsv.open_csv(source, pacsv.ReadOptions(block_size=_BLOCK_BYTES), convert_options=options)


def _group_sizes(file: str) -> list[int]:
    with opened(file) as source, reading(file):
        metadata = pq.ParquetFile(source).metadata
        return [metadata.row_group(unit).num_rows for unit in range(metadata.num_row_groups)]


def _json_lines(file: str, source: Any, columns: Sequence[str], rows: int) -> Iterator[Piece]:
    at = 0
    lines = (line for line in _lines(source) if line.strip())
    while taken := list(islice(lines, rows)):
        found, faults = [], []
        for place, line in enumerate(taken):
            row, why = _object(line)
            found.append(row)
            if why:
                faults.append(Fault(file, at + place, "", why))
        values = {name: [row.get(name) for row in found] for name in columns}
        yield Piece(file, at, len(taken), values, faults=tuple(faults))
        at += len(taken)


def _lines(source: Any) -> Iterator[bytes]:
    left = b""
    while block := source.read(_BLOCK_BYTES):
        *whole, left = (left + bytes(block)).split(b"\n")
        yield from whole
    yield left


def _object(line: bytes) -> tuple[dict[str, Any], str]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {}, f"is not JSON ({error})"
    return (row, "") if isinstance(row, dict) else ({}, "is no JSON object")
