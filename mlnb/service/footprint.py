"""A process becomes samples that Prometheus' clients call ``process_*``; what the system cannot tell is left out."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mlnb.service.metrics import Sums


def footprint() -> Sums:
    """Return CPU time, memory and descriptors of this process (proc(5); elsewhere CPU time and the limit alone)."""
    return Sums({"process_cpu_seconds_total": time.process_time()}, dict(_gauges()))


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: those it may run on, of them what its control group is given."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        given, period = quota.read_text("ascii").split()
        return max(1, min(cores, int(given) // int(period)))  # "max" is no number: as many as there are
    return cores


def _gauges() -> Iterator[tuple[str, float]]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY:
        yield "process_max_fds", limit
    with suppress(OSError):
        virtual, resident = map(int, Path("/proc/self/statm").read_bytes().split()[:2])
        yield "process_virtual_memory_bytes", virtual * resource.getpagesize()
        yield "process_resident_memory_bytes", resident * resource.getpagesize()
        yield "process_open_fds", len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names alone, and quickly
