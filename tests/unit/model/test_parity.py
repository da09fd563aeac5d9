"""Differences, flips and ties, checked by hand-made answers."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.model.parity import Parity, measure
from mlnb.model.scorer import Scores

finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_equal_answers_pass() -> None:
    scores = Scores([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    parity = measure(scores, scores, "classifier", 1e-4)
    assert (parity.rows, parity.max_abs, parity.flips, parity.ties, parity.passed) == (2, 0.0, 0, 0, True)
    assert parity.worst == ()


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_model_agrees_with_itself(values: list[float]) -> None:
    parity = measure(Scores(list(values)), Scores(list(values)), "regressor", 0.0)
    assert parity.passed
    assert parity.max_abs == 0


def test_one_probability_above_the_limit_fails_and_is_shown() -> None:
    expected = Scores([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    got = Scores([0, 1, 1], [[0.9, 0.1], [0.21, 0.79], [0.3, 0.7]])
    parity = measure(expected, got, "classifier", 1e-4)
    assert not parity.passed
    assert parity.max_abs == pytest.approx(0.01)
    assert parity.quantiles["0.5"] == 0
    assert parity.quantiles["0.99"] == pytest.approx(0.01)
    assert [(row.row, row.expected, row.got) for row in parity.worst] == [(1, [0.2, 0.8], [0.21, 0.79])]


def test_a_flipped_label_fails_whatever_the_probabilities() -> None:
    expected = Scores(["a", "b"], [[0.51, 0.49], [0.2, 0.8]])
    got = Scores(["b", "b"], [[0.51, 0.49], [0.2, 0.8]])
    parity = measure(expected, got, "classifier", 1e-4)
    assert (parity.flips, parity.ties, parity.passed) == (1, 0, False)
    assert parity.worst[0].row == 0
    assert "1 labels differ" in parity.sentence()


def test_a_flip_at_an_exact_tie_is_a_tie() -> None:
    expected = Scores([0, 1], [[0.5, 0.5], [0.2, 0.8]])
    got = Scores([1, 1], [[0.49999997, 0.50000003], [0.2, 0.8]])
    parity = measure(expected, got, "classifier", 1e-4)
    assert (parity.flips, parity.ties, parity.passed) == (0, 1, True)


def test_labels_without_probabilities_are_compared() -> None:
    assert measure(Scores([1, 2]), Scores([1, 2]), "classifier", 1e-4).passed
    assert measure(Scores([1, 2]), Scores([1, 3]), "classifier", 1e-4).flips == 1


def test_numbers_are_compared_relative_to_their_size() -> None:
    assert measure(Scores([1_000_000.0]), Scores([1_000_050.0]), "regressor", 1e-4).max_abs == pytest.approx(5e-5)
    assert measure(Scores([0.001]), Scores([0.002]), "regressor", 1e-4).max_abs == pytest.approx(1e-3)
    several = measure(Scores([[1.0, 2.0]]), Scores([[1.0, 4.0]]), "regressor", 1e-4)
    assert several.max_abs == pytest.approx(1.0)


@pytest.mark.parametrize("got", [[math.nan], [math.inf], [1.0, 2.0], [[1.0]]])
def test_an_answer_that_is_missing_or_not_finite_differs_infinitely(got: list[object]) -> None:
    parity = measure(Scores([1.0]), Scores(got), "regressor", 1e-4)
    assert not parity.passed
    assert parity.max_abs == math.inf


def test_missing_probabilities_and_no_rows_fail() -> None:
    assert not measure(Scores([0], [[1.0, 0.0]]), Scores([0]), "classifier", 1e-4).passed
    assert not measure(Scores([]), Scores([]), "classifier", 1e-4).passed


def test_the_same_infinity_or_nan_is_no_difference() -> None:
    scores = Scores([math.nan, math.inf])
    assert measure(scores, scores, "regressor", 1e-4).passed


@given(st.lists(st.tuples(finite, finite | st.just(math.nan)), min_size=1, max_size=10))
def test_a_verdict_survives_json_without_nan(pairs: list[tuple[float, float]]) -> None:
    parity = measure(Scores([one for one, _ in pairs]), Scores([other for _, other in pairs]), "regressor", 1e-4)
    again = Parity.from_json(json.loads(json.dumps(parity.to_json(), allow_nan=False)))
    assert again.to_json() == parity.to_json()
    assert (again.max_abs, again.passed) == (parity.max_abs, parity.passed)
