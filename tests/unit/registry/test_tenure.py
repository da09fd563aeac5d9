"""Who held an alias when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import RegistryError, UsageError
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.reference import parse_reference
from mlnb.registry.registry import Registry
from mlnb.registry.tenure import Span, Tenure, held, read_span, tenures
from mlnb.registry.version import Draft, Promotion

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
PRODUCTION = parse_reference("delays@production")


def day(text: str) -> Span:
    begin = datetime.fromisoformat(f"{text}T00:00:00+00:00")
    return Span(begin, begin + timedelta(days=1))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-03-03", day("2026-03-03")),
        ("3 March", day("2026-03-03")),
        ("the 3rd of March 2025", day("2025-03-03")),
        ("March 3, 2026", day("2026-03-03")),
        ("24 Dec", day("2025-12-24")),
        ("29 February", day("2024-02-29")),
        ("yesterday", day("2026-11-22")),
        ("2026-03-03T14:00+01:00", Span(*[datetime(2026, 3, 3, 13, tzinfo=UTC)] * 2)),
        ("2026-03-03 14:00", Span(*[datetime(2026, 3, 3, 14, tzinfo=UTC)] * 2)),
        ("now", Span(NOW, NOW)),
    ],
)
def test_a_day_is_read_as_people_say_it(said: str, meant: Span) -> None:
    assert read_span(said, NOW) == meant


@pytest.mark.parametrize(
    "said", ["soon", "2026-13-01", "31 February", "3", "production", "9999-12-31", "0001-01-01T00:00+02:00"]
)
def test_what_is_no_day_is_refused(said: str) -> None:
    with pytest.raises(UsageError, match="neither a day nor a moment"):
        read_span(said, NOW)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 100)), min_size=1, max_size=12), st.integers(0, 1500))
def test_at_every_moment_one_version_holds_the_alias(moves: list[tuple[int, int]], asked: int) -> None:
    """The reference: play the moves up to the moment, and look where the alias is."""
    at, promotions, holder = NOW, list[Promotion](), 0
    moment = NOW + timedelta(seconds=asked)
    for number, wait in moves:
        at += timedelta(seconds=wait)
        promotions.append(Promotion("delays", "production", "promote", 0, number, at, "ada", "", (), False))
        if at <= moment:
            holder = number
    found = [one.ref for one in tenures(promotions) if one.meets(Span(moment, moment))]
    assert found == ([f"delays/{holder}"] if holder else [])


def test_the_question_of_3_march(registry: Registry, audit: Audit, draft: Callable[..., Draft]) -> None:
    """The clock of these tests goes through the morning of 3 March 2013."""
    for content in "ab":
        registry.register(draft(content))
    verdicts = judge([parse_gate("auc >= 0.7")], {"auc": 0.8})
    registry.promote("delays/1", "production", by="ada", verdicts=verdicts)
    registry.promote("delays/2", "production", by="ben", reason="better", force=True)
    registry.rollback("delays", "production", by="carl", reason="alarms")
    audit.record("ada", "judge", "delays/1", {"evidence": {"auc": 0.8}, "verdicts": []})
    told = held(registry, audit, PRODUCTION, read_span("3 March 2013", NOW))
    assert [one.tenure.ref for one in told.found] == ["delays/1", "delays/2", "delays/1"]
    first, second, third = told.found
    assert (first.tenure.begun.by, first.tenure.begun.verdicts) == ("ada", verdicts)
    assert (second.tenure.begun.by, second.tenure.begun.reason, second.tenure.begun.forced) == ("ben", "better", True)
    assert third.tenure.begun.kind == "rollback" and third.tenure.ended is None and told.now == "delays/1"
    rows = {row.id: row for row in audit.log()}
    assert [rows[one.row].action for one in told.found] == ["promote", "promote", "rollback"]
    assert [rows[one.row].digest for one in told.found] == [one.digest for one in told.found]
    moment = second.tenure.begun.at
    at_once = held(registry, audit, PRODUCTION, Span(moment, moment))
    assert [one.tenure.ref for one in at_once.found] == ["delays/2"]
    assert held(registry, audit, PRODUCTION, read_span("2 March 2013", NOW)).found == ()


def test_evidence_is_what_was_known_when_the_alias_was_given(
    registry: Registry, audit: Audit, draft: Callable[..., Draft]
) -> None:
    registry.register(draft("a"))
    audit.record("ada", "judge", "delays/1", {"evidence": {"auc": 0.8}, "verdicts": []})
    registry.approve("delays/1", "production", by="eve")
    registry.promote("delays/1", "production", by="ada")
    registry.approve("delays/1", "production", by="too late")
    registry.approve("delays/1", "staging", by="for another")
    later = Audit(registry._ledger, lambda: NOW)
    later.record("ada", "judge", "delays/1", {"evidence": {"auc": 0.1}, "verdicts": []})
    (found,) = held(registry, audit, PRODUCTION, read_span("3 March 2013", NOW)).found
    assert (found.numbers, [one.by for one in found.approvals]) == ({"auc": 0.8}, ["eve"])


def test_an_alias_that_never_was_is_refused_with_the_one_that_is(
    registry: Registry, audit: Audit, draft: Callable[..., Draft]
) -> None:
    registry.register(draft("a"))
    registry.promote("delays/1", "production", by="ada")
    with pytest.raises(RegistryError, match="Nothing has ever held") as raised:
        held(registry, audit, parse_reference("delays@produktion"), Span(NOW, NOW))
    assert "production" in raised.value.remedy
    assert isinstance(tenures(registry.history("delays"))[0], Tenure)
