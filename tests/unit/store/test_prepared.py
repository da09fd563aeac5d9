"""Prepared statements say what SQLAlchemy says, on the same transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import String, bindparam, insert, select, update

from mlnb.errors import StateError
from mlnb.store.ledger import Ledger
from mlnb.store.prepared import Prepared
from mlnb.store.tables import MODEL, OUTBOX, VERSION

_NAMED = select(MODEL).where(MODEL.c.name == bindparam("of_name", type_=String))
_EFFECT = {"model": "delays", "kind": "route", "payload": "{}", "created_at": "x", "attempts": 0}
_EFFECT |= {"not_before": "x", "done_at": "", "problem": ""}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def test_rows_are_those_of_sqlalchemy(ledger: Ledger) -> None:
    rows = [{"name": name, "last_number": number, "created_at": "é"} for number, name in enumerate(("a", "b", "c"))]
    add, of_model = Prepared(insert(MODEL)), Prepared(select(MODEL).order_by(MODEL.c.name))
    with ledger.write() as connection:
        for row in rows:
            assert add.rows(connection, row) == []
        assert of_model.rows(connection) == [dict(row) for row in connection.execute(select(MODEL)).mappings()] == rows


def test_a_missing_row_is_none_and_so_is_its_value(ledger: Ledger) -> None:
    named = Prepared(_NAMED)
    with ledger.write() as connection:
        assert named.row(connection, {"of_name": "a"}) is named.value(connection, {"of_name": "a"}) is None
        connection.execute(insert(MODEL), {"name": "a", "last_number": 7, "created_at": "x"})
        assert named.value(connection, {"of_name": "a"}) == "a"


def test_a_statement_takes_other_columns_the_next_time(ledger: Ledger) -> None:
    change = Prepared(update(MODEL).where(MODEL.c.name == bindparam("of_name", type_=String)))
    with ledger.write() as connection:
        connection.execute(insert(MODEL), {"name": "a", "last_number": 7, "created_at": "x"})
        change.rows(connection, {"of_name": "a", "last_number": 8})
        change.rows(connection, {"of_name": "a", "last_number": 9, "created_at": "y"})
        change.rows(connection, {"of_name": "b", "last_number": 1})
        assert connection.execute(select(MODEL)).one() == ("a", 9, "y")


def test_what_an_insert_returns_can_be_read_and_what_it_wrote_as_well(ledger: Ledger) -> None:
    add = Prepared(insert(OUTBOX).returning(OUTBOX.c.id))
    with ledger.write() as connection:
        ids = [add.value(connection, {**_EFFECT, "kind": kind}) for kind in ("route", "notify")]
        assert connection.execute(select(OUTBOX.c.id, OUTBOX.c.kind)).all() == [(ids[0], "route"), (ids[1], "notify")]


def test_an_error_of_the_database_takes_the_transaction_back_and_is_a_sentence(ledger: Ledger) -> None:
    with pytest.raises(StateError, match="contradicts itself: FOREIGN KEY constraint failed"), ledger.write() as one:
        one.execute(insert(MODEL), {"name": "a", "last_number": 7, "created_at": "x"})
        texts = dict.fromkeys([column.name for column in VERSION.c], "x")
        Prepared(insert(VERSION)).rows(one, {**texts, "model": "unknown", "number": 1})
    with ledger.read() as connection:
        assert connection.execute(select(MODEL)).all() == []
