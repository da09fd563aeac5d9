"""Request bodies become a closed loop: each connection sends its next request when the last one is answered."""

from __future__ import annotations

import asyncio
import itertools
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE_S = 60.0
Heard = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What a loop has met.

    Attributes
    ----------
    latencies_ms : tuple of float
        Of every answered request, ascending.
    refused : int
        Answers with another status than 200.
    seconds : float
        From the first request to the last answer.
    own_cpu_s : float
        CPU seconds of the loop itself, which shares the machine with the server.
    """

    latencies_ms: tuple[float, ...]
    refused: int
    seconds: float
    own_cpu_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a quantile of the latency in milliseconds, an observed value."""
        return self.latencies_ms[-(-percent * len(self.latencies_ms) // 100) - 1]


async def drive(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int,
    requests: int,
    limit_s: float,
    heard: Heard | None = None,
    path: str = "/predict",
) -> Load:
    """Post `bodies` in turn over keep-alive connections.

    Parameters
    ----------
    url : str
        Of the server.
    bodies : sequence of bytes
        JSON; sent again from the first after the last.
    connections : int
        As many requests are under way at once.
    requests : int
        How many are sent, unless `limit_s` seconds have passed before.
    heard : callable
        Told status and body of each answer. A connection that the server closes just ends.
    path : str
        Where they are posted.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    job = _Job(_framed(bodies, parts.netloc, path), requests, limit_s, heard)
    callers = [(await loop.create_connection(job.caller, parts.hostname, parts.port))[1] for _ in range(connections)]
    cpu, started = process_time(), perf_counter()
    job.deadline = started + limit_s
    for caller in callers:
        caller.send()
    async with asyncio.timeout(limit_s + _PATIENCE_S):
        await asyncio.gather(*(caller.done for caller in callers))
    return Load(tuple(sorted(job.latencies_ms)), job.refused, job.last - started, process_time() - cpu)


def median_load(loads: Sequence[Load], figure: Callable[[Load], float]) -> float:
    """Return the median of one figure over repetitions."""
    return statistics.median(map(figure, loads))


class _Job:
    def __init__(self, framed: Sequence[bytes], requests: int, limit_s: float, heard: Heard | None) -> None:
        self._messages = itertools.islice(itertools.cycle(framed), requests)
        self.heard = heard
        self.deadline = self.last = 0.0
        self.latencies_ms: list[float] = []
        self.refused = 0

    def caller(self) -> _Caller:
        return _Caller(self)

    def next(self) -> bytes | None:
        return next(self._messages, None) if perf_counter() < self.deadline else None

    def answered(self, started: float, status: int, body: bytes) -> None:
        self.last = perf_counter()
        self.latencies_ms.append((self.last - started) * 1000)
        self.refused += status != 200
        if self.heard is not None:
            self.heard(status, body)


class _Caller(asyncio.Protocol):
    def __init__(self, job: _Job) -> None:
        self._job = job
        self._received = b""
        self._started = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self) -> None:
        message = self._job.next()
        if message is None:
            self._transport.close()
            return
        self._received = b""
        self._started = perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if length is None:
            raise RuntimeError(f"An answer without its length: {head!r}")
        if len(body) >= int(length[1]):
            self._job.answered(self._started, int(head[9:12]), body)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _framed(bodies: Sequence[bytes], host: str, path: str) -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
    return [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
