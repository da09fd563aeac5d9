"""The head and the body of an answer, which uvicorn writes one by one, become one system call and one packet."""

from __future__ import annotations

import asyncio

_HEAD, _END = b"HTTP/1.1 ", b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"


class OneWrite:
    """A transport that keeps the head of an answer until something follows it.

    Parameters
    ----------
    transport : asyncio.Transport
        The connection's own, which all else is asked of.
    """

    __slots__ = ("_head", "_transport", "get_write_buffer_size", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_write_buffer_size = transport.get_write_buffer_size

    def write(self, data: bytes) -> None:
        """Send `data`, or keep it where it is a head; whole answers and ``100 Continue`` are sent at once."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.endswith(_END) and data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
        else:
            self._transport.write(data)

    def write_whole(self, data: bytes) -> None:
        """Send a whole answer at once."""
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing followed: the answer has no body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Send what is kept, and close."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
