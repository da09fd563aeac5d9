"""The effects of moves are done by the next verb, whatever happened to the one that moved; people are told once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mlnb.errors import SettingsError
from mlnb.project import Project
from mlnb.registry.outbox import Effect
from mlnb.registry.version import Draft
from mlnb.service.webhook import Webhook
from mlnb.settings import Settings
from tests.unit.faces.conftest import Mlnb, Ran

DIE_AFTER_THE_MOVE = """
import os, signal, sys
from mlnb.effects import Courier
from mlnb.project import Project
project = Project(sys.argv[1])
with project.effects.planned() as effects:
    project.models.promote("delays/1", "production", by="anna", effects=effects)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Receiver(ThreadingHTTPServer):
    """Keeps what it is told; answers with the statuses that it was given, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[str, dict[str, object]]] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=s3cret-token"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.headers["Idempotency-Key"], body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Location", self.server.url)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path, package: Path, receiver: Receiver) -> Iterator[Project]:
    (tmp_path / "pyproject.toml").write_text(f'[tool.mlnb]\nnotify_url = "{receiver.url}"\n')
    made = Project(tmp_path)
    for content in (b"a", b"b"):
        register(made, package, content)
    yield made
    made.ledger.close()


def register(project: Project, package: Path, content: bytes) -> None:
    store = project.state.files
    files = {path.name: store.put(path)[0] for path in package.iterdir()} | {"words.txt": store.put(content)[0]}
    project.models.register(Draft("delays", "anna", "onnx", files))


def test_people_are_told_of_a_promotion_and_of_a_rollback(project: Project, receiver: Receiver) -> None:
    project.promote("delays/1", "production", reason="the first")
    project.promote("delays/2", "production")
    project.rollback("delays", "production", reason="too slow")
    told = [body for _, body in receiver.told]
    assert [(body["event"], body["kind"], body["to"]) for body in told] == [
        ("promotion", "promote", "delays/1"), ("promotion", "promote", "delays/2"), ("promotion", "rollback", "delays/1"),
    ]  # fmt: skip
    assert told[0]["text"] == f"{project.actor} promoted delays@production to delays/1: the first"
    assert told[2]["text"] == f"{project.actor} rolled back delays@production to delays/1 (before: delays/2): too slow"
    assert len({key for key, _ in receiver.told}) == 3
    assert not project.left_undone
    assert project.outbox.waiting() == ()


def test_nobody_is_told_where_nothing_is_set_up(tmp_path: Path, package: Path) -> None:
    made = Project(tmp_path)
    register(made, package, b"a")
    made.promote("delays/1", "production")
    assert made.outbox.waiting() == ()
    made.ledger.close()


def test_a_message_that_was_not_taken_is_sent_again_by_the_next_verb_under_the_same_key(
    project: Project, receiver: Receiver, mlnb: Mlnb
) -> None:
    receiver.statuses = [500, 302]
    assert project.promote("delays/1", "production").changed
    (waiting,) = project.outbox.waiting()
    assert (waiting.kind, waiting.attempts) == ("notify", 1)
    assert waiting.problem.startswith("http://127.0.0.1 answered 500 when it was told.")
    assert "s3cret" not in waiting.problem
    assert project.left_undone
    while project.outbox.waiting():
        assert "s3cret" not in mlnb("audit", "log", "-q").err
    assert len(receiver.told) == 3
    assert len({key for key, _ in receiver.told}) == 1
    assert not project.left_undone


def test_what_a_killed_promotion_has_left_is_done_by_the_next_verb(
    project: Project, receiver: Receiver, mlnb: Mlnb
) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_AFTER_THE_MOVE, str(project.root)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert project.models.aliases("delays") == {"production": 1}
    assert receiver.told == []
    assert project.left_undone
    assert mlnb("audit", "log", "-q") == Ran(0, "", "")
    assert [body["to"] for _, body in receiver.told] == ["delays/1"]
    assert not project.left_undone
    mlnb("audit", "log", "-q")
    assert len(receiver.told) == 1


def test_another_machine_s_service_is_left_to_that_machine(project: Project, receiver: Receiver) -> None:
    theirs = (Effect("route", {"place": "there:/p"}), Effect("notify", {"place": "there:/p", "notifier": "webhook"}))
    project.models.promote("delays/1", "production", by="ben", effects=theirs)
    assert project.effects.deliver() == ()
    assert [effect.kind for effect in project.outbox.waiting()] == ["route"]  # whoever can, tells people
    assert [body["by"] for _, body in receiver.told] == ["ben"]
    assert not project.left_undone


def test_a_receiver_that_is_gone_keeps_nobody_from_promoting(tmp_path: Path, package: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.mlnb]\nnotify_url = "http://127.0.0.1:9/hook?token=s3cret"\n')
    made = Project(tmp_path)
    register(made, package, b"a")
    assert made.promote("delays/1", "production").changed
    assert made.outbox.waiting()[0].problem.startswith("http://127.0.0.1 cannot be told: ")
    made.ledger.close()


@pytest.mark.parametrize("address", ["ftp://host/x", "hook", "http://", "http://[", "https://host:0/"])
def test_an_address_that_is_none_is_refused_before_anything_moves(address: str) -> None:
    with pytest.raises(SettingsError, match="notify_url is no web address"):
        Webhook.of(Settings(notify_url=address))
