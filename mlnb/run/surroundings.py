"""The machine becomes a few facts of lineage: the git commit, the installed distributions, the running process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

_GIT_TIMEOUT_S = 30
_START_FIELD = 19  # of what follows the name in /proc/<pid>/stat: proc(5) calls it the 22nd
_HIDDEN = "hidden"
_NAMED = re.compile("(Name|Version): ")


def git_state(folder: Path) -> tuple[str, bool]:
    """Return the commit that `folder` is at and whether its working tree differs; ``("", False)`` without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    return commit, bool(commit and _git(folder, "status", "--porcelain"))


def git_file(folder: Path, commit: str, path: str) -> str:
    """Return the text that a file below `folder` had at a commit, without blank ends; ``""`` where git has none."""
    return _git(folder, "show", f"{commit}:./{path}")


def git_difference(folder: Path, commit: str, *, without: str) -> str:
    """Return how the working tree that `folder` is in differs from a commit, as a patch.

    Parameters
    ----------
    without : str
        A file of the folder that is left out, because its bytes are kept elsewhere: a notebook's outputs are large.

    Notes
    -----
    Files that git does not know are not in it. The repository's own programs for showing files are not started.
    """
    plain = ("--no-color", "--no-ext-diff", "--no-textconv")
    found = _git(folder, "diff", *plain, commit, "--", ":/", f":(exclude,literal){without}")
    return found and f"{found}\n"


def environment_lock() -> bytes:
    """Return ``name==version`` of every installed distribution, sorted, one a line."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name, version = _name_and_version(distribution)
        found.setdefault(name, version)  # of two, Python imports the first on its path
    return "".join(sorted(f"{name}=={version}\n" for name, version in found.items() if name)).encode()


def this_process() -> str:
    """Return ``host/pid/start time``, which no other process has had."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def alive(process: str) -> bool:
    """Say whether the process still runs; of other machines' processes it is assumed."""
    host, _, rest = process.partition("/")
    if host != socket.gethostname():
        return True
    pid, _, started = rest.partition("/")
    return pid.isdigit() and _started(int(pid)) in (started, _HIDDEN)


def _started(pid: int) -> str:
    """Return when a process was started; empty if there is none, `_HIDDEN` if we may not know.

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
        return _HIDDEN


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read two lines of the metadata; parsing all of it as mail costs ten times as much."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if _NAMED.match(line))
    return fields.get("Name", "").lower().replace("_", "-"), fields.get("Version", "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=_GIT_TIMEOUT_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
