"""Groups compared, against the shares as one counts them by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlnb.errors import UsageError
from mlnb.model.fairness import Fairness, measure_fairness
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
