"""A few shared bytes become the number of connections that each worker has, for all of them to see.

Workers share one listening socket. Who has more connections than another lets it go first: without that, the first
worker that wakes accepts a whole burst and the others idle.
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct

from mlnb.service.launch import PLACES

_ENTRY = Struct("=i")
_ABSENT = -1
_UNUSED = b"\xff"


class Balance:
    """The table; every process of a service has it mapped.

    Parameters
    ----------
    handle : int
        File descriptor from `mlnb.service.launch.make_table`.
    place : int
        The worker's own place in it; the supervisor has none.
    """

    def __init__(self, handle: int, place: int = -1) -> None:
        self._map = mmap(handle, PLACES * _ENTRY.size)
        self._place = place
        self._accepts = True

    def put(self, connections: int) -> None:
        """Say how many connections this worker has, as long as it accepts."""
        if self._accepts:
            _ENTRY.pack_into(self._map, self._place * _ENTRY.size, connections)

    def leave(self) -> None:
        """Say that this worker accepts no more."""
        self.put(_ABSENT)
        self._accepts = False

    def bury(self, place: int) -> None:
        """Say that the worker at a place has ended."""
        _ENTRY.pack_into(self._map, place * _ENTRY.size, _ABSENT)

    def exceeded(self, connections: int) -> bool:
        """Return whether another worker that accepts has fewer than `connections`."""
        used = self._map[:].rstrip(_UNUSED)  # which all bytes of _ABSENT are: the places behind the last one in use
        used += _UNUSED * (-len(used) % _ENTRY.size)
        counts = (count for (count,) in _ENTRY.iter_unpack(used))
        return any(_ABSENT < count < connections for count in counts)

    def close(self) -> None:
        """Let go of the table."""
        self._map.close()
