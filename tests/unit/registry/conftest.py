"""A registry on a real SQLite file, with a clock that moves one minute at each look."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlnb.registry.audit import Audit
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft, Lineage
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger


class Clock:
    """09:01 on 3 March 2013 at the first look, 09:02 at the second."""

    def __init__(self) -> None:
        self.now = datetime(2013, 3, 3, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "artifacts")


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
def raw(ledger: Ledger, tmp_path: Path) -> Callable[..., list[tuple[object, ...]]]:
    """Run statements past our code, as somebody with a SQLite shell would."""

    def run(*statements: str) -> list[tuple[object, ...]]:
        ledger.close()
        connection = sqlite3.connect(tmp_path / "ledger.db")
        rows: list[tuple[object, ...]] = []
        with connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    return run
