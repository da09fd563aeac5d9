"""Callers with the right token are answered, all others are told what they lack; certificates are followed."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
import yaml

from mlnb.errors import RequestError, ServiceError, SettingsError, StorageError, UsageError
from mlnb.project import Project
from mlnb.service.access import Access, read_tokens
from mlnb.service.bento import Bento
from mlnb.service.exported import compose_file
from mlnb.service.local import LocalTarget
from mlnb.service.protocols import Route
from mlnb.service.tokens import Tokens, Wish
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.certificates import Pair, issue

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}
BODY = json.dumps({"rows": [ROW] * 4}).encode()


@dataclass(frozen=True)
class Guarded:
    """A running service and its project."""

    port: int
    project: Path

    @property
    def folder(self) -> Path:
        return self.project / ".mlnb" / "services" / "delays"

    @property
    def pid(self) -> int:
        return int(json.loads((self.folder / "deployment.json").read_bytes())["pid"])

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.folder, Project(self.project).audit, "tester")

    def mlnb(self, *words: str) -> Any:
        command = [sys.executable, "-m", "mlnb", "services", "tokens", *words, "--project", self.project, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    def ask(self, path: str, token: str = "", body: bytes | None = BODY, scheme: str = "Bearer") -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"{scheme} {token}"} if token else {}
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def status(self, path: str, token: str = "", body: bytes | None = BODY) -> int:
        return self.ask(path, token, body).status


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, bento: Bento) -> Iterator[Guarded]:
    project = tmp_path_factory.mktemp("guarded")
    target = LocalTarget(StateFolder.open(project), Settings(service={"workers": 2, "public": "docs"}))
    started = target.start("delays", bento.path)
    found = Guarded(started.port, project)
    assert found.status("/predict") == 200
    found.tokens.add("first", Wish(("admin",)))
    assert eventually(lambda: {found.status("/predict") for _ in range(4)} == {401})
    yield found
    target.stop("delays")


def test_without_a_token_only_health_is_answered(service: Guarded) -> None:
    answer = service.ask("/predict")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="mlnb"')
    for path in ("/healthz", "/readyz", "/v2/health/live", "/openapi.json"):  # documents are public here
        assert service.status(path, body=None) == 200, path
    for path in ("/metrics", "/labels", "/explain", "/aliases/staging/predict", "/v2/models/delays/infer", "/score"):
        assert service.status(path, body=None if path == "/metrics" else BODY) == 401, path


def test_the_document_says_which_routes_ask_for_a_token(service: Guarded) -> None:
    told = json.load(urlopen(f"http://127.0.0.1:{service.port}/openapi.json"))
    assert (told["security"], told["components"]["securitySchemes"]["bearer"]["scheme"]) == ([{"bearer": []}], "bearer")
    open_routes = set()
    for path, item in told["paths"].items():
        known = {one["name"]: one["schema"]["enum"][0] for one in item.get("parameters", ())}
        for method in {"get", "post"} & set(item):
            status = service.status(path.format(**known), body=BODY if method == "post" else None)
            if item[method].get("security") == []:
                open_routes.add(path)
                assert status == 200, path
            else:
                assert (status, "401" in item[method]["responses"]) == (401, True), path
    assert {"/healthz", "/readyz", "/docs", "/v2/health/ready"} < open_routes
    assert not {"/predict", "/labels", "/metrics", "/invocations"} & open_routes


def test_a_token_of_the_command_line_opens_what_its_scopes_say_and_is_stored_as_a_digest(service: Guarded) -> None:
    made = service.mlnb("add", "delays", "shop", "--scope", "predict", "--expires", "1d")
    token = made["token"]
    assert eventually(lambda: service.status("/predict", token) == 200)
    refused = service.ask("/metrics", token, None)
    assert refused.status == 403
    assert refused.headers["www-authenticate"] == 'Bearer realm="mlnb", error="insufficient_scope", scope="metrics"'
    for wrong in (token[:-1] + "x", token[:5] + "00000000" + token[13:], "mlnb_", token + "a", "é" * 40):
        answer = service.ask("/predict", wrong.encode().decode("latin-1"))
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert service.ask("/predict", token, scheme="Basic").status == 401
    assert service.ask("/predict", token, scheme="bearer").status == 200

    path = service.folder / "tokens.json"
    assert path.stat().st_mode & 0o777 == 0o600
    stored = path.read_text()
    assert token[14:] not in stored and sha256(token.encode()).hexdigest() in stored
    listed = {one["name"]: one for one in service.mlnb("list", "delays")}
    assert listed["shop"]["scopes"] == ["predict"] and listed["shop"]["expires_at"] > listed["shop"]["created_at"]
    assert "digest" not in listed["shop"]
    assert token[14:] not in (service.folder / "service.log").read_text()


def test_a_token_that_was_made_to_expire_opens_nothing_afterwards(service: Guarded) -> None:
    brief = service.mlnb("add", "delays", "brief", "--expires", "1s")["token"]
    after = service.tokens.add("after", Wish())
    assert eventually(lambda: {service.status("/predict", after) for _ in range(6)} == {200})  # both workers know both
    assert eventually(lambda: {service.status("/predict", brief) for _ in range(6)} == {401})


def test_a_rotated_token_ends_after_its_grace_and_a_revoked_one_at_once(service: Guarded) -> None:
    old = service.tokens.add("batch", Wish(("predict", "labels")))
    assert eventually(lambda: {service.status("/predict", old) for _ in range(6)} == {200})  # in both workers
    new = service.tokens.rotate("batch", grace_s=4.0)
    assert old != new
    assert service.status("/predict", old) == 200
    assert eventually(lambda: {service.status("/predict", new) for _ in range(6)} == {200})
    assert eventually(lambda: {service.status("/predict", old) for _ in range(6)} == {401})
    assert service.status("/labels", new, b"{}") == 400  # its scopes are the old one's
    service.mlnb("revoke", "delays", "batch")
    assert eventually(lambda: {service.status("/predict", new) for _ in range(4)} == {401})
    acts = [(row.action, row.subject, row.detail["token"]) for row in Project(service.project).audit.log()]
    assert acts[-3:] == [(f"token-{act}", "delays", "batch") for act in ("add", "rotate", "revoke")]
    assert Project(service.project).audit.verify().ok
    with pytest.raises(UsageError, match="no token 'batch'"):
        service.tokens.revoke("batch")


def test_a_rate_holds_for_all_workers_together_and_says_when_to_come_again(service: Guarded) -> None:
    slow = service.tokens.add("slow", Wish(requests_s=5.0))
    wide = service.tokens.add("wide", Wish(rows_s=8.0))
    last = service.tokens.add("last", Wish())
    assert eventually(lambda: {service.status("/predict", last) for _ in range(8)} == {200})  # of both workers
    started = time.monotonic()
    answers = [service.ask("/predict", slow) for _ in range(40)]  # a connection each, over two workers
    spent = time.monotonic() - started
    accepted = sum(answer.status == 200 for answer in answers)
    assert {answer.status for answer in answers} == {200, 429}
    assert 4 <= accepted <= 5 + 5 * spent + 1
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
    assert eventually(lambda: service.status("/predict", slow) == 200)

    statuses = [service.status("/predict", wide) for _ in range(12)]  # four rows each
    assert 429 in statuses
    assert service.status("/healthz", wide, None) == 200


def test_a_damaged_file_changes_nothing_and_one_taken_away_opens_nothing(service: Guarded) -> None:
    token = service.tokens.add("kept", Wish())
    assert eventually(lambda: service.status("/predict", token) == 200)
    path = service.folder / "tokens.json"
    whole = path.read_bytes()
    log = service.folder / "service.log"
    try:
        path.write_bytes(b'{"format": 1, "tokens": [{"id": "../x"}]}')
        assert eventually(lambda: "The tokens stay as they were" in log.read_text())
        assert (service.status("/predict", token), service.status("/predict")) == (200, 401)
        path.unlink()
        assert eventually(lambda: {service.status("/predict", token) for _ in range(4)} == {401})
        assert service.status("/healthz", body=None) == 200
        workers = psutil.Process(service.pid).children()
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers)
        assert [service.status("/predict") for _ in range(4)] == [401] * 4  # by those that were started in their stead
    finally:
        path.write_bytes(whole)
    assert eventually(lambda: service.status("/predict", token) == 200)


def test_beyond_loopback_a_service_without_tokens_does_not_start_unless_it_is_meant_so(
    tmp_path: Path, bento: Bento
) -> None:
    state = StateFolder.open(tmp_path)
    with pytest.raises(ServiceError, match=r"no tokens.*mlnb services tokens add delays"):
        LocalTarget(state, Settings(host="0.0.0.0")).start("delays", bento.path)
    meant = LocalTarget(state, Settings(host="0.0.0.0", service={"open": True}))
    assert meant.start("delays", bento.path).state == "running"
    meant.stop("delays")


def test_an_image_that_everybody_reaches_says_so_in_its_log(tmp_path: Path, bento: Bento) -> None:
    source = bento.path / "src"
    environ = {**os.environ, "PYTHONPATH": str(source), "MLNB_PREDICTIONS": str(tmp_path / "predictions")}
    command = [sys.executable, "-m", "mlnb.service.serve", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, cwd=source, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "may ask this service" in line)
        process.terminate()
        process.stderr.read()
    assert "MLNB_TOKENS_FILE" in told
    assert process.returncode == 0


def test_tokens_are_looked_for_where_they_are_named_and_must_be_there(tmp_path: Path) -> None:
    missing = Access(tmp_path / "tokens.json", required=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        missing.load()
    (tmp_path / "tokens.json").write_text('{"format": 2, "tokens": []}')
    with pytest.raises(SettingsError, match="format 2"):
        read_tokens(tmp_path / "tokens.json")
    with pytest.raises(SettingsError, match="format 2"):
        Access(tmp_path / "tokens.json").load()


def test_what_a_caller_owes_outlives_a_worker_and_not_the_machine(tmp_path: Path) -> None:
    text = Tokens(tmp_path, Project(tmp_path).audit, "tester").add("batch", Wish(requests_s=1.0, rows_s=1.0))
    route, sent = Route("/predict", "", "POST"), [(b"authorization", b"Bearer " + text.encode())]

    def started() -> Access:
        access = Access(tmp_path / "tokens.json")
        access.load()
        return access

    access = started()
    access.charge(access.admit(route, sent), 900)
    with pytest.raises(RequestError, match="above its rate"):
        started().admit(route, sent)
    os.utime(tmp_path / "rates.bin", (0, 0))  # as it was left before the machine started
    assert started().admit(route, sent) is not None

    table = (tmp_path / "rates.bin").read_bytes()
    at = table.index(text[5:13].encode())
    far = struct.pack("=8sdd", text[5:13].encode(), time.monotonic() + 600, 0.0)
    (tmp_path / "rates.bin").write_bytes(table[:at] + far + table[at + len(far) :])
    assert started().admit(route, sent) is not None  # nobody may owe ten minutes at one request a second


@pytest.mark.parametrize(
    ("name", "wish"), [("a b", Wish()), ("", Wish()), ("x", Wish(("predikt",))), ("x", Wish(())), ("x", Wish(days=-1))]
)
def test_what_cannot_be_a_token_is_refused(tmp_path: Path, name: str, wish: Wish) -> None:
    with pytest.raises(UsageError):
        Tokens(tmp_path / "delays", Project(tmp_path).audit, "tester").add(name, wish)
    assert not (tmp_path / "delays" / "tokens.json").exists()


class Full:
    """An audit log that takes nothing."""

    def record(self, actor: str, action: str, subject: str, detail: dict[str, object]) -> object:
        raise StorageError("The audit log cannot be written.", "Free space.", path="audit")


def test_what_the_audit_log_does_not_take_changes_no_token(tmp_path: Path) -> None:
    folder = tmp_path / "delays"
    with pytest.raises(StorageError):
        Tokens(folder, Full(), "tester").add("first", Wish())
    assert not (folder / "tokens.json").exists()
    Tokens(folder, Project(tmp_path).audit, "tester").add("first", Wish())
    before = (folder / "tokens.json").read_bytes()
    with pytest.raises(StorageError):
        Tokens(folder, Full(), "tester").revoke("first")
    assert (folder / "tokens.json").read_bytes() == before
    (folder / "tokens.lock").unlink()
    (folder / "tokens.lock").mkdir()
    with pytest.raises(StorageError, match=r"tokens\.lock"):
        Tokens(folder, Project(tmp_path).audit, "tester").revoke("first")


def shown(port: int, trust: Path, own: Pair | None = None) -> bytes:
    """Return the certificate that a service shows, after it has answered."""
    context = ssl.create_default_context(cafile=str(trust))
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    connection = HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request("POST", "/predict", BODY)
        assert connection.getresponse().status == 200
        sock: ssl.SSLSocket = connection.sock  # type: ignore[assignment]
        return sock.getpeercert(binary_form=True) or b""
    finally:
        connection.close()


def test_a_service_speaks_tls_to_callers_it_was_told_of_and_takes_up_a_renewed_certificate(
    tmp_path: Path, bento: Bento, packages: dict[int, Path]
) -> None:
    authority, callers = issue(tmp_path, "authority"), issue(tmp_path, "callers")
    served, caller = issue(tmp_path, "service", authority), issue(tmp_path, "caller", callers)
    served.cert.write_bytes(served.cert.read_bytes() + authority.cert.read_bytes())  # with its chain
    settings = {"tls_cert": "service.pem", "tls_key": str(served.key), "tls_client_ca": "callers.pem", "header_s": 1.5}
    target = LocalTarget(StateFolder.open(tmp_path), Settings(service=settings))
    started = target.start("delays", bento.path)
    try:
        assert started.url.startswith("https://127.0.0.1:")
        first = shown(started.port, authority.cert, caller)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(started.port, authority.cert)
        with pytest.raises((ssl.SSLError, ConnectionError)):  # an authority of the chain signs no callers
            shown(started.port, authority.cert, issue(tmp_path, "stranger", authority))
        with socket.create_connection(("127.0.0.1", started.port), timeout=20) as silent:
            assert silent.recv(4096) == b""  # given up
        with socket.create_connection(("127.0.0.1", started.port), timeout=20) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" not in plain.recv(4096)
        routed = target.route("delays", packages, {"production": 1, "staging": 2})  # the target's own client
        assert routed is not None and routed.aliases["staging"] == "delays/2"
        assert target.status("delays").url == started.url
        text = compose_file(started, tmp_path, tmp_path, "", Settings(service=settings))
        _, _, *health = yaml.safe_load(text)["services"]["delays"]["healthcheck"]["test"]
        environ = {"PORT": str(started.port), "MLNB_TLS_CERT": str(served.cert), "MLNB_TLS_KEY": str(served.key)}
        subprocess.run([sys.executable, *health], env=environ, check=True)

        issue(tmp_path, "service", authority)
        assert eventually(lambda: shown(started.port, authority.cert, caller) != first)
    finally:
        target.stop("delays")


def test_a_certificate_that_cannot_be_used_is_a_setting_to_correct(tmp_path: Path, bento: Bento) -> None:
    served = issue(tmp_path, "service")
    other = issue(tmp_path, "other")
    for settings, told in (
        ({"tls_cert": str(served.cert)}, "without tls_key"),
        ({"tls_cert": str(served.cert), "tls_key": str(other.key)}, "cannot be used"),
        ({"tls_cert": "none.pem", "tls_key": str(other.key)}, "No such file"),
    ):
        target = LocalTarget(StateFolder.open(tmp_path), Settings(service=settings))
        with pytest.raises(SettingsError, match=told):
            target.start("delays", bento.path)
