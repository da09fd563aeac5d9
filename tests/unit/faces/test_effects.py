"""The effects of moves are done by the next verb, whatever happened to the one that moved; people are told once."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import update

from mlnb.effects import follow
from mlnb.errors import SettingsError, StateError, StorageError, UntrustedError
from mlnb.notify.webhook import Webhook
from mlnb.project import Project
from mlnb.registry.outbox import Effect
from mlnb.registry.version import Draft
from mlnb.settings import Settings
from mlnb.store.tables import ALIAS, VERSION
from tests.unit.faces.conftest import Mlnb, Ran

DIE_AFTER_THE_MOVE = """
import os, signal, sys
from mlnb.effects import Courier
from mlnb.project import Project
project = Project(sys.argv[1])
with project.effects.planned("delays") as effects:
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


def test_a_declared_channel_is_told_beside_the_address_of_notify_url(
    project: Project, receiver: Receiver, tmp_path: Path
) -> None:
    settings = tmp_path / "pyproject.toml"
    table = f'[tool.mlnb.notify.ops]\nkind = "slack"\nurl = "{receiver.url}"\nmodels = ["delays"]\n'
    settings.write_text(settings.read_text("utf-8") + table, "utf-8")
    Project(tmp_path).promote("delays/1", "production", reason="the first")
    assert [body.get("event", "of the chat") for _, body in receiver.told] == ["promotion", "of the chat"]
    assert receiver.told[0][1]["text"] == receiver.told[1][1]["text"]


def test_a_version_that_was_damaged_where_it_lies_ready_is_handed_over_again(tmp_path: Path, package: Path) -> None:
    made = Project(tmp_path)
    for content in (b"a", b"b"):
        register(made, package, content)
    made.promote("delays/1", "production")
    (ready,) = (tmp_path / ".mlnb").glob("**/versions/1/model.onnx")
    ready.write_bytes(b"no model")
    made.promote("delays/2", "staging")
    assert not made.left_undone
    assert ready.read_bytes() == (package / "model.onnx").read_bytes()
    made.ledger.close()


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


def test_a_receiver_that_does_not_answer_is_asked_once_in_a_pass(project: Project, receiver: Receiver) -> None:
    for number in (1, 2, 1):
        with project.effects.planned("delays") as effects:
            project.models.promote(f"delays/{number}", "production", by="anna", effects=effects)
    receiver.statuses = [500, 500, 500]
    waiting = project.effects.deliver()
    assert [(effect.kind, effect.attempts) for effect in waiting] == [("notify", 1), ("notify", 0), ("notify", 0)]
    assert len(receiver.told) == 1
    assert project.left_undone


NOTIFIER = """
class Broken:
    def send(self, event, key):
        raise TypeError("not this way")


def made(settings):
    return Broken()
"""
PROMOTE = """
import sys
from mlnb.project import Project

project = Project(sys.argv[1])
print(project.promote("delays/1", "production").changed)
"""


def test_a_notifier_that_breaks_keeps_nobody_from_promoting(project: Project, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    metadata = plugin / "our_notifier-1.0.dist-info"
    metadata.mkdir(parents=True)
    (plugin / "our_notifier.py").write_text(NOTIFIER, "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: our-notifier\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[mlnb.notifiers]\nbroken = our_notifier:made\n", "utf-8")
    told = subprocess.run(
        [sys.executable, "-c", PROMOTE, str(project.root)],
        env={**os.environ, "PYTHONPATH": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.stdout, told.stderr) == ("True\n", "")
    (waiting,) = project.outbox.waiting()
    assert (waiting.payload["notifier"], waiting.problem) == ("broken", "TypeError: not this way")


def test_an_act_of_one_thread_is_not_done_by_the_delivery_of_another(project: Project, receiver: Receiver) -> None:
    with project.effects.planned("delays") as effects:
        before = list((project.state.root / "effects").iterdir())
        other = Thread(target=project.effects.deliver)
        other.start()
        other.join()
        assert list((project.state.root / "effects").iterdir()) == before
        project.models.promote("delays/1", "production", by="anna", effects=effects)
    project.effects.deliver()
    assert list((project.state.root / "effects").iterdir()) == []


def test_a_move_whose_commit_got_lost_is_looked_after_by_the_next_verb(
    project: Project, receiver: Receiver, mlnb: Mlnb
) -> None:
    with pytest.raises(StorageError), project.effects.planned("delays") as effects:
        project.models.promote("delays/1", "production", by="anna", effects=effects)
        raise StorageError("The connection was lost.", "Try again.", path="")
    assert project.left_undone
    mlnb("audit", "log", "-q")
    assert [body["to"] for _, body in receiver.told] == ["delays/1"]
    assert not project.left_undone


def test_a_delivery_that_could_not_be_tried_is_left_to_the_next_verb(project: Project, tmp_path: Path) -> None:
    with project.effects.planned("delays") as effects:
        project.models.promote("delays/1", "production", by="anna", effects=effects)
    project.ledger.close()
    whole = tmp_path / ".mlnb" / "ledger.db"
    kept = whole.read_bytes()
    whole.write_bytes(b"no ledger" * 1000)
    with pytest.raises(StateError):
        project.effects.deliver()
    assert project.left_undone
    whole.write_bytes(kept)


def test_the_mark_of_a_process_whose_number_was_given_again_is_left(project: Project) -> None:
    folder = project.state.root / "effects"
    folder.mkdir()
    mark = folder / f"{os.getpid()}-1-00aa00aa.{platform.node()}"
    mark.touch()
    assert project.left_undone
    mark.rename(folder / f"{os.getpid()}-00aa00aa.{platform.node()}")  # as an older mlnb wrote it
    assert not project.left_undone


def test_a_project_is_known_by_its_own_id_and_not_by_the_name_of_its_machine(project: Project) -> None:
    place = project.state.place
    assert place == Project(project.root).state.place
    assert platform.node() not in place.removesuffix(str(project.state.root))
    older = Effect("route", {"place": f"{platform.node()}:{project.state.root}"})
    renamed = Effect("route", {"place": f"another-container:{project.state.root}"})
    project.models.promote("delays/1", "production", by="ben", effects=[older, renamed])
    assert project.effects.deliver() == ()
    assert project.outbox.waiting() == ()


def test_what_lies_ready_is_not_unpacked_again_and_what_was_altered_is_not_placed(project: Project) -> None:
    project.promote("delays/1", "production")
    assert project.services.placed("delays", {1, 2}) == {1: project.models.get("delays/1").files, 2: {}}
    place = project.state.files.path(project.models.get("delays/1").files["words.txt"])
    place.unlink()
    follow("delays", project.models, project.services)
    with project.ledger.write() as connection:
        connection.execute(update(VERSION).where(VERSION.c.number == 2), {"exporter": "native", "seal": "", "key": ""})
        connection.execute(update(ALIAS), {"number": 2})
    with pytest.raises(UntrustedError, match="delays/2 is not what the audit log tells of"):
        follow("delays", project.models, project.services)
    assert project.services.placed("delays", {2}) == {2: {}}
