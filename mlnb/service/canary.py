"""A canary's schedule and the counts of all workers become a judgement, and a judgement the file that ends it.

``events/<experiment>.json``, format 1, appears whole or not at all, and only once, whichever worker is first. Every
worker that sees it answers with the old version again, without anything else being written; the project takes it into
its audit log later (`mlnb.traffic`).
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlnb.service.counts import Tally
from mlnb.service.traffic import EVENTS, Canary

FORMAT = 1
LIVE_METRICS = (
    "requests",
    "error_rate",
    "error_rate_difference",
    "p50_ms",
    "p99_ms",
    "p50_ratio",
    "p99_ratio",
)
"""What a gate of a canary may name; differences and ratios are against the version that answers beside it."""
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_TAIL = 0.01


@dataclass(frozen=True, slots=True)
class Event:
    """What a service did by itself.

    Attributes
    ----------
    id : str
        Of the experiment that it ended.
    model, alias : str
        Where.
    version, base : int
        The canary, and the version that answers again.
    at : str
        ISO 8601, UTC.
    reason : str
        One sentence: which limit, and by how much.
    evidence : Mapping of str to float
        What was counted.
    """

    id: str
    model: str
    alias: str
    version: int
    base: int
    at: str
    reason: str
    evidence: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {
            "format": FORMAT,
            "kind": "canary-abort",
            "id": self.id,
            "model": self.model,
            "alias": self.alias,
            "version": self.version,
            "base": self.base,
            "at": self.at,
            "reason": self.reason,
            "evidence": dict(self.evidence),
        }


def measure(tally: Tally, base: Tally) -> dict[str, float]:
    """Return the numbers that gates name; those that cannot be computed yet are left out.

    Examples
    --------
    >>> measure(Tally(requests=4, errors=1), Tally())
    {'requests': 4.0, 'error_rate': 0.25}
    """
    p50, p99 = tally.latency_ms(50), tally.latency_ms(99)
    found = {
        "requests": float(tally.requests),
        "error_rate": tally.error_rate,
        "error_rate_difference": tally.error_rate - base.error_rate,
        "p50_ms": p50,
        "p99_ms": p99,
        "p50_ratio": p50 / base.latency_ms(50),
        "p99_ratio": p99 / base.latency_ms(99),
    }
    return {name: value for name, value in found.items() if not math.isnan(value)}


def judge(canary: Canary, tally: Tally, base: Tally) -> str:
    """Return why a canary must end, in one sentence; "" where it may go on.

    With fewer than ``min_requests`` requests a limit is exceeded where that many requests, all further ones good, would
    exceed it too: what fails at once is ended at once, and one error among three requests says nothing yet.
    """
    judged = max(tally.requests, canary.min_requests)
    if tally.errors > canary.max_error_rate * judged:
        return (
            f"{tally.errors} of {tally.requests} requests failed, {tally.error_rate:.2%}: "
            f"more than {canary.max_error_rate:.2%}"
        )
    if tally.slow > _TAIL * judged:
        return (
            f"{tally.slow} of {tally.requests} requests took more than {canary.max_p99_ms:g} ms: "
            f"p99 is {tally.latency_ms(99):.3g} ms"
        )
    if tally.requests < canary.min_requests:
        return ""
    measured = measure(tally, base)
    for gate in canary.gates:
        if gate.metric in measured and not _OPERATORS[gate.operator](measured[gate.metric], gate.limit):
            return f"{gate.metric} is {measured[gate.metric]:.4g}, not {gate.operator} {gate.limit:g}"
    return ""


def abort(state: Path, event: Event) -> bool:
    """Write down that a canary has ended; False where another worker was first.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder = state / EVENTS
    folder.mkdir(exist_ok=True)
    temporary = state / f".event-{os.getpid()}-{event.id}.tmp"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(event.to_json(), file)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, folder / f"{event.id}.json")
        except FileExistsError:
            return False
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def read_events(state: Path) -> tuple[Event, ...]:
    """Return what the workers did by themselves and nobody has taken over yet, the oldest first."""
    found = []
    for path in (state / EVENTS).glob("*.json"):
        with suppress(FileNotFoundError):  # taken over meanwhile
            fields = json.loads(path.read_bytes())
            found.append(
                Event(
                    id=str(fields["id"]),
                    model=str(fields["model"]),
                    alias=str(fields["alias"]),
                    version=int(fields["version"]),
                    base=int(fields["base"]),
                    at=str(fields["at"]),
                    reason=str(fields["reason"]),
                    evidence={str(name): float(value) for name, value in fields["evidence"].items()},
                )
            )
    return tuple(sorted(found, key=lambda event: event.at))


def forget_event(state: Path, event: str) -> None:
    """Remove an event that was taken over."""
    (state / EVENTS / f"{event}.json").unlink(missing_ok=True)


def timestamp() -> str:
    """Return the present time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
