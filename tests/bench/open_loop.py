"""A body and a rate become an open loop of many callers: each request has its time, and none waits for another's answer.

Every due request takes a connection that is free; where all are taken it is not sent and counts as such, as it would be
with a caller whose pool is empty. Latencies count from when a request was sent.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TICK_S = 0.001
_LAST_S = 10.0


@dataclass(frozen=True, slots=True)
class Met:
    """What an open loop has met.

    Attributes
    ----------
    statuses : Counter of int
        Answers by status, those that came within the span; 0 for a connection that was ended instead.
    accepted_ms, refused_ms : tuple of float
        Latencies of the answers with 200, and of all others, ascending.
    unsent : int
        Requests for which no connection was free.
    unanswered : int
        Requests sent that had no answer ten seconds after the end.
    seconds : float
        How long was offered.
    """

    statuses: Counter[int]
    accepted_ms: tuple[float, ...]
    refused_ms: tuple[float, ...]
    unsent: int
    unanswered: int
    seconds: float

    @property
    def goodput(self) -> float:
        """Requests answered with 200 a second, while load was offered."""
        return self.statuses[200] / self.seconds

    def percentile(self, percent: float) -> float:
        """Return a quantile of the accepted requests' latency in milliseconds, an observed value."""
        return self.accepted_ms[min(int(percent / 100 * len(self.accepted_ms)), len(self.accepted_ms) - 1)]


async def offer(url: str, body: bytes, *, rate: float, seconds: float, connections: int) -> Met:
    """Post `body` to ``/predict`` `rate` times a second; infinity keeps every connection busy, which is a closed loop."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    head = f"POST /predict HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    job = _Job(head.encode() + body, closed=rate == float("inf"))
    callers = [
        (await loop.create_connection(lambda: _Caller(job), parts.hostname, parts.port))[1] for _ in range(connections)
    ]
    job.free = list(callers)
    job.started = perf_counter()
    job.ends = job.started + seconds
    sent = 0
    while (now := perf_counter()) < job.ends:
        due = connections if job.closed else int((now - job.started) * rate) - sent
        for _ in range(due):
            if not job.free:
                job.unsent += not job.closed
            else:
                job.free.pop().send()
        sent += due
        await asyncio.sleep(_TICK_S)
    last = perf_counter() + _LAST_S
    while job.busy and perf_counter() < last:
        await asyncio.sleep(0.01)
    for caller in callers:
        caller.transport.abort()
    return Met(job.statuses, tuple(sorted(job.accepted)), tuple(sorted(job.refused)), job.unsent, job.busy, seconds)


class _Job:
    def __init__(self, message: bytes, *, closed: bool) -> None:
        self.message = message
        self.closed = closed
        self.free: list[_Caller] = []
        self.statuses: Counter[int] = Counter()
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.unsent = self.busy = 0
        self.started = self.ends = 0.0

    def answered(self, caller: _Caller, status: int, sent: float) -> None:
        now = perf_counter()
        self.busy -= 1
        (self.accepted if status == 200 else self.refused).append((now - sent) * 1000)
        if now <= self.ends:
            self.statuses[status] += 1
            if status:
                if self.closed:
                    caller.send()
                else:
                    self.free.append(caller)


class _Caller(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    def send(self) -> None:
        self._job.busy += 1
        self._received = b""
        self._sent = perf_counter()
        self.transport.write(self._job.message)

    def data_received(self, data: bytes) -> None:
        if not self._sent:
            raise RuntimeError(f"An answer to nothing: {data[:200]!r}")
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length is not None and len(body) >= int(length[1]):
            sent, self._sent = self._sent, 0.0
            self._job.answered(self, int(head[9:12]), sent)

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent:
            sent, self._sent = self._sent, 0.0
            self._job.answered(self, 0, sent)
