"""What a service tells strangers, validated by the schemas of others."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from mlnb.model.kinds import TASKS, Column, Output
from mlnb.model.metadata import answer_schema, inference_metadata, label_schema
from mlnb.model.signature import Signature

INPUTS = (
    Column("age", "float32"),
    Column("at", "datetime", nullable=True),
    Column("hours", "float64", many=True, length=24),
    Column("items", "string", many=True),
)
OUTPUTS = (Output("y0", "int64", (0, 1)), Output("y1", "int64", (0, 1, 2)))
NUMBERS = (Output("h1"), Output("h2"))
# signature, an answer that its schema must take, one that it must not
ANSWERS: list[tuple[Signature, dict[str, Any], dict[str, Any]]] = [
    (
        Signature(INPUTS, "classifier", ("a", "b"), True, "string"),
        {"predictions": ["a"], "probabilities": [[1, 0]]},
        {"predictions": ["c"], "probabilities": [[1, 0]]},
    ),
    (Signature(INPUTS, "regressor"), {"predictions": [1.5]}, {"predictions": ["a"]}),
    (
        Signature(INPUTS, "multilabel", (), True, "int64", outputs=OUTPUTS),
        {"predictions": [[0, 1]], "probabilities": [[0.1, 0.9]]},
        {"predictions": [[0]], "probabilities": [[0.1]]},
    ),
    (
        Signature(INPUTS, "multiclassifier", (), True, "int64", outputs=OUTPUTS),
        {"predictions": [[0, 2]], "probabilities": [[[1, 0], [0, 0, 1]]]},
        {"predictions": [[2, 2]], "probabilities": [[[1, 0], [0, 0, 1]]]},
    ),
    (Signature(INPUTS, "multioutput", outputs=NUMBERS), {"predictions": [[0.5, 1]]}, {"predictions": [0.5]}),
    (Signature(INPUTS, "forecaster", outputs=NUMBERS), {"predictions": [[0.5, 1]]}, {"predictions": [[0.5, 1, 2]]}),
    (Signature(INPUTS, "transformer", outputs=NUMBERS), {"predictions": [[0.5, 1]]}, {"predictions": [["a", 1]]}),
    (
        Signature(INPUTS, "ranker", output="string", items="items"),
        {"predictions": [["a", "b"]], "scores": [[2, 1]]},
        {"predictions": [["a", "b"]]},
    ),
]


@pytest.mark.parametrize(("signature", "right", "wrong"), ANSWERS, ids=[one[0].task for one in ANSWERS])
def test_the_schema_of_an_answer_takes_what_the_task_answers(
    signature: Signature, right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    schema = answer_schema(signature)
    Draft202012Validator.check_schema(schema)
    rest = {"ids": ["0" * 24], "version": "m/1"}
    Draft202012Validator(schema).validate(right | rest)
    assert not Draft202012Validator(schema).is_valid(wrong | rest)


def test_every_task_is_described() -> None:
    assert {signature.task for signature, _, _ in ANSWERS} == set(TASKS)


def test_what_came_true_of_several_values_is_described_by_output() -> None:
    def fits(signature: Signature, label: object) -> bool:
        return bool(Draft202012Validator(label_schema(signature)).is_valid(label))

    several = next(one for one, _, _ in ANSWERS if one.task == "multioutput")
    names = [one.name for one in several.outputs]
    assert fits(several, [1.5, None]) and fits(several, {names[1]: 2}) and fits(several, 3)
    assert not fits(several, [1.5]) and not fits(several, {"other": 2}) and not fits(several, {})
    assert not fits(several, [None, None]) and not fits(several, {names[0]: None})
    assert not fits(ANSWERS[0][0], [1.5])


def test_the_inference_metadata_name_types_and_shapes_as_the_protocol_does() -> None:
    told = inference_metadata("m", ["1", "2"], "onnx", ANSWERS[5][0])
    assert told == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "age", "datatype": "FP32", "shape": [-1]},
            {"name": "at", "datatype": "BYTES", "shape": [-1]},
            {"name": "hours", "datatype": "FP64", "shape": [-1, 24]},
            {"name": "items", "datatype": "BYTES", "shape": [-1, -1]},
        ],
        "outputs": [{"name": "predictions", "datatype": "FP64", "shape": [-1, 2]}],
    }
    ranked = inference_metadata("m", ["1"], "native", ANSWERS[7][0])
    assert ranked["outputs"] == [
        {"name": "predictions", "datatype": "BYTES", "shape": [-1, -1]},
        {"name": "scores", "datatype": "FP64", "shape": [-1, -1]},
    ]
    chances = inference_metadata("m", ["1"], "skops", ANSWERS[3][0])["outputs"]
    assert chances == [
        {"name": "predictions", "datatype": "INT64", "shape": [-1, 2]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 2, -1]},
    ]
