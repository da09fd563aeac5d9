"""What shuffling a column costs, against scikit-learn's own permutation importance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.model.importance import Importance, labels_fit, measure_importance

COLUMNS = ["mean radius", "mean texture", "mean smoothness", "mean symmetry"]


@pytest.fixture
def tumour(exported: Any, tumours: Any) -> Any:
    """A packaged classifier, its rows by column, their labels, and the estimator."""
    data, target = tumours[0][COLUMNS], tumours[1]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, target)
    _, scorer, _ = exported(model, data)
    return scorer, {name: data[name].to_numpy() for name in COLUMNS}, target.to_numpy(), model


def test_the_loss_of_auc_is_that_of_scikit_learn(tumour: Any, tumours: Any) -> None:
    scorer, columns, labels, model = tumour
    found = measure_importance(scorer, columns, labels, labels_from="split.y", budget_s=100.0)
    rows = np.arange(500) * len(labels) // 500
    theirs = permutation_importance(
        model, tumours[0][COLUMNS].iloc[rows], labels[rows], scoring="roc_auc", n_repeats=40, random_state=1
    )
    ours = {one.name: one for one in found.columns}
    assert [found.measure, found.rows, found.repeats, found.labels] == ["roc_auc", 500, 5, "split.y"]
    for name, mean, deviation in zip(COLUMNS, theirs.importances_mean, theirs.importances_std, strict=True):
        assert abs(ours[name].value - mean) < 4 * deviation / math.sqrt(5) + 1e-12
    assert found.columns[0].name == COLUMNS[int(theirs.importances_mean.argmax())]
    assert sum(found.shares().values()) == pytest.approx(1.0)


def test_without_labels_it_is_how_far_the_answers_move(tumour: Any) -> None:
    scorer, columns, _, model = tumour
    found = measure_importance(scorer, columns, budget_s=100.0)
    assert found.measure == "answer"
    assert math.isnan(found.score)
    assert "no labels were known" in found.sentence()
    weights = np.abs(model[-1].coef_[0])
    assert [one.name for one in found.columns] == [COLUMNS[at] for at in np.argsort(-weights)]


def test_a_number_loses_r2(exported: Any, tumours: Any) -> None:
    data = tumours[0][["mean radius", "mean texture"]]
    target = 3 * data["mean radius"].to_numpy()
    _, scorer, _ = exported(LinearRegression().fit(data, target), data)
    found = measure_importance(
        scorer, {name: data[name].to_numpy() for name in data}, target, labels_from="y", budget_s=100.0
    )
    assert (found.measure, found.columns[0].name) == ("r2", "mean radius")
    assert found.score == pytest.approx(1.0)
    assert found.columns[0].value == pytest.approx(2.0, abs=0.3)  # of independent values R2 falls from 1 to -1
    assert abs(found.columns[1].value) < 1e-6


def test_a_slow_model_is_asked_less_and_says_so(tumour: Any) -> None:
    scorer, columns, labels, _ = tumour
    times = iter(range(0, 10_000, 5))
    found = measure_importance(scorer, columns, labels, budget_s=2.0, clock=lambda: float(next(times)))
    assert (found.rows, found.repeats) == (50, 1)
    assert len(found.columns) + len(found.unmeasured) == 4
    assert found.unmeasured
    assert "no time" in found.sentence()


def test_labels_of_other_rows_do_not_count(tumour: Any) -> None:
    scorer, columns, labels, _ = tumour
    assert labels_fit(scorer, columns, labels)
    assert not labels_fit(scorer, columns, np.random.default_rng(5).permutation(labels))
    assert not labels_fit(scorer, columns, labels.astype(str))


def test_importance_json_is_format_1_and_newer_is_refused(tumour: Any) -> None:
    scorer, columns, labels, _ = tumour
    found = measure_importance(scorer, columns, labels, labels_from="y")
    assert Importance.from_json(found.to_json()) == found
    first = {"format": 1, "measure": "answer", "score": None, "rows": 9, "repeats": 2, "seed": 0, "labels": ""}
    first |= {"columns": [{"name": "a", "importance": 0.5, "deviation": 0.1}], "unmeasured": ["b"]}
    assert Importance.from_json(first).shares() == {"a": 1.0}
    with pytest.raises(NewerFormatError):
        Importance.from_json({**first, "format": 2})
    with pytest.raises(CorruptError):
        Importance.from_json({**first, "measure": "guess"})
