"""A registry on a real SQLite file, with a clock that moves one minute at each look.

`test_everywhere` runs these tests on other ground: ``GROUNDS_OF_TESTS`` are pairs of a ledger's and a depot's
address, of which the first is for all tests and the others for `FEW`.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlnb.registry.audit import Audit
from mlnb.registry.lineage import Lineage
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.depot import depot_at
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger


class Clock:
    """09:01 on 3 March 2013 at the first look, 09:02 at the second."""

    def __init__(self) -> None:
        self.now = datetime(2013, 3, 3, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


GROUNDS = [tuple(pair) for pair in json.loads(os.environ.get("GROUNDS_OF_TESTS", "[]"))]
FEW = ("read_as_it_was_registered", "undo_promotions")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests on the grounds that are asked for."""
    if GROUNDS and "ground" in metafunc.fixturenames:
        chosen = GROUNDS if any(part in metafunc.function.__name__ for part in FEW) else GROUNDS[:1]
        metafunc.parametrize("ground", chosen, indirect=True, ids=["+".join(map(_kind, pair)) for pair in chosen])


@pytest.fixture
def ground(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The addresses of ledger and depot; empty for a file, and for no depot."""
    found: tuple[str, str] = getattr(request, "param", ("", ""))
    return found


@pytest.fixture
def where(ground: tuple[str, str], tmp_path: Path) -> str | Path:
    """Where the test's own ledger is: a file, or a schema of its own on a server."""
    address = ground[0]
    if not address:
        return tmp_path / "ledger.db"
    import psycopg

    name = f"t{secrets.token_hex(8)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{address}&options=-csearch_path%3D{name}"


@pytest.fixture
def ledger(where: str | Path) -> Iterator[Ledger]:
    with Ledger(where) as opened:
        yield opened


@pytest.fixture
def store(ground: tuple[str, str], tmp_path: Path) -> FileStore:
    address = ground[1]
    depot = depot_at(f"{address}/{secrets.token_hex(8)}") if address else None
    return FileStore(tmp_path / "artifacts", depot)


@pytest.fixture
def registry(ledger: Ledger, store: FileStore) -> Registry:
    return Registry(ledger, store, Clock())


@pytest.fixture
def audit(ledger: Ledger) -> Audit:
    return Audit(ledger, Clock())


@pytest.fixture
def draft(store: FileStore) -> Callable[..., Draft]:
    """Make a draft whose package differs with `content`."""

    def make(content: str = "a", model: str = "delays", by: str = "anna", auc: float = 0.8, run: str = "r1") -> Draft:
        files = {"package.json": store.put(b"{}")[0], "model.onnx": store.put(content.encode())[0]}
        return Draft(model, by, "onnx", files, {"auc": auc}, Lineage(run=run, parameters={"depth": 3}))

    return make


@pytest.fixture
def raw(ledger: Ledger, where: str | Path) -> Callable[..., list[tuple[object, ...]]]:
    """Run statements past our code, as somebody with the database's own shell would."""

    def run(*statements: str) -> list[tuple[object, ...]]:
        ledger.close()
        if isinstance(where, str):
            return on_server(where, statements)
        connection = sqlite3.connect(where)
        rows: list[tuple[object, ...]] = []
        with connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return run


def on_server(address: str, statements: Iterable[str]) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(address) as connection:
        rows: list[tuple[object, ...]] = []
        connection.execute(
            "SET session_replication_role = replica"
        )  # as an administrator can: no foreign key is checked
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
    return rows


def _kind(address: str) -> str:
    return address.partition("://")[0] or "here"
