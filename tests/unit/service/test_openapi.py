"""The OpenAPI document of every task, by the schemas of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from mlnb.errors import SignatureError
from mlnb.model.kinds import TASKS, Column, Output
from mlnb.model.signature import Signature
from mlnb.service.configuration import Configuration
from mlnb.service.described import Described, describe
from mlnb.service.openapi import Live, Served, openapi
from mlnb.service.openapi_forms import Example
from mlnb.service.router import Routing, load_routing
from mlnb.service.routing_files import place

INPUTS = (
    Column("age", "float32", nullable=True),
    Column("at", "datetime"),
    Column("floor", "int8"),
    Column("hours", "float64", many=True, length=2),
    Column("items", "string", many=True),
)
ROW = {"age": None, "at": "2020-01-01T00:00:00Z", "floor": 3, "hours": [1.5, 2], "items": ["a", "b"]}
NUMBERS = (Output("h1"), Output("h2"))
LABELS = (Output("y0", "int64", (0, 1)), Output("y1", "string", ("a", "b")))
# signature, and the answers to one row
TOLD: list[tuple[Signature, dict[str, list[object]]]] = [
    (
        Signature(INPUTS, "classifier", ("a", "b"), True, "string"),
        {"predictions": ["a"], "probabilities": [[1.0, 0.0]]},
    ),
    (Signature(INPUTS, "regressor"), {"predictions": [1.5]}),
    (Signature(INPUTS, "multilabel", (), False, "int64", outputs=LABELS[:1] * 2), {"predictions": [[0, 1]]}),
    (Signature(INPUTS, "multiclassifier", (), False, "int64", outputs=LABELS), {"predictions": [[0, "b"]]}),
    (Signature(INPUTS, "multioutput", outputs=NUMBERS), {"predictions": [[1.5, None]]}),
    (Signature(INPUTS, "forecaster", outputs=NUMBERS), {"predictions": [[1.5, 2]]}),
    (Signature(INPUTS, "transformer", outputs=NUMBERS), {"predictions": [[1.5, 2]]}),
    (
        Signature(INPUTS, "ranker", output="string", items="items"),
        {"predictions": [["b", "a"]], "scores": [[2.0, 1.0]]},
    ),
]


def document(signature: Signature, answers: dict[str, list[object]], **more: Any) -> dict[str, Any]:
    live = Live("production", 7, signature)
    other = Live("staging", 8, Signature(INPUTS[:1], "regressor"))
    told: dict[str, Any] = json.loads(
        json.dumps(openapi(Served("m", live, Example([ROW], answers), [live, other], 10, **more)))
    )
    return told


@pytest.mark.parametrize(("signature", "answers"), TOLD, ids=[one[0].task for one in TOLD])
def test_every_example_fits_the_schema_beside_it(signature: Signature, answers: dict[str, list[object]]) -> None:
    told = document(signature, answers, explain_rows=3)
    components = {"components": told["components"]}
    seen = 0

    def check(value: object) -> None:
        nonlocal seen
        if isinstance(value, dict):
            for example in value.get("examples", {}).values() if "schema" in value else ():
                Draft202012Validator({**components, **value["schema"]}).validate(example["value"])
                seen += 1
            for one in value.values():
                check(one)
        elif isinstance(value, list):
            for one in value:
                check(one)

    check(told["paths"])
    assert seen > 20
    assert ("/explain" in told["paths"]) == (signature.task not in ("ranker", "multiclassifier"))


def test_every_task_is_described() -> None:
    assert {signature.task for signature, _ in TOLD} == set(TASKS)


def test_the_routes_that_a_platform_names_are_described() -> None:
    paths = document(*TOLD[7], named={"/vertex": True, "/alive": False})["paths"]
    assert (list(paths["/vertex"]), list(paths["/alive"])) == (["post"], ["get"])


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"floor": 128}, False),
        ({"floor": 1.5}, False),
        ({"age": 3.5e38}, False),
        ({"age": 3.4028235e38}, True),
        ({"hours": [1]}, False),
        ({"items": []}, False),
        ({"other": 1}, False),
        ({"at": None}, False),
    ],
)
def test_the_schema_of_a_row_takes_what_the_signature_takes(change: dict[str, object], fits: bool) -> None:
    told = document(*TOLD[1])
    row = ROW | change
    schema = Draft202012Validator({"components": told["components"], "$ref": "#/components/schemas/Row"})
    assert schema.is_valid(row) is fits
    if fits:
        TOLD[1][0].check([row])
    else:
        with pytest.raises(SignatureError):
            TOLD[1][0].check([row])


def test_the_document_is_made_once_for_each_routing_and_anew_where_tokens_are_needed(
    tmp_path: Path, packages: dict[int, Path]
) -> None:
    place(tmp_path, "delays", packages, {"production": 1})
    first = load_routing(tmp_path, Routing("", 0, {}, ""))
    place(tmp_path, "delays", packages, {"production": 1, "challenger": 2})
    second = load_routing(tmp_path, first)
    described = Described(Configuration(), {})
    made = described.at("/openapi.json", first, ready=True, needs=None)

    assert described.at("/openapi.json", first, ready=False, needs=None) is made
    guarded = described.at("/openapi.json", first, ready=True, needs=lambda route: route.name == "/predict")
    assert ["security" in json.loads(one.body) for one in (made, guarded)] == [False, True]
    assert b"challenger" in described.at("/openapi.json", second, ready=True, needs=None).body
    assert (
        described.at("/", first, ready=True, needs=None).body == describe("/", first, Configuration(), ready=True).body
    )
