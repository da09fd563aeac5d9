"""The sockets that grpcio holds in this process become those that listen, which are closed, and those of callers.

Carried into the service: the standard library. grpcio stops to listen only when it stops to answer, and calls that
arrive meanwhile are cancelled. A listening socket that is shut down takes no more connections, in this process alone:
those of the other workers at the same port get them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def close_listeners(port: int) -> None:
    """Let this process take no more connections at a port."""
    for one in _sockets(port):
        if _listens(one):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def has_connections(port: int) -> bool:
    """Say whether this process has connections that came to a port."""
    return any(_connected(one) for one in _sockets(port))


def _sockets(port: int) -> Iterator[socket.socket]:
    """Yield this process's sockets with a local port, as copies that are closed again."""
    for entry in list(Path("/dev/fd").iterdir()):
        try:
            copy = os.dup(int(entry.name))
        except OSError:  # closed meanwhile; so is what has read the folder
            continue
        try:
            found = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        with found:
            if found.family in _FAMILIES and found.getsockname()[1] == port:
                yield found


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True
