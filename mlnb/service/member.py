"""A started worker, as its supervisor sees it, and the plan that it was started for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from socket import socket

from mlnb.service.wire import Wire

STARTING, READY, DRAINING = "starting", "ready", "draining"
_LONG_S = 1.0
_FIRST_DELAY_S = 0.1
_LARGEST_DELAY_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What there should be.

    Attributes
    ----------
    generation : int
        Raised with every reload; a worker is of the generation that it was started for.
    count : int
        How many workers.
    source : str
        Folder of the code that they run.
    """

    generation: int
    count: int
    source: str


class Member:
    """One worker.

    Parameters
    ----------
    pid : int
        Its process.
    place : int
        Its place in the table of connections.
    generation : int
        That of the plan it was started for.
    end : socket
        The supervisor's end of the wire.
    """

    def __init__(self, pid: int, place: int, generation: int, end: socket) -> None:
        self.pid = pid
        self.place = place
        self.generation = generation
        self.end = end
        self.wire = Wire(end)
        self.state = STARTING
        self.connected = True
        self.failure = ""
        self.totals: dict[str, float] = {}
        self.heard = self.since = time.monotonic()
        self._ready_at = 0.0

    @property
    def ever_ready(self) -> bool:
        """Whether it has answered requests."""
        return bool(self._ready_at)

    @property
    def lived_long(self) -> bool:
        """Whether it has answered for so long that its end is no sign of the next one's."""
        return self.ever_ready and time.monotonic() - self._ready_at > _LONG_S

    def become(self, state: str) -> None:
        """Go over to a state."""
        self.state = state
        self.heard = self.since = time.monotonic()
        if state == READY:
            self._ready_at = self.heard

    def disconnect(self) -> None:
        """Let go of the wire."""
        self.connected = False
        self.wire.close()


def delay_after(member: Member, failures: int) -> float:
    """Return the seconds until the next worker is started: none after a long life, else twice as long each time.

    Parameters
    ----------
    member : Member
        The one that has ended.
    failures : int
        Workers that have ended soon before, one after another.
    """
    if member.lived_long or (member.ever_ready and not failures):
        return 0.0
    return float(min(_LARGEST_DELAY_S, _FIRST_DELAY_S * 2**failures))
