"""A service that explains what it answers, within a budget, and one that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlnb.service.app import Application
from mlnb.service.bento import Bento, carried

ROW = {"age": 1.5, "wind": None, "origin": "JFK"}
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(bento: Bento, tmp_path: Path) -> Ask:
    """Ask the application of a Bento, in this process, with a budget."""

    def asked(path: str, body: object, budget: str = "", allowed_ms: bytes = b"") -> tuple[int, Any]:
        environ = {
            "MLNB_PREDICTIONS": str(tmp_path / "log"),
            **({"MLNB_EXPLAIN_EVALUATIONS": budget} if budget else {}),
        }
        application = Application.from_environment(bento.source, environ)
        sent: list[Any] = []

        async def talk() -> None:
            messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

            async def receive() -> Any:
                return next(messages)

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "GET" if body is None else "POST",
                "path": path,
                "headers": [(b"x-request-timeout-ms", allowed_ms)] if allowed_ms else [],
                "root_path": "",
            }
            await application(scope, receive, send)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()

        try:
            asyncio.run(talk())
        finally:
            application.close()
        return sent[0]["status"], json.loads(sent[1]["body"])

    return asked


def test_shares_add_up_to_what_predict_answers(ask: Ask) -> None:
    _, predicted = ask("/predict", {"rows": [ROW]})
    status, told = ask("/explain", {"rows": [ROW]}, "500")
    (one,) = told["explanations"]
    assert (status, told["budget"], told["version"], one["exact"]) == (200, 500, predicted["version"], True)
    assert one["evaluations"] <= 500
    (answer,) = one["answers"].values()
    assert answer["answer"] == pytest.approx(predicted["probabilities"][0][1], abs=1e-9)
    assert answer["base"] + sum(answer["shares"].values()) == pytest.approx(answer["answer"], abs=1e-9)
    assert set(answer["standard_errors"].values()) == {0.0}


def test_a_smaller_budget_says_how_exact_it_is(ask: Ask) -> None:
    _, exact = ask("/explain", {"rows": [ROW]}, "500")
    _, told = ask("/explain", {"rows": [ROW]}, "190")
    (one,) = told["explanations"]
    assert not one["exact"] and one["evaluations"] <= 190 and one["background"] == 25
    (answer,), (wanted,) = one["answers"].values(), exact["explanations"][0]["answers"].values()
    assert answer["base"] + sum(answer["shares"].values()) == pytest.approx(answer["answer"], abs=1e-9)
    for name, share in answer["shares"].items():
        assert abs(share - wanted["shares"][name]) <= 5 * answer["standard_errors"][name] + 1e-9


@pytest.mark.parametrize(
    ("body", "budget", "status", "said"),
    [
        ({"rows": [ROW]}, "", 404, "does not explain"),
        ({"rows": [{**ROW, "age": "old"}]}, "100", 422, "must be a number"),
        ({"rows": [ROW] * 21}, "1000", 413, "20"),
        ({"rows": [ROW] * 10}, "30", 413, "Send at most 5 rows"),
        ({"rows": [ROW]}, "5", 413, "at least 6"),
    ],
)
def test_what_cannot_be_explained_is_refused(ask: Ask, body: object, budget: str, status: int, said: str) -> None:
    found, told = ask("/explain", body, budget)
    assert found == status
    assert said in json.dumps(told)


def test_an_explanation_is_waited_for_no_longer_than_its_caller_waits(ask: Ask) -> None:
    status, told = ask("/explain", {"rows": [ROW] * 20}, "20000", b"1")
    assert (status, told["error"]["problem"]) == (503, "The explanation took more than 0.001 seconds.")


def test_the_openapi_document_describes_it_where_it_is_there(ask: Ask) -> None:
    _, silent = ask("/openapi.json", None)
    assert "/explain" not in silent["paths"] and "Explanations" not in silent["components"]["schemas"]
    _, document = ask("/openapi.json", None, "500")
    assert document["paths"]["/explain"]["post"]["operationId"] == "explain"
    _, told = ask("/explain", {"rows": [ROW]}, "500")
    schema = {"$ref": "#/components/schemas/Explanations", "components": document["components"]}
    Draft202012Validator(schema).validate(told)
    del told["explanations"][0]["answers"]
    assert not Draft202012Validator(schema).is_valid(told)


def test_the_bento_carries_it() -> None:
    assert {"model/shapley.py", "model/answer_numbers.py", "service/explain.py"} <= set(carried())
