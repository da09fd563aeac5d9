"""The databases of a service's prediction log become columnar batches and one mapping of labels.

Reads while the workers write. Rows come database by database, ordered by event time within each.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlnb.errors import NewerFormatError, StorageError
from mlnb.service.log import SCHEMA, nanoseconds

LabelValue = str | int | float | bool | list[Any] | dict[str, Any]
"""What came true: one value; of an answer of several values a list, or some of them by the output's name."""
_EARLIEST, _LATEST = -(2**63), 2**63 - 1
_QUERY = """
SELECT id, request_id, event_at, logged_at, model, version, alias, status, latency_ms, inputs, prediction,
       probabilities, error
FROM predictions
WHERE event_at >= ? AND event_at < ? AND (? IS NULL OR version = ?)
ORDER BY event_at, id
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the log as parallel columns; the fields are those of `mlnb.service.log.Record`.

    Attributes
    ----------
    id, request_id, model, alias : tuple of str
    event_at, logged_at : tuple of int
        Nanoseconds since the epoch, UTC.
    version : tuple of int
        Version numbers; 0 where a request was refused before one was chosen.
    status : tuple of int
        HTTP status; 200 is an answered row, 400 and above a refused request.
    latency_ms : tuple of float
    inputs, prediction, probabilities : tuple of str or None
        JSON texts: the row as it was received, the answer, the class probabilities.
    error : tuple of str or None
    """

    id: tuple[str, ...]
    request_id: tuple[str, ...]
    event_at: tuple[int, ...]
    logged_at: tuple[int, ...]
    model: tuple[str, ...]
    version: tuple[int, ...]
    alias: tuple[str, ...]
    status: tuple[int, ...]
    latency_ms: tuple[float, ...]
    inputs: tuple[str | None, ...]
    prediction: tuple[str | None, ...]
    probabilities: tuple[str | None, ...]
    error: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.id)


def read_predictions(
    folder: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    version: int | None = None,
    batch_rows: int = 10_000,
) -> Iterator[Batch]:
    """Yield the logged rows of one service.

    Parameters
    ----------
    folder : Path
        The service's log folder, ``.mlnb/predictions/<name>``; nothing is yielded where it does not exist.
    since, until : datetime, optional
        Event times from `since` (included) to `until` (excluded); aware.
    version : int, optional
        Only rows that this version answered.
    batch_rows : int
        Rows in a batch at the most.

    Raises
    ------
    NewerFormatError
        If a database was written by a newer mlnb.
    StorageError
        If a database cannot be read.
    """
    values = (
        _EARLIEST if since is None else nanoseconds(since),
        _LATEST if until is None else nanoseconds(until),
        version,
        version,
    )
    for path in databases(folder):
        yield from _batches(path, values, batch_rows)


def read_labels(folder: Path) -> dict[str, LabelValue]:
    """Return the label of each prediction id; the latest one where several workers were told."""
    latest: dict[str, tuple[int, str]] = {}
    for path in databases(folder):
        try:
            with closing(_connect(path)) as connection:
                for key, value, labelled_at in connection.execute("SELECT id, value, labelled_at FROM labels"):
                    if key not in latest or latest[key][0] <= labelled_at:
                        latest[key] = (labelled_at, value)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from error
    return {key: json.loads(value) for key, (_, value) in latest.items()}


def databases(folder: Path) -> list[Path]:
    """Return the databases of a log folder, sorted by name."""
    return sorted(folder.glob("worker-*.db"))


def _batches(path: Path, values: Sequence[int | None], batch_rows: int) -> Iterator[Batch]:
    try:
        with closing(_connect(path)) as connection:
            cursor = connection.execute(_QUERY, values)
            while rows := cursor.fetchmany(batch_rows):
                yield Batch(*zip(*rows, strict=True))
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA:
        connection.close()
        raise NewerFormatError(
            f"The prediction log {path} has schema {found}; this mlnb knows {SCHEMA}.",
            "Use the newer mlnb that wrote it.",
            path=str(path),
            found=found,
            known=SCHEMA,
        )
    return connection


def _unreadable(path: Path, error: sqlite3.Error) -> StorageError:
    return StorageError(
        f"The prediction log {path} cannot be read: {error}.", "Check the file and its permissions.", path=str(path)
    )
