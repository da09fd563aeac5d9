"""A value becomes the one JSON text that stands for it, and the digest of that text.

Canonical: keys sorted, no blanks, ASCII only, floats in their shortest exact spelling. What JSON cannot spell is
written as the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which `float` reads back. Lasting: digests in the
ledger depend on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def canonical(value: object) -> str:
    """Return the canonical JSON of `value`.

    Raises
    ------
    TypeError
        If something in it is neither text, number, boolean, None, a sequence nor a mapping.

    Examples
    --------
    >>> canonical({"b": (1, float("nan")), "a": 0.1})
    '{"a":0.1,"b":[1,"NaN"]}'
    """
    return _encode(_plain(value))


def digest_of(value: object) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of `value`."""
    return "sha256:" + sha256(canonical(value).encode("ascii")).hexdigest()


def digest_of_row(fields: Mapping[str, object]) -> str:
    """Return what `digest_of` does of a row's columns, in a third of the time; what no column holds is its `repr`."""
    plain = {
        name: value if value is None or isinstance(value, (str, int)) else repr(value) for name, value in fields.items()
    }
    return "sha256:" + sha256(_encode(plain).encode("ascii")).hexdigest()


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def time_text(moment: datetime) -> str:
    """Return an aware time as UTC text of 27 characters, which sorts as the times do.

    Examples
    --------
    >>> time_text(datetime(2026, 11, 22, 19, 30, 0, 123456, tzinfo=UTC))
    '2026-11-22T19:30:00.123456Z'
    """
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def storable(text: str) -> str:
    """Return `text` as every database takes it: no NUL, no half of a character."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: object) -> object:
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, (dict, Mapping)):  # whether it is a dict is known at once
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
