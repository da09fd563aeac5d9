"""The Open Inference Protocol's own client, the OpenAPI document and the page to try it, of a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator  # type: ignore[import-untyped]
from playwright.sync_api import Page, sync_playwright

from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.client_case import client_case, export_wide
from tests.bench.client_peers import triton
from tests.bench.fuzz_service import Fuzzed, used

FUZZED = 1200


class Asked:
    """A service whose production is the wide model, and whose staging takes other columns."""

    def __init__(self, port: int, pid: int, wide: Path) -> None:
        self.port, self.pid, self.wide = port, pid, wide

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, sent, {name.replace("_", "-"): told for name, told in headers.items()})
            response = connection.getresponse()
            return response.status, {name.lower(): told for name, told in response.headers.items()}, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        return json.loads(self.ask(method, path, body, **headers)[2])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path]) -> Iterator[Asked]:
    wide = export_wide(tmp_path_factory.mktemp("wide") / "package")
    target = LocalTarget(StateFolder.open(tmp_path_factory.mktemp("service")), Settings(service={"max_rows": 50}))
    target.route("delays", {1: wide, 2: packages[1]}, {"production": 1, "staging": 2})
    started = target.start("delays", bento.path)
    yield Asked(started.port, started.pid, wide)
    target.stop("delays")


@pytest.fixture(scope="module")
def document(asked: Asked) -> dict[str, Any]:
    return asked.json("GET", "/openapi.json")


def test_tritonclient_gets_the_answers_of_scikit_learn_in_every_form(asked: Asked) -> None:
    case = client_case(asked.port, asked.wide)
    assert {one["datatype"] for one in case["columns"]} == {"FP64", "FP32", "INT64", "BYTES", "BOOL"}  # type: ignore[attr-defined]
    outcomes = triton(case)
    assert {form: told for form, told in outcomes.items() if told != "passed"} == {}
    assert len(outcomes) > 30


def test_the_document_is_openapi_by_the_schema_of_its_makers(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert len(document["paths"]) > 30


def filled(path: str, item: dict[str, Any]) -> str:
    for parameter in item.get("parameters", ()):
        path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["enum"][0])
    return path


def test_every_operation_takes_its_examples_and_answers_as_it_says(asked: Asked, document: dict[str, Any]) -> None:
    def check(told: dict[str, Any], headers: dict[str, str], content: bytes) -> None:
        told = document["components"]["responses"][told["$ref"].rpartition("/")[2]] if "$ref" in told else told
        media = headers["content-type"].partition(";")[0]
        schema = told["content"][media].get("schema")
        if schema and media == "application/json":
            Draft202012Validator({"components": document["components"], **schema}).validate(json.loads(content))
        required = [name for name in told["headers"] if document["components"]["headers"][name]["required"]]
        assert {name.lower() for name in required} <= headers.keys()

    for path, item in document["paths"].items():
        [(method, operation)] = [(name, one) for name, one in item.items() if name != "parameters"]
        responses, where = operation["responses"], filled(path, item)
        bodies = operation.get("requestBody", {"content": {"": {"examples": {"": {"value": None}}}}})["content"]
        for media, one in bodies.items():
            for example in one.get("examples", {}).values():
                status, headers, content = asked.ask(method.upper(), where, example["value"], content_type=media)
                assert status == 200, (path, content)
                check(responses["200"], headers, content)
        status, headers, content = asked.ask("DELETE", where)
        assert (status, headers["allow"].split(", ")[0]) == (405, method.upper())
        check(responses["405"], headers, content)
        if "requestBody" in operation:
            for body, expected in ((b"[", 400), (b'{"x":"\xff"}', 400), (b"{}", 400)):
                status, headers, content = asked.ask("POST", where, body, content_type="application/json")
                assert status == expected, (path, content)
                check(responses[str(status)], headers, content)


def test_an_alias_with_other_columns_has_a_path_and_a_row_of_its_own(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]["RowOf2"]["properties"]) == {"age", "wind", "origin"}
    assert document["paths"]["/aliases/{alias}/predict"]["parameters"][0]["schema"]["enum"] == ["production"]
    staging = document["paths"]["/aliases/staging/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert staging["schema"]["$ref"].endswith("/PredictOf2")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
def test_the_page_asks_and_shows_the_answer_by_keyboard_alone(asked: Asked, page: Page) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: said.extend([] if request.url.startswith(base) else [request.url]))
    base = f"http://127.0.0.1:{asked.port}/"
    page.goto(base + "docs")
    page.get_by_label("distance").fill("3.5")
    page.keyboard.press("Enter")
    answer = page.locator("#answer .answer")
    answer.wait_for()
    row = json.loads(page.locator("#curl").inner_text().split("-d '")[1].rstrip("'\n"))
    assert row["rows"][0]["distance"] == 3.5
    assert answer.inner_text() == asked.json("POST", "/predict", row)["predictions"][0]
    assert "Content-Security-Policy" not in " ".join(said) and not said
    page.get_by_label("Alias", exact=True).select_option("staging")
    page.get_by_label("age number").fill("old")
    page.get_by_role("button", name="Send").press("Enter")
    assert page.locator("#answer .bad").inner_text() == "age must be a number."
    assert page.get_by_label("age number").get_attribute("aria-invalid") == "true"


def test_the_page_lets_nothing_run_or_load_that_is_not_its_own(asked: Asked) -> None:
    status, headers, content = asked.ask("GET", "/docs")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert (status, policy["default-src"], policy["connect-src"]) == (200, "'none'", "'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert len(content) < 30_000 and b"http" not in content


def test_odd_and_spoiled_requests_are_refused_or_answered_as_the_scorer_does(asked: Asked) -> None:
    fuzzed = Fuzzed(asked.port, asked.wide)
    for seed in range(FUZZED):
        if seed == FUZZED // 3:
            before = used(asked.pid)
        fuzzed.attempt(seed)
    after = used(asked.pid)
    fuzzed.close()
    assert fuzzed.wrong == []
    assert {form for form, outcome in fuzzed.counts if outcome == "answered"} == {form for form, _ in fuzzed.counts}
    assert after[0] - before[0] < 24 and after[1] <= before[1] + 2
