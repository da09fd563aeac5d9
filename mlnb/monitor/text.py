"""Numbers become the short text that a person reads."""

from __future__ import annotations

import math

METRIC_NAMES = {"accuracy": "accuracy", "auc": "AUC", "log_loss": "log loss (right)", "mae": "MAE", "rmse": "RMSE"}


def number(value: float) -> str:
    """Return a number with four significant digits, never in scientific notation for everyday sizes.

    Examples
    --------
    >>> number(0.123456), number(64.4), number(12345.6), number(float("nan"))
    ('0.1235', '64.4', '12,346', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e12 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as per cent with one digit.

    Examples
    --------
    >>> percent(0.1234)
    '12.3 %'
    """
    return f"{100 * share:.1f} %"


def counted(count: int, noun: str) -> str:
    """Return how many there are.

    Examples
    --------
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shortened(name: str, length: int) -> str:
    """Return a name that takes at most `length` characters."""
    return name if len(name) <= length else f"{name[: length - 1]}…"
