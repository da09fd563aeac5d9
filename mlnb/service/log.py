"""Predictions and labels become committed rows: an answer is sent only after its row is safe from `kill -9`.

One SQLite database in WAL mode per worker process (``worker-<slot>.db``; a lock file gives each process its own slot),
committed in groups. How safe a row is when its answer is sent, is a setting:

======== ============================================================== =======================================
mode     before the answer                                              what is lost of what was answered
======== ============================================================== =======================================
durable  committed                                                      by power loss the last seconds
strict   committed, and the write-ahead log synchronised with the disk  nothing
fast     nothing: committed within ``log_window_ms``                    by `kill -9` that window; by a stop none
off      nothing: there is no log                                       everything
======== ============================================================== =======================================

No power loss damages the database.

`mlnb.service.log_record` says what a row is, `mlnb.service.log_tables` has the tables and their schema's number.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, time_ns
from typing import NamedTuple

from mlnb.errors import StorageError
from mlnb.service.configuration import Configuration
from mlnb.service.log_content import Content
from mlnb.service.log_record import BODY_CHARACTERS as BODY_CHARACTERS
from mlnb.service.log_record import Ids as Ids
from mlnb.service.log_record import Record as Record
from mlnb.service.log_record import moment as moment
from mlnb.service.log_record import nanoseconds as nanoseconds
from mlnb.service.log_tables import OF_A_ROW, LogDatabase, busy, unwritable

_INLINE_ROWS = 128
_CHECKPOINT_ROWS = 16_384  # some 45 MB of write-ahead log; each checkpoint keeps answers waiting for one fsync
_LOGGER = logging.getLogger("mlnb.service")
UNLOGGED = "mlnb_log_unlogged_rows_total"
_FAST_ROWS = 50_000
_REOPEN_S = 1.0
_REST_S = 0.1  # until a fast log that cannot be written is tried again
_EXPIRE_S = 3600.0
_DEFAULT = Configuration()
_INSERT = "INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LABEL = "INSERT OR REPLACE INTO labels VALUES (?, ?, ?)"  # a new rowid tells the roll that it has not seen this label
_PROBE = (
    "INSERT OR REPLACE INTO about VALUES ('probe', hex(randomblob(8)))"  # SQLite writes no page that stays as it is
)


def _uncounted(_sample: str, _amount: float) -> None:
    return


class _Group(NamedTuple):
    """Rows of one request, and who waits for them; nobody where it was answered before."""

    statement: str
    rows: Sequence[tuple[object, ...]]
    future: asyncio.Future[None] | None


class PredictionLog:
    """The log of one process; its methods are called on one event loop.

    Parameters
    ----------
    folder : Path
        Folder of the service's logs; made if missing.
    settings : Configuration
        ``log`` says when an answer may be sent, ``log_failure`` what happens where nothing can be written.
    count : callable
        Told the sample of a counter and by how much it grew: `UNLOGGED`.

    Attributes
    ----------
    problem : str
        Why the last commit failed; "" where it did not.
    unlogged : int
        Rows that were answered and could not be logged.

    Raises
    ------
    StorageError
        If the folder cannot be written, and the service is to stop then.
    NewerFormatError
        If the database was written by a newer mlnb.

    Notes
    -----
    ``durable``: what gathers in one turn of the event loop is committed together, on the loop: a commit takes 0.05 ms,
    handing it to a thread and back 0.2 ms. More than `_INLINE_ROWS` go to a thread, and so does what waits for the disk
    or for another writer; meanwhile commits queue and the loop goes on. A checkpoint first runs beside the commits,
    then once more with commits held for the few pages that came in between, so that the write-ahead log can begin anew.

    ``strict``: every commit waits for the disk, in the thread; what comes meanwhile is the next group.

    ``fast``: rows are committed in the thread, `log_window_ms` after the first of them was answered. A commit that
    failed is tried again; where more than `_FAST_ROWS` wait, callers wait too, or rows are left out.
    """

    def __init__(
        self, folder: Path, settings: Configuration = _DEFAULT, count: Callable[[str, float], None] = _uncounted
    ) -> None:
        self.mode = settings.log
        self.serves = settings.log_failure == "serve"
        self.problem = ""
        self.unlogged = 0
        self._folder = folder
        self._content = Content(settings)
        self._keep_ns = int(settings.log_keep_days * 86_400e9)
        self._expire_at = 0.0
        self._about = {"destination": settings.log_segments, "keep_days": f"{settings.log_keep_days:g}"}
        self._count = count
        self._window_s = max(settings.log_window_ms, 1) / 1000 if settings.log == "fast" else 0.0
        self._defers = settings.log in ("fast", "off")
        self._database: LogDatabase | None = None
        self._tried = 0.0
        self._thread = ThreadPoolExecutor(1, "mlnb-prediction-log")
        self._waiting: list[_Group] = []
        self._waiting_rows = 0
        self._flying: list[_Group] = []
        self._scheduled = self._closed = self._checkpointing = False
        self._holds = 0
        self._rows_in_wal = 0
        error = None if self.mode == "off" else self._open()
        if error is not None:
            if not self.serves:
                raise error
            self._fail(error.problem)

    @property
    def path(self) -> Path:
        """The database; the folder where none could be opened."""
        return self._folder if self._database is None else self._database.path

    @property
    def stopped(self) -> bool:
        """Whether nothing is answered until the log can be written."""
        return bool(self.problem) and not self.serves

    @property
    def told(self) -> dict[str, object]:
        """What ``/readyz`` tells about the log beside its problem."""
        window = {"window_ms": round(self._window_s * 1000)} if self._window_s else {}
        return {"mode": self.mode, **window, "failure": "serve" if self.serves else "stop", "unlogged": self.unlogged}

    @property
    def waiting(self) -> int:
        """Rows that are answered or to be answered, and not committed yet."""
        return self._waiting_rows + sum(len(group.rows) for group in self._flying)

    def append(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Queue `records`; the future is done when they may be answered, or fails with `StorageError`."""
        kept = records if self._content.whole else self._content.kept(records)
        return self._defer(kept) if self._defers else self._put(_INSERT, kept)

    def label(self, labels: Mapping[str, str], labelled_at: int) -> asyncio.Future[None]:
        """Queue JSON labels by prediction id; a label that comes again replaces the earlier one.

        One of the same value does, too: another worker may have been told another value meanwhile.
        """
        return self._put(_LABEL, [(prediction, value, labelled_at) for prediction, value in labels.items()])

    def probe(self) -> asyncio.Future[None]:
        """Write something that means nothing, so that `problem` tells whether the log can be written again."""
        return self._put(_PROBE, [()])

    def close(self) -> None:
        """Commit what is queued and give the slot back."""
        self._thread.shutdown(wait=True)
        self._closed = True
        groups = [*self._flying, *self._take()]
        self._flying = []
        if groups:
            self._settle(groups, self._commit(groups, patient=True))
        if left := sum(len(group.rows) for group in self._take() if group.future is None):
            _LOGGER.error("%d predictions were answered and could not be logged: %s.", left, self.problem)
        if self._database is not None:
            self._database.close()

    def _open(self) -> StorageError | None:
        self._tried = monotonic()
        try:
            self._database = LogDatabase(self._folder, strict=self.mode == "strict", about=self._about)
        except StorageError as error:
            return error
        return None

    def _expire(self) -> None:
        """Let the thread remove some of what is too old; the next turn comes soon where more is left, or in an hour."""
        if self._database is None:
            return
        self._expire_at = monotonic() + _EXPIRE_S
        before = time_ns() - self._keep_ns

        def done(job: asyncio.Future[bool]) -> None:
            if job.cancelled():
                return
            if (error := job.exception()) is not None:
                _LOGGER.warning("The prediction log %s keeps rows that are too old: %s.", self.path, error)
            elif job.result():
                self._expire_at = monotonic() + _REOPEN_S

        asyncio.get_running_loop().run_in_executor(self._thread, self._database.expire, before).add_done_callback(done)

    def _put(self, statement: str, rows: Sequence[tuple[object, ...]]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue(_Group(statement, rows, future))
        if not self._scheduled and not self._holds:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    def _defer(self, records: Sequence[Record]) -> asyncio.Future[None]:
        """Let `records` be answered at once; of a fast log they are committed within the window."""
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        answered.set_result(None)
        if self.mode == "off":
            return answered
        full = self._waiting_rows > _FAST_ROWS
        if self.stopped or (full and not self.problem):
            return self._put(_INSERT, records)  # who asks waits for the commit, and hears how it went
        if full:
            self._leave_out(len(records))
        else:
            self._queue(_Group(_INSERT, records, None))
            self._flush_later(loop)
        return answered

    def _flush_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and not self._holds:
            self._scheduled = True
            loop.call_later(max(self._window_s, _REST_S) if self.problem else self._window_s, self._flush)

    def _queue(self, group: _Group) -> None:
        self._waiting.append(group)
        self._waiting_rows += len(group.rows)

    def _take(self) -> list[_Group]:
        groups, self._waiting, self._waiting_rows = self._waiting, [], 0
        return groups

    def _flush(self) -> None:
        self._scheduled = False
        if self._holds or self._closed or not self._waiting:
            return
        count, groups = self._waiting_rows, self._take()
        self._rows_in_wal += count
        if self.mode != "durable" or count > _INLINE_ROWS:
            self._fly(groups)
        else:
            error = self._commit(groups, patient=False)
            if busy(error):
                self._fly(groups)
            else:
                self._settle(groups, error)
        if self._keep_ns and monotonic() > self._expire_at:
            self._expire()
        if self._rows_in_wal > _CHECKPOINT_ROWS and not self._checkpointing and self._database is not None:
            self._checkpointing = True
            self._rows_in_wal = 0
            first = asyncio.get_running_loop().run_in_executor(self._thread, self._database.checkpoint)
            first.add_done_callback(lambda _: self._hold(self._checkpoint, self._checkpointed))

    def _fly(self, groups: list[_Group]) -> None:
        """Commit in the thread, however long it takes."""
        self._flying = groups

        def landed(error: sqlite3.Error | StorageError | None) -> None:
            self._flying = []
            self._settle(groups, error)

        self._hold(lambda: self._commit(groups, patient=True), landed)

    def _hold(
        self,
        work: Callable[[], sqlite3.Error | StorageError | None],
        then: Callable[[sqlite3.Error | StorageError | None], None],
    ) -> None:
        """Run `work` in the thread while commits queue, then go on with them."""

        def release(job: asyncio.Future[sqlite3.Error | StorageError | None]) -> None:
            self._holds -= 1
            if self._closed or job.cancelled():  # `close` has committed what was queued
                return
            then(job.result())
            if self._window_s and self._waiting:
                self._flush_later(asyncio.get_running_loop())
            else:
                self._flush()

        self._holds += 1
        try:
            asyncio.get_running_loop().run_in_executor(self._thread, work).add_done_callback(release)
        except RuntimeError:  # closed meanwhile: `close` commits what is queued
            self._holds -= 1

    def _commit(self, groups: Sequence[_Group], *, patient: bool) -> sqlite3.Error | StorageError | None:
        if self._database is None and monotonic() - self._tried > _REOPEN_S:
            self._open()
        if self._database is None:
            return StorageError(self.problem, "Free space or give write permission.", path=str(self._folder))
        error = self._database.commit(((group.statement, group.rows) for group in groups), patient=patient)
        if error is None and patient:
            self._flying = []  # `close` need not commit them again
        return error

    def _settle(self, groups: Sequence[_Group], error: sqlite3.Error | StorageError | None) -> None:
        if isinstance(error, OF_A_ROW) and len(groups) > 1:  # the others are not to suffer for one row
            self._settle_each(groups)
            return
        if isinstance(error, OF_A_ROW):
            _LOGGER.error("The prediction log %s refuses a row: %s.", self.path, error)
        elif error is not None:
            self._fail(error.problem if isinstance(error, StorageError) else str(error))
        elif self.problem:
            self.problem = ""
            _LOGGER.warning("The prediction log %s is written again; left out: %d.", self.path, self.unlogged)
        for group in groups:
            if error is None:
                _answer(group)
            elif group.future is None and not isinstance(error, OF_A_ROW):
                self._queue(group)  # answered already: tried again
            elif group.future is None or (self.serves and group.statement == _INSERT):
                self._leave_out(len(group.rows))
                _answer(group)
            elif not group.future.done():  # it is where the request was cancelled while it waited
                group.future.set_exception(error if isinstance(error, StorageError) else unwritable(self.path, error))

    def _settle_each(self, groups: Sequence[_Group]) -> None:
        """Commit each group for itself; those that find another writer in the way wait for it in the thread."""
        late: list[_Group] = []
        for group in groups:
            error = self._commit([group], patient=self._closed)
            if busy(error) and not self._closed:
                late.append(group)
            else:
                self._settle([group], error)
        if late:
            self._fly(late)

    def _leave_out(self, rows: int) -> None:
        self.unlogged += rows
        self._count(UNLOGGED, rows)

    def _fail(self, problem: str) -> None:
        if not self.problem:
            means = "predictions are answered and not logged" if self.serves else "nothing is answered"
            _LOGGER.error("The prediction log %s cannot be written, so %s: %s.", self.path, means, problem)
        self.problem = problem

    def _checkpoint(self) -> sqlite3.Error | None:
        return None if self._database is None else self._database.checkpoint()

    def _checkpointed(self, error: sqlite3.Error | StorageError | None) -> None:
        """Let the next checkpoint come when it is due; one that failed loses nothing, the log only stays longer."""
        self._checkpointing = False
        if error is not None:
            _LOGGER.warning("The prediction log %s could not be checkpointed: %s.", self.path, error)


def _answer(group: _Group) -> None:
    """Let a request be answered; it may have been cancelled while it waited."""
    if group.future is not None and not group.future.done():
        group.future.set_result(None)
