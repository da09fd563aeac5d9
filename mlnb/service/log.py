"""Predictions and labels become committed rows: an answer is sent only after its row is safe from `kill -9`.

One SQLite database in WAL mode per worker process (``worker-<slot>.db``; a lock file gives each process its own slot),
committed in groups. ``synchronous=NORMAL`` survives the death of any process; power loss may take the last seconds, not
the database.

Schema 1, ``PRAGMA user_version``. To raise it: add a migration to `_open`, keep the reader of the old number in
`mlnb.service.log_reader`, and test it on a database of the old number. Times are integer nanoseconds since
1970-01-01T00:00:00Z. ``version`` is the version's number, 0 where a request was refused before one was chosen.
``inputs``, ``prediction`` and ``probabilities`` are JSON; ``inputs`` of a refused request is its body, cut at
`BODY_CHARACTERS`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from mlnb.errors import NewerFormatError, StorageError

SCHEMA = 1
BODY_CHARACTERS = 16_384
_SLOTS = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INLINE_ROWS = 128
_CHECKPOINT_ROWS = 4096
_LOGGER = logging.getLogger("mlnb.service")
_TABLES = """
BEGIN;
CREATE TABLE IF NOT EXISTS predictions (
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
CREATE INDEX IF NOT EXISTS predictions_event_at ON predictions (event_at);
CREATE TABLE IF NOT EXISTS labels (
    id TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    labelled_at INTEGER NOT NULL
);
PRAGMA user_version = 1;
COMMIT;
"""


class Record(NamedTuple):
    """One row of ``predictions``, in the order of its columns (a tuple, so that SQLite binds it as it is).

    Attributes
    ----------
    id : str
        Unique over all processes; sorts by the time it was made.
    request_id : str
        The caller's ``X-Request-Id`` or ours; the rows of one request share it.
    event_at, logged_at : int
        When the row happened, and when it was logged: nanoseconds since the epoch, UTC.
    model : str
        Name of the model.
    version : int
        Number of the version that answered; 0 where none was chosen.
    alias : str
        Alias that was asked, or that stood behind ``/predict``.
    status : int
        HTTP status of the answer.
    latency_ms : float
        From the arrival of the body to the computed answer, without the commit.
    inputs, prediction, probabilities : str or None
        JSON texts.
    error : str or None
        Why the request was refused.
    """

    id: str
    request_id: str
    event_at: int
    logged_at: int
    model: str
    version: int
    alias: str
    status: int
    latency_ms: float
    inputs: str | None
    prediction: str | None
    probabilities: str | None
    error: str | None


class Ids:
    """Makes ids of 24 hexadecimal digits: nanoseconds, then random digits of this process.

    The first 16 digits never repeat or fall within a process, so ids sort in the order they were made.
    """

    __slots__ = ("_last", "_lock", "_process")

    def __init__(self) -> None:
        self._process = os.urandom(4).hex()
        self._last = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> list[str]:
        """Return `count` new ids in ascending order."""
        with self._lock:
            first = max(self._last + 1, time_ns())
            self._last = first + count - 1
        process = self._process
        return [f"{number:016x}{process}" for number in range(first, first + count)]


class _Group(NamedTuple):
    """Rows of one request, and who waits for them."""

    statement: str
    rows: Sequence[tuple[object, ...]]
    future: asyncio.Future[None]


class PredictionLog:
    """The log of one process; its methods are called on one event loop.

    Parameters
    ----------
    folder : Path
        Folder of the service's logs; made if missing.

    Attributes
    ----------
    problem : str
        Why the last commit failed; "" where it did not.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    NewerFormatError
        If the database was written by a newer mlnb.

    Notes
    -----
    What gathers in one turn of the event loop is committed together, on the loop: a commit takes 0.05 ms, handing it to
    a thread and back 0.2 ms. More than `_INLINE_ROWS` go to a thread, and so does every checkpoint, because it waits
    for the disk; meanwhile commits queue and the loop goes on. A checkpoint first runs beside the commits, then once
    more with commits held for the few pages that came in between, so that the write-ahead log can begin anew.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path, self._slot = _take_slot(folder)
            self._connection = _open(self.path)
            self._checkpointer = _open(self.path)
        except (OSError, sqlite3.Error) as error:
            raise _storage_error(folder, error) from error
        self.problem = ""
        self._thread = ThreadPoolExecutor(1, "mlnb-prediction-log")
        self._waiting: list[_Group] = []
        self._scheduled = False
        self._holds = 0
        self._checkpointing = False
        self._rows_in_wal = 0

    def append(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Queue `records`; the future is done when they are committed, or fails with `StorageError`."""
        return self._put("INSERT INTO predictions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", records)

    def label(self, labels: Mapping[str, str], labelled_at: int) -> asyncio.Future[None]:
        """Queue JSON labels by prediction id; a label that comes again replaces the earlier one."""
        rows = [(prediction, value, labelled_at) for prediction, value in labels.items()]
        return self._put(
            "INSERT INTO labels VALUES (?,?,?) ON CONFLICT (id) DO UPDATE SET value = excluded.value, "
            "labelled_at = excluded.labelled_at WHERE value <> excluded.value",
            rows,
        )

    def probe(self) -> asyncio.Future[None]:
        """Write without changing anything, so that `problem` tells whether the log can be written again."""
        return self._put(
            "UPDATE predictions SET status = status WHERE rowid = (SELECT max(rowid) FROM predictions)", [()]
        )

    def close(self) -> None:
        """Commit what is queued and give the slot back."""
        self._thread.shutdown(wait=True)
        groups, self._waiting = self._waiting, []
        self._settle(groups, self._commit(groups))
        self._checkpointer.close()
        self._connection.close()
        os.close(self._slot)

    def _put(self, statement: str, rows: Sequence[tuple[object, ...]]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(_Group(statement, rows, future))
        if not self._scheduled and not self._holds:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._scheduled = False
        if self._holds or not self._waiting:
            return
        groups, self._waiting = self._waiting, []
        count = sum(len(group.rows) for group in groups)
        self._rows_in_wal += count
        if count > _INLINE_ROWS:
            self._hold(lambda: self._commit(groups), lambda error: self._settle(groups, error))
        else:
            self._settle(groups, self._commit(groups))
        if self._rows_in_wal > _CHECKPOINT_ROWS and not self._checkpointing:
            self._checkpointing = True
            self._rows_in_wal = 0
            first = asyncio.get_running_loop().run_in_executor(self._thread, self._checkpoint)
            first.add_done_callback(lambda _: self._hold(self._checkpoint, self._checkpointed))

    def _hold(self, work: Callable[[], sqlite3.Error | None], then: Callable[[sqlite3.Error | None], None]) -> None:
        """Run `work` in the thread while commits queue, then go on with them."""

        def release(job: asyncio.Future[sqlite3.Error | None]) -> None:
            if not job.cancelled():
                then(job.result())
            self._holds -= 1
            self._flush()

        self._holds += 1
        try:
            asyncio.get_running_loop().run_in_executor(self._thread, work).add_done_callback(release)
        except RuntimeError:  # closed meanwhile: `close` commits what is queued
            self._holds -= 1

    def _commit(self, groups: Sequence[_Group]) -> sqlite3.Error | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows, _ in groups:
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            return error
        return None

    def _settle(self, groups: Sequence[_Group], error: sqlite3.Error | None) -> None:
        self.problem = "" if error is None else str(error)
        for group in groups:
            if group.future.done():  # the request was cancelled while it waited
                continue
            if error is None:
                group.future.set_result(None)
            else:
                group.future.set_exception(_storage_error(self.path, error))

    def _checkpoint(self) -> sqlite3.Error | None:
        try:
            self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            return error
        return None

    def _checkpointed(self, error: sqlite3.Error | None) -> None:
        """Let the next checkpoint come when it is due; one that failed loses nothing, the log only stays longer."""
        self._checkpointing = False
        if error is not None:
            _LOGGER.warning("The prediction log %s could not be checkpointed: %s.", self.path, error)


def nanoseconds(moment: datetime) -> int:
    """Return an aware time as integer nanoseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def moment(at: int) -> datetime:
    """Return nanoseconds since the epoch as an aware UTC time, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=at // 1000)


def _take_slot(folder: Path) -> tuple[Path, int]:
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


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA:
            raise NewerFormatError(
                f"The prediction log {path} has schema {found}; this service knows {SCHEMA}.",
                "Start the service with the newer mlnb that wrote it.",
                path=str(path),
                found=found,
                known=SCHEMA,
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if found == 0:
            connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _storage_error(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"Predictions cannot be written to {path}: {error}.",
        "Free space or give write permission; nothing is answered that is not logged.",
        path=str(path),
    )
