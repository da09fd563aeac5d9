"""A process becomes a text that no other process has had, and such a text whether that one still runs."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_START_FIELD = 19  # of what follows the name in /proc/<pid>/stat: proc(5) calls it the 22nd
HIDDEN = "hidden"
"""The start of a process that we may not look at."""


def this_process() -> str:
    """Return ``host/pid/start time``, which no other process has had."""
    return f"{socket.gethostname()}/{os.getpid()}/{started_at(os.getpid())}"


def alive(process: str) -> bool:
    """Say whether the process still runs; of other machines' processes it is assumed."""
    host, _, rest = process.partition("/")
    if host != socket.gethostname():
        return True
    pid, _, started = rest.partition("/")
    return pid.isdigit() and started_at(int(pid)) in (started, HIDDEN)


def started_at(pid: int) -> str:
    """Return when a process was started; empty if there is none, `HIDDEN` if we may not know.

    On Linux that is in clock ticks since the machine has, without psutil, whose import is a tenth of a no-op run.
    """
    if sys.platform != "linux":
        return _started_elsewhere(pid)
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[_START_FIELD]
    except OSError:
        return ""


def _started_elsewhere(pid: int) -> str:
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""
    except psutil.AccessDenied:
        return HIDDEN
