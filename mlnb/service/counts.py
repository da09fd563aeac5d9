"""The requests of an experiment become counts by version, each worker's in a file that every other one reads.

``counts/<process id>-<start>.json``, format 1, in the service's folder: cumulative, replaced several times a second
while there is traffic to count, and left behind by a worker that ends, so that nothing which was counted is forgotten.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

FOLDER = "counts"
FORMAT = 1
REFUSED_BY_VERSION = 422
"""The one status below 500 that speaks of the version: the rows do not fit what it was made for."""
_PER_OCTAVE = 4
_BUCKETS = 32 * _PER_OCTAVE


class Arm(NamedTuple):
    """Whose requests are counted: a version in an experiment, as a shadow or not."""

    experiment: str
    version: int
    shadow: bool = False


@dataclass(slots=True)
class Tally:
    """Counts of one arm.

    Attributes
    ----------
    requests : int
        Answered, or refused or failed by the version.
    errors : int
        Those that the version refused (422) or that failed (500 and above).
    slow : int
        Those above the canary's limit of latency.
    dropped : int
        Of a shadow: requests that it could not follow.
    latency : dict of int to int
        Requests by bucket, four to an octave of microseconds.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    dropped: int = 0
    latency: dict[int, int] = field(default_factory=dict)

    def observe(self, status: int, seconds: float, limit_ms: float = math.inf) -> None:
        """Count one request, if its status says anything of the version."""
        if status >= 400 and status != REFUSED_BY_VERSION and status < 500:
            return
        self.requests += 1
        self.errors += status >= 400
        self.slow += seconds * 1000.0 > limit_ms
        bucket = min(max(int(math.log2(max(seconds * 1e6, 1.0)) * _PER_OCTAVE), 0), _BUCKETS)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1

    def add(self, other: Tally) -> None:
        """Add another worker's counts."""
        self.requests += other.requests
        self.errors += other.errors
        self.slow += other.slow
        self.dropped += other.dropped
        for bucket, count in other.latency.items():
            self.latency[bucket] = self.latency.get(bucket, 0) + count

    @property
    def error_rate(self) -> float:
        """Share of errors; NaN where nothing was asked."""
        return self.errors / self.requests if self.requests else math.nan

    def latency_ms(self, percent: float) -> float:
        """Return a percentile, right within 19 %: the upper end of the bucket in which it lies; NaN for none."""
        rank = math.ceil(self.requests * percent / 100.0)
        seen = 0
        for bucket in sorted(self.latency):
            seen += self.latency[bucket]
            if seen >= rank:
                return float(2.0 ** ((bucket + 1) / _PER_OCTAVE) / 1000.0)
        return math.nan


class Counts:
    """The counts of this process.

    Parameters
    ----------
    state : Path
        The service's folder.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._path = self._folder / f"{os.getpid()}-{os.urandom(4).hex()}.json"
        self._tallies: dict[Arm, Tally] = {}
        self._written = b""

    def of(self, arm: Arm) -> Tally:
        """Return the counts of one arm, to add to."""
        tally = self._tallies.get(arm)
        if tally is None:
            tally = self._tallies[arm] = Tally()
        return tally

    def keep(self, experiments: Collection[str]) -> None:
        """Forget the experiments that are over."""
        self._tallies = {arm: tally for arm, tally in self._tallies.items() if arm.experiment in experiments}

    def text(self) -> bytes:
        """Return the file as it is to be written."""
        rows = [
            {
                "experiment": arm.experiment,
                "version": arm.version,
                "shadow": arm.shadow,
                "requests": tally.requests,
                "errors": tally.errors,
                "slow": tally.slow,
                "dropped": tally.dropped,
                "latency": dict(tally.latency),
            }
            for arm, tally in self._tallies.items()
        ]
        return json.dumps({"format": FORMAT, "arms": rows}).encode()

    def total(self, text: bytes, experiments: Collection[str]) -> dict[Arm, Tally]:
        """Return what all workers have counted, this one's part as in `text`, which may not be written yet."""
        others = (_read(path) for path in _files(self._folder.parent) if path != self._path)
        return _summed((_parsed(text), *others), experiments)

    def write(self, text: bytes) -> None:
        """Replace this process's file where anything was counted since; what cannot be written is written later."""
        if text == self._written or (not self._written and b'"experiment"' not in text):
            return
        temporary = self._path.with_suffix(".tmp")
        with suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            temporary.write_bytes(text)
            temporary.replace(self._path)
            self._written = text


def read_counts(state: Path, experiments: Collection[str]) -> dict[Arm, Tally]:
    """Return what all workers together have counted of the given experiments."""
    return _summed((_read(path) for path in _files(state)), experiments)


def sweep(state: Path, experiments: Collection[str]) -> None:
    """Remove the files of processes that have ended in which nothing of the given experiments is counted."""
    for path in _files(state):
        if not _runs(path) and not any(arm.experiment in experiments for arm, _ in _read(path)):
            path.unlink(missing_ok=True)


def _files(state: Path) -> list[Path]:
    return sorted((state / FOLDER).glob("*.json"))


def _runs(path: Path) -> bool:
    """Say whether the process that writes a file is there, or another one of its number."""
    number = path.name.partition("-")[0]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _summed(parts: Iterable[Iterable[tuple[Arm, Tally]]], experiments: Collection[str]) -> dict[Arm, Tally]:
    total: dict[Arm, Tally] = {}
    for arm, tally in chain.from_iterable(parts):
        if arm.experiment in experiments:
            total.setdefault(arm, Tally()).add(tally)
    return total


def _read(path: Path) -> list[tuple[Arm, Tally]]:
    try:
        return _parsed(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # swept, or not ours
        return []


def _parsed(text: bytes) -> list[tuple[Arm, Tally]]:
    document = json.loads(text)
    found: list[tuple[Arm, Tally]] = []
    for row in document["arms"] if document["format"] <= FORMAT else ():
        requests, errors, slow, dropped = (int(row[name]) for name in ("requests", "errors", "slow", "dropped"))
        buckets = {int(bucket): int(count) for bucket, count in row["latency"].items()}
        arm = Arm(str(row["experiment"]), int(row["version"]), bool(row["shadow"]))
        found.append((arm, Tally(requests, errors, slow, dropped, buckets)))
    return found
