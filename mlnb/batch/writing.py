"""Record batches become one file or a folder of parts, here or at an address: whole, or nothing at all.

Everything is written beside the target under another name (for an address: here) and moved when the last row is in.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mlnb.batch.places import format_of, is_remote, local
from mlnb.errors import UsageError
from mlnb.store.disk import make_folder, replacing, storing, sync_folder
from mlnb.store.remote import open_address, reaching, shown

PART_ROWS = 1_000_000
_GROUP_ROWS = 200_000


class Sink(Protocol):
    """Takes batches in order."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""


@contextmanager
def writing(target: str, schema: pa.Schema) -> Iterator[Sink]:
    """Give a sink whose rows become `target` when the block ends, and vanish if it fails.

    A name without a suffix, or with ``/`` at its end, is a folder of Parquet parts.

    Raises
    ------
    UsageError
        If the target is a folder that holds something, or in no known format.
    StorageError, RemoteError
        If it cannot be written.
    """
    check_target(target)
    form = format_of(target)
    if not is_remote(target):
        with _folder(local(target), schema) if not form else _file(local(target), form, schema) as sink:
            yield sink
        return
    with tempfile.TemporaryDirectory(prefix="mlnb-answers-") as folder:
        draft = Path(folder) / "answers"
        with _folder(draft, schema) if not form else _file(draft, form, schema) as sink:
            yield sink
        _upload(draft, target.rstrip("/"))


def check_target(target: str) -> None:
    """Refuse a target that could not be written, before anything is scored."""
    format_of(target)
    path = local(target)
    if is_remote(target) or not path.is_dir():
        return
    if format_of(target) or any(path.iterdir()):
        raise UsageError(f"{target} is a folder that is there already.", "Name another, or remove it before.")


@contextmanager
def _file(path: Path, form: str, schema: pa.Schema) -> Iterator[Sink]:
    with replacing(path) as file, _writer(form, file, schema) as sink:
        yield sink


@contextmanager
def _folder(path: Path, schema: pa.Schema) -> Iterator[Sink]:
    make_folder(path.parent)
    with storing(path):
        draft = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
        draft.chmod(0o755)
    try:
        with _Parts(draft, schema) as sink:
            yield sink
        with storing(path):
            draft.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class _Parts:
    """Begins another part where one is full; the first is there even without rows."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._parts = 0
        self._begin()

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._end()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        if self._rows >= PART_ROWS:
            self._end()
            self._begin()
        self._writer.write(batch)
        self._rows += batch.num_rows

    def _begin(self) -> None:
        self._rows = 0
        self._file = (self._folder / f"part-{self._parts:05d}.parquet").open("wb")
        self._writer = _Parquet(self._file, self._schema)
        self._parts += 1

    def _end(self) -> None:
        self._writer.close()
        self._file.close()


class _Parquet:
    """Gathers batches into row groups that are worth reading."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        repeated = [field.name for field in schema if not pa.types.is_floating(field.type)]
        self._writer = pq.ParquetWriter(file, schema, use_dictionary=repeated)
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema).unify_dictionaries())
        self._held, self._rows = [], 0


class _Lines:
    """One JSON object a line; what has no JSON of its own, such as a date, becomes text."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder(enc_hook=str)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        self._file.write(self._encoder.encode_lines(batch.to_pylist()))

    def close(self) -> None:
        """Do nothing: every line is whole."""


class _Csv:
    """Texts, numbers and truths as they are, lists as JSON, dictionaries decoded."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        fields = [pa.field(field.name, pa.string() if _is_spelt(field.type) else field.type) for field in schema]
        self._schema = pa.schema(fields)
        self._writer = pacsv.CSVWriter(file, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        columns = [_spelt(column, field.type) for column, field in zip(batch.columns, batch.schema, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Arrow:
    """Record batches of the Arrow file format, compressed."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
        self._writer = pa.ipc.new_file(file, schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows at the end."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


@contextmanager
def _writer(form: str, file: BinaryIO, schema: pa.Schema) -> Iterator[Sink]:
    makers: dict[str, Callable[[], Any]] = {
        "parquet": lambda: _Parquet(file, schema),
        "csv": lambda: _Csv(file, schema),
        "arrow": lambda: _Arrow(file, schema),
        "jsonl": lambda: _Lines(file),
    }
    writer = makers[form]()
    try:
        yield writer
    finally:
        writer.close()


def _is_spelt(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_dictionary(kind))


def _spelt(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return column.dictionary_decode().cast(pa.string())
    if not pa.types.is_nested(kind):
        return column
    values = [None if one is None else msgspec.json.encode(one, enc_hook=str).decode() for one in column.to_pylist()]
    return pa.array(values, pa.string())


def _upload(draft: Path, target: str) -> None:
    """Put a file or the parts of a folder at an address; what was put is taken away again where one fails."""
    files = [(draft, target)] if draft.is_file() else [(one, f"{target}/{one.name}") for one in sorted(draft.iterdir())]
    done: list[str] = []
    with reaching(target):
        system = open_address(target)[0]
        try:
            for path, address in files:
                done.append(open_address(address)[1])
                system.put_file(str(path), done[-1])
        except BaseException:
            if len(files) > 1:
                system.rm(done)
            raise


def same_place(source: str, target: str) -> bool:
    """Say whether a target would replace what is read."""
    if is_remote(source) or is_remote(target):
        return shown(source).rstrip("/") == shown(target).rstrip("/")
    one, other = local(source).resolve(), local(target).resolve()
    return one == other or (one.is_dir() and other.is_relative_to(one))
