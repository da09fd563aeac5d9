"""Spans of time as people write them, ``30s``, ``10m``, ``12h``, ``90d``, become seconds."""

from __future__ import annotations

import re

from mlnb.errors import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(s|min|m|h|d)")
_LONGEST_S = 1e11


def span_s(text: str, option: str) -> float:
    """Return the seconds of a span that an option was given.

    Raises
    ------
    UsageError
        If it is none, or of more than 3,000 years.

    Examples
    --------
    >>> span_s("1.5h", "--every")
    5400.0
    """
    found = read_span_s(text)
    if found is None or found >= _LONGEST_S:
        raise UsageError(f"{option} {text!r} is no span of time.", "Write it as 30s, 10m, 12h or 90d.")
    return found


def read_span_s(text: str) -> float | None:
    """Return the seconds of a span; None where the text is none."""
    found = _SPAN.fullmatch(text.strip())
    return float(found[1]) * _UNITS_S[found[2]] if found is not None else None
