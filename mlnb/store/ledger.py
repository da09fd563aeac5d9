"""Facts that need transactions become rows: versions, aliases, promotions and the audit log.

The schema carries a number, `SCHEMA`, in the table ``ledger_schema``. To raise it: add one, write the statements that
lead from the old tables to the new ones, and keep a test that opens a ledger of the old number.

Invariants: every writing transaction is serialised (``BEGIN IMMEDIATE`` on SQLite, a row lock taken by the caller
elsewhere); every reading transaction sees one state from its first to its last statement. On SQLite an answered
transaction survives the death of any process (WAL, ``synchronous=NORMAL``); a power cut may take the last ones, whole.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from mlnb.errors import NewerFormatError, SettingsError, StateError, StorageError
from mlnb.store.disk import make_folder, storing

SCHEMA = 1
BUSY_TIMEOUT_S = 30

_metadata = MetaData()
_schema = Table("ledger_schema", _metadata, Column("number", Integer, primary_key=True, autoincrement=False))

MODEL = Table(
    "model",
    _metadata,
    Column("name", String(64), primary_key=True),
    Column("last_number", Integer, nullable=False),
    Column("created_at", String(27), nullable=False),
)
VERSION = Table(
    "version",
    _metadata,
    Column("model", ForeignKey("model.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("exporter", Text, nullable=False),
    # Canonical JSON from here on, as text: the same bytes on every database, and NaN has a spelling.
    Column("metrics", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("parity", Text, nullable=False),
    Column("files", Text, nullable=False),
    UniqueConstraint("model", "content"),
)
PROMOTION = Table(
    "promotion",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", ForeignKey("model.name"), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # "promote" or "rollback"
    Column("from_number", Integer, nullable=False),  # 0: the alias pointed to nothing
    Column("to_number", Integer, nullable=False),
    Column("at", String(27), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("verdicts", Text, nullable=False),
    Column("forced", Boolean, nullable=False),
    # A promotion lies on the one that held the alias before it; a rollback takes the top one away and says which.
    Column("beneath", ForeignKey("promotion.id")),
    Column("undoes", ForeignKey("promotion.id")),
    ForeignKeyConstraint(["model", "to_number"], ["version.model", "version.number"]),
    Index("promotion_of_alias", "model", "alias", "id"),
)
ALIAS = Table(
    "alias",
    _metadata,
    Column("model", ForeignKey("model.name"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("promotion", ForeignKey("promotion.id"), nullable=False),  # the one that lies on top
    ForeignKeyConstraint(["model", "number"], ["version.model", "version.number"]),
)
AUDIT = Table(
    "audit",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 without gaps
    Column("at", String(27), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(71), nullable=False),
    Column("digest", String(71), nullable=False),
)
AUDIT_HEAD = Table(
    "audit_head",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("rows", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
)
NO_DIGEST = "sha256:" + "0" * 64
"""What the first audit row follows, and the head of an empty log."""


class Ledger:
    """The project's database of facts: a SQLite file, or whatever its URL names.

    Parameters
    ----------
    location : pathlib.Path or str
        A file path, or an SQLAlchemy URL such as ``postgresql+psycopg://host/team``. The schema is created where it is
        missing; any number of processes may do so at once.

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
        self.name = url.database if _is_sqlite(url) else url.render_as_string(hide_password=True)
        if _is_sqlite(url):
            self._make_file(Path(url.database or ""))
        self._engine = _engine(url)
        self._writing = _writing(self._engine)
        weakref.finalize(self, self._engine.dispose)
        try:
            if not _is_sqlite(url):
                self._make_schema()
            with self.read() as connection:
                self._check_schema(connection)
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
        with self._faults(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the ledger and waits for no writer."""
        with self._faults(), self._engine.begin() as connection:
            yield connection

    def insert_missing(self, connection: Connection, table: Table, row: Mapping[str, object]) -> None:
        """Insert `row` unless one with its key is there; another transaction may be doing the same."""
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), dict(row))

    def close(self) -> None:
        """Close every connection; the next use opens a new one."""
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _fault(error, self.name or "") from error

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
                    _create(connection)
            engine.dispose()  # the last connection folds the WAL into the file and syncs it
            draft.replace(path)
        finally:
            engine.dispose()
            for part in parts:
                part.unlink(missing_ok=True)

    def _make_schema(self) -> None:
        with self.write() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('mlnb ledger'))"))
            if not inspect(connection).has_table(_schema.name):
                _create(connection)

    def _check_schema(self, connection: Connection) -> None:
        found = None
        if inspect(connection).has_table(_schema.name):
            found = connection.scalar(select(_schema.c.number))
        if not isinstance(found, int) or found < 1:
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


def _url(location: Path | str) -> URL:
    if isinstance(location, Path) or "://" not in location:
        return URL.create("sqlite", database=os.fspath(location))
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise SettingsError(
            "The address of the ledger cannot be understood.",
            "Write it as a file path or as postgresql+psycopg://user@host/database.",
            key="ledger",
        ) from error
    if url.get_backend_name() not in ("sqlite", "postgresql") or not url.database:
        raise SettingsError(
            f"The ledger cannot live at {url.render_as_string(hide_password=True)}.",
            "Name a SQLite file or a PostgreSQL database.",
            key="ledger",
        )
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _create(connection: Connection) -> None:
    _metadata.create_all(connection)
    connection.execute(insert(_schema), {"number": SCHEMA})
    connection.execute(insert(AUDIT_HEAD), {"id": 1, "rows": 0, "digest": NO_DIGEST})


def _engine(url: URL) -> Engine:
    try:
        if not _is_sqlite(url):
            return create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True)
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(
            f"The driver of {url.render_as_string(hide_password=True)} is not installed: {error}.",
            "Install it, for instance: pip install 'psycopg[binary]'.",
            key="ledger",
        ) from error
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _writing(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        return engine.execution_options(mlnb_writes=True)
    return engine.execution_options(isolation_level="READ COMMITTED")  # a row lock shows the newest row


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where _on_begin says, not where sqlite3 guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("mlnb_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _fault(error: DBAPIError, name: str) -> StateError:
    said = " ".join(str(error.orig).split()).rstrip(".")  # drivers write several lines
    if "locked" in said:
        return StateError(
            f"The ledger {name} has been in use by another process for {BUSY_TIMEOUT_S} seconds.",
            "Wait until the other command has ended, then try again.",
            path=name,
        )
    if isinstance(error, IntegrityError):
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
