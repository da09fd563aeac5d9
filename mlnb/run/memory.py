"""What stages have used before becomes the answer whether one more fits into this machine's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


class Room:
    """How many stages may run side by side.

    A stage is expected to use what it used last time, one that is new as much as the largest that is known. It fits if
    that much is available now, and if all that are running would fit together into what was available when none was:
    those that have just been started have not yet taken their share. One stage alone always fits.

    Parameters
    ----------
    jobs : int
        Stages at once at the most.
    peaks : mapping of str to int
        Largest memory in bytes of each stage that is known; 0 is not known.
    available : callable
        Tells the bytes that are available now.
    """

    def __init__(self, jobs: int, peaks: Mapping[str, int], available: Callable[[], int]) -> None:
        self._jobs = jobs
        self._peaks = {name: peak for name, peak in peaks.items() if peak}
        self._available = available
        self._idle = 0

    def fits(self, stage: str, running: Iterable[str]) -> bool:
        """Say whether a stage may start beside those that are running."""
        others = list(running)
        if not others:
            self._idle = self._available()
            return True
        if len(others) >= self._jobs:
            return False
        needed = self._expected(stage)
        return needed <= self._available() and needed + sum(map(self._expected, others)) <= self._idle

    def learn(self, stage: str, peak: int) -> None:
        """Note what a stage has used, in bytes."""
        if peak:
            self._peaks[stage] = peak

    def _expected(self, stage: str) -> int:
        return self._peaks.get(stage, max(self._peaks.values(), default=0))


def available_bytes() -> int:
    """Return the memory that new processes can take here, the container's limit respected."""
    import psutil

    free: int = psutil.virtual_memory().available
    try:
        limit = (_GROUP / "memory.max").read_text("ascii").strip()
        used = int((_GROUP / "memory.current").read_text("ascii"))
        cache = _inactive_file()
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used + cache)


def _inactive_file() -> int:
    """Return the bytes of files in the group's page cache that the system would give up at once."""
    for line in (_GROUP / "memory.stat").read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
