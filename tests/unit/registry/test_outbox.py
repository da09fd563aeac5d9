"""What a move must cause is written with it, is due until it is done, and one process at a time does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mlnb.errors import GateError
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.outbox import Effect, Outbox
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.ledger import Ledger
from tests.unit.registry.conftest import Clock

EFFECTS = (Effect("route"), Effect("notify", {"notifier": "webhook"}))
HOLD = """
import sys
from pathlib import Path
from mlnb.registry.outbox import Outbox
from mlnb.store.ledger import Ledger
where = sys.argv[1]
with Ledger(where if "://" in where else Path(where)) as ledger, Outbox(ledger).delivering() as alone:
    print(alone, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def moved(registry: Registry, draft: Callable[..., Draft]) -> Registry:
    for content in "ab":
        registry.register(draft(content))
    registry.promote("delays/1", "production", by="anna", reason="good", effects=EFFECTS)
    return registry


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(ledger: Ledger, clock: Clock) -> Outbox:
    clock.now += timedelta(hours=1)
    return Outbox(ledger, clock)


def test_effects_are_due_from_the_move_on_and_tell_what_moved(moved: Registry, outbox: Outbox) -> None:
    route, notify = outbox.due()
    assert (route.kind, route.model, route.attempts) == ("route", "delays", 0)
    promotion = notify.payload["event"]
    assert notify.payload["notifier"] == "webhook"
    assert (promotion["to"], promotion["alias"], promotion["by"], promotion["reason"]) == (
        "delays/1", "production", "anna", "good",
    )  # fmt: skip
    assert route.key != notify.key
    assert [effect.key for effect in outbox.due()] == [route.key, notify.key]


def test_what_is_done_is_not_due_again(moved: Registry, outbox: Outbox, audit: Audit) -> None:
    for effect in outbox.due():
        outbox.done(effect.id)
    assert outbox.due() == outbox.waiting() == ()
    assert audit.verify().ok


def test_what_has_failed_is_due_again_later_and_later(
    moved: Registry, outbox: Outbox, clock: Clock, audit: Audit, ledger: Ledger
) -> None:
    effect, other = outbox.due()
    outbox.done(other.id)
    now = clock.now
    still = Outbox(ledger, lambda: now)
    for attempt, wait_s in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300], 1):
        still.failed(effect.id, "nobody answers")
        now += timedelta(seconds=wait_s - 0.001)
        assert still.due() == ()
        now += timedelta(seconds=0.001)
        assert [one.attempts for one in still.due()] == [attempt]
    assert outbox.waiting()[0].problem == "nobody answers"
    assert audit.verify().ok


def test_a_move_that_is_refused_or_moves_nothing_causes_nothing(moved: Registry, outbox: Outbox) -> None:
    before = outbox.waiting()
    failed = judge([parse_gate("auc >= 0.9")], {"auc": 0.1})
    with pytest.raises(GateError):
        moved.promote("delays/2", "production", by="anna", verdicts=failed, effects=EFFECTS)
    assert not moved.promote("delays/1", "production", by="anna", effects=EFFECTS).changed
    assert outbox.waiting() == before


def test_a_rollback_causes_what_it_is_told_to(moved: Registry, outbox: Outbox) -> None:
    moved.promote("delays/2", "production", by="anna")
    moved.rollback("delays", "production", by="ben", effects=EFFECTS)
    assert [effect.payload["event"]["kind"] for effect in outbox.due()] == ["promote"] * 2 + ["rollback"] * 2


def test_one_process_at_a_time_delivers_and_a_killed_one_lets_go(moved: Registry, outbox: Outbox, where: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOLD, str(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    with outbox.delivering(0.05) as alone:
        assert not alone
    process.kill()
    process.communicate()
    with outbox.delivering(5.0) as alone:
        assert alone
