"""A Bento's source folder becomes a process that outlives the command which started it.

The parent binds the socket and hands it down, so a port that is taken is known before anything is started, and a
connection made while the process still loads waits instead of failing. A process is known by its id and its start
time: an id that the system gave to another process is not mistaken for it.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlnb.errors import PortError, ServiceError
from mlnb.store.disk import storing

_SAME_START_S = 2.0
_POLL_S = 0.01
_DROPPED = ("PYTHONSAFEPATH", "PYTHONHOME", "MPLBACKEND")


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """A process: its id, and its start in seconds since the epoch as the system tells it."""

    pid: int
    started: float


def bind(host: str, port: int, service: str) -> socket.socket:
    """Return a listening socket; port 0 lets the system choose.

    Raises
    ------
    PortError
        If the port is taken or not permitted.
    ServiceError
        If the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason = "in use" if error.errno == errno.EADDRINUSE else "not permitted"
            raise PortError(
                f"Port {port} on {host} is {reason}, so the service {service} cannot listen there.",
                "Choose another port with --port, or stop what listens there.",
                service=service,
                port=port,
            ) from error
        raise ServiceError(
            f"The service {service} cannot listen on {host}: {error.strerror or error}.",
            "Set `host` in [tool.mlnb] to an address of this machine, such as 127.0.0.1.",
            service=service,
        ) from error


def spawn(
    source: Path,
    listener: socket.socket,
    log: Path,
    environ: Mapping[str, str],
    *,
    with_parent: bool = False,
    python: Path | None = None,
) -> ProcessMark:
    """Start ``python -m mlnb.service.serve`` in `source`, in a session of its own.

    Parameters
    ----------
    source : Path
        The Bento's source folder; its own copy of mlnb is the one that is imported.
    listener : socket
        Handed down; the caller closes its own copy.
    log : Path
        File that standard output and standard error are appended to.
    environ : Mapping
        Added to this process's environment.
    with_parent : bool
        Whether the process ends when this one does.
    python : Path
        The interpreter; this process's own where none is given.

    Raises
    ------
    StorageError
        If the log cannot be written.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    fixed = {"PYTHONPATH": str(source), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {"OMP_NUM_THREADS": "1", **inherited, **fixed, **environ}
    command = [str(python or sys.executable), "-m", "mlnb.service.serve", "--fd", str(listener.fileno())]
    if with_parent:
        command.append("--with-parent")
    with storing(log), log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
    try:
        mark = ProcessMark(process.pid, psutil.Process(process.pid).create_time())
    except psutil.NoSuchProcess:
        mark = ProcessMark(process.pid, 0.0)
    threading.Thread(target=process.wait, name=f"reaper-{process.pid}", daemon=True).start()  # leaves no zombie
    return mark


def alive(mark: ProcessMark) -> bool:
    """Return whether exactly that process still runs."""
    return _process(mark) is not None


def children(mark: ProcessMark) -> int:
    """Return how many processes that process has started and that still run: a supervisor's workers."""
    process = _process(mark)
    try:
        return len(process.children()) if process else 0
    except psutil.NoSuchProcess:
        return 0


def terminate(mark: ProcessMark, grace_s: float = 15.0) -> None:
    """End a process: SIGTERM, then SIGKILL after `grace_s` seconds; returns when it has ended.

    One that has ended and that nobody has waited for (as in a container whose first process waits for no others) counts
    as gone.
    """
    process = _process(mark)
    if process is None:
        return
    for end in (process.terminate, process.kill):
        try:
            end()
        except psutil.NoSuchProcess:
            return
        if _gone(mark, grace_s):
            return


def _gone(mark: ProcessMark, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while _remains(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _remains(mark: ProcessMark) -> bool:
    """Say whether a process runs, or has ended and is still to be waited for by the thread that `spawn` has started."""
    try:
        process = psutil.Process(mark.pid)
        if abs(process.create_time() - mark.started) > _SAME_START_S:
            return False
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.ppid() == os.getpid())
    except psutil.NoSuchProcess:
        return False


def _process(mark: ProcessMark) -> psutil.Process | None:
    try:
        process = psutil.Process(mark.pid)
        if abs(process.create_time() - mark.started) > _SAME_START_S or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    return process
