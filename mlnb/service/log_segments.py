"""Closed rows of a prediction log become one Parquet file, a segment, in a folder or at an address elsewhere.

Format 1, in the file's metadata as ``mlnb.segment``, with the name of the table (``mlnb.kind``), the database and the
number in it. Columns are those of the table, times as ``timestamp[ns, UTC]``; rows are sorted by their time, in row
groups of `GROUP_ROWS` whose statistics let a reader leave most of a file unread. Anything that reads Parquet reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from mlnb.errors import NewerFormatError, StorageError
from mlnb.service.log_tables import LOGGED, synchronise
from mlnb.store.disk import make_folder, storing
from mlnb.store.remote import open_address, reaching, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from fsspec import AbstractFileSystem

FORMAT = 1
GROUP_ROWS = 10_000
_TEXT, _TIME, _WHOLE, _REAL = "string", "time", "int64", "double"
COLUMNS = {
    "predictions": {
        "id": _TEXT,
        "request_id": _TEXT,
        "event_at": _TIME,
        "logged_at": _TIME,
        "model": _TEXT,
        "version": _WHOLE,
        "alias": _TEXT,
        "status": _WHOLE,
        "latency_ms": _REAL,
        "inputs": _TEXT,
        "prediction": _TEXT,
        "probabilities": _TEXT,
        "error": _TEXT,
        "role": _TEXT,
        "caller": _TEXT,
        "shadow_of": _TEXT,
        "warnings": _TEXT,
    },
    "labels": {"id": _TEXT, "value": _TEXT, "labelled_at": _TIME},
}
"""Columns of each table in its order, by what they hold."""
EVENT = {"predictions": "event_at", "labels": "labelled_at"}
"""The column that a table is sorted by."""

Rows: TypeAlias = Sequence[tuple[object, ...]]
Columns: TypeAlias = Sequence[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Segment:
    """One file, as its database's table ``segments`` knows it.

    Attributes
    ----------
    number : int
        Grows with each segment of a database.
    kind : str
        ``predictions`` or ``labels``.
    address : str
        Relative to the log's folder, or with a scheme.
    rows, size_bytes : int
        What is in it, and its size.
    first_id, last_id : str
        Smallest and largest id.
    first_at, last_at : int
        Smallest and largest time of an event, nanoseconds since the epoch.
    logged_at : int
        When the last of its rows was logged.
    """

    number: int
    kind: str
    address: str
    rows: int
    size_bytes: int
    first_id: str
    last_id: str
    first_at: int
    last_at: int
    logged_at: int


def segment_name(kind: str, database: str, number: int) -> str:
    """Return the name of a segment's file; the same for a roll that is tried again.

    Examples
    --------
    >>> segment_name("labels", "0f3a5c7e9b1d", 12)
    'labels-0f3a5c7e9b1d-00000012.parquet'
    """
    return f"{kind}-{database}-{number:08}.parquet"


def write_segment(
    folder: Path, destination: str, kind: str, database: str, number: int, batches: Iterable[Rows]
) -> Segment | None:
    """Write one segment whole or not at all; one of the same name is replaced.

    Parameters
    ----------
    folder : Path
        The log's folder; the file is written to ``segments`` in it.
    destination : str
        Address of a folder elsewhere, to which it is moved then; "" leaves it there.
    batches : iterable of rows
        In the order of time; at most `GROUP_ROWS` in each.

    Returns
    -------
    Segment or None
        None where there were no rows.

    Raises
    ------
    StorageError
        If it cannot be written.
    RemoteError
        If the destination cannot be reached.
    """
    name = segment_name(kind, database, number)
    local = make_folder(folder / "segments") / name
    temporary = local.with_name(f".{name}.tmp")
    address = f"{destination.rstrip('/')}/{name}" if destination else f"segments/{name}"
    with storing(local):
        try:
            held = _written(temporary, kind, database, number, batches)
            if held is None:
                return None
            size = temporary.stat().st_size
            if destination:
                with reaching(destination):
                    system, path = open_address(address)
                    system.makedirs(path.rpartition("/")[0], exist_ok=True)
                    system.put_file(str(temporary), path)
            else:
                temporary.rename(local)
                synchronise(local.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return Segment(number, kind, address, held.rows, size, *held.ids, *held.times, held.logged_at)


def read_segment(
    folder: Path,
    segment: Segment,
    *,
    columns: Sequence[str],
    where: pa.compute.Expression | None = None,
    batch_rows: int = GROUP_ROWS,
) -> Iterator[Columns]:
    """Yield the columns of a segment in pieces, times as nanoseconds; row groups that `where` excludes are not read.

    Raises
    ------
    StorageError
        If the file is missing or is none.
    RemoteError
        If it lies elsewhere and cannot be reached.
    NewerFormatError
        If a newer mlnb wrote it.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    kinds = COLUMNS[segment.kind]
    with _reading(segment.address):
        source, system = _place(folder, segment.address)
        data = ds.dataset(source, format="parquet", filesystem=system)
        found = int((data.schema.metadata or {}).get(b"mlnb.segment", b"0"))
    if found > FORMAT:
        raise _newer(segment.address, found)
    batches = data.to_batches(
        columns=list(columns),
        filter=where,
        batch_size=batch_rows,
        batch_readahead=1,
        fragment_readahead=1,
        use_threads=False,
    )
    while True:
        with _reading(segment.address):
            batch = next(batches, None)
        if batch is None:
            return
        if batch.num_rows:
            arrays = [
                batch.column(name).cast(pa.int64()) if kinds[name] == _TIME else batch.column(name) for name in columns
            ]
            yield [tuple(array.to_pylist()) for array in arrays]


def instant(at: int) -> pa.Scalar:
    """Return nanoseconds since the epoch as a time that the times of a segment compare with."""
    import pyarrow as pa

    return pa.scalar(at, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))


def table_schema(kind: str, about: Mapping[str, str] = MappingProxyType({})) -> pa.Schema:
    """Return the Arrow schema of a table."""
    import pyarrow as pa

    types = {
        _TEXT: pa.string(),
        _TIME: pa.timestamp("ns", tz="UTC"),
        _WHOLE: pa.int64(),
        _REAL: pa.float64(),
    }
    return pa.schema([(name, types[what]) for name, what in COLUMNS[kind].items()], metadata=dict(about))


def table_of(rows: Rows, schema: pa.Schema) -> pa.Table:
    """Return rows, times in nanoseconds since the epoch, as an Arrow table."""
    import pyarrow as pa

    arrays = []
    for column, field in zip(zip(*rows, strict=True), schema, strict=True):
        timed = pa.types.is_timestamp(field.type)
        arrays.append(pa.array(column, pa.int64()).cast(field.type) if timed else pa.array(column, field.type))
    return pa.table(arrays, schema=schema)


def remove_segment(address: str) -> None:
    """Remove a segment elsewhere; one that is gone already stays so.

    Raises
    ------
    RemoteError
        If it cannot be removed.
    """
    with reaching(address):
        system, path = open_address(address)
        with suppress(FileNotFoundError):
            system.rm_file(path)


@dataclass(slots=True)
class _Held:
    """What has gone into a file so far."""

    rows: int
    ids: tuple[str, str]
    times: tuple[int, int]
    logged_at: int


def _written(path: Path, kind: str, database: str, number: int, batches: Iterable[Rows]) -> _Held | None:
    import pyarrow.parquet as pq

    about = {"mlnb.segment": str(FORMAT), "mlnb.kind": kind, "mlnb.database": database, "mlnb.number": str(number)}
    schema = table_schema(kind, about)
    names = list(COLUMNS[kind])
    at, logged = names.index(EVENT[kind]), names.index(LOGGED[kind])
    held: _Held | None = None
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in batches:
                table = table_of(rows, schema)
                writer.write_table(table, row_group_size=GROUP_ROWS)
                held = _grown(held, rows, at, logged)
        file.flush()
        os.fsync(file.fileno())
    return held


def _grown(held: _Held | None, rows: Rows, at: int, logged: int) -> _Held:
    ids = [str(row[0]) for row in rows]
    times = [_number(row[at]) for row in rows]
    last = max(_number(row[logged]) for row in rows)
    low, high, first, final = min(ids), max(ids), min(times), max(times)
    if held is None:
        return _Held(len(rows), (low, high), (first, final), last)
    return _Held(
        held.rows + len(rows),
        (min(held.ids[0], low), max(held.ids[1], high)),
        (min(held.times[0], first), max(held.times[1], final)),
        max(held.logged_at, last),
    )


def _number(value: object) -> int:
    return int(str(value))


def _place(folder: Path, address: str) -> tuple[str, AbstractFileSystem | None]:
    if "://" not in address:
        if not (folder / address).is_file():
            raise FileNotFoundError(str(folder / address))
        return str(folder / address), None
    system, path = open_address(address)
    return path, system


@contextmanager
def _reading(address: str) -> Iterator[None]:
    from pyarrow import ArrowException

    if "://" in address:
        with reaching(address):
            yield
        return
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(
            f"The segment {address} of the prediction log is missing.",
            "Put the file back where it was.",
            path=address,
        ) from error
    except (OSError, ArrowException) as error:
        raise StorageError(
            f"The segment {address} of the prediction log cannot be read: {error}.",
            "Check the file and its permissions.",
            path=address,
        ) from error


def _newer(address: str, found: int) -> NewerFormatError:
    return NewerFormatError(
        f"The segment {shown(address)} has format {found}; this mlnb knows {FORMAT}.",
        "Use the newer mlnb that wrote it.",
        path=shown(address),
        found=found,
        known=FORMAT,
    )
