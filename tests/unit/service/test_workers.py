from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
import yaml

from mlnb.errors import ServiceError
from mlnb.faces.cli import main
from mlnb.service.balance import Balance
from mlnb.service.bento import Bento
from mlnb.service.bento_seal import seal_bento
from mlnb.service.client import Client
from mlnb.service.door import Counted, Door
from mlnb.service.footprint import usable_cores
from mlnb.service.launch import PLACES, make_table
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.service.member import READY, Member, delay_after
from mlnb.service.skew import read_sample
from mlnb.service.target import Deployment
from mlnb.service.tls import Certificate, server_context
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.certificates import issue
from tests.bench.kills import Callers, kills, until


@pytest.fixture(scope="module")
def running(bento: Bento, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalTarget, StateFolder]]:
    """Return a target with a service of two workers."""
    state = StateFolder.open(tmp_path_factory.mktemp("crew"))
    (state.root.parent / "pyproject.toml").write_text("[tool.mlnb.service]\nworkers = 2\n")
    target = LocalTarget(state, Settings(service={"workers": 2}))
    target.start("delays", bento.path)
    yield target, state
    target.stop("delays")


@pytest.fixture
def deployed(running: tuple[LocalTarget, StateFolder]) -> Deployment:
    return running[0].start("delays")


@pytest.fixture(scope="module")
def body(packages: dict[int, Path]) -> bytes:
    return json.dumps({"rows": read_sample(packages[1])[:2]}).encode()


def workers(deployed: Deployment) -> list[psutil.Process]:
    return psutil.Process(deployed.pid).children()


def readiness(deployed: Deployment) -> dict[str, object]:
    with Client(deployed.url) as client:
        return dict(client.get("/readyz").body)


def states(deployed: Deployment) -> list[object]:
    told = readiness(deployed)["workers"]
    assert isinstance(told, list)
    return [one["state"] for one in told]


def sample(deployed: Deployment, name: str) -> float:
    connection = HTTPConnection("127.0.0.1", deployed.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


def logged(state: StateFolder) -> list[str]:
    return [name for batch in read_predictions(state.predictions / "delays") for name in batch.id]


def test_a_killed_worker_is_there_again_and_nothing_that_was_answered_is_missing(
    running: tuple[LocalTarget, StateFolder], deployed: Deployment, body: bytes
) -> None:
    restarts, rows = sample(deployed, "mlnb_worker_restarts_total"), sample(deployed, "mlnb_rows_total")
    with Callers(deployed.port, [body], may_break=True) as load:
        load.go_on()
        until(lambda: states(deployed) == ["ready", "ready"])
        first = workers(deployed)
        first[0].kill()
        until(lambda: states(deployed) == ["ready", "ready"] and first[0] not in workers(deployed))
        load.go_on()
        counted = sample(deployed, "mlnb_rows_total")
    assert load.faults == []
    found = logged(running[1])
    assert len(found) == len(set(found))
    assert set(load.told) <= set(found)
    assert sample(deployed, "mlnb_worker_restarts_total") == restarts + 1
    assert rows < counted <= sample(deployed, "mlnb_rows_total")  # what the dead one had counted is not forgotten
    assert first[1] in workers(deployed)


def test_a_restart_under_load_replaces_every_worker_and_loses_no_request(
    running: tuple[LocalTarget, StateFolder], deployed: Deployment, body: bytes
) -> None:
    before = workers(deployed)
    with Callers(deployed.port, [body]) as load:
        load.go_on()
        again = running[0].restart("delays")
        load.go_on()
    assert load.faults == []
    assert (again.pid, again.port, again.started_at) == (deployed.pid, deployed.port, deployed.started_at)
    psutil.wait_procs(before, timeout=30)
    assert not set(before) & set(workers(deployed))
    assert states(deployed) == ["ready", "ready"]


def test_a_configuration_is_taken_up_without_a_stop_and_code_that_cannot_start_leaves_the_old(
    running: tuple[LocalTarget, StateFolder], deployed: Deployment, body: bytes, bento: Bento, tmp_path: Path
) -> None:
    def answer() -> int:
        with Client(deployed.url) as client:
            return client.post("/predict", body).status

    _, state = running
    assert answer() == 200
    stricter = LocalTarget(state, Settings(service={"workers": 2, "max_rows": 1}))
    assert stricter.restart("delays").pid == deployed.pid
    assert answer() == 413
    broken = tmp_path / "bento"
    shutil.copytree(bento.path, broken)
    (broken / "src" / "versions" / "1" / "model.onnx").write_bytes(b"no model")
    seal_bento(broken)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServiceError, match=r"cannot go over to what is new: .*model\.onnx.*was changed"):
        LocalTarget(state, Settings(service={"workers": 2, "grpc_port": port})).start("delays", broken)
    socket.create_server(("127.0.0.1", port)).close()  # which nobody keeps for what was given up
    assert answer() == 413
    assert states(deployed) == ["ready", "ready"]
    assert running[0].start("delays").workers >= 2  # a start takes up what is set, too
    assert answer() == 200


def test_the_number_of_workers_can_be_asked_for_at_a_start_and_is_remembered(
    running: tuple[LocalTarget, StateFolder], deployed: Deployment
) -> None:
    target, _ = running
    assert target.start("delays", workers=1).pid == deployed.pid
    until(lambda: len(workers(deployed)) == 1)
    target.restart("delays")
    until(lambda: len(workers(deployed)) == 1)
    target.start("delays", workers=2)
    assert states(deployed).count("ready") == 2
    until(lambda: target.status("delays").workers == 2)


def test_connections_are_spread_over_the_workers_and_each_speaks_for_all(deployed: Deployment, body: bytes) -> None:
    before = sample(deployed, "mlnb_rows_total")
    burst = [HTTPConnection("127.0.0.1", deployed.port, timeout=60) for _ in range(24)]
    for connection in burst:
        connection.request("POST", "/predict", body)
        assert connection.getresponse().read()[:1] == b"{"
    shares = [
        sum(c.status == psutil.CONN_ESTABLISHED for c in worker.net_connections("tcp")) for worker in workers(deployed)
    ]
    told = []
    for connection in burst[:6]:
        connection.request("GET", "/readyz")
        told.append(json.loads(connection.getresponse().read()))
    rows = sample(deployed, "mlnb_rows_total")
    for connection in burst:
        connection.close()
    assert sum(shares) >= 24
    assert min(shares) >= 4  # a worker that this machine lets wait is not waited for long
    assert rows == before + 48
    assert [one["supervisor"]["pid"] for one in told] == [deployed.pid] * 6
    assert {frozenset(worker["pid"] for worker in one["workers"]) for one in told} == {
        frozenset(worker.pid for worker in workers(deployed))
    }


def test_a_worker_that_is_told_to_end_while_it_starts_ends(bento: Bento, tmp_path: Path) -> None:
    source, table = tmp_path / "src", make_table()
    shutil.copytree(bento.path / "src", source)
    aliases = source / "aliases.json"
    content = aliases.read_bytes()
    os.mkfifo(tmp_path / "pipe")  # who reads the routing waits until it is written, and finds it changed then
    os.link(tmp_path / "pipe", source / "pipe")
    (source / "pipe").replace(aliases)
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, ours, theirs:
        handles = {"--fd": listener.fileno(), "--worker": theirs.fileno(), "--table": table, "--place": 0}
        command = [sys.executable, "-m", "mlnb.service.serve", *(f"{key}={value}" for key, value in handles.items())]
        environ = {**os.environ, "PYTHONPATH": str(source), "MLNB_PREDICTIONS": str(tmp_path / "predictions")}
        passed = (listener.fileno(), theirs.fileno(), table)
        with subprocess.Popen(command, cwd=source, env=environ, pass_fds=passed) as worker, ours.makefile() as wire:
            theirs.close()
            (tmp_path / "pipe").write_bytes(content)
            assert "ready" in json.loads(wire.readline())
            ours.sendall(b'{"drain":0.0}\n{"report":"metrics","number":1}\n')
            assert "of" in json.loads(wire.readline())
            with (tmp_path / "pipe").open("wb") as pipe:
                (tmp_path / "same").write_bytes(content)
                (tmp_path / "same").replace(aliases)
                pipe.write(content)
            try:
                assert worker.wait(timeout=30) == 0
            finally:
                worker.kill()
            assert "leaving" in json.loads(wire.readline())
    os.close(table)


def test_a_worker_that_hangs_is_silent_and_no_new_connection_waits_for_it(deployed: Deployment, body: bytes) -> None:
    until(lambda: states(deployed) == ["ready", "ready"])
    stuck = workers(deployed)[0]
    stuck.suspend()
    try:
        for _ in range(5):
            with Client(deployed.url) as client:
                assert client.post("/predict", body).status == 200
        with Client(deployed.url) as client:
            reply = client.get("/readyz")
    finally:
        stuck.resume()
    told = {worker["pid"]: worker["state"] for worker in reply.body["workers"]}  # type: ignore[attr-defined]
    assert (reply.status, told.pop(stuck.pid), list(told.values())) == (503, "silent", ["ready"])
    until(lambda: states(deployed) == ["ready", "ready"])


def test_pipelined_requests_are_answered_in_their_order_on_one_connection(deployed: Deployment, body: bytes) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nX-Request-Id: "
    with socket.create_connection(("127.0.0.1", deployed.port), timeout=30) as connection:
        connection.sendall(b"".join(f"{head}r{number}\r\n\r\n".encode() + body for number in range(5)))
        heard = b""
        while heard.count(b"HTTP/1.1 200") < 5 or not heard.endswith(b"}"):
            heard += connection.recv(65536)
    assert re.findall(rb"x-request-id: (r\d)", heard) == [b"r0", b"r1", b"r2", b"r3", b"r4"]


def test_what_runs_when_the_service_is_told_to_end_is_answered_and_logged(
    target: LocalTarget, state: StateFolder, bento: Bento, body: bytes
) -> None:
    started = target.start("delays", bento.path)
    with socket.create_connection(("127.0.0.1", started.port), timeout=30) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        connection.sendall(body[:20])
        until(
            lambda: sample(started, "http_server_active_requests") >= 0
        )  # so the worker has read what was sent before
        os.kill(started.pid, signal.SIGTERM)
        until(lambda: "Ending" in target.logs("delays"))
        connection.sendall(body[20:])
        heard = b""
        while chunk := connection.recv(65536):
            heard += chunk
    assert heard.startswith(b"HTTP/1.1 200")
    answer = json.loads(heard.partition(b"\r\n\r\n")[2])
    until(lambda: target.status("delays").state == "failed")
    assert logged(state) == answer["ids"]


def test_what_was_answered_is_in_the_log_exactly_once_whoever_is_killed(
    target: LocalTarget, state: StateFolder, bento: Bento, body: bytes
) -> None:
    """`python -m tests.bench kills` kills more often."""
    started = target.start("delays", bento.path, workers=2)
    log = state.predictions / "delays"
    killed = kills(4, started.pid, started.port, [body], log, lambda: target.start("delays").pid)
    assert (killed.workers, killed.supervisors) == (3, 1)
    assert target.status("delays").port == started.port
    assert len(killed.told) > 50
    assert killed.wrong == 0


def test_workers_end_with_their_killed_supervisor_and_free_the_port(target: LocalTarget, bento: Bento) -> None:
    started = target.start("delays", bento.path, workers=2)
    ours = [psutil.Process(started.pid), *workers(started)]
    ours[0].kill()
    _, alive = psutil.wait_procs(ours, timeout=30)
    assert alive == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", started.port)) != 0
    assert "supervisor has ended" in target.logs("delays")


def test_lines_of_the_log_are_json_where_that_is_asked_for_and_systemd_is_told_of_the_start(
    state: StateFolder, bento: Bento, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(f"\0mlnb-test-{os.getpid()}")
    manager.settimeout(30)
    monkeypatch.setenv("NOTIFY_SOCKET", f"@mlnb-test-{os.getpid()}")
    target = LocalTarget(state, Settings(service={"log_format": "json", "access_log": True}))
    started = target.start("delays", bento.path)
    connection = HTTPConnection("127.0.0.1", started.port, timeout=30)
    connection.request("POST", "/predict", body, {"X-Request-Id": "mine"})
    connection.getresponse().read()
    connection.close()
    target.stop("delays")
    with manager:
        assert [manager.recv(64), manager.recv(64)] == [b"READY=1", b"STOPPING=1"]
    lines = [json.loads(line) for line in target.logs("delays").splitlines()]
    [access] = [line for line in lines if line.get("request_id") == "mine"]
    assert (access["level"], access["method"], access["route"], access["status"]) == ("info", "POST", "/predict", 200)
    assert access["version"] == "delays/1" and access["duration_ms"] > 0
    assert [line["message"] for line in lines if line["pid"] == started.pid] == [
        f"Answering at 127.0.0.1 port {started.port}; workers: 1.",
        "Ending: told to.",
    ]


def test_a_worker_that_ends_soon_after_its_start_is_followed_later_each_time_up_to_a_limit() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        member = Member(1, 0, 1, ours)
        assert [delay_after(member, failures) for failures in (0, 1, 2, 3)] == [0.1, 0.2, 0.4, 0.8]
        assert delay_after(member, 40) == 10.0
        member.become(READY)
        assert [delay_after(member, failures) for failures in (0, 1)] == [0.0, 0.2]  # once, at once


def test_a_worker_allows_itself_the_descriptors_of_its_connections_as_far_as_it_may() -> None:
    code = (
        "import resource\n"
        "from mlnb.service.door import make_room\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 600))\n"
        "for connections in (100, 50, 4096):\n"
        "    make_room(connections)\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["(356, 600)", "(356, 600)", "(600, 600)"]
    assert told.stderr.count("may have 600 files and connections open") == 1


def test_only_workers_that_accept_and_have_fewer_connections_go_first() -> None:
    table = make_table()
    workers = {place: Balance(table, place) for place in (0, 3, PLACES - 1)}
    assert not any(one.exceeded(2**31 - 1) for one in workers.values())
    for place, connections in ((0, 5), (3, 255), (PLACES - 1, 511)):
        workers[place].put(connections)
        assert (workers[0].exceeded(5), workers[0].exceeded(6)) == (False, True)
    workers[0].leave()
    assert (workers[3].exceeded(255), workers[3].exceeded(256)) == (False, True)
    Balance(table).bury(3)
    assert (workers[0].exceeded(511), workers[0].exceeded(512)) == (False, True)
    for one in workers.values():
        one.close()
    os.close(table)


def test_a_caller_whose_handshake_is_not_done_is_greeted_still_when_no_more_are_accepted(tmp_path: Path) -> None:
    served, table = issue(tmp_path, "service"), make_table()
    balance = Balance(table, 0)

    async def greet() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        context = server_context(Certificate(str(served.cert), str(served.key)))
        door = Door(listener, balance, Counted(balance), asyncio.Protocol, context)
        door.open()
        with socket.create_connection(listener.getsockname()):
            async with asyncio.timeout(20):
                while not door.greets:
                    await asyncio.sleep(0.001)
                door.close()
                assert door.greets
        async with asyncio.timeout(20):
            while door.greets:
                await asyncio.sleep(0.001)

    asyncio.run(greet())
    balance.close()
    os.close(table)


def test_as_many_workers_as_a_control_group_has_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("50000 100000\n")
    assert usable_cores(quota) == 1
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == usable_cores(tmp_path / "absent") == len(os.sched_getaffinity(0))


def test_the_verbs_list_restart_and_follow(
    running: tuple[LocalTarget, StateFolder], deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    project = ["--project", str(running[1].root.parent)]

    def verb(*words: str) -> str:
        assert main(["services", *words, *project]) == 0
        return capsys.readouterr().out

    follow = [sys.executable, "-m", "mlnb", "services", "logs", "delays", "-f", "-n", "1", *project]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline()  # what was there already: from now on it follows
        [listed] = json.loads(verb("list", "--json"))
        assert (listed["pid"], listed["state"]) == (deployed.pid, "running") and listed["workers"] >= 2
        head, row = verb("restart", "delays").splitlines()
        assert head.split()[-2:] == ["workers", "up"] and row.split()[-1] in ("s", "min")
        seen = next(line for line in following.stdout if "Reloaded" in line)
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0
    assert seen.rstrip("\n") in verb("logs", "delays", "-n", "50")
    assert verb("logs", "delays", "-n", "1").count("\n") == 1
    assert "ExecStart=" in verb("export", "delays", "systemd")
    assert list(yaml.safe_load(verb("export", "delays", "compose"))["services"]) == ["delays"]
