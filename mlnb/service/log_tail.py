"""What came into a prediction log since a mark becomes the next piece of it: each row is in one piece, once.

A `Mark` is how far somebody has read one worker's database. Rows are read in the order of their rowids, and a segment
when it appears. A row that was read from the database may come again in a segment, in another order and without its
rowid; so whoever reads also keeps the ids of the rows that were read and are in no segment yet. SQLite gives out rowids
anew in an emptied table, and `VACUUM` changes them: a mark holds only as long as its row has its id, and without it the
ids say where to go on. Rows that were removed before they were read are lost to the reader.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from mlnb.errors import StorageError
from mlnb.service.log_choice import Choice
from mlnb.service.log_reader import (
    SELECTED,
    Batch,
    listed_segments,
    of_segment,
    reading,
    segments_without_database,
)
from mlnb.service.log_segments import Segment, read_segment
from mlnb.service.log_tables import databases, schema_of

PIECE_ROWS = 20_000
_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one database was read.

    Attributes
    ----------
    database : str
        Its name for ever; of one of schema 1, which has none, the file's.
    rowid : int
        The last row that was read; 0 for none.
    id : str
        The prediction id of that row.
    segment : int
        Number of the last segment that was read.
    """

    database: str
    rowid: int = 0
    id: str = ""
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """The next rows of a log.

    Attributes
    ----------
    mark : Mark
        How far its database is read with it.
    former : str
        Under which name its database was marked before.
    batches : tuple of Batch
        Rows that were not read before; no shadow answers.
    ids : tuple of str
        Of all rows of the piece that are in no segment yet.
    kept : set of str or None
        Which of the ids that were kept are still to be kept; None for all.
    """

    mark: Mark
    former: str
    batches: tuple[Batch, ...] = ()
    ids: tuple[str, ...] = ()
    kept: Set[str] | None = None


Kept = Callable[[str], Set[str]]
"""Returns the ids that are kept for a database."""


def next_piece(folder: Path, marks: Mapping[str, Mark], kept: Kept, rows: int = PIECE_ROWS) -> Piece | None:
    """Return what follows some marks: a segment, or at most so many rows of one database; None where nothing does.

    Parameters
    ----------
    folder : Path
        The service's log folder.
    marks : mapping of str to Mark
        By database.
    kept : callable
        Given a database, returns the ids of the rows that were read and are in no segment that was read.
    rows : int
        Rows of a database in a piece at the most.

    Raises
    ------
    StorageError, RemoteError, NewerFormatError
        As `mlnb.service.log_reader.read_predictions`.
    """
    for path in databases(folder):
        if (piece := _of_database(path, marks, kept, rows)) is not None:
            return piece
    for segment in segments_without_database(folder, "predictions"):
        _, name, number = Path(segment.address).stem.split("-")
        mark = marks.get(name, Mark(name))
        if int(number) > mark.segment:
            return _of_segment(folder, replace(segment, number=int(number)), mark, name, kept(name))
    return None


def _of_database(path: Path, marks: Mapping[str, Mark], kept: Kept, rows: int) -> Piece | None:
    with reading(path) as connection:
        schema = schema_of(connection, path)
        if not schema:  # made a moment ago
            return None
        connection.execute("BEGIN")
        mark, former = _marked(connection, schema, path, marks)
        segments = listed_segments(connection, "predictions", mark.segment) if schema > 1 else []
        if not segments:
            return _live(connection, schema, mark, former, kept, rows)
    try:
        return _of_segment(path.parent, segments[0], mark, former, kept(former))
    except StorageError:
        with reading(path) as connection:
            if segments[0] in listed_segments(connection, "predictions"):
                raise
        return Piece(replace(mark, segment=segments[0].number), former)  # expired meanwhile


def _marked(connection: sqlite3.Connection, schema: int, path: Path, marks: Mapping[str, Mark]) -> tuple[Mark, str]:
    """Return a database's mark, and its name there: before it was migrated it had none but the file's."""
    if schema == 1:
        return marks.get(path.name, Mark(path.name)), path.name
    name = str(connection.execute("SELECT value FROM about WHERE name = 'database'").fetchone()[0])
    if name not in marks and path.name in marks:
        return replace(marks[path.name], database=name), path.name
    return marks.get(name, Mark(name)), name


def _live(connection: sqlite3.Connection, schema: int, mark: Mark, former: str, kept: Kept, rows: int) -> Piece | None:
    """Return the rows of a database behind its mark that are in no segment."""
    floor, left = 0, None
    if schema > 1:
        query = "SELECT CAST(value AS INTEGER) FROM about WHERE name = 'predictions_through'"
        floor = int(connection.execute(query).fetchone()[0])
    after = mark.rowid
    there = connection.execute("SELECT id FROM predictions WHERE rowid = ?", (after,)).fetchone()
    if after and (after <= floor or there is None or there[0] != mark.id):
        after, left = _resumed(connection, floor, kept(former))
    query = f"SELECT rowid, {SELECTED[schema]} FROM predictions WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
    found = connection.execute(query, (max(after, floor), rows)).fetchall()
    if not found:
        return None
    places, *columns = zip(*found, strict=True)
    batch = Batch(*columns)
    return Piece(Mark(mark.database, places[-1], batch.id[-1], mark.segment), former, _sent(batch), batch.id, left)


def _resumed(connection: sqlite3.Connection, floor: int, kept: Set[str]) -> tuple[int, Set[str]]:
    """Return the last row that was read, and which of the kept ids are still there."""
    live = connection.execute(
        "SELECT rowid, id FROM predictions NOT INDEXED WHERE rowid > ? ORDER BY rowid", (floor,)
    ).fetchall()
    read = [(place, key) for place, key in live if key in kept]
    return max((place for place, _ in read), default=floor), {key for _, key in read}


def _of_segment(folder: Path, segment: Segment, mark: Mark, former: str, kept: Set[str]) -> Piece:
    """Return the rows of a segment that were not read while they were in the database."""
    known: set[str] = set()
    rows = 0
    if kept:
        for (ids,) in read_segment(folder, segment, columns=("id",)):
            known |= kept & set(map(str, ids))
            rows += len(ids)
    batches: tuple[Batch, ...] = ()
    if not kept or len(known) < rows:
        everything = of_segment(folder, segment, Choice(), _BATCH_ROWS)
        batches = tuple(_chosen(batch, [key not in known for key in batch.id]) for batch in everything)
    return Piece(replace(mark, segment=segment.number), former, batches, kept=kept - known)


def _sent(batch: Batch) -> tuple[Batch, ...]:
    return (_chosen(batch, [role != "shadow" for role in batch.role]),) if "shadow" in batch.role else (batch,)


def _chosen(batch: Batch, wanted: list[bool]) -> Batch:
    if all(wanted):
        return batch
    return Batch(*(tuple(compress(getattr(batch, name), wanted)) for name in Batch.__dataclass_fields__))
