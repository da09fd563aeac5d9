"""Request bodies and a rate become an open loop over loopback: each request has its time, whatever the answers do.

The n-th request is due n/rate seconds after the first. A few keep-alive connections take turns; where all of them wait
for the service, the request is sent late, and its latency still counts from when it was due. So a service that stalls
is charged for everybody who would have waited, which a loop that waits for answers omits ("coordinated omission").

References
----------
Gil Tene, "How NOT to Measure Latency" (2015), and the constant-rate mode of his wrk2.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlnb.errors import ServiceError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What an open loop has met.

    Attributes
    ----------
    latencies_ms : tuple of float
        From when a request was due to the end of its answer, ascending; refused ones included. One that was due and
        could not be sent counts until the end of the loop, which is less than it would have taken.
    service_ms : tuple of float
        From when it was sent, ascending: what a closed loop would have told.
    unsent : int
        Requests that were due before the end and were not sent.
    refused : int
        Answers with another status than 200.
    seconds : float
        From the first request to the last answer.
    """

    latencies_ms: tuple[float, ...]
    service_ms: tuple[float, ...]
    unsent: int
    refused: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.service_ms) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a quantile of the latency in milliseconds, an observed value (nearest rank)."""
        return self.latencies_ms[-(-percent * len(self.latencies_ms) // 100) - 1]


def drive(
    url: str, bodies: Sequence[bytes], *, requests: int, rate: float, limit_s: float, connections: int = 16
) -> Load:
    """Post `bodies` in turn to ``/predict``.

    Parameters
    ----------
    url : str
        Of a service on this machine.
    bodies : sequence of bytes
        JSON; sent again from the first after the last.
    requests : int
        How many are due.
    rate : float
        Requests a second; infinity makes all of them due at once, which measures what the service can answer.
    limit_s : float
        Nothing is sent after so many seconds.
    connections : int
        As many may be under way.

    Raises
    ------
    ServiceError
        If the service cannot be reached, or ends a connection.
    """
    parts = urlsplit(url)
    loop = _Loop(parts.hostname or "", parts.port or 80, _framed(bodies, parts.netloc), rate)
    loop.turns = iter(range(requests))
    with ThreadPoolExecutor(connections, "mlnb-load") as pool:
        loop.started = time.perf_counter() + 0.01
        loop.ends = loop.started + limit_s
        waiting = [pool.submit(loop.run) for _ in range(connections)]
        met = [one for future in waiting for one in future.result()]
    if not met:
        raise ServiceError(f"The service at {url} answered nothing in {limit_s:g} seconds.", "See its log.")
    last = max(one.answered for one in met)
    sent = {one.turn for one in met}
    left = [loop.due(turn) for turn in range(requests) if turn not in sent]
    late = [max(last, loop.ends) - due for due in left if due < loop.ends]
    return Load(
        tuple(sorted([*((one.answered - one.due) * 1000 for one in met), *(1000 * s for s in late)])),
        tuple(sorted((one.answered - one.sent) * 1000 for one in met)),
        len(late),
        sum(one.status != 200 for one in met),
        last - loop.started,
    )


@dataclass(frozen=True, slots=True)
class _Met:
    turn: int
    due: float
    sent: float
    answered: float
    status: int


class _Loop:
    """What the connections share: the turns, the clock."""

    turns: Iterator[int]
    started: float
    ends: float

    def __init__(self, host: str, port: int, framed: Sequence[bytes], rate: float) -> None:
        self._place = (host, port)
        self._framed = framed
        self._rate = rate

    def due(self, turn: int) -> float:
        """Return when a request is due."""
        return self.started + turn / self._rate

    def run(self) -> list[_Met]:
        """Take turns over one connection until none is left."""
        met: list[_Met] = []
        try:
            with socket.create_connection(self._place, timeout=_ANSWER_S) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (turn := next(self.turns, None)) is not None:
                    due = self.due(turn)
                    if max(due, time.perf_counter()) > self.ends:
                        break
                    _wait_until(due)
                    sent = time.perf_counter()
                    connection.sendall(self._framed[turn % len(self._framed)])
                    status = _answer(connection)
                    met.append(_Met(turn, due, sent, time.perf_counter(), status))
        except OSError as error:
            raise ServiceError(
                f"The service at {':'.join(map(str, self._place))} ended under load: {error}.",
                "See `mlnb services logs NAME`.",
            ) from error
        return met


def _wait_until(due: float) -> None:
    while (left := due - time.perf_counter()) > 0:
        time.sleep(left)


def _answer(connection: socket.socket) -> int:
    received = b""
    while True:
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError("it closed a connection")
        received += part
        head, found, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length is not None and len(body) >= int(length[1]):
            return int(head[9:12])


def _framed(bodies: Sequence[bytes], host: str) -> list[bytes]:
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
    return [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
