"""What is too much, too slow or not HTTP is refused at the front door, and what is within the limits is answered."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from mlnb.errors import RequestError
from mlnb.service.admission import Admission
from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.open_loop import offer

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}
SMALL = json.dumps({"rows": [ROW]}).encode()
LARGE = json.dumps({"rows": [ROW] * 4000}).encode()  # scored in a thread
LIMITS = {"queue": 3, "header_s": 1.5, "body_s": 1.0, "send_s": 1.0, "max_connections": 70, "max_header_bytes": 8192}
LIMITS |= {"idle_s": 1}


class Door:
    """A running service with narrow limits."""

    def __init__(self, port: int, predictions: Path) -> None:
        self.port = port
        self.predictions = predictions

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def say(self, *parts: bytes) -> bytes:
        """Send bytes and return everything that comes back until the service closes."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return heard(connection)

    def get(self, path: str) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()


def heard(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def post(body: bytes, *headers: str, path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(answer: bytes) -> int:
    return int(answer[9:12])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, bento: Bento) -> Iterator[Door]:
    state = StateFolder.open(tmp_path_factory.mktemp("door"))
    target = LocalTarget(state, Settings(service=LIMITS))
    started = target.start("delays", bento.path)
    yield Door(started.port, state.predictions / "delays")
    target.stop("delays")


def test_too_many_at_once_are_refused_with_retry_after_while_health_is_answered(door: Door) -> None:
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(door.say, post(LARGE, f"X-Request-Id: many {at}")) for at in range(40)]
        health = [door.get(path) for path in ("/healthz", "/readyz", "/metrics") * 3]
        answers = [one.result() for one in asked]

    assert set(health) == {200}
    assert {status(answer) for answer in answers} == {200, 503}
    for at, answer in enumerate(answers):
        assert f"x-request-id: many {at}\r\n".encode() in answer
        if status(answer) == 503:
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b"asked for more than it can answer" in answer
    logged = {request for batch in read_predictions(door.predictions) for request in batch.request_id}
    accepted = {f"many {at}" for at, answer in enumerate(answers) if status(answer) == 200}
    assert {request for request in logged if request.startswith("many")} == accepted
    assert status(door.say(post(SMALL))) == 200


def test_what_is_past_its_deadline_is_not_scored(door: Door) -> None:
    answer = door.say(post(LARGE, "X-Request-Timeout-Ms: 1"))

    assert status(answer) == 503
    assert b"deadline" in answer or b"took more than" in answer
    assert status(door.say(post(LARGE, "X-Request-Timeout-Ms: 60000"))) == 200
    assert status(door.say(post(SMALL, "X-Request-Timeout-Ms: soon"))) == 400


def test_a_head_that_never_ends_and_a_silent_connection_are_given_up(door: Door) -> None:
    with door.connect() as silent, door.connect() as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-")
        assert status(heard(slow)) == status(heard(silent)) == 408


def test_a_body_that_drips_is_given_up_whatever_the_route_does_with_it(door: Door) -> None:
    head = b"HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    with door.connect() as read, door.connect() as unread:
        read.sendall(b"POST /predict " + head)
        unread.sendall(b"POST /nowhere " + head)
        until = time.monotonic() + 15
        for connection, first in ((read, 408), (unread, 404)):
            received = b""
            connection.settimeout(0.1)
            while time.monotonic() < until:
                try:
                    connection.sendall(b" ")
                    part = connection.recv(4096)
                except TimeoutError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    break
                if not part:
                    break
                received += part
            assert status(received) == first
            assert received.count(b"HTTP/1.1 ") == 1
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (post(SMALL, "Transfer-Encoding: chunked"), 400),
        (post(SMALL, "Content-Length: 1"), 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n{   }", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_a_head_that_is_too_large_or_contradicts_itself_ends_the_connection(
    door: Door, sent: bytes, refused: int
) -> None:
    answer = door.say(sent + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")

    assert status(answer) == refused
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer
    assert b"Traceback" not in answer
    metrics = door.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'mlnb_connections_ended_total{status="%d"} ' % refused in metrics


def answered(said: bytes) -> tuple[bytes, set[bytes], object]:
    """Return the status line, the names of the headers, and the predictions of a whole answer."""
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, {line.partition(b":")[0] for line in lines} - {b"connection"}, json.loads(body)["predictions"]


def test_a_request_is_answered_alike_in_whatever_way_it_comes(door: Door) -> None:
    """In one read it is answered in one write; what comes otherwise goes the way of ASGI."""
    once = answered(door.say(post(SMALL)))
    head, _, body = post(SMALL).partition(b"\r\n\r\n")
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMALL), SMALL)
    chunked = head.replace(b"Content-Length: %d" % len(SMALL), b"Transfer-Encoding: chunked") + b"\r\n\r\n" + chunks
    with door.connect() as waiting:
        waiting.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert waiting.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        waiting.sendall(body)
        waited = heard(waiting)

    assert b"\r\nconnection: close\r\n" in door.say(post(SMALL))
    assert once[0] == b"HTTP/1.1 200 OK"
    assert once == answered(door.say(head + b"\r\n\r\n", body)) == answered(door.say(chunked)) == answered(waited)
    assert (
        once
        == answered(door.say(post(SMALL, path="/predict?a=b")))
        == answered(door.say(post(SMALL, path="/%70redict")))
    )
    assert once == answered(door.say(post(SMALL).replace(b"HTTP/1.1", b"HTTP/1.0")))


def test_a_connection_that_nobody_uses_any_more_is_closed(door: Door) -> None:
    with door.connect() as written, door.connect() as asgi:
        written.sendall(post(SMALL).replace(b"close", b"keep-alive"))
        asgi.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(heard(written)) == status(heard(asgi)) == 200


def test_requests_sent_ahead_are_answered_in_order(door: Door) -> None:
    kept = post(SMALL).replace(b"Connection: close\r\n", b"")
    answer = door.say(kept, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + post(SMALL, path="/nowhere"))

    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404]


def test_of_many_requests_sent_ahead_the_first_are_answered_and_the_connection_ends(door: Door) -> None:
    ahead = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = door.say(ahead * 400).split(b"HTTP/1.1 ")[1:]

    assert [int(answer[:3]) for answer in answers] == [200] * 17
    assert [b"\r\nconnection: close\r\n" in answer for answer in answers] == [False] * 16 + [True]


def test_what_follows_a_chunked_body_is_no_header_and_has_an_end(door: Door) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\n" % (len(SMALL), SMALL)
    answer = door.say(head + body + b"X-Request-Id: trailing\r\nContent-Encoding: gzip\r\n\r\n")
    assert status(answer) == 200
    assert b"trailing" not in answer

    with door.connect() as connection:
        connection.sendall(head + body)
        assert eventually(lambda: ends_within(connection, b"X-More: 1\r\n" * 500))


def ends_within(connection: socket.socket, sent: bytes) -> bool:
    """Send once more; say whether the service has ended the connection."""
    try:
        connection.sendall(sent)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_a_body_that_was_not_waited_for_is_not_taken_for_the_next_request(door: Door) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    answer = door.say(head % (b"/nowhere", 40) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 404

    with door.connect() as connection:
        connection.sendall(head % (b"/predict", len(SMALL)))
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(SMALL + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [int(part[:3]) for part in heard(connection).split(b"HTTP/1.1 ")[1:]] == [200, 200]


def test_five_times_as_much_as_is_answered_loses_nothing(door: Door) -> None:
    peak = asyncio.run(offer(f"http://127.0.0.1:{door.port}", LARGE, rate=math.inf, seconds=0.5, connections=3))
    asked = asyncio.run(
        offer(f"http://127.0.0.1:{door.port}", LARGE, rate=5 * max(peak.goodput, 20.0), seconds=1.5, connections=50)
    )

    assert set(asked.statuses) <= {200, 503}
    assert asked.accepted_ms
    assert asked.unanswered == 0


def test_one_connection_more_than_there_may_be_is_refused_unless_it_asks_for_health(door: Door) -> None:
    kept = [door.connect() for _ in range(75)]
    try:
        for connection in kept:
            connection.setblocking(False)
            connection.send(post(SMALL, path="/nowhere").replace(b"Connection: close\r\n", b""))
        until, refused = time.monotonic() + 10, 0
        while refused < 5 and time.monotonic() < until:
            refused = 0
            for connection in kept:
                try:
                    refused += b"Too many connections" in connection.recv(4096, socket.MSG_PEEK)
                except BlockingIOError:
                    continue
            time.sleep(0.05)
        assert refused == 5
        assert door.get("/healthz") == 200
    finally:
        for connection in kept:
            connection.close()
    assert eventually(lambda: door.get("/healthz") == 200)


def test_who_does_not_take_the_answer_is_cut_off(door: Door) -> None:
    some, asked = 12, 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", door.port))
        mine = connection.getsockname()[1]

        def cut_off() -> bool:
            nonlocal asked
            asked += some
            ended = ends_within(connection, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * some)
            return ended or given_up(door.port, mine)

        assert eventually(cut_off, 20)
        assert heard(connection).count(b"HTTP/1.1 200") < asked


def given_up(port: int, caller: int) -> bool:
    """Say whether the service has closed its end; what the kernel holds for the caller is still delivered."""
    ends = {(c.laddr.port, c.raddr.port if c.raddr else 0): c.status for c in psutil.net_connections("tcp4")}
    return ends.get((port, caller)) != psutil.CONN_ESTABLISHED


def eventually(holds: object, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if holds():  # type: ignore[operator]
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(admission: Admission, clock: Clock, rate: float, windows: int) -> None:
    """Keep as many under way as may be, each served in 1 / rate seconds, one after another."""
    waiting: list[float] = []
    for _ in range(int(windows * max(8, rate * 0.1))):
        while not admission.full:
            admission.enter()
            waiting.append(clock.now)
        admission.refuse()
        began = admission.begin(clock.now, clock.now + 60)
        clock.now += 1 / rate
        admission.scored(began)
        admission.leave(waiting.pop(0))


@pytest.mark.parametrize(("rate", "limit"), [(1000.0, 100), (400.0, 40), (5000.0, 500)])
def test_the_limit_is_what_is_answered_within_the_wait(rate: float, limit: int) -> None:
    clock = Clock()
    admission = Admission(0, 0.1, 60.0, clock)
    run(admission, clock, rate, 60)

    assert limit * 0.5 <= admission.limit <= limit * 1.5


def test_a_limit_that_was_set_stays_and_one_of_a_slow_model_does_not_reach_zero() -> None:
    clock = Clock()
    fixed, slow = Admission(7, 0.1, 60.0, clock), Admission(0, 0.1, 60.0, clock)
    run(fixed, clock, 1000.0, 20)
    run(slow, clock, 20.0, 40)

    assert (fixed.limit, slow.limit) == (7, 16)


def test_what_asks_for_no_prediction_is_under_way_and_says_nothing_about_the_wait() -> None:
    clock = Clock()
    admission, scope = Admission(0, 0.1, 60.0, clock), dict[str, object]()
    for _ in range(20):
        admission.arrive(scope)
        with admission.apart(scope):
            assert admission.under_way == 1
            clock.now += 5.0
        assert (admission.under_way, scope) == (0, {})
    run(admission, clock, 5000.0, 2)

    assert admission.limit >= 256


def test_what_a_burst_has_brought_in_is_refused_where_it_has_waited_for_too_long() -> None:
    clock = Clock()
    admission = Admission(0, 0.1, 60.0, clock)
    run(admission, clock, 500.0, 20)

    assert admission.begin(clock.now - 0.4, clock.now + 60) == clock.now
    with pytest.raises(RequestError, match="more than it can answer"):
        admission.begin(clock.now - 0.6, clock.now + 60)
    slow = Admission(0, 0.1, 60.0, clock)
    run(slow, clock, 2.0, 20)
    assert slow.begin(clock.now - 10, clock.now + 60) == clock.now


def test_a_deadline_is_the_callers_within_the_services_own() -> None:
    admission = Admission(0, 0.1, 60.0, Clock())

    assert admission.deadline([(b"x-request-timeout-ms", b"250")], 1.0) == 1.25
    assert admission.deadline([(b"x-request-timeout-ms", b"900000")], 1.0) == admission.deadline([], 1.0) == 61.0
    for wrong in (b"0", b"-1", b"1.5", b"9" * 10, b""):
        with pytest.raises(RequestError):
            admission.deadline([(b"x-request-timeout-ms", wrong)], 0.0)
