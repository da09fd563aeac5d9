"""A service answers the Open Inference Protocol over gRPC as it answers HTTP; its own clients ask, in real processes."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as triton_messages

from mlnb.errors import ServiceError, SettingsError
from mlnb.faces.cli import main
from mlnb.service.bento import Bento, build_bento
from mlnb.service.grpc_messages import HEALTH, INFERENCE
from mlnb.service.grpc_sockets import close_listeners, has_connections
from mlnb.service.local import LocalTarget
from mlnb.service.lock import lock, read_lock
from mlnb.service.log_reader import read_predictions
from mlnb.service.needs import asked_for, requirements
from mlnb.service.target import Deployment
from mlnb.service.tokens import Tokens, Wish
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.certificates import issue
from tests.bench.client_case import client_case, export_wide, free_port
from tests.bench.client_peers import Forms
from tests.bench.grpc_fuzz import Fuzzed
from tests.bench.grpc_peers import triton
from tests.bench.kills import until

INFER = "/inference.GRPCInferenceService/ModelInfer"
FUZZED = 400


def infer(channel: grpc.Channel, request: bytes, **more: Any) -> tuple[Any, dict[str, str]]:
    """Return the answer to a call, and its trailing metadata."""
    ask = channel.unary_unary(INFER, None, INFERENCE["ModelInferResponse"].FromString)
    answer, call = ask.with_call(request, timeout=20, **more)
    return answer, dict(call.trailing_metadata())


def refused(work: Callable[[], object]) -> grpc.RpcError:
    """Return a refusal; a request that is refused before it was sent whole, as its connection ends, is sent again."""
    while True:
        with pytest.raises(grpc.RpcError) as error:
            work()
        if "max_age" not in error.value.details():
            return error.value


def asking(rows: int, **wanted: list[float] | list[str]) -> bytes:
    """Return a request for the small model, typed."""
    request = INFERENCE["ModelInferRequest"](model_name="delays")
    values = {"age": [0.5] * rows, "wind": [0.25] * rows, "origin": ["JFK"] * rows} | wanted
    for name, column in values.items():
        text = isinstance(column[0], str)
        tensor = request.inputs.add(name=name, datatype="BYTES" if text else "FP64", shape=[rows])
        if text:
            tensor.contents.bytes_contents.extend(str(one).encode() for one in column)
        else:
            tensor.contents.fp64_contents.extend(float(one) for one in column)
    return bytes(request.SerializeToString())


class Asked:
    """A service of two workers: production is the wide model, staging the small one."""

    def __init__(self, deployed: Deployment, state: StateFolder, target: LocalTarget, wide: Path) -> None:
        self.deployed, self.state, self.target, self.wide = deployed, state, target, wide

    @property
    def case(self) -> dict[str, Any]:
        return {**client_case(self.deployed.port, self.wide), "grpc_port": self.deployed.grpc_port}

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(f"127.0.0.1:{self.deployed.grpc_port}", [("grpc.use_local_subchannel_pool", 1)])

    def get(self, path: str) -> str:
        connection = HTTPConnection("127.0.0.1", self.deployed.port, timeout=30)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path]) -> Iterator[Asked]:
    wide = export_wide(tmp_path_factory.mktemp("wide") / "package")
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    settings = {"max_rows": 50, "workers": 2, "max_body_bytes": 200_000, "grpc_port": free_port(), "grpc_age_s": 1}
    target = LocalTarget(state, Settings(service=settings))
    target.route("delays", {1: wide, 2: packages[1]}, {"production": 1, "staging": 2})
    yield Asked(target.start("delays", bento.path), state, target, wide)
    target.stop("delays")


def test_tritonclient_gets_the_answers_of_scikit_learn_in_every_form(asked: Asked) -> None:
    forms = Forms()
    triton(asked.case, forms.tried)
    assert {form: told for form, told in forms.found.items() if told != "passed"} == {}
    assert len(forms.found) > 25


def test_the_messages_are_those_of_tritons_own_definition() -> None:
    renamed = {"TensorMetadata": "ModelMetadataResponse", "ModelIndex": "RepositoryIndexResponse"}
    for name, message in INFERENCE.items():
        if name == "InferTensor":
            theirs = triton_messages.ModelInferRequest.InferInputTensor.DESCRIPTOR
            assert fields(theirs) == fields(triton_messages.ModelInferResponse.InferOutputTensor.DESCRIPTOR)
        elif name == "InferRequestedOutputTensor":
            theirs = triton_messages.ModelInferRequest.InferRequestedOutputTensor.DESCRIPTOR
        else:
            holder = getattr(triton_messages, renamed[name]) if name in renamed else triton_messages
            theirs = getattr(holder, name).DESCRIPTOR
        assert fields(message.DESCRIPTOR) == fields(theirs), name


def fields(message: Any) -> dict[int, tuple[str, int, bool]]:
    return {one.number: (one.name, one.type, one.is_repeated) for one in message.fields}


def test_a_call_is_logged_counted_warned_of_and_named_as_a_request_is(asked: Asked) -> None:
    request = INFERENCE["ModelInferRequest"].FromString(asking(2, origin=["JFK", "Paris"]))
    request.model_version = "2"
    with asked.channel() as channel:
        answer, told = infer(channel, request.SerializeToString(), metadata=[("x-request-id", "trip-7")])
        fault = refused(lambda: infer(channel, asking(1), metadata=[("x-request-id", "trip-8")]))  # of the wide model
    ids = answer.parameters["prediction_ids"].string_param.split(",")
    logged = {one: row for batch in read_predictions(asked.state.predictions / "delays") for one, row in rows_of(batch)}
    assert [logged[one][:3] for one in ids] == [("trip-7", 2, 200)] * 2
    assert (told["x-request-id"], told["x-model-version"]) == ("trip-7", "delays/2")
    assert "Paris" in told["x-prediction-warnings"] == answer.parameters["prediction_warnings"].string_param
    assert "Paris" in logged[ids[1]][3] and not logged[ids[0]][3]
    assert fault.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(fault.trailing_metadata())["x-request-id"] == "trip-8"
    assert [row[2] for row in logged.values() if row[0] == "trip-8"] == [422]
    metrics = asked.get("/metrics")
    assert f'mlnb_http_requests_total{{route="{INFER}",status="200",version="delays/2"}} ' in metrics
    assert f'mlnb_http_requests_total{{route="{INFER}",status="422",version=""}} ' in metrics
    assert INFER not in asked.get("/openapi.json")


def rows_of(batch: Any) -> Iterator[tuple[str, tuple[str, int, int, str]]]:
    for at, one in enumerate(batch.id):
        yield one, (batch.request_id[at], batch.version[at], batch.status[at], batch.warnings[at] or "")


def test_what_is_too_large_or_too_late_is_refused_as_grpc_says_it(asked: Asked) -> None:
    with asked.channel() as channel:
        for request, code, told in (
            (asking(51), "RESOURCE_EXHAUSTED", "51 rows"),
            (b"\x0a" + b"x" * 300_000, "RESOURCE_EXHAUSTED", "larger than max"),
            (b"\xff", "INVALID_ARGUMENT", "no ModelInferRequest"),
            (b"\x2a\x00" * 90_000, "INVALID_ARGUMENT", "more than 16384 fields"),
        ):
            fault = refused(lambda request=request: infer(channel, request))
            assert (fault.code().name, told in fault.details()) == (code, True), fault.details()
        bomb = asking(1) + b"\x1a" + b"\x80\x89\x7a" + bytes(2_000_000)  # an id of two million NULs: 2 kB compressed
        fault = refused(lambda: infer(channel, bomb, compression=grpc.Compression.Gzip))
        assert fault.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as late:
            channel.unary_unary(INFER)(asking(1), timeout=-1.0)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_health_that_probes_ask_for_is_answered(asked: Asked) -> None:
    with asked.channel() as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            HEALTH["HealthCheckRequest"].SerializeToString,
            HEALTH["HealthCheckResponse"].FromString,
        )
        for service in ("", "inference.GRPCInferenceService"):
            assert check(HEALTH["HealthCheckRequest"](service=service), timeout=20).status == 1
        fault = refused(lambda: check(HEALTH["HealthCheckRequest"](service="other"), timeout=20))
        assert fault.code() is grpc.StatusCode.NOT_FOUND
        for path in ("/grpc.health.v1.Health/Check", "/inference.GRPCInferenceService/ModelReady"):
            fault = refused(lambda path=path: channel.unary_unary(path)(b"\x0a\xff\x7f" + b"x" * 16_383, timeout=20))
            assert (fault.code(), "4096 bytes" in fault.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


class Calls:
    """Callers in threads, each with a connection of its own, for the time of a ``with`` block."""

    def __init__(self, asked: Asked, count: int = 4) -> None:
        self.answered, self.faults = 0, list[str]()
        self._asked, self._done = asked, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> Calls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, count: int = 100) -> None:
        """Return when so many more calls were answered."""
        wanted = self.answered + count
        until(lambda: self.answered >= wanted)

    def _call(self) -> None:
        request = INFERENCE["ModelInferRequest"].FromString(asking(2))
        request.model_version = "2"
        sent = request.SerializeToString()
        with self._asked.channel() as channel:
            while not self._done.is_set():
                try:
                    infer(channel, sent)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.faults.append(f"{error.code()} {error.details()}")


def test_a_restart_under_load_replaces_every_worker_and_loses_no_call(asked: Asked) -> None:
    before = children(asked.deployed)
    with Calls(asked) as calls:
        calls.go_on()
        asked.target.restart("delays")
        calls.go_on()
    assert calls.faults == []
    until(lambda: not set(before) & set(children(asked.deployed)) and len(children(asked.deployed)) == 2)


def children(deployed: Deployment) -> list[int]:
    told = Path(f"/proc/{deployed.pid}/task/{deployed.pid}/children").read_text().split()
    return [int(one) for one in told]


def test_to_look_for_sockets_lets_go_of_no_lock_and_closes_none(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    other = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('locked')\n"
    )
    with path.open("wb") as file, socket.create_server(("127.0.0.1", 0)) as listener:
        fcntl.lockf(file, fcntl.LOCK_EX)
        port = listener.getsockname()[1]
        assert not has_connections(port)
        with socket.create_connection(("127.0.0.1", port)) as caller, listener.accept()[0]:
            assert has_connections(port)
            caller.getpeername()
        close_listeners(port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        told = subprocess.run([sys.executable, "-c", other, str(path)], capture_output=True, text=True, check=True)
    assert told.stdout == "locked\n"


def test_a_port_is_of_one_service_alone_and_each_of_a_project_gets_its_own(
    asked: Asked, bento: Bento, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asked.deployed.grpc_port
    target = LocalTarget(StateFolder.open(tmp_path), Settings(service={"grpc_port": taken}))
    try:
        started = target.start("delays", bento.path)
        assert taken < started.grpc_port < taken + 20
        assert target.start("delays").pid == started.pid  # and keeps it
        assert main(["services", "list", "--project", str(tmp_path)]) == 0
        assert f"gRPC {started.grpc_port}" in capsys.readouterr().out
    finally:
        target.stop("delays")
    monkeypatch.setenv("MLNB_GRPC_PORT", str(taken))  # exactly that one
    with pytest.raises(ServiceError, match=f"Port {taken} on 127.0.0.1 is in use, so gRPC cannot be answered there"):
        target.start("delays")


def test_tokens_and_certificates_count_for_calls_as_they_do_for_requests(tmp_path: Path, bento: Bento) -> None:
    authority, callers = issue(tmp_path, "authority"), issue(tmp_path, "callers")
    served, caller = issue(tmp_path, "service", authority), issue(tmp_path, "caller", callers)
    settings = {"tls_cert": str(served.cert), "tls_key": str(served.key), "tls_client_ca": str(callers.cert)}
    state = StateFolder.open(tmp_path)
    target = LocalTarget(state, Settings(service={**settings, "grpc_port": free_port()}))
    tokens = Tokens(state.services / "delays", Silent(), "tester")
    token, slow = tokens.add("shop", Wish()), tokens.add("slow", Wish(requests_s=0.001))
    labels = tokens.add("labels", Wish(scopes=("labels",)))
    started = target.start("delays", bento.path)
    own = (caller.key.read_bytes(), caller.cert.read_bytes())
    try:

        def channel(*pair: bytes) -> grpc.Channel:
            credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes(), *pair)
            return grpc.secure_channel(
                f"127.0.0.1:{started.grpc_port}", credentials, [("grpc.use_local_subchannel_pool", 1)]
            )

        def as_who(who: str) -> dict[str, Any]:
            return {"metadata": [("authorization", f"Bearer {who}")]}

        with channel(*own) as known, channel() as stranger:
            answer, _ = infer(known, asking(1), **as_who(token))
            assert (answer.model_name, answer.model_version) == ("delays", "1")
            infer(known, asking(1), **as_who(slow))
            for more, code in (
                ({}, "UNAUTHENTICATED"),
                (as_who(token[:-1] + "x"), "UNAUTHENTICATED"),
                (as_who(labels), "PERMISSION_DENIED"),
                (as_who(slow), "RESOURCE_EXHAUSTED"),
            ):
                fault = refused(lambda more=more: infer(known, asking(1), **more))
                assert fault.code().name == code
            assert int(dict(fault.trailing_metadata())["grpc-retry-pushback-ms"]) > 1000
            assert refused(lambda: infer(stranger, asking(1), **as_who(token))).code().name == "UNAVAILABLE"
        issue(tmp_path, "service", issue(tmp_path, "authority"))  # another authority: who trusts it is answered soon

        def renewed() -> bool:
            with channel(*own) as fresh:
                try:
                    return bool(infer(fresh, asking(1), **as_who(token)))
                except grpc.RpcError:
                    return False

        until(renewed)
    finally:
        target.stop("delays")


class Silent:
    """An audit log that keeps nothing."""

    def record(self, actor: str, action: str, subject: str, detail: dict[str, object]) -> object:
        return None


def test_where_grpcio_is_missing_one_sentence_says_so_and_off_it_is_never_loaded(
    bento: Bento, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['grpc'] = None\n")  # nobody finds it
    environ = os.environ | {"PYTHONPATH": f"{tmp_path}:{bento.source}", "MLNB_PREDICTIONS": str(tmp_path / "log")}
    command = [sys.executable, "-m", "mlnb.service.serve", "--port", "0"]
    asked = environ | {"MLNB_GRPC_PORT": str(free_port())}
    done = subprocess.run(command, cwd=bento.source, env=asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "grpc_port asks for gRPC, but grpcio is not installed there. Install mlnb[grpc] where it runs" in done.stderr
    assert "Traceback" not in done.stderr
    looked = (
        "import sys, mlnb.service.worker; print([one for one in sys.modules if one.startswith(('grpc', 'google'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", looked], cwd=bento.source, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_who_asks_for_grpc_has_it_locked(packages: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    names = {row.partition("==")[0] for row in requirements([packages[1]], asked_for({"grpc_port": 9000}))}
    assert {"grpcio", "protobuf"} <= names
    assert names - {row.partition("==")[0] for row in requirements([packages[1]], asked_for({}))} == {
        "grpcio",
        "protobuf",
    }
    with pytest.raises(SettingsError, match="from 0 to 65535"):
        asked_for({"grpc_port": 70_000})
    monkeypatch.setenv("MLNB_GRPC_PORT", "9000")
    assert asked_for({})


def test_a_version_that_was_locked_without_it_gets_it_into_the_lock_of_its_bento_and_nothing_else_changes(
    packages: dict[int, Path], tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(packages[1], package)
    text = lock(requirements([package]), "installed", "delays")
    (package / "lock.txt").write_text(text)
    state, further = StateFolder.open(tmp_path / "project"), asked_for({"grpc_port": 9000})
    made = build_bento("delays", {1: package}, {"production": 1}, state, "installed", further=further)
    before, after = (
        {pin.name: pin.version for pin in read_lock(one)} for one in (text, (made.source / "lock.txt").read_text())
    )
    assert before.items() < after.items()
    assert "grpcio" in after.keys() - before.keys() <= {"grpcio", "protobuf", "typing-extensions"}


def test_odd_and_spoiled_messages_are_refused_or_answered_and_nothing_breaks(asked: Asked) -> None:
    before = children(asked.deployed)
    with asked.channel() as channel:
        fuzzed = Fuzzed(channel, asked.case)
        for seed in range(FUZZED):
            fuzzed.attempt(random.Random(seed))
    assert fuzzed.wrong == []
    assert fuzzed.counts["OK"] > FUZZED // 20 < fuzzed.counts["INVALID_ARGUMENT"]
    assert children(asked.deployed) == before
