"""A listening socket that several workers share becomes connections, evenly: the worker with the fewest accepts next.

asyncio and uvloop accept all that waits as soon as one process wakes, so that a burst of keep-alive connections lands
on one worker for as long as they live. Here a worker accepts only while it has no more than any other, and `_AT_ONCE`
in one turn of its loop at the most; where the others are busy for longer than `_PATIENCE_S`, whoever is awake accepts
the next `_IMPATIENT`. A connection that nobody has accepted stays in the kernel's queue, which outlives every worker.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from ssl import SSLContext

from mlnb.service.balance import Balance

_LOGGER = logging.getLogger("mlnb.service")
_AT_ONCE = 16
_PATIENCE_S = 0.01
_IMPATIENT = 8
_EXHAUSTED_S = 0.5
_FURTHER = 256  # descriptors: the log, the model, and those who only look (`mlnb.service.connection`)
_PASSING = (ConnectionError, BlockingIOError, InterruptedError)


def make_room(connections: int) -> None:
    """Allow this process the descriptors of so many connections and of its own files; say where it may not have them.

    Parameters
    ----------
    connections : int
        That it is to keep open.
    """
    wanted = connections + _FURTHER
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # the system's own limit is lower
        allowed = soft
    if allowed < wanted:
        _LOGGER.warning(
            "max_connections is %d, but this process may have %d files and connections open: raise its limit of open "
            "files (ulimit -n, LimitNOFILE=).",
            connections,
            allowed,
        )


class Counted(set[asyncio.Protocol]):
    """The open connections of a server, whose number the other workers see."""

    def __init__(self, balance: Balance) -> None:
        super().__init__()
        self._balance = balance

    def add(self, connection: asyncio.Protocol) -> None:
        """Count a connection."""
        super().add(connection)
        self._balance.put(len(self))

    def discard(self, connection: object) -> None:
        """Count one less."""
        super().discard(connection)
        self._balance.put(len(self))


class Door:
    """Accepts for one worker.

    Parameters
    ----------
    listener : socket
        The shared socket; the door closes this worker's copy.
    balance : Balance
        Where the workers say how many connections they have.
    connections : Counted
        This worker's.
    make : callable
        Makes the protocol of one connection.
    tls : SSLContext or None
        What connections are encrypted with.
    greeting_s : float
        Seconds until a TLS handshake must be done.
    """

    def __init__(
        self,
        listener: socket.socket,
        balance: Balance,
        connections: Counted,
        make: Callable[[], asyncio.Protocol],
        tls: SSLContext | None,
        greeting_s: float = 10.0,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._handle = listener.fileno()
        self._balance = balance
        self._connections = connections
        self._make = make
        self._tls = tls
        self._greeting_s = greeting_s
        self._greeting: set[asyncio.Task[object]] = set()
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._impatient = 0

    @property
    def greets(self) -> bool:
        """Whether callers were accepted whose TLS handshake is not done."""
        return bool(self._greeting)

    def open(self) -> None:
        """Begin to accept."""
        self._open = True
        self._balance.put(0)
        self._loop.add_reader(self._handle, self._knocked)

    def close(self) -> None:
        """Accept no more; the socket goes on in the other workers."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._handle)
            self._balance.leave()
            self._listener.close()

    def _knocked(self) -> None:
        for _ in range(_AT_ONCE):
            if self._impatient:
                self._impatient -= 1
            elif self._balance.exceeded(len(self._connections) + len(self._greeting)):
                self._impatient = _IMPATIENT
                self._pause(_PATIENCE_S)
                return
            if not self._accept():
                return

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._handle)
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._handle, self._knocked)
            self._accept()

    def _accept(self) -> bool:
        """Accept a connection, and say whether there may be more."""
        try:
            connection, _ = self._listener.accept()
        except _PASSING:  # another worker was faster, or the client has gone
            self._impatient = 0
            return False
        except OSError as error:  # out of descriptors or memory: those that are open go on
            _LOGGER.error("No connection can be accepted: %s.", error)
            self._pause(_EXHAUSTED_S)
            return False
        connection.setblocking(False)
        greeting = self._loop.create_task(self._greet(connection))
        self._greeting.add(greeting)
        greeting.add_done_callback(self._greeting.discard)
        return True

    async def _greet(self, connection: socket.socket) -> None:
        try:
            limit = self._greeting_s if self._tls else None
            await self._loop.connect_accepted_socket(self._make, connection, ssl=self._tls, ssl_handshake_timeout=limit)
        except OSError as error:  # the client has gone, or speaks no TLS that we accept (SSLError is an OSError)
            _LOGGER.debug("A connection ended before its first request: %s.", error)
            connection.close()
