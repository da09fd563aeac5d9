"""A folder becomes an open database of the prediction log, with the tables of the newest schema.

Schema 2, ``PRAGMA user_version``. To raise it: add a migration to `_MIGRATIONS`, keep the reader of the old numbers in
`mlnb.service.log_reader`, and test it on a database of the old number. Schema 1 had neither the last four columns of
``predictions`` nor ``about`` and ``segments``.

``about`` holds one value by name: ``database`` names the database for ever; ``predictions_through`` and
``labels_through`` are rowids: rows up to there are copies of rows in a segment, not deleted yet. Once a table is empty
its number is 0 again, because SQLite then begins anew with rowid 1; ``destination`` and ``keep_days`` are the service's
settings, for who rolls its log. ``segments`` has a line for each Parquet file that
holds rows of this database: ``kind`` is the table, ``first_at`` and ``last_at`` the span of its events, ``logged_at``
when the last of its rows was logged.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from mlnb.errors import NewerFormatError, StorageError

SCHEMA = 2
_SLOTS = 256
_WAIT_MS = 30_000
DELETED_AT_ONCE = 500
_TURNS = 10
OF_A_ROW = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError)  # what is wrong with a row, not the log
LOGGED = {"predictions": "logged_at", "labels": "labelled_at"}
"""When a row of each table was logged."""
_FIRST = """
CREATE TABLE predictions (
    id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    event_at INTEGER NOT NULL,
    logged_at INTEGER NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    alias TEXT NOT NULL,
    status INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    inputs TEXT,
    prediction TEXT,
    probabilities TEXT,
    error TEXT
);
CREATE INDEX predictions_event_at ON predictions (event_at);
CREATE TABLE labels (
    id TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    labelled_at INTEGER NOT NULL
);
"""
_SECOND = """
ALTER TABLE predictions ADD COLUMN role TEXT NOT NULL DEFAULT '';
ALTER TABLE predictions ADD COLUMN caller TEXT;
ALTER TABLE predictions ADD COLUMN shadow_of TEXT;
ALTER TABLE predictions ADD COLUMN warnings TEXT;
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO about VALUES ('database', lower(hex(randomblob(6)))), ('predictions_through', '0'), ('labels_through', '0');
CREATE TABLE segments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    address TEXT NOT NULL,
    rows INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    first_id TEXT NOT NULL,
    last_id TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    logged_at INTEGER NOT NULL
);
"""
_MIGRATIONS = (_FIRST, _SECOND)

Write: TypeAlias = tuple[str, Sequence[Sequence[object]]]
"""A statement and the values of each of its executions."""


class LogDatabase:
    """The database that one process writes: a slot of the folder, taken until it is closed.

    Parameters
    ----------
    folder : Path
        Folder of the service's logs; made if missing.
    strict : bool
        Whether a commit waits for the disk.
    about : mapping of str to str
        What is left in the table ``about`` for who rolls the log.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    NewerFormatError
        If the database was written by a newer mlnb.
    """

    def __init__(self, folder: Path, *, strict: bool = False, about: Mapping[str, str] = MappingProxyType({})) -> None:
        handle = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path, handle = take_slot(folder)
            synchronous = "FULL" if strict else "NORMAL"
            self._connection = open_database(self.path, synchronous=synchronous)
            self._checkpointer = open_database(self.path, synchronous=synchronous)
            self._connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
            if strict:
                synchronise(folder)
                synchronise(folder.parent)
        except BaseException as error:
            if handle >= 0:
                os.close(handle)
            if isinstance(error, OSError | sqlite3.Error):
                raise unwritable(folder, error) from error
            raise
        self._slot = handle
        self._patient = True

    @property
    def synchronous(self) -> int:
        """What SQLite itself says: 1 (``NORMAL``) or 2 (``FULL``)."""
        return int(self._connection.execute("PRAGMA synchronous").fetchone()[0])

    def commit(self, writes: Iterable[Write], *, patient: bool) -> sqlite3.Error | None:
        """Commit all `writes` or none, and return why none.

        Parameters
        ----------
        patient : bool
            Wait up to 30 seconds for another writer, who rolls the log; otherwise `busy` is returned at once.

        Returns
        -------
        sqlite3.Error or None
            One of `OF_A_ROW` where a row is what cannot be written.
        """
        connection = self._connection
        try:
            if patient is not self._patient:
                connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS if patient else 0}")
                self._patient = patient
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in writes:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, ValueError) as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            return error if isinstance(error, sqlite3.Error) else sqlite3.DataError(str(error))
        return None

    def checkpoint(self) -> sqlite3.Error | None:
        """Copy the write-ahead log into the database as far as no reader needs it, and return why not."""
        try:
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            return error
        return None

    def expire(self, before: int) -> bool:
        """Remove some of what was logged before a time, and say whether more is left of it.

        Raises
        ------
        sqlite3.Error, OSError
            If nothing can be removed.
        """
        return expire(self._checkpointer, self.path.parent, before, _TURNS)[1]

    def close(self) -> None:
        """Give the slot back."""
        self._checkpointer.close()
        self._connection.close()
        os.close(self._slot)


def delete_rows(connection: sqlite3.Connection, kind: str, where: str, limit: int) -> int:
    """Delete those of the first `limit` rows of a table for which `where` holds, in one transaction; return how many.

    Parameters
    ----------
    kind : {"predictions", "labels"}
        The table.
    where : str
        A condition in SQL on its columns and `place`, the rowid; `THROUGH` in it is the last row that is in a segment,
        as it is in that transaction.
    """
    through = f"(SELECT CAST(value AS INTEGER) FROM about WHERE name = '{kind}_through')"  # noqa: S608  # our own words
    first = f"SELECT rowid AS place, * FROM {kind} NOT INDEXED ORDER BY rowid LIMIT {limit}"  # noqa: S608
    chosen = f"SELECT place FROM ({first}) WHERE {where.replace('THROUGH', through)}"  # noqa: S608
    connection.execute("BEGIN IMMEDIATE")
    try:
        deleted = connection.execute(f"DELETE FROM {kind} WHERE rowid IN ({chosen})").rowcount  # noqa: S608
        if connection.execute(f"SELECT 1 FROM {kind} LIMIT 1").fetchone() is None:  # noqa: S608
            connection.execute("UPDATE about SET value = '0' WHERE name = ?", (f"{kind}_through",))
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return deleted


def expire(connection: sqlite3.Connection, folder: Path, before: int, turns: int) -> tuple[int, bool]:
    """Remove rows that were logged before a time, and segments beside the log whose rows all were.

    Parameters
    ----------
    turns : int
        Transactions of `DELETED_AT_ONCE` rows for each table at the most.

    Returns
    -------
    tuple of int, bool
        How many segments were removed, and whether rows remain to be removed.
    """
    more = False
    for kind, column in LOGGED.items():
        deleted = DELETED_AT_ONCE
        for _ in range(turns):
            deleted = delete_rows(connection, kind, f"{column} < {int(before)}", DELETED_AT_ONCE)
            if deleted < DELETED_AT_ONCE:
                break
        more = more or deleted == DELETED_AT_ONCE
    query = "SELECT address FROM segments WHERE logged_at < ? AND address NOT LIKE '%://%'"
    addresses = [row[0] for row in connection.execute(query, (before,)).fetchall()]
    connection.executemany("DELETE FROM segments WHERE address = ?", [(address,) for address in addresses])
    if addresses:  # it waits for the disk: after a power loss no line is to name a file that is gone
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    for address in addresses:
        (folder / address).unlink(missing_ok=True)
    return len(addresses), more


def busy(error: Exception | None) -> bool:
    """Say whether another writer was in the way."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def synchronise(folder: Path) -> None:
    """Let the entries of a folder survive power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_database(path: Path, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
    """Return a connection that writes; an older database is migrated first, in one transaction.

    Parameters
    ----------
    path : Path
        The database; made if missing.
    synchronous : str
        ``NORMAL`` survives the death of any process, ``FULL`` power loss too: the write-ahead log is synchronised with
        every commit (https://sqlite.org/pragma.html#pragma_synchronous).

    Raises
    ------
    NewerFormatError
        If the database was written by a newer mlnb.
    sqlite3.Error
        If it cannot be opened.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        schema_of(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        if synchronous == "FULL":
            connection.execute("PRAGMA fullfsync = 1")  # macOS, where fsync leaves it in the disk's cache
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def databases(folder: Path) -> list[Path]:
    """Return the databases of a log folder, sorted by name."""
    return sorted(folder.glob("worker-*.db"))


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that reads what is committed, while it is written.

    Raises
    ------
    sqlite3.Error
        If the database cannot be opened.
    """
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)


def schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema of a database; 0 for an empty one.

    Raises
    ------
    NewerFormatError
        If it was written by a newer mlnb.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > SCHEMA:
        raise NewerFormatError(
            f"The prediction log {path} has schema {found}; this mlnb knows {SCHEMA}.",
            "Use the newer mlnb that wrote it.",
            path=str(path),
            found=found,
            known=SCHEMA,
        )
    return found


def take_slot(folder: Path) -> tuple[Path, int]:
    """Return a database of the folder that no other process writes, and the locked file that says so.

    Raises
    ------
    OSError
        If the folder cannot be written.
    StorageError
        If there are too many writers.
    """
    for slot in range(_SLOTS):
        handle = os.open(folder / f"worker-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        return folder / f"worker-{slot}.db", handle
    raise StorageError(
        f"More than {_SLOTS} processes write predictions into {folder}.",
        "Stop some of them, or give each service its own folder.",
        path=str(folder),
    )


def unwritable(path: Path, error: Exception) -> StorageError:
    """Return what is said where the log cannot be written."""
    return StorageError(
        f"Predictions cannot be written to {path}: {error}.",
        "Free space or give write permission.",
        path=str(path),
    )


def _migrate(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        for script in _MIGRATIONS[found:]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
