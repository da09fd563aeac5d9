"""A running service keeps its log as it was told to, and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}
SETTINGS = {"log": "strict", "log_failure": "serve", "log_redact": "origin,wind", "log_redact_key": "k"}


@dataclass(frozen=True)
class Running:
    pid: int
    port: int
    folder: Path

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if "json" in response.headers["content-type"] else text.decode()
        finally:
            connection.close()

    def rows(self) -> dict[str, dict[str, Any]]:
        return {
            batch.id[at]: {name: getattr(batch, name)[at] for name in ("inputs", "status", "error")}
            for batch in read_predictions(self.folder)
            for at in range(len(batch))
        }

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Let no file of any of its processes grow: what the kernel says to them then is real."""
        service = psutil.Process(self.pid)
        processes = [service, *service.children(recursive=True)]
        before = [process.rlimit(psutil.RLIMIT_FSIZE) for process in processes]
        for process, (_, hard) in zip(processes, before, strict=True):
            process.rlimit(psutil.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            for process, limits in zip(processes, before, strict=True):
                process.rlimit(psutil.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, bento: Bento) -> Iterator[Running]:
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    target = LocalTarget(state, Settings(service=SETTINGS))
    started = target.start("delays", bento.path)
    yield Running(started.pid, started.port, state.predictions / "delays")
    target.stop("delays")


def unlogged(text: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("mlnb_log_unlogged_rows_total"))


def test_redacted_columns_are_never_written(service: Running) -> None:
    status, answer = service.ask("POST", "/predict", {"rows": [ROW, {**ROW, "origin": "LGA"}]})
    refused, _ = service.ask("POST", "/predict", {"rows": [{**ROW, "age": "JFK"}]})
    assert (status, refused) == (200, 422)
    rows = service.rows()
    one, other = (json.loads(rows[name]["inputs"]) for name in answer["ids"])
    assert (one["age"], one["wind"], one["mlnb:redacted"]) == (1.5, None, ["origin", "wind"])
    assert len(one["origin"]) == 32
    assert one["origin"] != other["origin"]
    (bad,) = (row for row in rows.values() if row["status"] == 422)
    assert bad["inputs"] is None
    assert bad["error"].endswith("Columns named: age.")
    for path in service.folder.iterdir():
        content = path.read_bytes()
        assert b"JFK" not in content
        assert b"LGA" not in content


def test_answers_go_on_where_the_disk_is_full_and_are_logged_again_when_it_is_not(service: Running) -> None:
    with service.full_disk():
        status, lost = service.ask("POST", "/predict", {"rows": [ROW]})
        assert status == 200
        code, told = service.ask("GET", "/readyz")
        assert (code, told["ready"], told["log"] != "ok") == (200, True, True)
    _, kept = service.ask("POST", "/predict", {"rows": [ROW]})
    assert lost["ids"][0] not in service.rows()
    assert kept["ids"][0] in service.rows()
    _, told = service.ask("GET", "/readyz")
    assert told["log"] == "ok"
    assert told["logging"] == {"mode": "strict", "failure": "serve", "unlogged": 1}
    assert unlogged(service.ask("GET", "/metrics")[1]) == 1
