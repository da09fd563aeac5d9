"""Answers of several values, reduced to what is watched."""

from __future__ import annotations

import pytest

from mlnb.model.kinds import Column, Output
from mlnb.model.signature import Signature
from mlnb.monitor.answer import ranker_performance, watched
from mlnb.monitor.feature import Categorical, Numeric
from mlnb.monitor.reference import summarise


@pytest.mark.parametrize(
    ("task", "answer", "value"),
    [
        ("classifier", "a", "a"),
        ("regressor", 1.5, 1.5),
        ("ranker", ["b", "a"], "b"),
        ("ranker", [], None),
        ("forecaster", [1.0, 2.0, 6.0], 3.0),
        ("multilabel", [0, 1, 1, 0], 0.5),
        ("multiclassifier", ["a", 2], "a / 2"),
        ("multioutput", [None, None], None),
        ("forecaster", "broken", None),
    ],
)
def test_the_one_value_that_is_watched(task: str, answer: object, value: object) -> None:
    assert watched(task, answer) == value


def test_a_ranker_is_judged_by_where_the_taken_item_stood() -> None:
    found = ranker_performance(["a", "7", "z"], [["a", "b"], [5, 7], ["a"]])
    assert (found.rows, found.metrics) == (3, {"hit_at_1": 1 / 3, "mrr": 0.5})


def test_a_reference_watches_the_first_item_and_no_lists() -> None:
    inputs = (Column("user", "string"), Column("items", "string", many=True))
    ranker = Signature(inputs, "ranker", output="string", items="items")
    columns = {"user": ["u", "v"], "items": [["a", "b"], ["b", "a"]]}
    reference = summarise(ranker, columns, [["a", "b"], ["a", "b"]])  # type: ignore[arg-type]
    assert [feature.name for feature in reference.features] == ["user"]
    assert isinstance(reference.prediction, Categorical)
    assert reference.prediction.categories == ("a",)
    flags = Signature(inputs[:1], "multilabel", (), True, "int64", outputs=(Output("x"), Output("y")))
    reference = summarise(flags, columns, [[0, 1], [1, 1]], [[0.1, 0.9], [0.8, 0.7]])  # type: ignore[arg-type]
    assert isinstance(reference.prediction, Numeric)
    assert (reference.prediction.minimum, reference.prediction.maximum, reference.score) == (0.5, 1.0, None)
