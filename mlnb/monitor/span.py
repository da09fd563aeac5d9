"""A span such as ``day`` or ``500 rows`` and the predictions' event times become window numbers and window bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from mlnb.errors import MonitorError

Instants = npt.NDArray[np.int64]

UNITS = ("hour", "day", "week", "month")
_HOUR = 3_600_000_000_000
_DAY = 24 * _HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """Length of a window.

    Attributes
    ----------
    unit : str
        ``"hour"``, ``"day"``, ``"week"`` (from Monday), ``"month"`` (of the calendar; all in UTC), or ``"rows"``.
    rows : int
        Predictions in a window where the unit is rows, else 0.
    """

    unit: str
    rows: int = 0

    def __str__(self) -> str:
        return f"{self.rows} rows" if self.unit == "rows" else self.unit


def parse_span(text: str) -> Span:
    """Return the span that a person wrote: ``hour``, ``day``, ``week``, ``month`` or ``500 rows``.

    Raises
    ------
    MonitorError
        If it is none of these.

    Examples
    --------
    >>> parse_span("500 rows")
    Span(unit='rows', rows=500)
    """
    cleaned = text.strip().lower()
    if cleaned.removesuffix("s") in UNITS:
        return Span(cleaned.removesuffix("s"))
    match = re.fullmatch(r"(\d+)\s*rows?", cleaned)
    if match and int(match[1]) > 0:
        return Span("rows", int(match[1]))
    raise MonitorError(
        f"{text!r} is not a span of time or rows.",
        "Use hour, day, week, month, or a number of rows such as '500 rows'.",
    )


def window_numbers(span: Span, event_at: Instants, ranks: Instants) -> Instants:
    """Return the window of each prediction, shape (rows,); consecutive windows have consecutive numbers.

    Parameters
    ----------
    span : Span
        Length of a window.
    event_at : ndarray of int64, shape (rows,)
        Nanoseconds since 1970, UTC.
    ranks : ndarray of int64, shape (rows,)
        Position of each prediction in the order of event time. Used where the span is a number of rows.
    """
    if span.unit == "rows":
        return ranks // span.rows
    if span.unit == "hour":
        return event_at // _HOUR
    if span.unit == "day":
        return event_at // _DAY
    if span.unit == "week":
        return (event_at // _DAY + 3) // 7  # 1970-01-01 was a Thursday
    return event_at.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


def bounds(span: Span, number: int) -> tuple[int, int]:
    """Return start and end of a window of time in nanoseconds since 1970; the end is excluded."""
    if span.unit == "month":
        first, last = np.array([number, number + 1], dtype="datetime64[M]").astype("datetime64[D]").astype(int).tolist()
        return first * _DAY, last * _DAY
    length = {"hour": _HOUR, "day": _DAY, "week": 7 * _DAY}[span.unit]
    start = number * length - (3 * _DAY if span.unit == "week" else 0)
    return start, start + length


def instant(at: int) -> datetime:
    """Return nanoseconds since 1970 as an aware UTC time."""
    return _EPOCH + timedelta(microseconds=at // 1000)


def days(first: int, last: int) -> str:
    """Return ``on 2013-01-01``, or ``from 2013-01-01 to 2013-01-10``."""
    texts = [f"{instant(at):%Y-%m-%d}" for at in (first, last)]
    return f"on {texts[0]}" if texts[0] == texts[1] else f"from {texts[0]} to {texts[1]}"
