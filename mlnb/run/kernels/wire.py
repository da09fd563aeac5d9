"""Messages between a zygote and those it forks for: one JSON object a line, open files beside it.

A connection is a life line. Whoever asks for a kernel keeps its connection open for as long as it wants the kernel, and
learns through it how the kernel ended; a connection that asks for nothing keeps the zygote warm.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress

Message = Mapping[str, object]

_CHUNK_BYTES = 1 << 16
_FILES_BYTES = 4 * array("i").itemsize


class Connection:
    """One end of a unix socket.

    Attributes
    ----------
    ended : bool
        The other end is closed.
    files : list of int
        Open files that came with the messages and were not taken yet.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._bytes = b""
        self.ended = False
        self.files: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor, to be polled."""
        return self._end.fileno()

    def send(self, message: Message, files: Sequence[int] = ()) -> None:
        """Send a message; where the other end is gone, `ended` becomes true."""
        content = json.dumps(message).encode() + b"\n"
        try:
            sent = socket.send_fds(self._end, [content], list(files)) if files else 0
            self._end.sendall(content[sent:])
        except OSError:
            self.ended = True

    def receive(self) -> Message | None:
        """Wait for a message; None when the other end is gone."""
        while b"\n" not in self._bytes and not self.ended:
            self._read(0)
        return self.waiting()

    def waiting(self) -> Message | None:
        """Return a message that has arrived, without waiting for one."""
        while b"\n" not in self._bytes and not self.ended and self._read(socket.MSG_DONTWAIT):
            pass
        line, found, rest = self._bytes.partition(b"\n")
        if not found:
            return None
        self._bytes = rest
        message = json.loads(line)
        return message if isinstance(message, dict) else {}

    def abort(self) -> None:
        """Let a `receive` that waits in another thread return None."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end, and the files that nobody took."""
        for file in self.files:
            os.close(file)
        self.files.clear()
        self._end.close()

    def _read(self, flags: int) -> bool:
        descriptors = array("i")
        try:  # not recv_fds, which forgets the flags
            content, beside, _, _ = self._end.recvmsg(_CHUNK_BYTES, socket.CMSG_SPACE(_FILES_BYTES), flags)
        except BlockingIOError:
            return False
        except OSError:
            content, beside = b"", []
        for level, kind, found in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(found[: len(found) - len(found) % descriptors.itemsize])
        self.files.extend(descriptors)
        self._bytes += content
        self.ended = not content
        return bool(content)
