from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from mlnb.service.app import Application, kept_up
from mlnb.service.bento import Bento
from mlnb.service.body import Message
from mlnb.service.configuration import Configuration
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import Batch, read_labels, read_predictions
from mlnb.service.routing_files import place
from mlnb.service.serve import main
from mlnb.service.skew import read_sample
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Running:
    """A running service: staging is version 2, production version 1."""

    port: int
    predictions: Path

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            connection.request(method, path, sent, headers or {})
            response = connection.getresponse()
            content = response.read()
            kind = response.headers.get("content-type", "")
            told = {name.lower(): value for name, value in response.headers.items()}
            return Answer(
                response.status, told, json.loads(content) if content and "json" in kind else content.decode()
            )
        finally:
            connection.close()

    def logged(self) -> dict[str, dict[str, Any]]:
        """Every logged row by its request id."""
        found: dict[str, dict[str, Any]] = {}
        for batch in read_predictions(self.predictions):
            for at in range(len(batch)):
                found[batch.request_id[at]] = {name: getattr(batch, name)[at] for name in Batch.__slots__}
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path]) -> Iterator[Running]:
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    target = LocalTarget(state, Settings(service={"max_rows": 100}))
    target.route("delays", packages, {"production": 1, "staging": 2})
    started = target.start("delays", bento.path)
    yield Running(started.port, state.predictions / "delays")
    target.stop("delays")


def test_predict_answers_in_the_documented_form(service: Running) -> None:
    answer = service.ask("POST", "/predict", {"rows": [ROW, ROW]}, {"X-Request-Id": "trip-1"})
    assert answer.status == 200
    assert list(answer.body) == ["predictions", "probabilities", "ids", "version"]
    assert len(answer.body["predictions"]) == len(answer.body["probabilities"]) == len(set(answer.body["ids"])) == 2
    assert answer.body["version"] == answer.headers["x-model-version"] == "delays/1"
    assert answer.headers["x-request-id"] == "trip-1"
    assert answer.headers["content-type"] == "application/json"


def test_a_table_is_answered_like_rows(service: Running) -> None:
    rows = service.ask("POST", "/predict", {"rows": [ROW]}).body
    table = service.ask("POST", "/predict", {"columns": list(ROW), "data": [list(ROW.values())]}).body
    assert table["probabilities"] == rows["probabilities"]


def test_each_alias_answers_with_its_version(service: Running) -> None:
    assert service.ask("POST", "/aliases/production/predict", {"rows": [ROW]}).body["version"] == "delays/1"
    assert service.ask("POST", "/aliases/staging/predict", {"rows": [ROW]}).body["version"] == "delays/2"


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/predict", {"rows": [{"age": 1.5, "wind": 1.0, "origin_": "JFK"}]}, 422, "did you mean 'origin'"),
        ("/predict", {"rows": [{"age": 1.5, "wind": 1.0}]}, 422, "column 'origin' is missing"),
        ("/predict", {"rows": [ROW, {**ROW, "age": "old"}]}, 422, "rows[1]: column 'age' must be a number"),
        ("/predict", {"rows": [{**ROW, "age": None}]}, 422, "column 'age' may not be null"),
        ("/predict", {"rows": [{**ROW, "extra": 1}]}, 422, "unexpected column 'extra'"),
        ("/predict", {"rows": []}, 422, "no rows"),
        ("/predict", b"{", 400, "not JSON"),
        ("/predict", {"rows": 5}, 400, "a number, not a list"),
        ("/predict", {"columns": ["age"], "data": [[1, 2]]}, 400, "row 0 has 2 values for 1 columns"),
        ("/predict", {"rows": [ROW] * 101}, 413, "101 rows; this service takes 100"),
        ("/aliases/nobody/predict", {"rows": [ROW]}, 404, "no alias 'nobody'"),
    ],
)
def test_a_wrong_request_is_refused_by_name_and_logged(
    service: Running, path: str, body: object, status: int, told: str, request: pytest.FixtureRequest
) -> None:
    name = f"refused {abs(hash(request.node.name))}"
    answer = service.ask("POST", path, body, {"X-Request-Id": name})
    assert answer.status == status
    error = answer.body["error"]
    assert set(error) == {"problem", "remedy", "faults"}
    assert told in " ".join([error["problem"], *error["faults"]])
    assert error["remedy"]
    row = service.logged()[name]
    assert row["status"] == status
    assert told in row["error"]
    assert row["prediction"] is None
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert row["inputs"] == sent.decode()[:16_384]


def test_what_is_refused_is_logged_under_the_version_that_was_asked_by_number(service: Running) -> None:
    path = "/v2/models/delays/versions/2/infer"
    assert service.ask("POST", path, {"inputs": 5}, {"X-Request-Id": "by number"}).status == 400
    row = service.logged()["by number"]
    assert (row["version"], row["alias"], row["status"]) == (2, "staging", 400)


def test_a_wrong_path_or_method_is_refused(service: Running) -> None:
    assert service.ask("GET", "/nothing").status == 404
    wrong = service.ask("GET", "/predict")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert service.ask("POST", "/healthz").headers["allow"] == "GET, HEAD"
    assert service.ask("POST", "/predict", b"x", {"Content-Encoding": "gzip"}).status == 415


def test_a_prediction_is_logged_with_all_that_was_asked_and_answered(service: Running) -> None:
    before = datetime.now(UTC).timestamp()
    body = {"rows": [ROW], "timestamps": ["2013-04-01T05:15:00Z"]}
    answer = service.ask("POST", "/aliases/staging/predict", body, {"X-Request-Id": "whole"}).body
    row = service.logged()["whole"]
    assert row["id"] == answer["ids"][0]
    assert (row["model"], row["version"], row["alias"], row["status"]) == ("delays", 2, "staging", 200)
    assert json.loads(row["inputs"]) == ROW
    assert json.loads(row["prediction"]) == answer["predictions"][0]
    assert json.loads(row["probabilities"]) == answer["probabilities"][0]
    assert row["event_at"] == int(datetime(2013, 4, 1, 5, 15, tzinfo=UTC).timestamp()) * 10**9
    assert before <= row["logged_at"] / 1e9 <= datetime.now(UTC).timestamp()
    assert row["latency_ms"] > 0
    assert row["error"] is None


def test_a_request_id_is_made_where_none_is_sent_or_a_bad_one(service: Running) -> None:
    made = service.ask("GET", "/healthz").headers["x-request-id"]
    assert len(made) == 24
    assert service.ask("GET", "/healthz", headers={"X-Request-Id": "x" * 129}).headers["x-request-id"] != "x" * 129


def test_labels_are_kept_and_coming_again_changes_nothing(service: Running) -> None:
    ids = service.ask("POST", "/predict", {"rows": [ROW, ROW]}).body["ids"]
    for _ in range(2):
        assert service.ask("POST", "/labels", {"labels": {ids[0]: 1, ids[1]: "late"}}).body == {"accepted": 2}
    labels = read_labels(service.predictions)
    assert (labels[ids[0]], labels[ids[1]]) == (1, "late")
    assert service.ask("POST", "/labels", {"labels": {"7": 1}}).status == 422


def test_readiness_tells_what_answers(service: Running) -> None:
    ready = service.ask("GET", "/readyz")
    assert ready.status == 200
    assert ready.body["ready"] is True
    assert ready.body["model"] == "delays"
    assert ready.body["aliases"] == {"production": "delays/1", "staging": "delays/2"}
    assert ready.body["versions"] == ["delays/1", "delays/2"]
    assert ready.body["default"] == "production"
    assert ready.body["revision"] == 1
    assert service.ask("GET", "/healthz").body == {"alive": True}
    assert service.ask("HEAD", "/healthz").status == 200


def test_metrics_count_what_was_answered(service: Running) -> None:
    def count(text: str) -> float:
        head = 'mlnb_http_requests_total{route="/aliases/{alias}/predict",status="200",version="delays/2"} '
        return sum(float(line.removeprefix(head)) for line in text.splitlines() if line.startswith(head))

    before = count(service.ask("GET", "/metrics").body)
    service.ask("POST", "/aliases/staging/predict", {"rows": [ROW]})
    after = service.ask("GET", "/metrics")
    assert count(after.body) == before + 1
    assert after.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "/nothing" not in after.body


async def drive(
    application: Application, method: str, path: str, messages: list[Message], *, stall: bool = False
) -> tuple[int, Any]:
    """Speak ASGI to the application as a server would; `stall` leaves the body unfinished."""
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        if stall:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    await application(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def in_process(folder: Path, configuration: Configuration, scenario: Callable[[Application], Awaitable[None]]) -> None:
    async def run() -> None:
        application = Application(folder / "bento", None, folder / "log", configuration)
        started: list[Message] = [{"type": "lifespan.startup"}]
        over = asyncio.Event()

        async def receive() -> Message:
            if started:
                return started.pop()
            await over.wait()
            return {"type": "lifespan.shutdown"}

        answered: list[Message] = []

        async def send(message: Message) -> None:
            answered.append(message)

        living = asyncio.create_task(application({"type": "lifespan"}, receive, send))
        await asyncio.sleep(0)
        try:
            await scenario(application)
        finally:
            over.set()
            await living
        assert [message["type"] for message in answered] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(run())


def test_a_body_that_is_too_large_is_refused_without_being_kept(tmp_path: Path, packages: dict[int, Path]) -> None:
    place(tmp_path / "bento", "delays", packages, {"staging": 1})

    async def scenario(application: Application) -> None:
        chunks: list[Message] = [{"type": "http.request", "body": b"x" * 600, "more_body": True} for _ in range(3)]
        chunks.append({"type": "http.request", "body": b"", "more_body": False})
        status, body = await drive(application, "POST", "/predict", chunks)
        assert status == 413
        assert "1800 bytes; this service takes 1000" in body["error"]["problem"]

    in_process(tmp_path, Configuration(max_body_bytes=1000), scenario)
    (batch,) = read_predictions(tmp_path / "log")
    assert batch.status == (413,)
    assert batch.inputs == ("",)


def test_a_body_that_never_ends_is_given_up(tmp_path: Path, packages: dict[int, Path]) -> None:
    place(tmp_path / "bento", "delays", packages, {"staging": 1})

    async def scenario(application: Application) -> None:
        started: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
        status, body = await drive(application, "POST", "/predict", started, stall=True)
        assert (status, "did not arrive" in body["error"]["problem"]) == (408, True)
        status, _ = await drive(application, "POST", "/predict", [])
        assert status == 400  # the caller left

    in_process(tmp_path, Configuration(body_s=0.05), scenario)


def test_an_answer_that_cannot_be_logged_is_not_sent_and_readiness_recovers(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path / "bento", "delays", packages, {"staging": 1})
    row = read_sample(packages[1])[0]

    def asked() -> list[Message]:
        return [{"type": "http.request", "body": json.dumps({"rows": [row]}).encode(), "more_body": False}]

    async def scenario(application: Application) -> None:
        status, _ = await drive(application, "POST", "/predict", asked())
        assert status == 200
        assert application._answering.log is not None
        database = application._answering.log._database
        assert database is not None
        database._connection.execute("PRAGMA query_only = ON")  # SQLite's own way to refuse every write
        status, body = await drive(application, "POST", "/predict", asked())
        assert status == 503
        assert "cannot be written" in body["error"]["problem"]
        status, body = await drive(application, "GET", "/readyz", [])
        assert (status, body["ready"]) == (503, False)
        database._connection.execute("PRAGMA query_only = OFF")
        status, body = await drive(application, "GET", "/readyz", [])
        assert (status, body["log"]) == (200, "ok")

    in_process(tmp_path, Configuration(), scenario)
    (batch,) = read_predictions(tmp_path / "log")
    assert batch.status == (200,)


def test_an_unknown_failure_is_told_where_its_record_cannot_be_written_either(
    tmp_path: Path, hooked_package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place(tmp_path / "bento", "delays", {1: hooked_package}, {"staging": 1})

    async def scenario(application: Application) -> None:
        application._router.routing.aliases["staging"].scorer.hooks = "no hook"  # type: ignore[assignment]
        log = application._answering.log
        assert log is not None and log._database is not None
        log._database._connection.execute("PRAGMA query_only = ON")
        sent = json.dumps({"rows": [{**ROW, "wind": 1.0}]}).encode()
        asked: list[Message] = [{"type": "http.request", "body": sent, "more_body": False}]
        status, _ = await drive(application, "POST", "/predict", asked)
        assert status == 500
        log._database._connection.execute("PRAGMA query_only = OFF")

    in_process(tmp_path, Configuration(), scenario)
    assert "'str' object has no attribute 'preprocess'" in caplog.text


def test_what_cannot_be_followed_for_a_moment_is_followed_again(caplog: pytest.LogCaptureFixture) -> None:
    tried = 0
    again = asyncio.Event()

    async def follow() -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise PermissionError("not now")
        again.set()
        await asyncio.Event().wait()

    async def both() -> None:
        task = asyncio.create_task(kept_up(follow))
        await asyncio.wait_for(again.wait(), 20)
        task.cancel()

    asyncio.run(both())
    assert "PermissionError: not now" in caplog.text


def test_a_service_without_a_live_alias_is_alive_but_not_ready(tmp_path: Path) -> None:
    place(tmp_path / "bento", "delays", {}, {})

    async def scenario(application: Application) -> None:
        assert (await drive(application, "GET", "/healthz", []))[0] == 200
        assert (await drive(application, "GET", "/readyz", []))[0] == 503
        asked: list[Message] = [{"type": "http.request", "body": b'{"rows": [{}]}', "more_body": False}]
        status, body = await drive(application, "POST", "/predict", asked)
        assert (status, body["error"]["problem"]) == (503, "No version of delays is live.")

    in_process(tmp_path, Configuration(), scenario)


def test_a_failing_hook_is_the_services_fault_and_shows_no_stack_trace(tmp_path: Path, hooked_package: Path) -> None:
    place(tmp_path / "bento", "delays", {1: hooked_package}, {"staging": 1})

    async def scenario(application: Application) -> None:
        hooks = application._router.routing.aliases["staging"].scorer.hooks
        assert hooks is not None
        hooks._function = lambda rows: rows[0]["no such column"]
        sent = json.dumps({"rows": [{**ROW, "wind": 1.0}]}).encode()
        asked: list[Message] = [{"type": "http.request", "body": sent, "more_body": False}]
        status, body = await drive(application, "POST", "/predict", asked)
        assert status == 500
        assert "hook preprocess failed: KeyError" in body["error"]["problem"]
        assert "Traceback" not in json.dumps(body)

    in_process(tmp_path, Configuration(), scenario)
    (batch,) = read_predictions(tmp_path / "log")
    assert batch.status == (500,)


def test_the_process_says_in_one_line_why_it_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLNB_SERVICE_STATE", str(tmp_path))
    (tmp_path / "aliases.json").write_text("{")
    assert main(["--port", "0"]) == 2
    assert "aliases.json cannot be read" in capsys.readouterr().err
    for variable, words, told in (("", ["--port", "70000"], "'70000'"), ("tcp://10.0.0.1:3000", [], "'tcp://10.0.0.1")):
        monkeypatch.setenv("PORT", variable)
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert (ended.value.code, f"{told}" in capsys.readouterr().err) == (2, True)
