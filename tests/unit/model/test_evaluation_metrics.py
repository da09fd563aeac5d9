"""Metrics against scikit-learn, published tables and tables worked out by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration, metrics

from mlnb import evaluate

RANDOM = np.random.default_rng(5)

# Australian beer production, megalitres a quarter, 1992 Q1 to 2010 Q2 (Hyndman and Athanasopoulos, "Forecasting:
# Principles and Practice", 2nd edition, section 3.4): fitted to the end of 2007, tried on the rest.
BEER = [
    443, 410, 420, 532, 433, 421, 410, 512, 449, 381, 423, 531, 426, 408, 416, 520, 409, 398, 398, 507, 432, 398, 406,
    526, 428, 397, 403, 517, 435, 383, 424, 521, 421, 402, 414, 500, 451, 380, 416, 492, 428, 408, 406, 506, 435, 380,
    421, 490, 435, 390, 412, 454, 416, 403, 408, 482, 438, 386, 405, 491, 427, 383, 394, 473, 420, 390, 410, 488, 415,
    398, 419, 488, 414, 374,
]  # fmt: skip


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_two_classes_are_measured_as_scikit_learn_measures(decimals: int) -> None:
    truth = RANDOM.random(3000) < 0.3
    scores = np.clip(RANDOM.normal(0.3 + 0.2 * truth, 0.2), 0, 1).round(decimals)
    answered = scores > 0.5
    found = evaluate(truth, np.column_stack([1 - scores, scores]), resamples=0)
    assert found.task == "binary"
    assert {one.name: one.value for one in found.metrics if one.name != "ece"} == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(truth, scores),
            "average_precision": metrics.average_precision_score(truth, scores),
            "log_loss": metrics.log_loss(truth, scores),
            "brier": metrics.brier_score_loss(truth, scores),
            "accuracy": metrics.accuracy_score(truth, answered),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, answered),
            "precision": metrics.precision_score(truth, answered),
            "recall": metrics.recall_score(truth, answered),
            "f1": metrics.f1_score(truth, answered),
            "mcc": metrics.matthews_corrcoef(truth, answered),
        }
    )
    seen, said = calibration.calibration_curve(truth, scores, n_bins=10)
    drawn = next(curve for curve in found.curves if curve.kind == "calibration")
    assert (drawn.x, drawn.y) == (pytest.approx(said), pytest.approx(seen))
    gaps = [abs(x - y) * rows for x, y, rows in zip(drawn.x, drawn.y, drawn.rows, strict=True)]
    assert found["ece"] == pytest.approx(sum(gaps) / 3000)
    assert found.confusion is not None
    assert found.confusion.counts == tuple(map(tuple, metrics.confusion_matrix(truth, answered).tolist()))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_ties_count_as_scikit_learn_counts_them(pairs: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([good for good, _ in pairs]), np.array([score / 4 - 0.1 for _, score in pairs])
    found = evaluate(truth, scores, resamples=0, task="binary")
    if truth.any() and not truth.all():
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, scores))
        assert found["ap"] == pytest.approx(metrics.average_precision_score(truth, scores))
    else:
        assert math.isnan(found["auc"])


def test_the_curves_lie_on_those_of_scikit_learn_and_are_few_points() -> None:
    truth = RANDOM.random(5000) < 0.2
    scores = RANDOM.normal(truth.astype(float), 1)
    found = {curve.kind: curve for curve in evaluate(truth, scores, resamples=0).curves}
    alarms, hits, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert 90 <= len(found["roc"].x) <= 101
    assert set(zip(found["roc"].x, found["roc"].y, strict=True)) <= _points(alarms, hits)
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    assert set(zip(found["precision_recall"].x, found["precision_recall"].y, strict=True)) <= _points(recall, precision)
    assert "calibration" not in found
    assert metrics.auc(found["roc"].x, found["roc"].y) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=0.01)


def _points(x: np.ndarray, y: np.ndarray) -> set[tuple[float, float]]:
    return {(float(f"{a:.12g}"), float(f"{b:.12g}")) for a, b in zip(x, y, strict=True)}


def test_several_classes_are_measured_as_scikit_learn_measures() -> None:
    classes = np.array(["ant", "bee", "cat", "dog"])
    truth = RANDOM.choice(classes, 800, p=[0.1, 0.2, 0.3, 0.4])
    table = RANDOM.dirichlet(np.ones(4), 800)
    answered = classes[table.argmax(axis=1)]
    found = evaluate(truth, table, resamples=0)
    assert found.task == "multiclass"
    assert {one.name: one.value for one in found.metrics} == pytest.approx(
        {
            "roc_auc_ovr": metrics.roc_auc_score(truth, table, multi_class="ovr"),
            "log_loss": metrics.log_loss(truth, table),
            "brier": metrics.brier_score_loss(truth, table, labels=classes),
            "accuracy": metrics.accuracy_score(truth, answered),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, answered),
            "precision_macro": metrics.precision_score(truth, answered, average="macro"),
            "f1_macro": metrics.f1_score(truth, answered, average="macro"),
            "mcc": metrics.matthews_corrcoef(truth, answered),
        }
    )
    by_class = metrics.classification_report(truth, answered, output_dict=True)
    for one in found.slices:
        values = {metric.name: metric.value for metric in one.metrics}
        expected = by_class[one.value]
        assert (one.column, one.rows) == ("class", expected["support"])
        assert values == pytest.approx(
            {"precision": expected["precision"], "recall": expected["recall"], "f1": expected["f1-score"]}
        )
    assert found["f1[class=cat]"] == pytest.approx(by_class["cat"]["f1-score"])
    assert evaluate(truth, answered, resamples=0)["f1"] == pytest.approx(found["f1_macro"])


def test_numbers_are_measured_as_scikit_learn_measures() -> None:
    truth, quantiles = RANDOM.gamma(3, 1, 500), np.sort(RANDOM.gamma(3, 1, (500, 3)), axis=1)
    found = evaluate(truth, quantiles[:, 1], resamples=0)
    expected = {
        "rmse": metrics.root_mean_squared_error(truth, quantiles[:, 1]),
        "mae": metrics.mean_absolute_error(truth, quantiles[:, 1]),
        "mape": metrics.mean_absolute_percentage_error(truth, quantiles[:, 1]),
        "r2": metrics.r2_score(truth, quantiles[:, 1]),
        "bias": float(np.mean(quantiles[:, 1] - truth)),
    }
    assert {one.name: one.value for one in found.metrics} == pytest.approx(expected)
    losses = {
        f"pinball@{100 * level:g}": metrics.mean_pinball_loss(truth, quantiles[:, place], alpha=level)
        for place, level in enumerate((0.1, 0.5, 0.9))
    }
    inside = float(np.mean((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 2])))
    both = evaluate(truth, quantiles[:, ::-1], quantiles=(0.9, 0.5, 0.1), resamples=0)
    mean = sum(losses.values()) / 3
    assert {one.name: one.value for one in both.metrics} == pytest.approx(
        {**expected, **losses, "pinball": mean, "coverage@80": inside}
    )


def test_forecasts_are_measured_as_the_book_measures_them() -> None:
    fitted, rest = BEER[:64], BEER[64:]
    answers = {
        "mean": [float(np.mean(fitted))] * 10,
        "naive": [fitted[-1]] * 10,
        "seasonal naive": [fitted[-4 + step % 4] for step in range(10)],
    }
    found = {
        name: evaluate(rest, given, season=4, history=fitted, resamples=0, task="forecast")
        for name, given in answers.items()
    }
    told = {name: [round(one[key], 2) for key in ("rmse", "mae", "mase")] for name, one in found.items()}
    assert told == {"mean": [38.45, 34.83, 2.44], "naive": [62.69, 57.40, 4.01], "seasonal naive": [14.31, 13.40, 0.94]}
    shares = {name: round(100 * one["mape"], 2) for name, one in found.items()}
    assert shares == {"mean": 8.28, "naive": 14.18, "seasonal naive": 3.17}


def test_shares_of_a_forecast_are_as_worked_out_by_hand() -> None:
    found = evaluate([10, 0, 20], [8, 0, 30], horizon=[1, 1, 2], resamples=0)
    assert found["smape"] == pytest.approx((2 * 2 / 18 + 0 + 2 * 10 / 50) / 3)
    assert found["wape"] == pytest.approx(12 / 30)
    assert "mape" not in found
    assert "mase" not in found
    assert (found["mae[horizon=1]"], found["mae[horizon=2]"]) == (1, 10)


def test_a_ranking_is_as_worked_out_by_hand() -> None:
    # The documents of Wikipedia's article on discounted cumulative gain: DCG 6.861, ideal 8.740, nDCG 0.785.
    relevance, scores = [3, 2, 3, 0, 1, 2, 3, 2], [8, 7, 6, 5, 4, 3, 2, 1]
    assert round(evaluate(relevance, scores, groups=["q"] * 8, k=6, resamples=0)["ndcg@6"], 3) == 0.785
    # Two queries: hits at places 1, 3 and 5 (of 3), and at place 2 (of 1).
    relevance, query = [1, 0, 1, 0, 1, 0, 1, 0], [1, 1, 1, 1, 1, 2, 2, 2]
    found = evaluate(relevance, [9, 8, 7, 6, 5, 9, 8, 7], groups=query, k=(1, 3), resamples=0)
    assert found["map@3"] == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2) / 2)
    assert found["mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["recall@3"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["precision@3"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["hit_rate@1"] == 0.5


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=8), min_size=1, max_size=5)
)
@settings(max_examples=50, deadline=None)
def test_ndcg_is_scikit_learns_with_ties(queries: list[list[tuple[int, int]]]) -> None:
    queries = [[(3, score) if not place else (rel, score) for place, (rel, score) in enumerate(q)] for q in queries]
    rows = [(number, *row) for number, query in enumerate(queries) for row in query]
    found = evaluate([r for _, r, _ in rows], [s for _, _, s in rows], groups=[q for q, _, _ in rows], k=3, resamples=0)
    expected = [metrics.ndcg_score([[r for r, _ in q]], [[s for _, s in q]], k=3) for q in queries]
    assert found["ndcg@3"] == pytest.approx(float(np.mean(expected)))


def test_a_score_that_says_nothing_gains_nothing_by_the_order_of_the_rows() -> None:
    found = evaluate([1, 0, 0, 0], [1, 1, 1, 1], groups=[7] * 4, k=1, resamples=0)
    assert (found["hit_rate@1"], found["mrr"]) == (0, 0.25)


def test_what_scikit_learn_warns_of_is_not_defined_here() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate([False, False, False], [0.1, 0.2, 0.7], resamples=0)
    assert math.isnan(found["auc"])
    assert math.isnan(found["recall"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert "Not defined on these rows: roc_auc, average_precision, recall." in found.notes
