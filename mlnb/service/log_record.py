"""A request's row, answered or refused, becomes a `Record` of the prediction log with an id of its own.

Times are integer nanoseconds since 1970-01-01T00:00:00Z. ``version`` is the version's number, 0 where a request was
refused before one was chosen. ``inputs``, ``prediction``, ``probabilities`` and ``warnings`` are JSON; ``inputs`` of a
refused request is its body, cut at `BODY_CHARACTERS`.

Logged is what a model was asked: each row that it answered, and each request that it, its hooks or its limits refused
(400, 404 for an alias, 408, 413, 415, 422, 500, 503 for what took too long). Only counted is what was turned away
before that: callers without a valid token (401, 403), who are not to fill the disk, and requests that were too many
(429, 503 with Retry-After), where a commit for each would make it worse.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import NamedTuple

BODY_CHARACTERS = 16_384
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Record(NamedTuple):
    """One row of ``predictions``, in the order of its columns (a tuple, so that SQLite binds it as it is).

    Attributes
    ----------
    id : str
        Unique over all processes; sorts by the time it was made.
    request_id : str
        The caller's ``X-Request-Id`` or ours; the rows of one request share it.
    event_at, logged_at : int
        When the row happened, and when it was logged: nanoseconds since the epoch, UTC.
    model : str
        Name of the model.
    version : int
        Number of the version that answered; 0 where none was chosen.
    alias : str
        Alias that was asked, or that stood behind ``/predict``.
    status : int
        HTTP status of the answer.
    latency_ms : float
        From the arrival of the body to the computed answer, without the commit.
    inputs, prediction, probabilities : str or None
        JSON texts.
    error : str or None
        Why the request was refused.
    role : str
        "" for a plain answer; ``ab`` or ``canary`` where the version was chosen by the caller, ``shadow`` for an answer
        that nobody was sent.
    caller : str or None
        Digest of the key by which the version was chosen.
    shadow_of : str or None
        Of a shadow: id of the prediction that was answered.
    warnings : str or None
        JSON list of what was unusual about the row.
    """

    id: str
    request_id: str
    event_at: int
    logged_at: int
    model: str
    version: int
    alias: str
    status: int
    latency_ms: float
    inputs: str | None
    prediction: str | None
    probabilities: str | None
    error: str | None
    role: str = ""
    caller: str | None = None
    shadow_of: str | None = None
    warnings: str | None = None


class Ids:
    """Makes ids of 24 hexadecimal digits: nanoseconds, then random digits of this process.

    The first 16 digits never repeat or fall within a process, so ids sort in the order they were made.
    """

    __slots__ = ("_last", "_lock", "_process")

    def __init__(self) -> None:
        self._process = os.urandom(4).hex()
        self._last = 0
        self._lock = threading.Lock()

    def take(self, count: int) -> list[str]:
        """Return `count` new ids in ascending order."""
        with self._lock:
            first = max(self._last + 1, time_ns())
            self._last = first + count - 1
        process = self._process
        return [f"{number:016x}{process}" for number in range(first, first + count)]


def nanoseconds(moment: datetime) -> int:
    """Return an aware time as integer nanoseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def moment(at: int) -> datetime:
    """Return nanoseconds since the epoch as an aware UTC time, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=at // 1000)
