"""A socket pair becomes a wire between the supervisor and one worker: JSON messages, one a line.

Format 1, which a worker names with its first message. A worker sends ``ready`` (the format), ``failed`` (why it cannot
start), ``ask`` with ``what`` (what all workers report), ``report`` with ``of`` (its own), ``leaving`` (its last
counters). The supervisor sends ``report`` with ``what``, ``told`` with ``reports``, and ``drain``. Each end knows that
the other has died as soon as the kernel does: the wire is at its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from socket import socket
from typing import TypeAlias

FORMAT = 1
Said: TypeAlias = Mapping[str, object]
_READ_BYTES = 65_536


class Wire:
    """One end; nothing that it does waits.

    Parameters
    ----------
    end : socket
        One of a pair; the wire closes it.
    """

    def __init__(self, end: socket) -> None:
        end.setblocking(False)
        self._end = end
        self._in = bytearray()
        self._out = bytearray()

    @property
    def pending(self) -> bool:
        """Whether something is still to be written: call `flush` when the end can be written again."""
        return bool(self._out)

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Said) -> None:
        """Queue a message and write what can be written at once."""
        self._out += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what can be written; to an end that is no longer there nothing is."""
        try:
            while self._out:
                del self._out[: self._end.send(self._out)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._out.clear()

    def receive(self) -> tuple[list[Said], bool]:
        """Return the messages that have come, and whether the other end still lives."""
        alive = True
        try:
            while chunk := self._end.recv(_READ_BYTES):
                self._in += chunk
            alive = False
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            alive = False
        *lines, rest = bytes(self._in).split(b"\n")
        self._in[:] = rest
        return [json.loads(line) for line in lines], alive

    def close(self) -> None:
        """Close this end."""
        self._end.close()
