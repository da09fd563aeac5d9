from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import MonitorError
from mlnb.monitor.span import Span, bounds, instant, parse_span, window_numbers

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-(10**15), 4 * 10**15).map(lambda at: EPOCH + timedelta(microseconds=at))


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def floor(moment: datetime, unit: str) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "hour": day.replace(hour=moment.hour),
        "day": day,
        "week": day - timedelta(days=moment.weekday()),
        "month": day.replace(day=1),
    }
    return starts[unit]


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
@given(moment=MOMENTS)
def test_a_window_is_that_of_the_calendar(unit: str, moment: datetime) -> None:
    at = np.array([nanoseconds(moment)])
    number = int(window_numbers(Span(unit), at, np.empty(0, dtype=np.int64))[0])
    start, end = bounds(Span(unit), number)
    assert instant(start) == floor(moment, unit)
    assert start <= at[0] < end
    assert bounds(Span(unit), number + 1)[0] == end


def test_spans_are_read_as_people_write_them() -> None:
    assert parse_span("Days") == Span("day")
    assert parse_span(" 500 rows ") == Span("rows", 500)
    assert str(parse_span("500rows")) == "500 rows"


@pytest.mark.parametrize("text", ["fortnight", "0 rows", "rows", "", "-3 rows", "1.5 rows"])
def test_other_spans_are_refused_with_the_choices(text: str) -> None:
    with pytest.raises(MonitorError, match="Use hour, day, week, month, or a number of rows"):
        parse_span(text)
