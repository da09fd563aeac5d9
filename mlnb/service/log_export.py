"""Rows of a prediction log become a CSV or a Parquet file, however many they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mlnb.service.log_record import Record, moment
from mlnb.service.log_segments import GROUP_ROWS, table_of, table_schema
from mlnb.store.disk import replacing, storing

_TIMES = ("event_at", "logged_at")


def write_csv(records: Iterable[Record], path: Path) -> int:
    """Write rows with a header, times in ISO 8601, and return how many.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    count = 0
    with _writing(path) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        writer = csv.writer(file)
        writer.writerow(Record._fields)
        for record in records:
            times = {name: moment(getattr(record, name)).isoformat() for name in _TIMES}
            writer.writerow(record._replace(**times))  # type: ignore[arg-type]  # texts, for the file
            count += 1
        file.detach()  # written, and left open for who gave it
    return count


def write_parquet(records: Iterable[Record], path: Path) -> int:
    """Write rows as a segment has them, and return how many.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    import pyarrow.parquet as pq

    count, rows = 0, iter(records)
    schema = table_schema("predictions")
    with _writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(rows, GROUP_ROWS)):
            writer.write_table(table_of(group, schema))
            count += len(group)
    return count


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Give a file that appears whole; a link, a pipe or a device, such as ``/dev/stdout``, is written as it comes."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with storing(path), path.open("wb") as file:
            yield file
    else:
        with replacing(path) as file:
            yield file
