from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from mlnb.errors import MonitorError
from mlnb.model.metrics_classes import roc_auc
from mlnb.monitor.performance import class_index, classifier_performance, regressor_performance

RANDOM = np.random.default_rng(11)


def test_two_classes_are_measured_as_scikit_learn_measures() -> None:
    labels = RANDOM.integers(0, 2, 500)
    scores = np.clip(labels * 0.3 + RANDOM.random(500), 0, 1).round(2)  # rounded: many ties
    scores[:3] = [0, 1, 1]
    table = np.column_stack([1 - scores, scores])
    found = classifier_performance(labels.tolist(), (scores > 0.5).astype(int).tolist(), table, (0, 1))
    assert found.rows == 500
    assert found.metrics == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(labels, scores > 0.5),
            "log_loss": metrics.log_loss(labels, table),
            "auc": metrics.roc_auc_score(labels, scores),
        }
    )


def test_several_classes_are_measured_as_scikit_learn_measures() -> None:
    labels = RANDOM.choice(["a", "b", "c"], 300)
    table = RANDOM.dirichlet([1, 1, 1], 300)
    given = np.array(["a", "b", "c"])[table.argmax(axis=1)]
    found = classifier_performance(labels.tolist(), given.tolist(), table, ("a", "b", "c"))
    assert found.metrics == pytest.approx(
        {"accuracy": metrics.accuracy_score(labels, given), "log_loss": metrics.log_loss(labels, table)}
    )


def test_regressors_are_measured_as_scikit_learn_measures() -> None:
    labels, given = RANDOM.normal(size=200), RANDOM.normal(size=200)
    found = regressor_performance([str(label) for label in labels], given.tolist())
    assert found.metrics == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(labels, given),
            "rmse": metrics.root_mean_squared_error(labels, given),
        }
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_the_area_counts_ties_as_half(pairs: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([p for p, _ in pairs]), np.array([float(s) for _, s in pairs])
    area = roc_auc(positive, scores)
    if positive.all() or not positive.any():
        assert math.isnan(area)
    else:
        assert area == pytest.approx(metrics.roc_auc_score(positive, scores))


def test_one_class_alone_has_no_area() -> None:
    found = classifier_performance([1, 1], [1, 0], np.array([[0.2, 0.8], [0.6, 0.4]]), (0, 1))
    assert set(found.metrics) == {"accuracy", "log_loss"}


def test_labels_may_be_written_as_text() -> None:
    assert class_index("1", {"0": 0, "1": 1}) == 1
    assert class_index("1.0", {"0": 0, "1": 1}) == 1
    assert class_index(True, {"false": 0, "true": 1}) == 1
    assert class_index(" TRUE", {"false": 0, "true": 1}) == 1
    assert class_index("007", {"007": 0, "7": 1}) == 0


def test_an_unknown_label_counts_as_wrong() -> None:
    found = classifier_performance(["x", "no"], ["no", "no"], np.array([[0.5, 0.5], [0.5, 0.5]]), ("no", "yes"))
    assert found.metrics["accuracy"] == 0.5


def test_rows_without_probabilities_are_left_out_of_the_log_loss() -> None:
    table = np.array([[0.25, 0.75], [math.nan, math.nan]])
    found = classifier_performance([1, 0], [1, 0], table, (0, 1))
    assert found.metrics == pytest.approx({"accuracy": 1.0, "log_loss": -math.log(0.75)})


def test_a_regressors_label_must_be_a_number() -> None:
    with pytest.raises(MonitorError, match="label 'late' is not a number"):
        regressor_performance(["3", "late"], [1.0, 2.0])


def test_without_labels_there_are_no_metrics() -> None:
    assert classifier_performance([], [], None, (0, 1)).metrics == {}
    assert regressor_performance([], []).metrics == {}
