"""Alarms stand until somebody acknowledges them, and the audit log knows of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlnb.errors import RegistryError, StateError
from mlnb.registry.alarms import Alarm, Alarms, open_alarms
from mlnb.registry.audit import Audit
from mlnb.registry.outbox import Effect, Outbox
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.ledger import Ledger
from mlnb.store.tables import SCHEMA
from tests.unit.registry.conftest import Clock

Raw = Callable[..., list[tuple[object, ...]]]
FOUND = Alarm(
    "delays",
    "production",
    1,
    "age",
    "drift",
    "2013-03-01T00:00:00Z/2013-03-02T00:00:00Z",
    "age moved.",
    {"effect": 0.1},
)
TOLD = (Effect("notify", {"notifier": "webhook"}),)


@pytest.fixture
def alarms(registry: Registry, ledger: Ledger, draft: Callable[..., Draft]) -> Alarms:
    registry.register(draft())
    return Alarms(ledger, Clock())


def test_an_alarm_stands_until_it_is_acknowledged_and_is_not_raised_twice(alarms: Alarms, ledger: Ledger) -> None:
    (raised,) = alarms.raise_all([FOUND], by="cron")
    assert (raised.id, raised.open, raised.evidence) == (1, True, {"effect": 0.1})
    assert raised.raised_at == "2013-03-03T09:01:00.000000Z"
    assert alarms.raise_all([replace(FOUND, reason="age moved further.")], by="cron") == ()
    with ledger.read() as connection:
        assert open_alarms(connection, "delays") == (raised,)
        assert open_alarms(connection, "others") == ()

    seen = alarms.acknowledge(1, by="anna", note="  known ")
    assert (seen.open, seen.acknowledged_by, seen.note) == (False, "anna", "known")
    assert alarms.list() == ()
    assert alarms.list("delays", everything=True) == (seen,) == (alarms.get(1),)
    (again,) = alarms.raise_all([FOUND], by="cron")
    assert again.id == 2


def test_another_kind_column_or_version_is_another_alarm(
    alarms: Alarms, registry: Registry, draft: Callable[..., Draft]
) -> None:
    registry.register(draft("b"))
    others = [replace(FOUND, kind="missing"), replace(FOUND, what="x" * 300), replace(FOUND, number=2)]
    assert [one.id for one in alarms.raise_all([FOUND, *others], by="cron")] == [1, 2, 3, 4]
    assert [one.id for one in alarms.list()] == [1, 2, 3, 4]


def test_who_is_too_late_to_acknowledge_is_told_by_whom(alarms: Alarms) -> None:
    alarms.raise_all([FOUND], by="cron")
    alarms.acknowledge(1, by="anna")
    with pytest.raises(RegistryError, match="was acknowledged by anna at 2013-03-03") as refused:
        alarms.acknowledge(1, by="ben")
    assert (refused.value.model, refused.value.version, refused.value.alias) == ("delays", 1, "production")
    with pytest.raises(RegistryError, match="There is no alarm 9"):
        alarms.acknowledge(9, by="ben")


def test_alarms_are_raised_all_or_none(alarms: Alarms) -> None:
    with pytest.raises((RegistryError, StateError)):
        alarms.raise_all([FOUND, replace(FOUND, model="nobody")], by="cron")
    assert alarms.list(everything=True) == ()


def test_the_messages_and_the_audit_rows_come_with_the_alarm(alarms: Alarms, ledger: Ledger, audit: Audit) -> None:
    alarms.raise_all([FOUND], by="cron", effects=TOLD)
    alarms.acknowledge(1, by="anna", note="a new sensor", effects=TOLD)
    waiting = Outbox(ledger, Clock()).waiting()
    events = [json.loads(json.dumps(dict(due.payload)))["event"] for due in waiting]
    assert [(one["event"], one["state"], one["text"]) for one in events] == [
        ("alarm", "open", "age moved."),
        ("alarm", "acknowledged", "anna acknowledged alarm 1 of delays@production (drift of age): a new sensor"),
    ]
    assert [(row.actor, row.action, row.subject) for row in audit.log("delays@production")] == [
        ("cron", "alarm", "delays@production"), ("anna", "acknowledge", "delays@production"),
    ]  # fmt: skip
    assert audit.verify().ok


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE alarm SET reason = 'nothing'", "Alarm 1 was altered after row 2 of the audit log had recorded it."),
        (
            "UPDATE alarm SET acknowledged_at = '2013-03-03T10:00:00.000000Z'",
            "Alarm 1 was altered after row 2 of the audit log had recorded it.",
        ),
        ("DELETE FROM alarm", "Alarm 1 was removed after row 2 of the audit log had recorded it."),
        ("UPDATE audit SET action = 'look' WHERE id = 2", "Row 2 of the audit log was altered."),
    ],
)
def test_alarms_that_contradict_the_log_are_found(
    alarms: Alarms, audit: Audit, raw: Raw, statement: str, sentence: str
) -> None:
    alarms.raise_all([FOUND], by="cron", effects=TOLD)
    raw(statement)
    assert audit.verify().sentence == sentence


def test_no_two_open_alarms_of_one_place_come_into_a_ledger_even_past_us(alarms: Alarms, ledger: Ledger) -> None:
    from sqlalchemy import insert, select

    from mlnb.store.tables import ALARM

    alarms.raise_all([FOUND], by="cron")
    with pytest.raises(StateError, match="contradicts itself"), ledger.write() as connection:
        row = dict(connection.execute(select(ALARM)).mappings().one())
        connection.execute(insert(ALARM), {**row, "id": 7})


@pytest.mark.parametrize("number", [1, 2])
def test_a_ledger_without_alarms_is_led_to_the_present_schema(
    alarms: Alarms, raw: Raw, where: Path | str, number: int
) -> None:
    older = ["DROP TABLE alarm", f"UPDATE ledger_schema SET number = {number}"]
    if number == 1:
        tables = ("audit_signature", "tag", "approval", "outbox")
        older += [*(f"DROP TABLE {table}" for table in tables), "DROP INDEX audit_of_subject"]
        older += [f"ALTER TABLE version DROP COLUMN {name}" for name in ("seal", "key")]
    raw(*older)
    for _ in range(2):
        with Ledger(where) as opened:
            assert Alarms(opened).list() == ()
    assert raw("SELECT number FROM ledger_schema") == [(SCHEMA,)] == [(3,)]
    (raised,) = alarms.raise_all([FOUND], by="cron")
    assert alarms.raise_all([FOUND], by="cron") == ()
    assert raised.id == 1
