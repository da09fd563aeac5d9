"""What ``aliases.json`` says of an alias' traffic, a caller's key and the time become the version that answers.

A key and the experiment's id are hashed to a place in [0, 1) (BLAKE2b, the same in every process and after every
restart); a version has a part of that line. A share that grows takes places only from versions whose shares shrink, so
a caller moves only into a version that grows; all others stay where they are.

The share of a canary is a function of its schedule and the time alone, so all workers agree on it without a word.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

EVENTS = "events"
"""Folder in that of a service: what its workers did by themselves, until the project has taken it into its audit."""
COLUMN = "column:"


@dataclass(frozen=True, slots=True)
class LiveGate:
    """A condition on a number that is counted while a canary runs, such as ``p99_ratio <= 1.5``."""

    metric: str
    operator: str
    limit: float


@dataclass(frozen=True, slots=True)
class Canary:
    """A version whose share grows by a schedule.

    Attributes
    ----------
    version : int
        Its number.
    steps : tuple of float
        Its share in each interval: ``(0.05, 0.25, 1.0)``; the last one stays.
    every_s : float
        Length of an interval.
    started_at : float
        Seconds since the epoch.
    max_error_rate, max_p99_ms : float
        Limits, infinite where there are none.
    min_requests : int
        So many requests a limit is judged on at the least: with fewer it is exceeded when no further ones could mend
        it.
    gates : tuple of LiveGate
        Further limits.
    """

    version: int
    steps: tuple[float, ...]
    every_s: float
    started_at: float
    max_error_rate: float = math.inf
    max_p99_ms: float = math.inf
    min_requests: int = 100
    gates: tuple[LiveGate, ...] = ()

    def step(self, now: float) -> int:
        """Return the interval of the schedule at a time, from 0; the last one stays."""
        return min(max(int((now - self.started_at) // self.every_s), 0), len(self.steps) - 1)

    def share(self, now: float) -> float:
        """Return the version's share at a time."""
        return self.steps[self.step(now)]

    def finished(self, now: float) -> bool:
        """Say whether the whole schedule has passed, its last interval included."""
        return now >= self.started_at + self.every_s * len(self.steps)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the requests of one alias are spread over versions.

    Attributes
    ----------
    id : str
        Of the experiment: salt of the hash, name of its counts; it stays while shares change.
    sticky : str
        Header that names the caller, in lower case; or ``column:`` and a column of the rows.
    slots : tuple of (float, int)
        Upper bounds of the parts of [0, 1) in ascending order, and whose they are; empty where nothing is split.
    canary : Canary or None
        Never together with `slots`.
    shadows : tuple of (int, float)
        Versions that get a copy of a share of the requests.
    """

    id: str
    sticky: str = "x-caller-id"
    slots: tuple[tuple[float, int], ...] = ()
    canary: Canary | None = None
    shadows: tuple[tuple[int, float], ...] = ()

    @property
    def numbers(self) -> frozenset[int]:
        """The versions that it needs beside the alias' own."""
        canary = {self.canary.version} if self.canary else set()
        return frozenset({number for _, number in (*self.slots, *((0.0, one) for one, _ in self.shadows))} | canary)

    @property
    def role(self) -> str:
        """What a record says of a request whose version was chosen here; "" where none is."""
        return "canary" if self.canary else "ab" if self.slots else ""

    def choose(self, key: str, base: int, now: float) -> int:
        """Return the version that answers a caller; `base` is the alias' own."""
        place = place_of(self.id, key)
        if self.canary is not None:
            return self.canary.version if place >= 1.0 - self.canary.share(now) else base
        if self.slots:
            return self.slots[min(bisect_right(self.slots, place, key=_bound), len(self.slots) - 1)][1]
        return base

    def shares(self, base: int, now: float) -> dict[int, float]:
        """Return the share of each version that answers, at a time."""
        if self.canary is not None:
            share = self.canary.share(now)
            return {base: 1.0 - share, self.canary.version: share}
        found: dict[int, float] = {}
        lower = 0.0
        for upper, number in self.slots:
            found[number] = found.get(number, 0.0) + upper - lower
            lower = upper
        return found or {base: 1.0}


def place_of(salt: str, key: str) -> float:
    """Return the place of a key in [0, 1).

    Examples
    --------
    >>> round(place_of("a", "anna"), 6), round(place_of("b", "anna"), 6)
    (0.963839, 0.526248)
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt.encode()[:64]).digest()
    return math.ldexp(float(int.from_bytes(digest) >> 11), -53)


def caller_digest(key: str) -> str:
    """Return what the log keeps of a caller's key; the same in all experiments."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12, person=b"mlnb-caller").hexdigest()


def slotted(shares: Mapping[int, float], before: Sequence[tuple[float, int]] = ()) -> tuple[tuple[float, int], ...]:
    """Return slots with the given shares, which move as little of `before` as these allow.

    What a version loses is cut from the upper ends of its slots, and only that is given to versions that gain.

    Examples
    --------
    >>> slotted({7: 0.75, 8: 0.25})
    ((0.75, 7), (1.0, 8))
    >>> slotted({7: 0.5, 8: 0.5}, slotted({7: 0.75, 8: 0.25}))
    ((0.5, 7), (1.0, 8))
    """
    whole = sum(shares.values())
    room = {number: share / whole for number, share in shares.items()}
    pieces: list[tuple[float, float, int]] = []
    free: list[tuple[float, float]] = [] if before else [(0.0, 1.0)]
    lower = 0.0
    for upper, number in before:
        kept = min(upper - lower, room.get(number, 0.0))
        if kept > 0.0:
            pieces.append((lower, lower + kept, number))
            room[number] -= kept
        if lower + kept < upper:
            free.append((lower + kept, upper))
        lower = upper
    wanting = [(number, share) for number, share in room.items() if share > 1e-12]
    for begin, end in free:
        at = begin
        while wanting and at < end:
            number, share = wanting[0]
            taken = min(share, end - at)
            pieces.append((at, at + taken, number))
            at += taken
            wanting = [(number, share - taken), *wanting[1:]] if share - taken > 1e-12 else wanting[1:]
    return _joined(sorted(pieces))


def _joined(pieces: Sequence[tuple[float, float, int]]) -> tuple[tuple[float, int], ...]:
    slots: list[tuple[float, int]] = []
    for _, upper, number in pieces:
        if slots and slots[-1][1] == number:
            slots.pop()
        slots.append((round(upper, 12), number))
    slots[-1] = (1.0, slots[-1][1])
    return tuple(slots)


def _bound(slot: tuple[float, int]) -> float:
    return slot[0]


def traffic_from_json(fields: Mapping[str, object]) -> Traffic:
    """Read one alias' traffic; raises KeyError, TypeError or ValueError where it is not as `traffic_to_json` writes."""
    canary = fields["canary"]
    slots, shadows = _pairs(fields["slots"]), _pairs(fields["shadows"])
    return Traffic(
        id=str(fields["id"]),
        sticky=str(fields["sticky"]),
        slots=tuple((float(bound), int(number)) for bound, number in slots),
        canary=_canary(canary) if isinstance(canary, Mapping) else None,
        shadows=tuple((int(number), float(share)) for number, share in shadows),
    )


def traffic_to_json(traffic: Traffic) -> dict[str, object]:
    """Return one alias' traffic as JSON values."""
    canary = traffic.canary
    return {
        "id": traffic.id,
        "sticky": traffic.sticky,
        "slots": [list(slot) for slot in traffic.slots],
        "shadows": [list(shadow) for shadow in traffic.shadows],
        "canary": None
        if canary is None
        else {
            "version": canary.version,
            "steps": list(canary.steps),
            "every_s": canary.every_s,
            "started_at": canary.started_at,
            "max_error_rate": None if math.isinf(canary.max_error_rate) else canary.max_error_rate,
            "max_p99_ms": None if math.isinf(canary.max_p99_ms) else canary.max_p99_ms,
            "min_requests": canary.min_requests,
            "gates": [[gate.metric, gate.operator, gate.limit] for gate in canary.gates],
        },
    }


def _canary(fields: Mapping[str, object]) -> Canary:
    steps, gates = fields["steps"], fields["gates"]
    if not isinstance(steps, list) or not steps or not isinstance(gates, list):
        raise TypeError("steps and gates are lists")
    return Canary(
        version=int(str(fields["version"])),
        steps=tuple(map(float, steps)),
        every_s=_number(fields["every_s"]),
        started_at=_number(fields["started_at"]),
        max_error_rate=_number(fields["max_error_rate"]),
        max_p99_ms=_number(fields["max_p99_ms"]),
        min_requests=int(_number(fields["min_requests"])),
        gates=tuple(LiveGate(str(metric), str(sign), float(limit)) for metric, sign, limit in gates),
    )


def _number(value: object) -> float:
    return math.inf if value is None else float(str(value))


def _pairs(value: object) -> list[tuple[float, float]]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list of pairs")
    return [(first, second) for first, second in value]
