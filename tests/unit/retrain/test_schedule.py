"""Cron expressions as crontab(5) describes them; expected instants were worked out by hand from a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mlnb.retrain.schedule import missed, next_of, read_schedule

BERLIN = ZoneInfo("Europe/Berlin")
AT = datetime(2026, 11, 23, 19, 0, 0, 500, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/15 * * * *", datetime(2026, 11, 23, 19, 15, tzinfo=UTC)),
        ("0 3 * * MON", datetime(2026, 11, 30, 3, 0, tzinfo=UTC)),
        ("0 3 1 * *", datetime(2026, 12, 1, 3, 0, tzinfo=UTC)),
        ("0 3 1 * FRI", datetime(2026, 11, 27, 3, 0, tzinfo=UTC)),  # either will do
        ("0 0 29 2 *", datetime(2028, 2, 29, 0, 0, tzinfo=UTC)),
        ("30 0 19 * * *", datetime(2026, 11, 23, 19, 0, 30, tzinfo=UTC)),  # seconds first
    ],
)
def test_the_next_instant_is_that_of_the_calendar(expression, expected):
    assert read_schedule(expression, ZoneInfo("UTC")).next(AT) == expected


def test_a_night_without_half_past_two_and_one_with_two_of_them_have_one_instant_each():
    nightly = read_schedule("30 2 * * *", BERLIN)
    spring = datetime(2026, 3, 28, 12, tzinfo=UTC)
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert nightly.between(spring, spring + timedelta(days=1)) == [datetime(2026, 3, 29, 1, 0, tzinfo=UTC)]
    assert len(nightly.between(autumn, autumn + timedelta(days=1))) == 1


def test_instants_of_several_schedules_come_once_and_in_order():
    both = [read_schedule("0 * * * *", ZoneInfo("UTC")), read_schedule("*/30 * * * *", ZoneInfo("UTC"))]
    found = missed(both, AT, AT + timedelta(hours=2))
    assert [f"{at:%H:%M}" for at in found] == ["19:30", "20:00", "20:30", "21:00"]
    assert next_of(both, AT) == found[0]
    assert next_of([], AT) is None
