"""A live kernel or a server keeps the zygote of its newest run: the next run there finds its libraries loaded.

The run is a process of its own. It inherits one end of a pair of sockets and hands it on to the zygote that forks its
kernels. The zygote stays for as long as the other end is open: until a later run has left another one, or the process
that holds it ends, whichever way.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

OWNER = "_MLNB_OWNER"
"""The variable with the number of the descriptor that a run inherits."""

_kept: list[socket.socket] = []


@contextmanager
def lent() -> Iterator[tuple[Mapping[str, str], tuple[int, ...]]]:
    """Yield variables and descriptors for a run to inherit, to be closed when it has ended: its zygote stays here."""
    if os.name != "posix":
        yield {}, ()
        return
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            yield {OWNER: str(theirs.fileno())}, (theirs.fileno(),)
    finally:
        _keep(ours)


def let_go() -> None:
    """Keep nothing any more."""
    while _kept:
        _kept.pop().close()


def owner(environ: Mapping[str, str]) -> int | None:
    """Return the descriptor that this run has inherited, if it has one."""
    with suppress(OSError, ValueError):
        number = int(environ[OWNER]) if OWNER in environ else -1
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            return number
    return None


def _keep(end: socket.socket) -> None:
    """Keep this end instead of the one before, if a zygote has the other end."""
    end.setblocking(False)
    try:
        end.recv(1)
    except BlockingIOError:
        let_go()
        _kept.append(end)
    else:
        end.close()
