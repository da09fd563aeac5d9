"""Groups compared, against the shares as one counts them by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy import stats

from mlnb.errors import UsageError
from mlnb.model.fairness import HOW_TO_GET, Fairness, installed, measure_fairness
from mlnb.model.scorer import Scores
from mlnb.model.signature import Column, Signature

CLASSIFIER = Signature((Column("sex", "string"),), "classifier", ("no", "yes"), False, "string")
SEX = np.array(["f"] * 4 + ["m"] * 4 + [None], dtype=object)
TRUTH = np.array(["yes", "yes", "no", "no", "yes", "no", "no", "no", "no"])
ANSWERS = ["yes", "no", "no", "no", "yes", "yes", "yes", "no", "no"]


def test_rates_and_differences_are_those_that_one_counts() -> None:
    found = measure_fairness(CLASSIFIER, Scores(ANSWERS), "sex", SEX, TRUTH, "split.y")
    groups = {one.value: one for one in found.groups}
    assert (found.favourable, found.labels, groups["f"].rows, groups["f"].small) == ("yes", "split.y", 4, True)
    f = {"selection_rate": 1 / 4, "accuracy": 3 / 4, "true_positive_rate": 1 / 2, "false_positive_rate": 0.0}
    m = {"selection_rate": 3 / 4, "accuracy": 1 / 2, "true_positive_rate": 1.0, "false_positive_rate": 2 / 3}
    assert groups["f"].metrics == pytest.approx(f)
    assert groups["m"].metrics == pytest.approx(m)
    assert math.isnan(groups["missing"].metrics["true_positive_rate"])
    assert found.differences["demographic_parity_difference"] == pytest.approx(3 / 4)
    assert found.differences["equalized_odds_difference"] == pytest.approx(2 / 3)
    assert Fairness.from_json(found.to_json()).differences == pytest.approx(found.differences)


def test_without_fairlearn_the_groups_are_the_same_and_only_its_differences_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = measure_fairness(CLASSIFIER, Scores(ANSWERS), "sex", SEX, TRUTH, "split.y")
    monkeypatch.setitem(sys.modules, "fairlearn", None)  # as where it is not installed
    assert not installed() and "pip install 'mlnb[fairness]'" in HOW_TO_GET
    found = measure_fairness(CLASSIFIER, Scores(ANSWERS), "sex", SEX, TRUTH, "split.y")
    assert [one.to_json() for one in found.groups] == [one.to_json() for one in whole.groups]
    assert set(whole.differences) - set(found.differences) == {
        "demographic_parity_difference",
        "equalized_odds_difference",
    }
    assert found.differences["selection_rate"] == pytest.approx(whole.differences["demographic_parity_difference"])


def test_each_groups_metric_has_the_interval_that_scipys_bootstrap_gives() -> None:
    random = np.random.default_rng(3)
    team = np.repeat(["a", "b"], [300, 120])
    error = random.gamma(2.0, 1.0 + (team == "b"))
    regressor = Signature((Column("age", "float64"),), "regressor")
    found = measure_fairness(regressor, Scores(error.tolist()), "team", team, np.zeros(420), "y")
    for one in found.groups:
        low, high = one.intervals["mean_absolute_error"]
        expected = stats.bootstrap((error[team == one.value],), np.mean, rng=np.random.default_rng(0), n_resamples=2000)
        assert (low, high) == pytest.approx(tuple(expected.confidence_interval), rel=0.03)
    again = Fairness.from_json(found.to_json())
    assert again.groups[0].intervals["bias"] == pytest.approx(found.groups[0].intervals["bias"])


def test_without_labels_only_the_answers_are_compared() -> None:
    found = measure_fairness(CLASSIFIER, Scores(ANSWERS), "sex", SEX)
    assert found.labels == ""
    assert set(found.groups[0].metrics) == {"selection_rate"}


def test_a_sensitive_number_is_cut_at_its_quartiles_in_order() -> None:
    ages = np.array([*range(20, 60), math.nan])
    truth = np.arange(41.0)
    regressor = Signature((Column("age", "float64"),), "regressor")
    found = measure_fairness(regressor, Scores((truth + 1).tolist()), "age", ages, truth, "y")
    assert [(one.value, one.rows) for one in found.groups] == [
        ("up to 29.75", 10),
        ("29.75 to 39.5", 10),
        ("39.5 to 49.25", 10),
        ("above 49.25", 10),
        ("missing", 1),
    ]
    assert all(one.metrics["bias"] == pytest.approx(1.0) for one in found.groups)
    assert found.differences["mean_absolute_error"] == pytest.approx(0.0)


def test_other_tasks_are_refused() -> None:
    with pytest.raises(UsageError, match="ranker"):
        measure_fairness(Signature((Column("a", "int64"),), "ranker"), Scores([[1]]), "a", np.array([1]))
