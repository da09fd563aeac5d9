from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest

from mlnb import plugins
from mlnb.errors import PortError, RegistryError, ServiceError, SettingsError
from mlnb.service.bento import Bento
from mlnb.service.bento_seal import seal_bento
from mlnb.service.client import Client
from mlnb.service.latency import measure
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.service.process import ProcessMark, terminate
from mlnb.service.skew import read_sample, replay
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.certificates import issue

Answers = Callable[[int], list[list[float]]]


def close_to(got: list[list[float]], expected: list[list[float]]) -> bool:
    pairs = zip(got, expected, strict=True)
    return all(abs(a - b) < 1e-5 for one, other in pairs for a, b in zip(one, other, strict=True))


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_service_starts_answers_and_stops_without_a_trace(
    target: LocalTarget, bento: Bento, packages: dict[int, Path], answers: Answers
) -> None:
    started = target.start("delays", bento.path)
    assert started.state == "running"
    assert started.url == f"http://127.0.0.1:{started.port}"
    assert started.aliases == {"staging": "delays/1"}
    with Client(started.url) as client:
        reply = client.post("/predict", json.dumps({"rows": read_sample(packages[1])}).encode()).body
        ready = client.get("/readyz").body
    assert close_to(reply["probabilities"], answers(1))  # type: ignore[arg-type]
    assert reply["version"] == "delays/1"
    assert ready["pid"] == started.pid
    assert os.getsid(started.pid) == started.pid  # a session of its own: it survives the command and its terminal
    assert target.start("delays", bento.path) == started
    assert [deployment.to_json() for deployment in target.list()] == [started.to_json()]
    stopped = target.stop("delays")
    assert stopped.state == "stopped"
    assert target.status("delays") == stopped
    assert not psutil.pid_exists(started.pid)
    assert refuses_connections(started.port)


def test_the_copy_of_mlnb_that_the_bento_carries_answers_and_nothing_heavy_is_loaded(
    target: LocalTarget, marked_bento: Path
) -> None:
    started = target.start("delays", marked_bento)
    with Client(started.url) as client:
        assert "carried copy" in str(client.get("/nothing").body)
    supervisor = psutil.Process(started.pid)
    [worker] = supervisor.children()
    assert worker.cwd() == supervisor.cwd() == str(marked_bento / "src")
    opened = [mapped.path for mapped in worker.memory_maps()]
    for loaded in ("onnxruntime", "uvloop", "httptools"):
        assert [path for path in opened if f"/site-packages/{loaded}/" in path]
    assert not [mapped.path for mapped in supervisor.memory_maps() if "/site-packages/" in mapped.path]
    for absent in ("sklearn", "pandas", "scipy", "matplotlib", "sqlalchemy"):
        assert not [path for path in opened if f"/site-packages/{absent}/" in path]
    target.stop("delays")
    assert not list((marked_bento / "src").rglob("__pycache__"))


def test_onnxruntime_sends_and_keeps_no_telemetry(
    target: LocalTarget, bento: Bento, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    target.start("delays", bento.path)
    target.stop("delays")
    assert list(home.rglob("*")) == []


def test_it_keeps_its_port_and_its_routing_over_a_restart(
    target: LocalTarget, bento: Bento, packages: dict[int, Path]
) -> None:
    first = target.start("delays", bento.path)
    target.route("delays", packages, {"staging": 1, "production": 2})
    target.stop("delays")
    again = target.start("delays")
    assert again.port == first.port
    assert again.pid != first.pid
    assert again.aliases == {"staging": "delays/1", "production": "delays/2"}
    with Client(again.url) as client:
        assert client.get("/readyz").body["default"] == "production"


def test_another_address_or_certificate_replaces_what_runs_and_one_that_cannot_be_used_ends_nothing(
    state: StateFolder, bento: Bento, tmp_path: Path
) -> None:
    shown = issue(tmp_path, "shown")
    tls: dict[str, object] = {"tls_cert": str(shown.cert), "tls_key": str(shown.key)}
    here = LocalTarget(state, Settings(host="localhost"))
    first = here.start("delays", bento.path)
    here.stop("delays")
    again = here.start("delays")
    assert again.port == first.port
    with pytest.raises(ServiceError, match="no tokens"):
        LocalTarget(state, Settings(host="0.0.0.0")).start("delays")
    with pytest.raises(SettingsError, match="cannot be used"):
        LocalTarget(state, Settings(host="127.0.0.2", service={**tls, "tls_cert": "none.pem"})).restart("delays")
    assert here.status("delays") == again
    moved = LocalTarget(state, Settings(host="127.0.0.2", service=tls)).restart("delays")
    here.stop("delays")
    assert moved.url == f"https://127.0.0.2:{moved.port}"
    assert (moved.pid != again.pid, psutil.pid_exists(again.pid)) == (True, False)


def test_a_routing_that_was_placed_before_the_start_is_the_one_that_answers(
    target: LocalTarget, bento: Bento, packages: dict[int, Path]
) -> None:
    assert target.route("delays", packages, {"production": 2}) is None
    started = target.start("delays", bento.path)
    assert started.aliases == {"production": "delays/2"}
    with Client(started.url) as client:
        assert client.get("/readyz").body["versions"] == ["delays/2"]


def test_a_port_that_was_asked_for_and_is_taken_is_named(target: LocalTarget, bento: Bento) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=str(port)) as refused:
            target.start("delays", bento.path, port=port)
    assert refused.value.port == port
    assert target.list() == ()


def test_a_settings_port_that_is_taken_is_left_for_the_next_one(state: StateFolder, bento: Bento) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        target = LocalTarget(state, Settings(port=port))
        started = target.start("delays", bento.path)
    try:
        assert port < started.port < port + 20
    finally:
        target.stop("delays")


def test_a_killed_service_is_failed_and_starts_again_on_its_port(target: LocalTarget, bento: Bento) -> None:
    started = target.start("delays", bento.path)
    process = psutil.Process(started.pid)
    process.kill()
    psutil.wait_procs([process])
    assert target.status("delays").state == "failed"
    again = target.start("delays")
    assert (again.state, again.port) == ("running", started.port)


def test_nothing_answered_is_lost_when_the_service_is_killed(
    target: LocalTarget, bento: Bento, state: StateFolder, packages: dict[int, Path]
) -> None:
    started = target.start("delays", bento.path)
    rows = read_sample(packages[1])
    answered: list[str] = []

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", started.port, timeout=30)
        try:
            for at in range(10_000):
                connection.request("POST", "/predict", json.dumps({"rows": [rows[at % 60], rows[0]]}))
                answered.extend(json.loads(connection.getresponse().read())["ids"])
                if len(answered) > 600:
                    os.kill(started.pid, signal.SIGKILL)
        except (OSError, ValueError, HTTPException):
            return  # it is gone
        finally:
            connection.close()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    logged = [name for batch in read_predictions(state.predictions / "delays") for name in batch.id]
    assert len(answered) >= 600
    assert len(answered) == len(set(answered))
    assert len(logged) == len(set(logged))
    assert set(answered) <= set(logged)
    target.start("delays")
    assert {name for batch in read_predictions(state.predictions / "delays") for name in batch.id} == set(logged)


def test_swapping_versions_under_load_fails_no_request_and_mixes_no_answer(
    target: LocalTarget, bento: Bento, packages: dict[int, Path], answers: Answers
) -> None:
    started = target.start("delays", bento.path)
    target.route("delays", packages, {"production": 1})
    rows = read_sample(packages[1])
    body = json.dumps({"rows": rows[:5]})
    right = {
        "delays/1": answers(1)[:5],
        "delays/2": [one[:2] for one in _probabilities(started.url, packages, target, body)],
    }
    assert not close_to(right["delays/1"], right["delays/2"])
    faults: list[object] = []
    seen: list[str] = []
    done = threading.Event()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", started.port, timeout=30)
        while not done.is_set():
            connection.request("POST", "/predict", body)
            response = connection.getresponse()
            reply = json.loads(response.read())
            version = reply.get("version")
            if response.status != 200 or not close_to(reply["probabilities"], right[version]):
                faults.append(reply)
            if response.headers["x-model-version"] != version:
                faults.append(response.headers)
            seen.append(version)
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for thread in clients:
        thread.start()
    for swap in range(12):
        number = 2 - swap % 2
        deployment = target.route("delays", packages, {"production": number})
        assert deployment is not None
        with Client(started.url) as client:  # what is routed answers at once
            assert client.post("/predict", body.encode()).body["version"] == f"delays/{number}"
    done.set()
    for thread in clients:
        thread.join()
    assert faults == []
    assert set(seen) == {"delays/1", "delays/2"}


def _probabilities(url: str, packages: dict[int, Path], target: LocalTarget, body: str) -> list[list[float]]:
    target.route("delays", packages, {"production": 2})
    with Client(url) as client:
        got = client.post("/predict", body.encode()).body["probabilities"]
    target.route("delays", packages, {"production": 1})
    return got  # type: ignore[return-value]


def test_a_version_that_cannot_be_loaded_leaves_the_old_routing(
    target: LocalTarget, bento: Bento, packages: dict[int, Path], tmp_path: Path
) -> None:
    started = target.start("delays", bento.path)
    target.route("delays", packages, {"production": 1})
    broken = tmp_path / "broken"
    shutil.copytree(packages[2], broken)
    (broken / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ServiceError, match=r"cannot answer with the new routing.*model\.onnx"):
        target.route("delays", {3: broken}, {"production": 3})
    assert target.status("delays").aliases == {"production": "delays/1"}
    with Client(started.url) as client:
        assert client.post("/predict", json.dumps({"rows": read_sample(packages[1])[:1]}).encode()).status == 200
        target.route("delays", packages, {"production": 2})
        assert client.get("/readyz").body["refused"] is None


def test_a_process_that_dies_while_starting_tells_its_own_error(
    target: LocalTarget, bento: Bento, tmp_path: Path
) -> None:
    broken = tmp_path / "bento"
    shutil.copytree(bento.path, broken)
    (broken / "src" / "versions" / "1" / "model.onnx").write_bytes(b"no model")
    seal_bento(broken)
    with pytest.raises(ServiceError, match=r"did not start.*model\.onnx.*was changed"):
        target.start("delays", broken)
    assert target.status("delays").state == "failed"
    assert "was changed" in target.logs("delays")


def test_another_bento_replaces_the_workers_only_where_its_code_differs(
    target: LocalTarget, bento: Bento, marked_bento: Path, packages: dict[int, Path], tmp_path: Path
) -> None:
    target.route("delays", packages, {"production": 2})
    first = target.start("delays", bento.path)
    shutil.copytree(bento.path, tmp_path / "same code")
    same = target.start("delays", tmp_path / "same code")
    assert (same.pid, same.bento) == (first.pid, str(tmp_path / "same code"))
    old = psutil.Process(first.pid).children()
    other = target.start("delays", marked_bento)
    assert (other.pid, other.bento) == (first.pid, str(marked_bento))
    assert (other.port, other.aliases) == (first.port, {"production": "delays/2"})
    psutil.wait_procs(old)
    with Client(other.url) as client:
        assert "carried copy" in str(client.get("/nothing").body)


_TRIAL = """
import sys
from pathlib import Path
from mlnb.service.local import LocalTarget
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

with LocalTarget(StateFolder.open(Path(sys.argv[1])), Settings()).trial(Path(sys.argv[2])) as trial:
    print(trial.pid, trial.log, flush=True)
    sys.stdin.read()
"""


def test_a_trial_ends_with_the_command_that_tried_even_if_that_is_killed(bento: Bento, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TRIAL, str(tmp_path), str(bento.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as trying:
        assert trying.stdout is not None
        pid, log = trying.stdout.readline().split()
        process = psutil.Process(int(pid))
        trying.kill()
    _, alive = psutil.wait_procs([process], timeout=30)
    shutil.rmtree(Path(log).parent)
    assert alive == []


def test_the_built_in_target_comes_in_by_the_same_door_as_any_other() -> None:
    assert plugins.load("mlnb.targets", "local") is LocalTarget


def test_two_starts_at_once_make_one_process(state: StateFolder, bento: Bento) -> None:
    target = LocalTarget(state, Settings())
    pids: list[int] = []
    threads = [
        threading.Thread(target=lambda: pids.append(LocalTarget(state, Settings()).start("delays", bento.path).pid))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target.stop("delays")
    assert len(pids) == 3
    assert len(set(pids)) == 1


def test_a_process_id_that_belongs_to_somebody_else_is_not_taken_for_the_service(
    target: LocalTarget, bento: Bento, state: StateFolder
) -> None:
    started = target.start("delays", bento.path)
    target.stop("delays")
    path = state.services / "delays" / "deployment.json"
    document = json.loads(path.read_text()) | {"stopped": False, "pid": os.getpid(), "process_started": 1.0}
    path.write_text(json.dumps(document))
    assert target.status("delays").state == "failed"
    assert target.stop("delays").state == "failed"  # and this very process still runs
    assert started.pid != os.getpid()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65, "a\nb"])
def test_a_name_that_could_leave_the_folder_is_refused(target: LocalTarget, name: str) -> None:
    with pytest.raises(RegistryError):
        target.status(name)


def test_an_unknown_service_is_told_with_those_there_are(target: LocalTarget) -> None:
    with pytest.raises(ServiceError, match="no service 'delay'"):
        target.stop("delay")
    with pytest.raises(ServiceError, match="has no Bento"):
        target.start("delay")


def test_a_trial_answers_with_the_version_under_trial_and_leaves_nothing(
    target: LocalTarget, bento: Bento, packages: dict[int, Path], state: StateFolder
) -> None:
    with target.trial(bento.path, packages[2], 2) as trial:
        assert trial.aliases == {"trial": "delays/2"}
        skew = replay(trial.url, packages[2], 1e-4)
        latency = measure(trial.url, read_sample(packages[2]), 50)
        folder = Path(trial.log).parent
        process = psutil.Process(trial.pid)
    assert (skew.passed, skew.rows, skew.flips) == (True, 60, 0)
    assert skew.max_abs < 1e-5
    assert "answers as the pipeline did" in skew.sentence()
    assert 0 < latency["latency_p50_ms"] <= latency["latency_p99_ms"] <= latency["latency_max_ms"]
    assert not folder.exists()
    assert not process.is_running()
    assert list(read_predictions(state.predictions / "delays")) == []
    assert target.list() == ()


def test_a_trial_that_fails_leaves_nothing_either(target: LocalTarget, bento: Bento) -> None:
    process = None
    with pytest.raises(KeyError), target.trial(bento.path) as trial:
        process = psutil.Process(trial.pid)
        raise KeyError
    assert process is not None
    assert not process.is_running()


def test_a_service_that_answers_otherwise_than_the_pipeline_is_skewed(
    target: LocalTarget, bento: Bento, packages: dict[int, Path]
) -> None:
    with target.trial(bento.path, packages[1], 1) as trial:
        skew = replay(trial.url, packages[2], 1e-4)
    assert not skew.passed
    assert skew.max_abs > 0.01
    assert "does not answer as the pipeline did" in skew.sentence()
    assert skew.to_json()["passed"] is False


def test_a_hook_runs_inside_the_service(
    target: LocalTarget, bento: Bento, hooked_package: Path, packages: dict[int, Path]
) -> None:
    with target.trial(bento.path, hooked_package, 1) as trial:
        assert replay(trial.url, hooked_package, 1e-4).passed
    with target.trial(bento.path, packages[1], 1) as trial:
        assert not replay(trial.url, hooked_package, 1e-4).passed  # so it is the hook that made it so


def test_a_process_that_nobody_waits_for_counts_as_gone() -> None:
    sleeping = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {sleeping!r}]).pid, flush=True); {sleeping}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        terminate(ProcessMark(child.pid, child.create_time()))
        assert child.status() == psutil.STATUS_ZOMBIE
        parent.kill()


def test_a_service_of_an_older_mlnb_is_started_where_it_was(target: LocalTarget, bento: Bento) -> None:
    first = target.start("delays", bento.path)
    target.stop("delays")
    folder = Path(first.log).parent
    started, configured = (json.loads((folder / name).read_bytes()) for name in ("deployment.json", "service.json"))
    known = {key: value for key, value in started.items() if key not in ("workers", "certificate")}
    (folder / "deployment.json").write_text(json.dumps(known | {"format": 1}))
    (folder / "service.json").write_text(json.dumps({"format": 1, "settings": configured["settings"]}))
    assert [one.state for one in target.list()] == ["stopped"]
    again = target.start("delays")
    assert (again.port, again.aliases, again.workers) == (first.port, first.aliases, first.workers)
    assert json.loads((folder / "deployment.json").read_bytes())["format"] == 2
