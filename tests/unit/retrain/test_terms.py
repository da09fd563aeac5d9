"""`[tool.mlnb.retrain.<model>]` becomes terms, or a refusal that says what to write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlnb.errors import SettingsError
from mlnb.retrain.allowance import held
from mlnb.retrain.terms import Budget, read_terms

AT = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)


def test_a_table_becomes_terms():
    table = {
        "notebook": "delays.ipynb",
        "parameters": {"until": "{date}", "month": "{month}", "trees": 100},
        "schedule": "0 3 * * MON",
        "timezone": "Europe/Berlin",
        "data": "data/*.csv",
        "on_alarm": ["drift", "performance"],
        "when": ["accuracy < 0.80"],
        "budget": "4 per week",
        "cool_down": "12 hours",
        "promote": "production",
        "gates": ["better_than_champion auc"],
    }
    terms = read_terms({"delays": table})["delays"]
    assert str(terms.schedule[0]) == "0 3 * * MON (Europe/Berlin)"
    assert (terms.data, terms.on_alarm) == (("data/*.csv",), ("drift", "performance"))
    assert (terms.budget, terms.cool_down) == (Budget(4, timedelta(weeks=1)), timedelta(hours=12))
    assert terms.values({"trees": "200"}, AT) == {"until": "2026-11-23", "month": "2026-11", "trees": "200"}


def test_without_more_a_retraining_stops_at_the_challenger_and_asks_for_committed_code():
    terms = read_terms({"delays": {"notebook": "delays.ipynb"}})["delays"]
    assert (terms.promote, terms.champion, terms.code, terms.budget) == ("challenger", "production", "committed", None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("nb.ipynb", "is not a table"),
        ({}, "names no notebook"),
        ({"notebook": "a.ipynb", "shedule": "0 3 * * *"}, "Did you mean 'schedule'?"),
        ({"notebook": "a.ipynb", "schedule": "0 25 * * *"}, "is no cron expression"),
        ({"notebook": "a.ipynb", "schedule": "0 3 * * *", "timezone": "Mars/Base"}, "is no time zone"),
        ({"notebook": "a.ipynb", "when": ["accuracy is bad"]}, "is not a gate"),
        ({"notebook": "a.ipynb", "gates": ["auc =! 3"]}, "unknown operator"),
        ({"notebook": "a.ipynb", "budget": "many"}, "is no budget"),
        ({"notebook": "a.ipynb", "budget": "0 per week"}, "is no budget"),
        ({"notebook": "a.ipynb", "cool_down": "soon"}, "is no length of time"),
        ({"notebook": "a.ipynb", "window": "fortnight"}, "window cannot be read"),
        ({"notebook": "a.ipynb", "parameters": {"x": [1]}}, "is no table of plain values"),
        (
            {"notebook": "a.ipynb", "promote": "staging"},
            "promotes to 'staging', but what is challenged is 'production'",
        ),
        ({"notebook": "a.ipynb", "code": "newest"}, "is none of committed, same, any"),
        ({"notebook": "a.ipynb", "min_rows": 0}, "is no number of at least 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_key(table, said):
    with pytest.raises(SettingsError) as refused:
        read_terms({"delays": table})
    assert said in str(refused.value)
    assert refused.value.key.startswith("retrain.delays")


def test_a_model_that_no_registry_could_hold_is_refused():
    with pytest.raises(SettingsError, match="retrain"):
        read_terms({"../delays": {"notebook": "a.ipynb"}})


def test_budget_and_cool_down_hold_back_until_both_are_over():
    terms = read_terms({"m": {"notebook": "a.ipynb", "budget": "2 per day", "cool_down": "1 hour"}})["m"]
    begun = [AT - timedelta(hours=20), AT - timedelta(minutes=30)]
    assert held(terms, [], AT) is None
    assert held(terms, begun[:1], AT) is None
    both = held(terms, begun, AT)
    assert both is not None and both.until == begun[0] + timedelta(days=1)
    assert "The budget of 2 in 1 day is used until 2026-11-23 23:00:00 UTC." in both.why
    cooling = held(terms, [begun[0] - timedelta(days=2), begun[1]], AT)
    assert cooling is not None and "The cool-down of 1 hour lasts until 2026-11-23 19:30:00 UTC." in cooling.why
    assert held(terms, begun, both.until) is None
