"""What is said of performance without labels agrees with exact expectations, enumerated or simulated."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from mlnb.errors import MonitorError, NewerFormatError
from mlnb.model.signature import Column, Signature
from mlnb.monitor.cbpe import Step, expect, expected_auc
from mlnb.monitor.dle import learn
from mlnb.monitor.estimate import Estimator, learn_estimator
from mlnb.monitor.reference import Reference, summarise
from mlnb.monitor.values import Floats, Ints

IDENTITY = (Step((0.0, 1.0), (0.0, 1.0)),)
CLASSIFIER = Signature((Column("x", "float64", True),), "classifier", (0, 1), True, "int64")
REGRESSOR = Signature((Column("x", "float64", True), Column("kind", "string", True)), "regressor", (), False, "float64")


def drawn(rows: int, seed: int, *, centre: float = 0.0, spread: float = 1.5) -> tuple[Floats, Floats, Ints]:
    """Return overconfident scores, the true probabilities behind them, and labels drawn with these."""
    random = np.random.default_rng(seed)
    logit = random.normal(centre, spread, rows)
    truth = 1 / (1 + np.exp(-logit))
    scores = 1 / (1 + np.exp(-(2.2 * logit + 0.4)))
    return scores, truth, (random.random(rows) < truth).astype(np.int64)


def learned(rows: int, seed: int) -> tuple[Estimator, Reference]:
    scores, _, labels = drawn(rows, seed)
    table = np.column_stack([1 - scores, scores])
    reference = summarise(CLASSIFIER, {"x": scores}, (scores > 0.5).astype(int), table)
    found = learn_estimator(reference, {"x": scores}, (scores > 0.5).astype(int), table, labels)
    assert found is not None
    return found, reference


def test_accuracy_and_log_loss_and_their_variance_are_those_of_all_labels_that_could_be() -> None:
    scores, answered = np.array([0.2, 0.4, 0.4, 0.7, 0.9]), np.array([0, 0, 1, 1, 1])
    table = np.column_stack([1 - scores, scores])
    weights, accuracies, losses = [], [], []
    for labels in itertools.product((0, 1), repeat=5):
        weights.append(np.prod(table[np.arange(5), labels]))
        accuracies.append(accuracy_score(labels, answered))
        losses.append(log_loss(labels, table, labels=[0, 1]))
    found = expect([IDENTITY], table, answered)
    for name, values in (("accuracy", np.array(accuracies)), ("log_loss", np.array(losses))):
        mean = np.average(values, weights=weights)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=weights))
        assert found[name].value == pytest.approx(mean, abs=1e-12)
        assert found[name].lower == pytest.approx(max(mean - 1.959964 * deviation, 0.0), abs=1e-9)


def test_the_expected_area_is_its_numerator_s_and_denominator_s_mean_over_all_labels() -> None:
    scores, truth = np.array([0.1, 0.3, 0.3, 0.6, 0.8, 0.9]), np.array([0.2, 0.5, 0.1, 0.4, 0.9, 0.7])
    right = pairs = 0.0
    for labels in itertools.product((0, 1), repeat=6):
        weight = float(np.prod(np.where(labels, truth, 1 - truth)))
        ones, zeros = scores[np.array(labels) == 1], scores[np.array(labels) == 0]
        right += weight * ((ones[:, None] > zeros) + 0.5 * (ones[:, None] == zeros)).sum()
        pairs += weight * ones.size * zeros.size
    assert expected_auc(scores, truth)[0] == pytest.approx(right / pairs, abs=1e-12)


def test_known_labels_give_the_area_itself() -> None:
    scores, _, labels = drawn(500, 1)
    area, variance = expected_auc(scores.round(1), labels.astype(float))
    assert area == pytest.approx(roc_auc_score(labels, scores.round(1)), abs=1e-12)
    assert variance == 0.0


def test_the_area_and_accuracy_of_a_changed_population_are_found_without_its_labels() -> None:
    found, reference = learned(6000, 2)
    scores, _, labels = drawn(400_000, 3, centre=1.5, spread=0.8)
    true_area, true_accuracy = roc_auc_score(labels, scores), accuracy_score(labels, scores > 0.5)
    covered = 0
    for seed in range(60):
        scores, _, labels = drawn(1000, 100 + seed, centre=1.5, spread=0.8)
        table = np.column_stack([1 - scores, scores])
        one = found.estimate(reference, {}, (scores > 0.5).astype(int).tolist(), table)
        assert one["auc"].value == pytest.approx(true_area, abs=0.03)
        covered += one["auc"].lower <= roc_auc_score(labels, scores) <= one["auc"].upper
    large = found.estimate(reference, {}, (scores > 0.5).astype(int).tolist(), table)
    assert large["accuracy"].value == pytest.approx(true_accuracy, abs=0.02)
    assert covered >= 53  # of 60 at 95 %: fewer have a probability of 2 in 1,000
    assert abs(found.unchanged["auc"] - true_area) > 0.1  # what "unchanged" would have said


def test_what_is_right_may_turn_round_and_the_estimate_does_not_move() -> None:
    found, reference = learned(3000, 4)
    scores, _, labels = drawn(3000, 5)
    table = np.column_stack([1 - scores, scores])
    one = found.estimate(reference, {}, (scores > 0.5).astype(int).tolist(), table)
    assert one["auc"].lower < roc_auc_score(labels, scores) < one["auc"].upper
    assert roc_auc_score(1 - labels, scores) < 0.3


def test_three_classes_are_calibrated_one_by_one() -> None:
    random = np.random.default_rng(6)
    signature = Signature((Column("x", "float64", True),), "classifier", ("a", "b", "c"), True, "string")

    def rows(count: int, weights: tuple[float, ...]) -> tuple[Floats, list[str], list[str]]:
        truth = random.dirichlet(weights, count)
        labels = ["abc"[(row.cumsum() < random.random()).sum()] for row in truth]
        given = truth**2 / (truth**2).sum(axis=1, keepdims=True)
        return given, ["abc"[place] for place in given.argmax(axis=1)], labels

    given, answers, labels = rows(6000, (1, 1, 1))
    reference = summarise(signature, {}, answers, given)
    found = learn_estimator(reference, {}, answers, given, labels)
    assert found is not None
    given, answers, labels = rows(20_000, (2, 1, 0.5))
    one = found.estimate(reference, {}, answers, given)
    assert one["accuracy"].value == pytest.approx(accuracy_score(labels, answers), abs=0.02)
    assert one["log_loss"].value == pytest.approx(log_loss(labels, given), abs=0.04)


def quantities(rows: int, seed: int, centre: float) -> tuple[dict[str, list[object]], list[float], list[float]]:
    """Return inputs, answers and truth; the error's deviation is .5 + |x|, and three times that of kind b."""
    random = np.random.default_rng(seed)
    x, kind = random.normal(centre, 1, rows), random.choice(["a", "b"], rows, p=[0.8, 0.2])
    deviation = (0.5 + np.abs(x)) * np.where(kind == "b", 3.0, 1.0)
    holes: list[object] = [None if at % 50 == 0 else float(value) for at, value in enumerate(x)]
    return {"x": holes, "kind": kind.tolist()}, x.tolist(), (x + random.normal(0, deviation)).tolist()


def test_the_errors_of_a_regressor_follow_the_rows_that_are_harder() -> None:
    columns, given, truth = quantities(3000, 7, 0.0)
    reference = summarise(REGRESSOR, columns, given)
    found = learn_estimator(reference, columns, given, None, truth)
    assert found is not None
    columns, given, truth = quantities(6000, 8, 0.7)
    one = found.estimate(reference, columns, given, np.empty((len(given), 0)))
    errors = np.abs(np.array(truth) - np.array(given))
    assert one["mae"].value == pytest.approx(errors.mean(), rel=0.06)
    assert one["rmse"].value == pytest.approx(np.sqrt((errors**2).mean()), rel=0.08)
    assert one["mae"].lower > found.unchanged["mae"] * 1.05


def test_the_trees_that_are_kept_say_what_scikit_learn_s_do() -> None:
    random = np.random.default_rng(9)
    table, errors = random.normal(size=(400, 3)).astype(np.float32).astype(np.float64), random.random(400)
    ours = learn(table, errors)
    theirs = GradientBoostingRegressor(
        n_estimators=60, max_depth=3, learning_rate=0.1, subsample=0.8, min_samples_leaf=5, random_state=0
    ).fit(table, errors)
    assert ours.at(table) == pytest.approx(np.maximum(theirs.predict(table), 0), abs=1e-6)


def test_what_was_written_is_read_again_and_what_is_newer_or_broken_is_refused() -> None:
    found, _ = learned(300, 10)
    columns, given, truth = quantities(300, 11, 0.0)
    other = learn_estimator(summarise(REGRESSOR, columns, given), columns, given, None, truth)
    assert other is not None
    for one in (found, other):
        assert Estimator.from_json(json.loads(json.dumps(one.to_json()))) == one
    with pytest.raises(NewerFormatError):
        Estimator.from_json({"format": 2})
    with pytest.raises(MonitorError, match="is not an estimator of format 1"):
        Estimator.from_json({"format": 1, "rows": 3})


def test_too_few_labels_teach_nothing() -> None:
    scores, _, labels = drawn(120, 12)
    table, answers = np.column_stack([1 - scores, scores]), (scores > 0.5).astype(int)
    reference = summarise(CLASSIFIER, {"x": scores}, answers, table)

    def learns(truth: Ints) -> Estimator | None:
        return learn_estimator(reference, {}, answers[: truth.size], table[: truth.size], truth)

    assert learns(labels) is not None
    assert learns(labels[:99]) is None
    assert learns(np.zeros(120, dtype=np.int64)) is None


def test_no_row_and_rows_without_probabilities_are_not_estimated() -> None:
    found, reference = learned(300, 13)
    assert found.estimate(reference, {}, [], np.empty((0, 2))) == {}
    assert found.estimate(reference, {}, [1, 0], np.full((2, 2), np.nan)) == {}
