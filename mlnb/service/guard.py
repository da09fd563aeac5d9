"""What the connections of one worker share: the limits, one sweep over all of them, and refusals that cost little.

Refusing costs CPU as well, so at many times the load it would eat the worker: it may have `_SHARE` of the CPU time. The
refusals beyond that wait, for `_LONGEST_S` at the most, and their connections are not read meanwhile, so what a caller
has to send next stays in the kernel and costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter, process_time
from typing import Protocol

from mlnb.service.admission import Admission, overload
from mlnb.service.body import Message, Receive
from mlnb.service.configuration import Configuration
from mlnb.service.log import Ids
from mlnb.service.protocols import encode_refusal

_SWEEP_S = 1.0
_REFUSAL_S = 6e-5  # of CPU time, its reading included
_SHARE = 0.04
_LEAST_A_SECOND = 100
_BURST = 32
_PACE_S = 0.01
_LOOKERS = 64  # connections beyond the limit that may ask for health and metrics
_LONGEST_S = 2.0


class Served(Protocol):
    """What the connections must know of an application."""

    @property
    def admission(self) -> Admission:
        """How many requests it takes on."""

    @property
    def configuration(self) -> Configuration:
        """What was set."""

    @property
    def direct(self) -> bool:
        """Whether `respond` may be asked instead of ASGI."""

    async def respond(self, scope: Message, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of the answer to a request that has arrived whole."""


class Guarded(Protocol):
    """A connection, as the guard sees it."""

    loop: asyncio.AbstractEventLoop
    only_looks: bool

    def look(self, now: float) -> None:
        """End the connection where its caller is too slow."""

    def hold(self) -> None:
        """Read nothing until the refusal is sent."""

    def send_refusal(self) -> None:
        """Refuse the present request."""


class Guard:
    """What the connections of one worker share.

    Parameters
    ----------
    application : Served
        What answers.
    """

    def __init__(self, application: Served) -> None:
        self.application = application
        self.admission = application.admission
        self.limits = application.configuration
        self.ids = Ids()
        self.bodies = {plain: encode_refusal(overload(), plain=plain) for plain in (False, True)}
        self._connections: set[Guarded] = set()
        self._held: deque[tuple[float, Guarded]] = deque()
        self._credit = float(_BURST)
        self._credited, self._spent = perf_counter(), process_time()
        self._sweeping = False
        self._pacing = False

    def add(self, connection: Guarded) -> bool:
        """Take a connection in; False where there are too many, even of those that may only look."""
        if len(self._connections) >= self.limits.max_connections + _LOOKERS:
            return False
        connection.only_looks = len(self._connections) >= self.limits.max_connections
        self._connections.add(connection)
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(self._pause(), self._sweep, connection.loop)
        return True

    def remove(self, connection: Guarded) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def send_refusal(self, connection: Guarded) -> None:
        """Send a refusal now, or when its turn comes."""
        now = perf_counter()
        self._earn(now)
        if self._credit >= 1 and not self._held:
            self._credit -= 1
            connection.send_refusal()
            return
        connection.hold()
        self._held.append((now, connection))
        if not self._pacing:
            self._pacing = True
            connection.loop.call_later(_PACE_S, self._pace, connection.loop)

    def _pace(self, loop: asyncio.AbstractEventLoop) -> None:
        now = perf_counter()
        self._earn(now)
        while self._held and (self._credit >= 1 or now - self._held[0][0] > _LONGEST_S):
            self._credit -= 1
            self._held.popleft()[1].send_refusal()
        self._pacing = bool(self._held)
        if self._held:
            loop.call_later(_PACE_S, self._pace, loop)

    def _earn(self, now: float) -> None:
        spent = process_time()
        earned = (spent - self._spent) * _SHARE / _REFUSAL_S + (now - self._credited) * _LEAST_A_SECOND
        self._credit = min(self._credit + earned, _BURST)
        self._credited, self._spent = now, spent

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = perf_counter()
        for connection in list(self._connections):
            connection.look(now)
        self._sweeping = bool(self._connections)
        if self._sweeping:
            loop.call_later(self._pause(), self._sweep, loop)

    def _pause(self) -> float:
        limits = self.limits
        return min(_SWEEP_S, limits.header_s / 4, limits.body_s / 4, limits.send_s / 4, limits.idle_s / 4)
