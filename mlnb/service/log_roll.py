"""Closed rows of each worker's database move into segments: no row is lost and none is there twice, whatever is killed.

One process rolls a log at a time (``roll.lock``). For each table of each database, in this order:

1. Rows after ``through`` are written to a segment, which appears whole under its number: written, synchronised,
   renamed.
2. One transaction adds the segment to the table ``segments`` and moves ``through`` to its last row. From here on
   readers take these rows from the segment. Until here the file is nobody's, and the next roll replaces it.
3. The rows up to ``through`` are deleted, a few in each transaction, so that the worker is never kept waiting.

A kill between any two leaves a state from which the next roll goes on. ``through`` is set to 0 in the transaction that
empties a table, because SQLite then gives out its rowids anew. A database of schema 1 is left alone until its service
is started again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from mlnb.errors import StateError, StorageError
from mlnb.service.log_segments import COLUMNS, EVENT, GROUP_ROWS, Rows, Segment, remove_segment, write_segment
from mlnb.service.log_tables import (
    DELETED_AT_ONCE,
    LOGGED,
    SCHEMA,
    connect,
    databases,
    delete_rows,
    expire,
    open_database,
)

SEGMENT_ROWS = 100_000
CLOSED_S = 24 * 3600
_TURNS = 100
_ON_THE_WAY = 5
_LOGGER = logging.getLogger("mlnb.service")
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rolled:
    """What one roll has done.

    Attributes
    ----------
    segments : int
        Segments that were written.
    predictions, labels : int
        Rows in them.
    expired : int
        Segments that were removed because they were older than the log keeps them.
    """

    segments: int
    predictions: int
    labels: int
    expired: int

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return asdict(self)


def roll(
    folder: Path,
    *,
    destination: str | None = None,
    at: int,
    closed_s: float = 0,
    keep_days: float | None = None,
    wait: bool = True,
    most: int = 0,
    step: Step = lambda _: None,
) -> Rolled:
    """Roll the log of one service.

    Parameters
    ----------
    folder : Path
        The service's log folder.
    destination : str
        Address of a folder elsewhere; "" for ``segments`` in `folder`. By default what the service was told.
    at : int
        Now, nanoseconds since the epoch.
    closed_s : float
        Rows are closed when there are `SEGMENT_ROWS` of them or the first was logged so many seconds ago; 0 closes all.
    keep_days : float
        What was logged earlier is removed; 0 keeps all. By default what the service was told.
    wait : bool
        Wait for another process that rolls this log; otherwise nothing is done then.
    most : int
        Segments of each table of each database at the most; 0 for all.
    step : callable
        Told the name of each step before it is taken.

    Raises
    ------
    StorageError
        If a database or a segment cannot be read or written.
    RemoteError
        If the destination cannot be reached.
    NewerFormatError
        If a newer mlnb wrote a database.
    """
    written: list[Segment] = []
    expired = 0
    with _alone(folder, wait=wait) as ours:
        for path in databases(folder) if ours else ():
            try:
                with closing(connect(path)) as connection:
                    if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA:
                        continue
                with closing(open_database(path)) as connection:
                    one = _Database(folder, connection, _told(connection, "destination", destination), step)
                    kept_days = float(_told(connection, "keep_days", keep_days) or 0)
                    one.sweep()
                    for kind in COLUMNS:
                        rolled = one.roll(kind, at - int(closed_s * 1e9) if closed_s else None)
                        written += islice(rolled, most or None)
                    if kept_days:
                        expired += one.expire(at - int(kept_days * 86_400e9))
            except sqlite3.Error as error:
                raise StorageError(
                    f"The prediction log {path} cannot be rolled: {error}.", "Try again.", path=str(path)
                ) from error
    rows = {kind: sum(segment.rows for segment in written if segment.kind == kind) for kind in COLUMNS}
    return Rolled(len(written), rows["predictions"], rows["labels"], expired)


def roll_closed(folder: Path) -> None:
    """Roll what is closed, a few segments at the most, on the way to something else, which must not fail for it."""
    try:
        roll(folder, at=time.time_ns(), closed_s=CLOSED_S, wait=False, most=_ON_THE_WAY)
    except (StateError, OSError) as error:
        _LOGGER.warning("The prediction log %s is not rolled: %s", folder, error)


@dataclass(frozen=True, slots=True)
class _Last:
    """The last row of a segment."""

    rowid: int
    id: str


@dataclass(frozen=True, slots=True)
class _Database:
    """One worker's database, opened by who rolls it."""

    folder: Path
    connection: sqlite3.Connection
    destination: str
    step: Step

    def roll(self, kind: str, closed: int | None) -> Iterator[Segment]:
        """Write segments as long as rows are closed: logged before `closed`, or as many as fill a segment."""
        self._delete(kind)
        while True:
            through = self._through(kind)
            last = self._last(kind, through, closed)
            if last is None:
                return
            self.step(f"{kind}: write")
            rows = self._rows(kind, through, last.rowid)
            name, number = self._about("database"), self._number()
            segment = write_segment(self.folder, self.destination, kind, name, number, rows)
            self.step(f"{kind}: commit")
            taken = segment is not None and self._committed(segment, last)
            self._delete(kind)
            if segment is not None and taken:
                yield segment

    def _committed(self, segment: Segment, last: _Last) -> bool:
        """Take a segment into the log, unless its rows have expired meanwhile and others have taken their place."""
        self.connection.execute("BEGIN IMMEDIATE")
        kind = segment.kind
        there = self.connection.execute(
            f"SELECT 1 FROM {kind} WHERE rowid = ? AND id = ?",  # noqa: S608
            (last.rowid, last.id),
        ).fetchone()
        if there is not None:
            values = tuple(getattr(segment, name) for name in Segment.__slots__)
            self.connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            self.connection.execute("UPDATE about SET value = ? WHERE name = ?", (str(last.rowid), f"{kind}_through"))
        self.connection.execute("COMMIT")
        return there is not None

    def expire(self, before: int) -> int:
        """Remove rows, and segments whose last row was logged before a time.

        One elsewhere is removed before it is forgotten: nobody would ever find it again.
        """
        beside, more = expire(self.connection, self.folder, before, _TURNS)
        while more:
            more = expire(self.connection, self.folder, before, _TURNS)[1]
        query = "SELECT address FROM segments WHERE logged_at < ?"
        elsewhere = [row[0] for row in self.connection.execute(query, (before,)).fetchall()]
        for address in elsewhere:
            remove_segment(address)
            self.connection.execute("DELETE FROM segments WHERE address = ?", (address,))
        return beside + len(elsewhere)

    def sweep(self) -> None:
        """Remove files of this database that it does not know: a kill left them before step 2, or as they expired."""
        known = {row[0] for row in self.connection.execute("SELECT address FROM segments")}
        name = self._about("database")
        for path in (self.folder / "segments").glob(f"*-{name}-*"):
            if f"segments/{path.name}" not in known:
                path.unlink(missing_ok=True)

    def _delete(self, kind: str) -> None:
        """Delete the rows that are in segments; the worker can write between any two transactions."""
        deleted = DELETED_AT_ONCE
        while deleted == DELETED_AT_ONCE:
            self.step(f"{kind}: delete")
            started = time.monotonic()
            deleted = delete_rows(self.connection, kind, "place <= THROUGH", DELETED_AT_ONCE)
            time.sleep(time.monotonic() - started)
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _last(self, kind: str, through: int, closed: int | None) -> _Last | None:
        """Return the last row of the next segment; None where none is closed."""
        count, last, first_at = self.connection.execute(
            f"SELECT count(*), max(place), min(at) FROM (SELECT rowid AS place, {LOGGED[kind]} AS at "  # noqa: S608
            f"FROM {kind} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT {SEGMENT_ROWS})",
            (through,),
        ).fetchone()
        if not count or (closed is not None and count < SEGMENT_ROWS and first_at > closed):
            return None
        name = self.connection.execute(f"SELECT id FROM {kind} WHERE rowid = ?", (last,)).fetchone()  # noqa: S608
        return None if name is None else _Last(int(last), str(name[0]))

    def _rows(self, kind: str, through: int, last: int) -> Iterator[Rows]:
        cursor = self.connection.execute(
            f"SELECT * FROM {kind} NOT INDEXED WHERE rowid > ? AND rowid <= ? ORDER BY {EVENT[kind]}, id",  # noqa: S608
            (through, last),
        )
        while rows := cursor.fetchmany(GROUP_ROWS):
            self.step(f"{kind}: write on")
            yield rows

    def _through(self, kind: str) -> int:
        return int(self._about(f"{kind}_through"))

    def _about(self, name: str) -> str:
        return str(self.connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()[0])

    def _number(self) -> int:
        found = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'segments'").fetchone()
        return int(found[0]) + 1 if found else 1


def _told(connection: sqlite3.Connection, name: str, given: str | float | None) -> str:
    if given is not None:
        return str(given)
    found = connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return str(found[0]) if found else ""


@contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of who rolls; say whether it could be had. A killed holder loses it."""
    if not folder.is_dir():
        yield False
        return
    handle = os.open(folder / "roll.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
