"""The sockets that grpcio holds in this process become those that listen, which are closed, and those of callers.

Carried into the service: the standard library. grpcio stops to listen only when it stops to answer, and calls that
arrive meanwhile are cancelled. A listening socket that is shut down takes no more connections, in this process alone:
those of the other workers at the same port get them.
"""

from __future__ import annotations

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
    """Yield this process's sockets with a local port; they are borrowed, and nothing is closed.

    A copy that is closed would let go of this process's locks on its file (fcntl(2)), which the log relies on.
    """
    for entry in list(Path("/dev/fd").iterdir()):
        try:
            found = socket.socket(fileno=int(entry.name))
        except OSError:  # closed meanwhile, as is what has read the folder; or no socket
            continue
        try:
            if found.family in _FAMILIES and _port(found) == port:
                yield found
        finally:
            found.detach()


def _port(one: socket.socket) -> int:
    try:
        return int(one.getsockname()[1])
    except OSError:  # closed meanwhile
        return -1


def _listens(one: socket.socket) -> bool:
    try:
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True
