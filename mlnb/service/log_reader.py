"""The databases and segments of a service's prediction log become columnar batches and one mapping of labels.

Reads while the workers write and while the log is rolled; each row comes once. Rows come database by database, of each
its segments first, ordered by event time within each segment and within what is in none.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from mlnb.errors import StorageError
from mlnb.service.log_choice import EARLIEST, LATEST, Choice
from mlnb.service.log_record import nanoseconds
from mlnb.service.log_segments import COLUMNS, Segment, read_segment
from mlnb.service.log_tables import connect, databases, schema_of

LabelValue = str | int | float | bool | list[Any] | dict[str, Any]
"""What came true: one value; of an answer of several values a list, or some of them by the output's name."""
SELECTED = {
    1: "id, request_id, event_at, logged_at, model, version, alias, status, latency_ms, inputs, prediction, "
    "probabilities, error, '' AS role, NULL AS caller, NULL AS shadow_of, NULL AS warnings",
    2: "*",
}
"""What is selected from the table of each schema, so that it has the columns of the newest."""


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
    role : tuple of str
        ``shadow`` is an answer that nobody was sent.
    caller, shadow_of, warnings : tuple of str or None
        These and `role` are empty where a batch was not read from a log.
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
    role: tuple[str, ...] = ()
    caller: tuple[str | None, ...] = ()
    shadow_of: tuple[str | None, ...] = ()
    warnings: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.id)


def read_predictions(
    folder: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    version: int | None = None,
    shadow: bool = False,
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
    shadow : bool
        Shadow answers too, which nobody was sent.
    batch_rows : int
        Rows in a batch at the most.

    Raises
    ------
    NewerFormatError
        If a database was written by a newer mlnb.
    StorageError
        If a database cannot be read.
    """
    choice = Choice(
        EARLIEST if since is None else nanoseconds(since),
        LATEST if until is None else nanoseconds(until),
        version,
        shadow,
    )
    return read_chosen(folder, choice, batch_rows)


def read_chosen(folder: Path, choice: Choice, batch_rows: int = 10_000) -> Iterator[Batch]:
    """Yield the rows of one service that are chosen; see `read_predictions`."""
    lost = segments_without_database(folder, "predictions")
    for path in databases(folder):
        yield from _of_database(path, choice, batch_rows)
    for segment in lost:
        yield from of_segment(folder, segment, choice, batch_rows)


def read_labels(folder: Path) -> dict[str, LabelValue]:
    """Return the label of each prediction id; the latest one where several workers were told."""
    return {key: value for key, (_, value) in read_dated_labels(folder).items()}


def read_dated_labels(folder: Path) -> dict[str, tuple[int, LabelValue]]:
    """Return when each label came, in nanoseconds since the epoch, and the label; by prediction id.

    The latest one counts. Where several databases and segments have it, it came when the first of them was told; each
    knows the last time only.
    """
    told: dict[str, tuple[int, str]] = {}
    again: dict[str, list[tuple[int, str]]] = {}

    def take(rows: Iterable[tuple[str, str, int]]) -> None:
        for key, value, labelled_at in rows:
            if key in told:
                again.setdefault(key, [told[key]]).append((labelled_at, value))
            else:
                told[key] = (labelled_at, value)

    segments: list[tuple[Path | None, Segment]] = [(None, one) for one in segments_without_database(folder, "labels")]
    for path in databases(folder):
        with reading(path) as connection:
            schema = schema_of(connection, path)
            if not schema:  # made a moment ago
                continue
            connection.execute("BEGIN")
            if schema > 1:
                segments += [(path, one) for one in listed_segments(connection, "labels")]
            take(connection.execute("SELECT id, value, labelled_at FROM labels"))
    for database, segment in segments:
        try:
            for columns in read_segment(folder, segment, columns=tuple(COLUMNS["labels"])):
                take(zip(*columns, strict=True))
        except StorageError:
            if database is None or _still_listed(database, segment):
                raise
    told |= {key: _last(several) for key, several in again.items()}
    return {key: (at, json.loads(value)) for key, (at, value) in told.items()}


def listed_segments(connection: sqlite3.Connection, kind: str, after: int = 0) -> list[Segment]:
    """Return the segments that a database of schema 2 knows, from a number on, in their order."""
    query = f"SELECT {', '.join(Segment.__slots__)} FROM segments WHERE kind = ? AND number > ? ORDER BY number"  # noqa: S608
    return [Segment(*row) for row in connection.execute(query, (kind, after))]


def segments_without_database(folder: Path, kind: str) -> list[Segment]:
    """Return the segments in a log's folder whose database is not there any more; it may have been thrown away."""
    names = sorted(path.name for path in (folder / "segments").glob(f"{kind}-*.parquet"))
    known = set()
    for path in databases(folder) if names else ():
        with reading(path) as connection:
            if schema_of(connection, path) > 1:
                known.add(connection.execute("SELECT value FROM about WHERE name = 'database'").fetchone()[0])
    strays = [name for name in names if name.split("-")[1] not in known]
    return [Segment(0, kind, f"segments/{name}", 0, 0, "", "\x7f", EARLIEST, LATEST, LATEST) for name in strays]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read; what SQLite says becomes a `StorageError`."""
    try:
        with closing(connect(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StorageError(
            f"The prediction log {path} cannot be read: {error}.", "Check the file and its permissions.", path=str(path)
        ) from error


def of_segment(folder: Path, segment: Segment, choice: Choice, batch_rows: int) -> Iterator[Batch]:
    """Yield the chosen rows of one segment."""
    if choice.skips(segment):
        return
    names, where = tuple(COLUMNS["predictions"]), choice.expression()
    for columns in read_segment(folder, segment, columns=names, where=where, batch_rows=batch_rows):
        yield Batch(*columns)  # type: ignore[arg-type]  # COLUMNS says what they hold


def live(connection: sqlite3.Connection, schema: int, choice: Choice, order: str = "event_at, id") -> sqlite3.Cursor:
    """Return a cursor over the chosen rows of a database that are in no segment."""
    where, values = choice.where(schema)
    query = f"SELECT {SELECTED[schema]} FROM predictions WHERE {where} ORDER BY {order}"  # noqa: S608  # our own words
    return connection.execute(query, values)


def _of_database(path: Path, choice: Choice, batch_rows: int) -> Iterator[Batch]:
    """Yield segments as long as there are new ones, then, of the same moment, the rows that are in none."""
    after = 0
    while True:
        with reading(path) as connection:
            schema = schema_of(connection, path)
            if not schema:  # made a moment ago
                return
            connection.execute("BEGIN")
            segments = listed_segments(connection, "predictions", after) if schema > 1 else []
            if not segments:
                cursor = live(connection, schema, choice)
                while rows := cursor.fetchmany(batch_rows):
                    yield Batch(*zip(*rows, strict=True))
                return
        for segment in segments:
            after = segment.number
            try:
                yield from of_segment(path.parent, segment, choice, batch_rows)
            except StorageError:
                if _still_listed(path, segment):
                    raise


def _last(told: list[tuple[int, str]]) -> tuple[int, str]:
    """Return the latest of some times and values; its time is the first of all that follow the last other value."""
    at, value = 0, ""
    for one_at, one in sorted(told, key=itemgetter(0)):
        at, value = (at, value) if one == value else (one_at, one)
    return at, value


def _still_listed(path: Path, segment: Segment) -> bool:
    with reading(path) as connection:
        return any(one.number == segment.number for one in listed_segments(connection, segment.kind))
