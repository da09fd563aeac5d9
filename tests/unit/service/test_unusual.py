"""Rows unlike what a version has seen are answered with warnings; hooks that misbehave end their own request alone."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlnb.model.export import export_model
from mlnb.model.signature import Column, Signature
from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.service.needs import requirements
from mlnb.service.unusual import TOLD, Usual
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

ROW = {"age": 0.5, "wind": 0.5, "origin": "JFK"}
HOOKS = """
import time
from dataclasses import dataclass


@dataclass
class Odd(Exception):
    what: str


def preprocess(rows: list[dict]):
    import msgspec  # found although it is imported here

    age = rows[0]["age"]
    if age == 9001:
        raise ValueError("no such age")
    if age == 9002:
        raise SystemExit(3)
    if age == 9003:
        return "nonsense"
    if age == 9004:
        return rows[:-1]
    if age == 9005:
        time.sleep(1.0)
    if age == 9006:
        raise Odd("unforeseen")
    if age == 9007:
        return [{"age": "old", "wind": None, "origin": 1} for _ in rows]
    print("a hook speaks")
    return rows
"""


@dataclass(frozen=True)
class Running:
    port: int
    folder: Path
    predictions: Path

    def ask(self, path: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, Any, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, json.dumps(body), headers or {})
            response = connection.getresponse()
            content = response.read()
            told = {name.lower(): value for name, value in response.headers.items()}
            return response.status, json.loads(content) if "json" in told["content-type"] else content.decode(), told
        finally:
            connection.close()

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path]) -> Iterator[Running]:
    """Staging is version 1, production the same model behind a hook."""
    folder = tmp_path_factory.mktemp("hooked") / "2"
    estimator, sample = importlib.import_module("tests.unit.service.conftest")._fit(0)
    export_model(estimator, sample, folder, model="delays", hooks=HOOKS)
    state = StateFolder.open(tmp_path_factory.mktemp("service"))
    target = LocalTarget(state, Settings())
    target.route("delays", {1: packages[1], 2: folder}, {"staging": 1, "production": 2})
    started = target.start("delays", bento.path)
    yield Running(started.port, state.services / "delays", state.predictions / "delays")
    target.stop("delays")


def test_an_answer_warns_of_what_the_sample_has_not_shown(service: Running) -> None:
    rows = [ROW, {**ROW, "age": 99.5}, {**ROW, "origin": "ÖÖÖ", "wind": -1000.0}, {**ROW, "wind": None}]
    status, body, _ = service.ask("/aliases/staging/predict", {"rows": rows}, {"X-Request-Id": "unlike"})

    assert (status, list(body)[-1]) == (200, "warnings")
    assert [(one["row"], one["column"]) for one in body["warnings"]] == [(1, "age"), (2, "wind"), (2, "origin")]
    told = [one["problem"] for one in body["warnings"]]
    assert told[0].startswith("99.5 is above ") and told[1].startswith("-1000.0 is below ")
    assert told[2] == "unseen category 'ÖÖÖ'"
    logged = {
        row: warnings
        for batch in read_predictions(service.predictions)
        for row, request, warnings in zip(batch.id, batch.request_id, batch.warnings, strict=True)
        if request == "unlike"
    }
    noted = [logged[one] and [each["column"] for each in json.loads(logged[one])] for one in body["ids"]]
    assert noted == [None, ["age"], ["wind", "origin"], None]

    status, body, headers = service.ask("/score", {"input_data": {"columns": list(rows[2]), "data": [["x", 1, "y"]]}})
    assert status == 422
    assert "x-prediction-warnings" not in headers
    frame = {"columns": list(rows[2]), "data": [list(rows[2].values())]}
    status, body, headers = service.ask("/invocations", {"dataframe_split": frame})
    assert status == 200
    assert json.loads(headers["x-prediction-warnings"])[1] == {
        "row": 0,
        "column": "origin",
        "problem": "unseen category 'ÖÖÖ'",
    }
    _, metrics, _ = service.ask("/metrics", None)
    counted = re.search(r'^mlnb_warnings_total\{column="origin",problem="unseen"\} (\d+)$', metrics, re.MULTILINE)
    assert counted and int(counted[1]) >= 2
    assert "warnings" not in service.ask("/aliases/staging/predict", {"rows": [ROW]})[1]


def test_many_rows_are_warned_of_as_few_are_and_an_answer_stays_bounded(service: Running) -> None:
    odd = {**ROW, "age": 99.5, "origin": "XX"}
    rows = [ROW] * 30 + [odd] * 30
    body = service.ask("/aliases/staging/predict", {"rows": rows})[1]

    assert len(body["warnings"]) == TOLD
    assert [one["row"] for one in body["warnings"]] == [at for at in range(30, 40) for _ in range(2)]
    one = service.ask("/aliases/staging/predict", {"rows": [odd]})[1]["warnings"]
    assert [(each["column"], each["problem"]) for each in one] == [
        (each["column"], each["problem"]) for each in body["warnings"][:2]
    ]


@pytest.mark.parametrize(
    ("texts", "warned"),
    [
        (["a", "b"] * 100, True),
        (["a", "b"] * 10, False),  # too few rows to know
        ([f"text {at}" for at in range(200)], False),  # free text: the next row brings a new one, too
        (["a", "b"] * 100 + ["c", "d"], True),
        (["a", "b"] * 100 + ["c", "d", "e"], False),  # three in a hundred are seen once
        ([], False),
    ],
)
def test_a_text_is_a_category_where_the_sample_has_shown_them_all(texts: list[str], warned: bool) -> None:
    usual = Usual(Signature((Column("word", "string"),), "regressor"), {"word": texts})
    for count in (1, 50):
        found = usual.look([{"word": "new"}] * count, {"word": np.array(["new"] * count, dtype=object)})
        assert len(found) == (count if warned else 0)
    assert not usual.look([{"word": None}] * 50, {"word": np.array([None] * 50, dtype=object)})


def test_known_categories_are_those_of_the_signature() -> None:
    usual = Usual(Signature((Column("word", "string", categories=("a", "b")),), "regressor"), {})

    assert [one.problem for one in usual.look([{"word": "c"}, {"word": "a"}], {})] == ["unseen category 'c'"]


@pytest.mark.parametrize(
    ("age", "rows", "problem", "line"),
    [
        (9001, 1, "The hook preprocess failed: ValueError: no such age", "hooks.py, line 16, in preprocess"),
        (9002, 1, "The hook preprocess failed: SystemExit: 3", "hooks.py, line 18, in preprocess"),
        (9003, 1, "gave a str; it must give a list of dicts or a DataFrame", ""),
        (9004, 2, "gave 1 rows for 2", ""),
        (9007, 1, "gave what the model does not take", ""),
        (9006, 1, "The service failed on this request", "hooks.py"),
    ],
)
def test_a_hook_that_fails_ends_its_request_and_is_told_in_the_log_by_the_requests_id(
    service: Running, age: int, rows: int, problem: str, line: str
) -> None:
    told = f"hook-{age}"
    status, body, headers = service.ask("/predict", {"rows": [{**ROW, "age": age}] * rows}, {"X-Request-Id": told})

    assert (status, headers["x-request-id"]) == (500, told)
    assert problem in body["error"]["problem"]
    assert "hooks.py" not in json.dumps(body) and "Traceback" not in json.dumps(body)
    about = service.log[service.log.index(f"Request {told} ") :]
    assert line in about
    assert f"request_id={told}" in about.splitlines()[0]
    logged = [
        (status, error)
        for batch in read_predictions(service.predictions)
        for request, status, error in zip(batch.request_id, batch.status, batch.error, strict=True)
        if request == told
    ]
    assert [status for status, _ in logged] == [500]  # what nobody foresaw is a row of the prediction log as well
    assert problem in logged[0][1]
    assert service.ask("/predict", {"rows": [ROW]})[0] == 200


def test_a_hook_that_takes_too_long_is_given_up_and_what_hooks_print_is_in_the_log(service: Running) -> None:
    status, body, _ = service.ask("/predict", {"rows": [{**ROW, "age": 9005}]}, {"X-Request-Timeout-Ms": "200"})

    assert status == 503
    assert "took more than 0.2 seconds" in body["error"]["problem"]
    status, body, _ = service.ask("/predict", {"rows": [ROW]})
    assert (status, list(body)) == (200, ["predictions", "probabilities", "ids", "version"])
    assert "a hook speaks" in service.log


def test_what_a_hook_imports_inside_its_functions_is_locked_in(packages: dict[int, Path], tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for path in packages[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "hooks.py").write_text(
        "def preprocess(rows):\n    import rich.table\n    import importlib\n"
        '    importlib.import_module("sqlalchemy.orm")\n    return rows\n'
    )
    pinned = {line.partition("==")[0] for line in requirements([folder])}

    assert {"rich", "SQLAlchemy"} <= pinned or {"rich", "sqlalchemy"} <= pinned
