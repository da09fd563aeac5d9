from __future__ import annotations

import math
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlnb.errors import ServiceError
from mlnb.service.latency import measure
from mlnb.service.load import drive

STALL_S = 0.4


class Server(socketserver.ThreadingTCPServer):
    """Answers every request at once, but for one, during which nobody is answered."""

    daemon_threads = True
    stalls_at = -1
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.count = 0
        self.turn = threading.Lock()


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while line.strip():
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
                line = self.rfile.readline()
            self.rfile.read(length)
            with self.server.turn:
                self.server.count += 1
                if self.server.count == self.server.stalls_at:
                    time.sleep(STALL_S)
            self.wfile.write(b"HTTP/1.1 %d OK\r\ncontent-length: 2\r\n\r\n{}" % self.server.status)


@contextmanager
def serving(stalls_at: int = -1, status: int = 200) -> Iterator[tuple[Server, str]]:
    with Server() as server:
        server.stalls_at, server.status = stalls_at, status
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_stall_is_charged_for_everybody_who_would_have_waited() -> None:
    with serving(stalls_at=50) as (_, url):
        load = drive(url, [b"{}"], requests=200, rate=250, limit_s=10, connections=2)
    assert (load.refused, load.unsent, len(load.latencies_ms)) == (0, 0, 200)
    waited = sum(one > STALL_S * 1000 / 2 for one in load.latencies_ms)
    noticed = sum(one > STALL_S * 1000 / 2 for one in load.service_ms)
    assert waited >= 250 * STALL_S / 2 - 2  # half of those that were due while nobody was answered
    assert noticed < waited / 4  # a loop that waits for answers sees one request a connection


def test_what_could_not_be_sent_in_time_counts() -> None:
    with serving(stalls_at=1) as (_, url):
        load = drive(url, [b"{}"], requests=100, rate=1000, limit_s=0.2, connections=1)
    assert load.unsent == 99
    assert len(load.latencies_ms) == 100
    assert load.latencies_ms[-1] >= STALL_S * 1000


def test_all_at_once_measures_what_can_be_answered() -> None:
    with serving() as (server, url):
        load = drive(url, [b"{}", b'{"rows": []}'], requests=300, rate=math.inf, limit_s=10)
    assert server.count == 300
    assert load.rate == pytest.approx(300 / load.seconds)


def test_a_service_that_refuses_rows_of_the_sample_has_no_latency() -> None:
    with serving(status=503) as (_, url), pytest.raises(ServiceError, match="refused 40 of 40 requests"):
        measure(url, [{"age": 1.0}], 20)


def test_a_service_that_ends_is_told() -> None:
    with serving() as (_, url):
        pass
    with pytest.raises(ServiceError, match="ended under load"):
        drive(url, [b"{}"], requests=3, rate=100, limit_s=1)
