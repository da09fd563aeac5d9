"""A request whose head and body came in one read becomes its answer in one write, without the messages of ASGI.

Most predictions are such: of the CPU time that one needs, uvicorn's `RequestResponseCycle` with its event, its timers
and its messages is a third. All other requests (bodies of several reads, other methods, `Expect`, HTTP/1.0) go the way
of ASGI.

Carried into the service: uvicorn.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from mlnb.service.body import Message

Fields = Sequence[tuple[bytes, bytes]]


class _Unheard:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


class Whole:
    """What uvicorn's protocol must know of a request that it does not answer itself; see its `RequestResponseCycle`.

    Parameters
    ----------
    scope : mapping
        ASGI's, of the request.
    body : bytes
        All of it.
    keep_alive : bool
        Whether the connection goes on when it is answered.
    """

    __slots__ = ("body", "disconnected", "keep_alive", "response_complete", "response_started", "scope")

    message_event = _Unheard()

    def __init__(self, scope: Message, body: bytes, *, keep_alive: bool) -> None:
        self.scope = scope
        self.body = body
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    async def receive(self) -> Message:
        """Return the body, as ASGI's receive does."""
        return {"type": "http.request", "body": self.body, "more_body": False}


def written(status: int, standing: Fields, headers: Fields, body: bytes, *, close: bool) -> bytes:
    """Return an answer as it is sent.

    Parameters
    ----------
    standing : sequence of pairs of bytes
        Headers of every answer, such as its date.
    close : bool
        Whether the connection ends with it.
    """
    parts = [STATUS_LINE[status]]
    for name, value in (*standing, *headers):
        parts += (name, b": ", value, b"\r\n")
    parts += (b"connection: close\r\n\r\n", body) if close else (b"\r\n", body)
    return b"".join(parts)
