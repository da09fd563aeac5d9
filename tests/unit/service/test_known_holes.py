"""Holes that MLflow and BentoML have had in what answers and in what they generate, tried on ours."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import socket
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from mlnb.errors import CorruptError, RegistryError, ServiceError
from mlnb.registry.reference import check_name
from mlnb.service.app import Application
from mlnb.service.bento import Bento
from mlnb.service.configuration import Configuration
from mlnb.service.exported import systemd_unit
from mlnb.service.lock import read_lock
from mlnb.service.recipe import dockerfile
from mlnb.service.target import Deployment
from mlnb.settings import Settings

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}
OPEN = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
Asked = tuple[str, str, bytes, dict[str, str]]
Ask = Callable[[Sequence[Asked]], list[int]]


@pytest.fixture
def ask(bento: Bento, tmp_path: Path) -> Ask:
    """Ask the application, in this process, as uvicorn does (paths are unquoted once); return the statuses.

    With a file of no tokens beside it nobody may ask for anything.
    """

    async def status(application: Application, asked: Asked) -> int:
        method, address, body, headers = asked
        path, _, query = address.partition("?")
        scope = {"type": "http", "method": method, "path": unquote(path), "query_string": query.encode()}
        scope |= {"headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]}
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await application(scope, receive, send)
        return int(sent[0]["status"])

    def answers(asked: Sequence[Asked]) -> list[int]:
        async def run() -> list[int]:
            application = Application(bento.source, tmp_path, tmp_path / "log", Configuration())
            application.open()
            try:
                return [await status(application, one) for one in asked]
            finally:
                application.close()

        return asyncio.run(run())

    return answers


def test_no_spelling_of_a_path_is_answered_without_a_token(ask: Ask, tmp_path: Path) -> None:
    """CVE-2026-0545, CVE-2026-2652 (MLflow): routes that the check for credentials had not been told of."""
    (tmp_path / "tokens.json").write_text('{"format": 1, "tokens": []}')
    paths = [
        "/predict",
        "/score",
        "/labels",
        "/explain",
        "/metrics",
        "/invocations",
        "/openapi.json",
        "/docs",
        "/admin",
    ]
    paths += [
        "/aliases/staging/predict",
        "/v2",
        "/v2/models/delays",
        "/v2/models/delays/infer",
        "/v1/models/delays:predict",
    ]
    strange = [
        spelt
        for path in paths
        for spelt in (
            f"/{path}",
            f"{path}/",
            f"/.{path}",
            f"/healthz/..{path}",
            f"/healthz%2f..{path}",
            f"/healthz;{path}",
            path.upper(),
            path.replace("p", "%70", 1),
            f"{path}%00",
            f"{path}?token=mlnb_00000000_",
            f"{path}#/healthz",
        )
    ]
    body = json.dumps({"rows": [ROW]}).encode()
    sent = {"Content-Type": "application/json", "X-Forwarded-For": "127.0.0.1", "X-Original-URL": "/healthz"}
    asked = [(method, path, body, sent) for path in [*paths, *strange] for method in ("GET", "POST", "HEAD", "PUT")]
    answers = ask(asked)
    told = {(one[0], one[1]): answer for one, answer in zip(asked, answers, strict=True)}
    assert {status for status in told.values() if status < 400} == set(), told
    assert all(told["POST", path] == 401 for path in ("/predict", "/score", "/labels", "/invocations"))
    assert ask([("GET", path, b"", {}) for path in sorted(OPEN)]) == [200] * 4


def test_a_body_that_executes_code_where_it_is_loaded_is_not_loaded(ask: Ask, tmp_path: Path) -> None:
    """CVE-2024-2912, CVE-2025-27520, CVE-2025-32375 (BentoML): a pickle of the caller's, by the request's own words."""

    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    bomb = pickle.dumps(Bomb())
    kinds = (
        "application/vnd.bentoml+pickle",
        "application/x-pickle",
        "application/octet-stream",
        "application/vnd.apache.arrow.stream",
    )
    kinds += ("application/json", "text/csv", "application/vnd.apache.parquet", "multipart/form-data; boundary=x", "")
    payload = {"Payload-Container": "DefaultContainer", "Payload-Meta": "{}", "Args-Number": "1", "Bento-Name": "x"}
    asked = [
        (method, path, bomb, {"Content-Type": kind, **payload})
        for kind in kinds
        for path in (
            "/predict",
            "/labels",
            "/explain",
            "/invocations",
            "/v2/models/delays/infer",
            "/__bentoml__/predict",
            "/",
        )
        for method in ("POST",)
    ]
    answers = ask(asked)
    assert all(400 <= answer < 500 for answer in answers), answers
    assert not (tmp_path / "executed").exists()


def test_an_address_in_a_row_is_a_text_and_nobody_is_asked_for_it(ask: Ask) -> None:
    """CVE-2025-54381 (BentoML): a service that fetches the address which a caller gives it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/latest/meta-data"
        rows = json.dumps({"rows": [{**ROW, "origin": address}, {**ROW, "origin": "file:///etc/passwd"}]}).encode()
        form = f'--x\r\nContent-Disposition: form-data; name="rows"\r\n\r\n{address}\r\n--x--\r\n'.encode()
        said = {"Content-Type": "application/json"}
        answers = ask(
            [
                ("POST", "/predict", rows, said),
                ("POST", "/predict", form, {"Content-Type": "multipart/form-data; boundary=x"}),
                ("POST", "/predict", json.dumps({"url": address}).encode(), said),
            ]
        )
        assert [answer // 100 for answer in answers] == [2, 4, 4]
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_form_that_never_ends_is_refused_at_once(ask: Ask) -> None:
    """CVE-2024-9056 (BentoML): dashes behind the boundary kept the parser busy; forms are not parsed here at all."""
    body = b"--x\r\n" + b"-" * 1_000_000 + b"--x--"
    answer = ask([("POST", "/predict", body, {"Content-Type": "multipart/form-data; boundary=x" + "-" * 5_000})])[0]
    assert answer in (400, 413, 415)


@pytest.mark.parametrize(
    "line", ["RUN mkdir /executed", "--index-url http://evil", "-e .", "evil @ file:///x", "a==1\nRUN x", "x==1 && y"]
)
def test_a_lock_holds_pins_and_nothing_that_a_builder_or_an_installer_obeys(line: str) -> None:
    """CVE-2026-33744, CVE-2026-44345, CVE-2026-44346 (BentoML): lines of a Dockerfile from what looked like data."""
    with pytest.raises(CorruptError, match="it holds the line"):
        read_lock(f"# mlnb lock 1\nnumpy==2.0.0\n{line}\n")


@pytest.mark.parametrize("name", ["x\nRUN evil", 'x"\nimport os', "x$(evil)", "{{ 7*7 }}", "$model", "../x", "x y"])
def test_no_name_becomes_a_line_of_what_is_generated(name: str) -> None:
    """Template injection (CVE-2026-44345 of BentoML, CVE-2024-27132 of MLflow): names are checked, templates hold no code."""
    for kind in ("model", "alias", "service", "file"):
        with pytest.raises(RegistryError, match="cannot be the name of"):
            check_name(kind, name)
    assert "${" not in dockerfile("delays", [1], "numpy==2.0.0\n").replace("${BASE}", "")


def test_a_line_break_in_a_path_does_not_add_a_line_to_a_unit(bento: Bento, tmp_path: Path) -> None:
    evil = tmp_path / "p\nExecStartPre=mkdir executed"
    deployment = Deployment("delays", "http://127.0.0.1:1", "stopped", {}, str(bento.path), 0, 1, "", "")
    for folder, predictions in ((evil, tmp_path), (tmp_path, evil)):
        with pytest.raises(ServiceError, match="line break"):
            systemd_unit(deployment, folder, predictions, Settings(), user=True)
