"""Commands become what they cost: CPU seconds of the process and everything that it started, and wall.

The process that forks kernels detaches itself from the command. On Linux it becomes a child of this process when the
command ends (`prctl(2)`, PR_SET_CHILD_SUBREAPER), is waited for, and counts with all that it has waited for.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil

_TIMEOUT_S = 3600
_DETACHED = "mlnb.run.kernels"
_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds; the CPU's count user and system time."""

    cpu_s: float
    wall_s: float

    def __add__(self, other: Cost) -> Cost:
        """Return both together."""
        return Cost(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)


def spend(command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command that must succeed; return its cost and what it printed.

    Nothing else may be started meanwhile: the CPU time is that of all children which end in between.
    """
    _adopt()
    before, started = _children_s(), perf_counter()
    told = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    wall_s = perf_counter() - started
    _reap()
    cost = Cost(_children_s() - before, wall_s)
    if told.returncode != 0:
        shown = " ".join(map(str, command))
        raise RuntimeError(f"{shown} ended with {told.returncode}:\n{told.stdout[-2000:]}\n{told.stderr[-2000:]}")
    return cost, told.stdout


def medians(count: int, contestants: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Let the contestants run in turn, `count` times; return the median of each one's CPU and of its wall seconds."""
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(count):
        for name, contestant in contestants.items():
            costs[name].append(contestant())
    return {
        name: Cost(statistics.median(c.cpu_s for c in found), statistics.median(c.wall_s for c in found))
        for name, found in costs.items()
    }


def _adopt() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap() -> None:
    """Wait for the detached processes of mlnb that have become ours; they end soon after their last user."""
    for child in psutil.Process().children():
        try:
            ended = child.status() == psutil.STATUS_ZOMBIE
            if ended or _DETACHED in " ".join(child.cmdline()):
                os.waitpid(child.pid, 0)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
