"""What came into a service's log since the last time is added to a version's stored windows: each row once, for ever.

One SQLite file beside the log for each version, ``windows/<version>.db``, schema 1 (``PRAGMA user_version``). A window
holds what `mlnb.monitor.packed` says, under its number (`mlnb.monitor.span.window_numbers`) in the tables ``hour``,
``day`` and ``month``, by event time: a late row goes where it belongs, and a long time is read from few rows. ``marks``
says how far each database of the log was read, ``kept`` which of its rows that were read are in no segment yet
(`mlnb.service.log_tail`), ``answers`` what labels belong to (`mlnb.monitor.stored_answers`). A piece of the log, its
counts and its mark are one transaction, so a kill leaves all or nothing, and a second process waits and goes on from
there. What the log removes because it is too old stays counted.

The file can be thrown away: it is made again from what the log still has. So it is where the reference is another one.
To raise the schema: let `_open` remove the tables of an older one where the log is all it needs, else migrate them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from mlnb.errors import NewerFormatError, StorageError
from mlnb.monitor.joined import Realised
from mlnb.monitor.packed import Layout
from mlnb.monitor.reference import Reference
from mlnb.monitor.span import Span, bounds, window_numbers
from mlnb.monitor.stored_answers import TABLE as ANSWERS
from mlnb.monitor.stored_answers import join_kept, keep_answers
from mlnb.monitor.window import Window, count
from mlnb.service.log_reader import LabelValue
from mlnb.service.log_tail import PIECE_ROWS, Mark, Piece, next_piece
from mlnb.store.disk import make_folder

SCHEMA = 1
LEVELS = ("hour", "day", "month")
_WAIT_S = 300.0  # a piece of the log may be a whole segment
_PAGE_BYTES = 32_768  # a window is about as large
_NO_RANKS = np.empty(0, dtype=np.int64)
_HOUR = Span("hour")
_TABLES = (
    "CREATE TABLE hour (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE day (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE month (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE marks (database TEXT PRIMARY KEY, rowid_read INTEGER NOT NULL, id TEXT NOT NULL, "
    "segment INTEGER NOT NULL)",
    "CREATE TABLE kept (database TEXT NOT NULL, ids TEXT NOT NULL)",
    ANSWERS,
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
Step = Callable[[str], None]


class StoredWindows:
    """The stored windows of one version; a context manager that closes the file.

    Parameters
    ----------
    path : Path
        The file; made if missing, with its folder.
    reference : Reference
        Of the version.
    version : int
        Whose inputs and answers are counted.
    digest : str
        Of the reference's bytes: where the file has another one, its windows are counted anew.

    Raises
    ------
    StorageError
        If the file cannot be read or written.
    NewerFormatError
        If a newer mlnb wrote it.
    """

    def __init__(self, path: Path, reference: Reference, *, version: int, digest: str) -> None:
        self._path, self._reference, self._version = path, reference, version
        self._layout = Layout.of(reference)
        make_folder(path.parent)
        with self._named():
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_S)
            try:
                self._open(digest)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> StoredWindows:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def update(self, folder: Path, *, rows: int = PIECE_ROWS, step: Step = lambda _: None) -> int:
        """Add what came into a log since the last time, and return how many rows that were.

        Parameters
        ----------
        folder : Path
            The service's log folder.
        rows : int
            Rows in a transaction at the most; a segment is one however large it is.
        step : callable
            Told the name of each step before it is taken.

        Raises
        ------
        StorageError, RemoteError, NewerFormatError
            As `mlnb.service.log_reader.read_predictions`.
        """
        added = 0
        while True:
            with self._named(), self._transaction():
                step("read")
                piece = next_piece(folder, self._marks(), self._kept, rows)
                if piece is None:
                    return added
                step("count")
                for batch in piece.batches:
                    windows = count(self._reference, batch, _HOUR, _NO_RANKS, version=self._version)
                    self._add([windows[number] for number in sorted(windows)])
                    added += len(batch)
                step("mark")
                self._mark(piece)
                step("commit")
            step("committed")

    def add(self, windows: Sequence[Window]) -> None:
        """Merge windows, each within one hour of the calendar, into those that are stored, in one transaction."""
        with self._named(), self._transaction():
            self._add(windows)

    def windows(self, span: Span, *, since: int | None = None, until: int | None = None) -> dict[int, Window]:
        """Return the windows of a span of time by their number, in order; those in which nothing was asked are missing.

        Parameters
        ----------
        span : Span
            ``hour``, ``day``, ``week`` or ``month``.
        since, until : int, optional
            Only windows that begin at `since` or later, and before `until`: nanoseconds since 1970, UTC.
        """
        found = self._packed(span, since, until)
        return {number: self._layout.unpack(body, *bounds(span, number)) for number, body in found.items()}

    def realised(
        self, folder: Path, logged: Mapping[str, LabelValue], given: Mapping[str, LabelValue], span: Span
    ) -> Realised:
        """Return the labelled answers by window.

        Parameters
        ----------
        folder : Path
            The service's log folder: answers are looked up there whose labels are new.
        logged, given : mapping of str to label
            By prediction id: all labels in the log, and those of a file, which are not kept.
        """
        with self._named():
            with self._transaction():
                keep_answers(self._connection, folder, self._version, logged)
            return join_kept(self._connection, folder, self._version, logged, given, span)

    def total(self, span: Span, *, since: int | None = None, until: int | None = None) -> Window | None:
        """Return the windows of a span merged into one; None where there is none."""
        found = self._packed(span, since, until)
        if not found:
            return None
        start, end = bounds(span, min(found))[0], bounds(span, max(found))[1]
        return self._layout.unpack(self._layout.merge(list(found.values())), start, end)

    def _packed(self, span: Span, since: int | None, until: int | None) -> dict[int, bytes]:
        if span.unit == "rows":
            raise ValueError("windows of rows are not stored")
        level = Span("day" if span.unit == "week" else span.unit)
        first = -(2**62) if since is None else _number_from(level, since)
        last = 2**62 if until is None else _number_from(level, until)
        query = f"SELECT number, body FROM {level.unit} WHERE number >= ? AND number < ? ORDER BY number"  # noqa: S608
        with self._named():
            found = dict(self._connection.execute(query, (first, last)).fetchall())
        if span.unit != "week":
            return found
        weeks: dict[int, list[bytes]] = {}
        for number, body in found.items():
            weeks.setdefault(_number_of(span, bounds(level, number)[0]), []).append(body)
        return {number: self._layout.merge(bodies) for number, bodies in weeks.items()}

    def _add(self, windows: Sequence[Window]) -> None:
        packed = [(window.first, self._layout.pack(window)) for window in windows if window.rows]
        for unit in LEVELS:
            level = Span(unit)
            new: dict[int, list[bytes]] = {}
            for first, body in packed:
                new.setdefault(_number_of(level, first), []).append(body)
            for number, bodies in new.items():
                there = self._connection.execute(f"SELECT body FROM {unit} WHERE number = ?", (number,)).fetchone()  # noqa: S608
                merged = self._layout.merge([*(there or ()), *bodies])
                self._connection.execute(f"INSERT OR REPLACE INTO {unit} VALUES (?, ?)", (number, merged))  # noqa: S608

    def _marks(self) -> Mapping[str, Mark]:
        rows = self._connection.execute("SELECT database, rowid_read, id, segment FROM marks")
        return {row[0]: Mark(*row) for row in rows}

    def _kept(self, database: str) -> set[str]:
        rows = self._connection.execute("SELECT ids FROM kept WHERE database = ?", (database,))
        return {key for (ids,) in rows for key in ids.split("\n")}

    def _mark(self, piece: Piece) -> None:
        run, mark = self._connection.execute, piece.mark
        if piece.former != mark.database:
            run("DELETE FROM marks WHERE database = ?", (piece.former,))
            run("UPDATE kept SET database = ? WHERE database = ?", (mark.database, piece.former))
        values = (mark.database, mark.rowid, mark.id, mark.segment)
        run("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", values)
        if piece.kept is not None:
            run("DELETE FROM kept WHERE database = ?", (mark.database,))
        for ids in (piece.kept, piece.ids):
            if ids:
                run("INSERT INTO kept VALUES (?, ?)", (mark.database, "\n".join(ids)))

    def _open(self, digest: str) -> None:
        run = self._connection.execute
        found = int(run("PRAGMA user_version").fetchone()[0])
        NewerFormatError.check(str(self._path), found, SCHEMA)
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        with self._transaction():
            known = run("PRAGMA user_version").fetchone()[0] == SCHEMA
            if known and run("SELECT value FROM about WHERE name = 'reference'").fetchone() == (digest,):
                return
            for statement in _TABLES:
                if known:
                    run(f"DROP TABLE {statement.split()[2]}")
                run(statement)
            run("INSERT INTO about VALUES ('reference', ?)", (digest,))
            run(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"The stored windows {self._path} cannot be read or written: {error}.",
                "Free space or give write permission; where the file is damaged, remove it: it is made from the log.",
                path=str(self._path),
            ) from error


def stored_at(folder: Path, version: int) -> Path:
    """Return where the windows of a version are stored, given the folder of its service's log."""
    return folder / "windows" / f"{version}.db"


def _number_of(span: Span, at: int) -> int:
    return int(window_numbers(span, np.array([at], dtype=np.int64), _NO_RANKS)[0])


def _number_from(span: Span, at: int) -> int:
    """Return the first window that begins at a time or later."""
    number = _number_of(span, at)
    return number if bounds(span, number)[0] == at else number + 1
