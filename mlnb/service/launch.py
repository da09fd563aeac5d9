"""A listening socket becomes the first worker at once: it loads while the supervisor reads what else it needs."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import NamedTuple

_ENTRY = 4
PLACES = 1024


class Launched(NamedTuple):
    """A worker that was started: its process, and the supervisor's end of the wire."""

    pid: int
    end: socket.socket


def make_table() -> int:
    """Return the descriptor of a new table of connections in which nobody accepts; see `mlnb.service.balance`."""
    if sys.platform == "linux":
        handle = os.memfd_create("mlnb-connections")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.write(handle, b"\xff" * _ENTRY * PLACES)
    return handle


def launch(listener: socket.socket, table: int, place: int, source: str = "") -> Launched:
    """Start ``python -m mlnb.service.serve --worker``.

    Parameters
    ----------
    listener : socket
        Inherited by the worker.
    table, place : int
        Of the connections, and the worker's place in it.
    source : str
        Folder of the code it runs; "" for this process's own.

    Raises
    ------
    OSError
        If there is no process or descriptor left, or no such folder.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        environ = dict(os.environ)
        if source:
            os.chdir(source)
            environ["PYTHONPATH"] = source
        for handle in (listener.fileno(), theirs.fileno(), table):
            os.set_inheritable(handle, True)
        fixed = ["--fd", str(listener.fileno()), "--worker", str(theirs.fileno())]
        command = [sys.executable, "-m", "mlnb.service.serve", *fixed, "--table", str(table), "--place", str(place)]
        heeded = [signal.SIGTERM, signal.SIGHUP]
        try:
            pid = os.posix_spawn(sys.executable, command, environ, setsigmask=[], setsigdef=heeded)
        except OSError:
            ours.close()
            raise
    return Launched(pid, ours)
