"""What the ledger keeps of triggers and retrainings, on SQLite and, by `test_everywhere`, on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Thread

import pytest

from mlnb.registry.audit import Audit
from mlnb.registry.outbox import Effect, Outbox
from mlnb.retrain.docket import Docket
from mlnb.retrain.record import FAILED, PROMOTED, Cause, Outcome
from mlnb.store.ledger import Ledger

ALARM = Cause("alarm", "7", "Alarm 7 is open.", {"alarm": 7})


@pytest.fixture
def docket(ledger: Ledger) -> Docket:
    return Docket(ledger)


def test_a_cause_fires_once_with_what_was_seen(docket: Docket) -> None:
    assert docket.fire("late", [ALARM], {"schedule": "a"}) == 1
    assert docket.fire("late", [ALARM, Cause("data", "7", "It is new.")], {"schedule": "b", "data": "c"}) == 1
    assert docket.fire("other", [ALARM], {}) == 1
    assert docket.seen("late") == {"schedule": "b", "data": "c"}
    assert [one.cause.kind for one in docket.waiting("late")] == ["alarm", "data"]
    assert docket.fired("late", "alarm") == {"7"}


def test_firing_that_fails_writes_neither_the_causes_nor_what_was_seen(docket: Docket) -> None:
    with pytest.raises(TypeError):
        docket.fire("late", [ALARM, Cause("data", "1", "", {"never": object()})], {"data": "c"})
    assert (docket.waiting("late"), docket.seen("late")) == ((), {})


def test_of_many_that_fire_the_same_at_once_one_does(docket: Docket) -> None:
    threads = [Thread(target=docket.fire, args=("late", [ALARM], {"data": str(number)})) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(docket.triggers("late")) == 1


def test_a_retraining_ends_once_with_one_audit_row_and_one_message(docket: Docket, ledger: Ledger) -> None:
    docket.fire("late", [ALARM], {})
    act = docket.begin("late", docket.waiting("late"), lambda given, at: {"until": f"{at:%Y}", **given})
    assert docket.waiting("late") == () and docket.served(act.id)[0].cause == ALARM
    docket.note(act.id, "20261123-190000-a1b2c3")
    again = docket.left("late")
    assert again is not None
    assert (again.id, again.attempts, again.run) == (act.id, 2, "20261123-190000-a1b2c3")
    assert again.parameters == act.parameters
    effects = [Effect("notify", {"notifier": "webhook"})]
    ended = docket.end(again, Outcome(PROMOTED, "It is better.", 3, {"gain": 0.1}), "ada", effects)
    second = docket.end(again, Outcome(FAILED, "It is not."), "ada", effects)
    assert ended == second == docket.get(act.id)
    assert (ended.outcome.state, ended.outcome.number, docket.left("late")) == (PROMOTED, 3, None)
    (row,) = Audit(ledger).log()
    assert (row.action, row.subject, row.detail["retraining"]) == ("retrain", "late/3", act.id)
    (message,) = Outbox(ledger).waiting()
    event = message.payload["event"]
    assert isinstance(event, dict) and event["event"] == "retraining"
    assert event["text"] == f"Retraining {act.id} of late ended promoted: It is better."
    assert Audit(ledger).verify().ok


def test_a_message_that_nobody_sent_is_a_fault(docket: Docket, ledger: Ledger, raw: object) -> None:
    docket.fire("late", [ALARM], {})
    act = docket.begin("late", docket.waiting("late"), lambda given, at: dict(given))
    docket.end(act, Outcome(FAILED, "It is not."), "ada", [Effect("notify", {"notifier": "webhook"})])
    raw("UPDATE outbox SET payload = '{}'")  # type: ignore[operator]
    assert "Effect 1 was altered" in Audit(ledger).verify().sentence


def test_one_holder_of_a_models_lock_at_a_time(docket: Docket, where: Path | str) -> None:
    with (
        Ledger(where) as other,
        docket.alone("late") as first,
        Docket(other).alone("late") as second,
        Docket(other).alone("early") as third,
    ):
        assert (first, second, third) == (True, False, True)


def test_each_of_many_triggers_is_served_by_one_retraining(docket: Docket) -> None:
    for number in range(12):
        docket.fire("late", [Cause("hand", str(number), "Asked.", parameters={"x": number % 3})], {})
    while waiting := docket.waiting("late"):
        same = [one for one in waiting if one.cause.parameters == waiting[0].cause.parameters]
        docket.begin("late", same, lambda given, at: dict(given))
    assert Counter(one.retraining for one in docket.triggers("late")) == {1: 4, 2: 4, 3: 4}
    assert [one.parameters for one in docket.list("late")] == [{"x": 0}, {"x": 1}, {"x": 2}]
