"""Facts that need transactions become rows: versions, aliases, promotions and the audit log.

The tables, and how older ones become them, are in `mlnb.store.tables`.

Invariants: every writing transaction is serialised (``BEGIN IMMEDIATE`` on SQLite, a row lock taken by the caller
elsewhere); every reading transaction sees one state from its first to its last statement. On SQLite an answered
transaction survives the death of any process (WAL, ``synchronous=NORMAL``); a power cut may take the last ones, whole.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Insert, Table, create_engine, event, inspect, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import PoolProxiedConnection

from mlnb.errors import NewerFormatError, SettingsError, StateError, StorageError
from mlnb.store.disk import make_folder, storing
from mlnb.store.tables import SCHEMA, create, migrate, schema_of

BUSY_TIMEOUT_S = 30
_CONNECT_S = 10
_HUNG_S = 300
_ALONE = text("SELECT pg_advisory_xact_lock(hashtext('mlnb ledger'))")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext(:key))")
_AS_LONG_AS_IT_TAKES = text("SET LOCAL idle_in_transaction_session_timeout = 0")
_LOCK_POLL_S = 0.05


class Ledger:
    """The project's database of facts: a SQLite file, or whatever its URL names.

    Parameters
    ----------
    location : pathlib.Path or str
        A file path, or an SQLAlchemy URL such as ``postgresql+psycopg://host/team``. The schema is created where it is
        missing and raised where it is older; any number of processes may do so at once.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote the ledger.
    StorageError
        If it cannot be created, read or written.
    StateError
        If what is there is no ledger.
    SettingsError
        If the URL cannot be understood, or its driver is not installed.
    """

    def __init__(self, location: Path | str) -> None:
        url = _url(location)
        self.name = url.database if _is_sqlite(url) else shown(url)
        if _is_sqlite(url):
            self._make_file(Path(url.database or ""))
        self._engine = _engine(url)
        self._writing = _writing(self._engine)
        self._readers: deque[Connection] = deque()
        self._writers: deque[Connection] = deque()
        weakref.finalize(self, _close, self._engine, self._readers, self._writers)
        try:
            if not _is_sqlite(url):
                self._make_schema()
            self._check_schema()
        except StateError:
            self.close()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write; it commits at the end, and not at all where an error leaves it.

        Yields
        ------
        sqlalchemy.engine.Connection
            With SQLite's write lock already held: what it reads cannot change before it writes.
        """
        with self._faults(), _begun(self._writing, self._writers) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the ledger and waits for no writer."""
        with self._faults(), _begun(self._engine, self._readers) as connection:
            yield connection

    def insert_missing(self, connection: Connection, table: Table, row: Mapping[str, object]) -> None:
        """Insert `row` unless one with its key is there; another transaction may be doing the same."""
        connection.execute(_insert_missing(table, connection.dialect.name), dict(row))

    @contextmanager
    def alone(self, act: str, wait_s: float = 0.0) -> Iterator[bool]:
        """Hold a lock that one process on this ledger has at a time, whatever machine it is on.

        Parameters
        ----------
        act : str
            What the lock is for.
        wait_s : float
            How long to wait for another holder.

        Yields
        ------
        bool
            Whether this process holds it. The system lets it go where the process dies.
        """
        if self._engine.dialect.name == "sqlite":
            lock = FileLock(f"{self.name}.{act}.lock")
            held = _acquired(lock, wait_s)
            try:
                yield held
            finally:
                if held:
                    lock.release()
            return
        # A transaction of its own holds it: PgBouncer may give what comes after a transaction to another session.
        with self._faults(), self._writing.connect() as connection:
            key, until = {"key": f"mlnb {act}"}, time.monotonic() + wait_s
            while not (held := bool(connection.scalar(_TRY_LOCK, key))) and time.monotonic() < until:
                connection.rollback()
                time.sleep(_LOCK_POLL_S)
            if held:
                connection.execute(_AS_LONG_AS_IT_TAKES)
            else:
                connection.rollback()
            yield held
            connection.rollback()

    def close(self) -> None:
        """Close every connection; the next use opens a new one."""
        _close(self._engine, self._readers, self._writers)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _fault(error, error.orig, self.name or "") from error
        except sqlite3.Error as error:  # of a prepared statement
            raise _fault(error, error, self.name or "") from error

    def _make_file(self, path: Path) -> None:
        """Make the file whole under another name and rename it: whoever sees it sees a finished ledger."""
        if _filled(path):
            return
        make_folder(path.parent)
        try:
            with storing(path, "made"), FileLock(f"{path}.lock", timeout=BUSY_TIMEOUT_S):
                if not _filled(path):
                    self._build_file(path)
        except StorageError as error:
            if isinstance(error.__cause__, Timeout):
                raise StorageError(
                    f"Another process has been making the ledger {path} for {BUSY_TIMEOUT_S} seconds.",
                    "Wait until it has ended, or end it; then try again.",
                    path=str(path),
                ) from error
            raise

    def _build_file(self, path: Path) -> None:
        draft = path.with_name(f".{path.name}.new")
        parts = (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm"))
        for part in parts:  # of a process that was killed here
            part.unlink(missing_ok=True)
        engine = _engine(URL.create("sqlite", database=str(draft)))
        try:
            with self._faults():
                with engine.connect() as connection:
                    # Kept in the file; switching to it in a shared file is what makes others see "locked".
                    connection.connection.cursor().execute("PRAGMA journal_mode=WAL")
                with _writing(engine).begin() as connection:
                    create(connection)
            engine.dispose()  # the last connection folds the WAL into the file and syncs it
            draft.replace(path)
        finally:
            engine.dispose()
            for part in parts:
                part.unlink(missing_ok=True)

    def _make_schema(self) -> None:
        with self.write() as connection:
            connection.execute(_ALONE)
            if not inspect(connection).has_table("ledger_schema"):
                create(connection)

    def _check_schema(self) -> None:
        with self.read() as connection:
            found = schema_of(connection)
        if not found:
            raise StateError(
                f"{self.name} is a database, but not a ledger of mlnb.",
                "Move it away, or name another one.",
                path=self.name or "",
            )
        if found > SCHEMA:
            raise NewerFormatError(
                f"The ledger {self.name} has schema {found}; this mlnb knows {SCHEMA}.",
                "Upgrade mlnb: pip install --upgrade mlnb.",
                path=self.name or "",
                found=found,
                known=SCHEMA,
            )
        if found < SCHEMA:
            with self.write() as connection:
                if connection.dialect.name != "sqlite":
                    connection.execute(_ALONE)
                if schema_of(connection) < SCHEMA:  # another process may have been faster
                    migrate(connection)


def shown(url: URL) -> str:
    """Return an address of a ledger without the passwords in it, as the drivers also take them behind the ``?``."""
    secret = {name: "hidden" for name in url.query if "password" in name.casefold()}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def _acquired(lock: FileLock, wait_s: float) -> bool:
    try:
        with storing(Path(lock.lock_file), "made"):
            lock.acquire(timeout=wait_s)
    except StorageError as error:
        if isinstance(error.__cause__, Timeout):
            return False
        raise
    return True


@cache
def _insert_missing(table: Table, dialect: str) -> Insert:
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _url(location: Path | str) -> URL:
    if isinstance(location, Path) or "://" not in location:
        return URL.create("sqlite", database=os.fspath(location))
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise SettingsError(
            "The address of the ledger cannot be understood.",
            "Write it as a file path or as postgresql://user@host/database.",
            key="ledger",
        ) from error
    if url.drivername in ("postgres", "postgresql"):  # as everybody writes it
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql") or not url.database:
        raise SettingsError(
            f"The ledger cannot live at {shown(url)}.",
            "Name a SQLite file or a PostgreSQL database.",
            key="ledger",
        )
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _engine(url: URL) -> Engine:
    try:
        if not _is_sqlite(url):
            return _server(url)
        # Whoever gives a connection back has ended its transaction: nothing is to be taken back then.
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_reset_on_return=None)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(
            f"The driver of {shown(url)} is not installed: {error}.",
            "Install it: pip install 'mlnb[postgres]'.",
            key="ledger",
        ) from error
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _server(url: URL) -> Engine:
    """Return the engine of a PostgreSQL server: one that is gone, or a client that hangs, keeps nobody waiting."""
    asked = {"connect_timeout": _CONNECT_S, "application_name": "mlnb"}
    chosen: dict[str, object] = {key: value for key, value in asked.items() if key not in url.query}
    if url.get_driver_name() == "psycopg":
        chosen["prepare_threshold"] = None  # PgBouncer gives each transaction another session
    engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True, connect_args=chosen)
    event.listen(engine, "connect", _on_server_connect)
    return engine


def _on_server_connect(connection: PoolProxiedConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{BUSY_TIMEOUT_S}s'")
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{_HUNG_S}s'")
    connection.commit()
    cursor.close()


def _writing(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        return engine.execution_options(mlnb_writes=True)
    return engine.execution_options(isolation_level="READ COMMITTED")  # a row lock shows the newest row


@contextmanager
def _begun(engine: Engine, idle: deque[Connection]) -> Iterator[Connection]:
    """Open a transaction on a connection to SQLite that lies idle, which saves most of its time, or on a new one."""
    if engine.dialect.name != "sqlite":  # a server may have ended what lay idle: the pool looks
        with engine.begin() as connection:
            yield connection
        return
    try:
        connection = idle.pop()
    except IndexError:
        connection = engine.connect()
    try:
        with connection.begin():
            yield connection
    except BaseException:
        connection.close()
        raise
    idle.append(connection)


def _close(engine: Engine, *idle: deque[Connection]) -> None:
    for connections in idle:
        while connections:
            connections.pop().close()
    engine.dispose()


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where _on_begin says, not where sqlite3 guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("mlnb_writes", False)
    driver = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")  # type: ignore[union-attr]  # a sqlite3.Connection


def _fault(error: Exception, original: object, name: str) -> StateError:
    said = " ".join(str(original).split()).rstrip(".")  # drivers write several lines
    if "locked" in said or "lock timeout" in said:
        return StateError(
            f"The ledger {name} has been in use by another process for {BUSY_TIMEOUT_S} seconds.",
            "Wait until the other command has ended, then try again.",
            path=name,
        )
    if isinstance(error, (IntegrityError, sqlite3.IntegrityError)):
        return StateError(
            f"The ledger {name} contradicts itself: {said}.", "Run mlnb audit verify to see what is wrong.", path=name
        )
    if any(word in said for word in ("not a database", "malformed")):
        return StateError(f"The ledger {name} is damaged: {said}.", "Put a backup of the file in its place.", path=name)
    return StorageError(
        f"The ledger {name} cannot be used: {said}.",
        "See that its disk has room, that you may write to it, and that its server runs.",
        path=name,
    )
