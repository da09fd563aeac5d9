"""Labels of answers of several values: joined by id, measured by output as scikit-learn measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from mlnb.errors import MonitorError
from mlnb.faces.view import report_lines
from mlnb.model.kinds import Column, Output
from mlnb.model.signature import Signature
from mlnb.monitor.labels import read_labels
from mlnb.monitor.reference import summarise
from mlnb.monitor.report import Report, build_report
from mlnb.service.log_reader import Batch

RANDOM = np.random.default_rng(5)
Log = Callable[..., Batch]


def measured(
    batch: Log, task: str, answers: Sequence[object], labels: object, chances: Sequence[object] | None = None
) -> Report:
    """Report on a log of these answers; their ids are p0, p1, ..."""
    rows = [{"age": float(at)} for at in range(len(answers))]
    names = tuple(Output(name) for name in ("h1", "h2", "h3")[: len(answers[0])])  # type: ignore[arg-type]
    signature = Signature((Column("age", "float64"),), task, outputs=names)
    reference = summarise(signature, {"age": [row["age"] for row in rows]}, answers)  # type: ignore[arg-type]
    log = replace(
        batch(rows),
        prediction=tuple(json.dumps(one) for one in answers),
        probabilities=tuple(json.dumps(one) for one in chances or [None] * len(answers)),
    )
    return build_report(
        reference,
        [log],
        model="delays",
        version=7,
        at=datetime(2026, 11, 22, tzinfo=UTC),
        labels=labels,  # type: ignore[arg-type]
        outputs=[one.name for one in names],
    )


def test_each_step_of_a_forecast_is_measured_as_scikit_learn_measures(batch: Log, tmp_path: Path) -> None:
    truth, answers = RANDOM.normal(size=(250, 3)), RANDOM.normal(size=(250, 3))
    lines = [f"p{at},{','.join(map(repr, row))}" for at, row in enumerate(truth.tolist())]
    (tmp_path / "l.csv").write_text("\n".join(["ID,h1,h2,h3", *lines]), "utf-8")
    report = measured(batch, "forecaster", answers.tolist(), read_labels(tmp_path / "l.csv"))
    found, mae, rmse = report.overall, metrics.mean_absolute_error, metrics.root_mean_squared_error
    assert found.rows == 250
    assert found.metrics == pytest.approx({"mae": mae(truth, answers), "rmse": rmse(truth, answers)})
    for at, name in enumerate(("h1", "h2", "h3")):
        expected = {"mae": mae(truth[:, at], answers[:, at]), "rmse": rmse(truth[:, at], answers[:, at])}
        assert found.outputs[name] == pytest.approx(expected)
    assert [part.rows for part in report.performance] == [100, 100, 50]
    assert report.to_json()["performance"]["outputs"]["h2"].keys() == {"mae", "rmse"}  # type: ignore[index]
    assert any(line.startswith("  h3: mae ") for line in report_lines(report))


def test_what_is_not_known_yet_is_left_out_of_its_output_alone(batch: Log) -> None:
    labels = {"p0": [1.0, None], "p1": {"h2": 5.0}, "p2": "[2, 2]"}
    found = measured(batch, "multioutput", [[0.0, 0.0], [0.0, 2.0], [2.0, 0.0]], labels).overall
    assert found.outputs["h1"]["mae"] == pytest.approx(0.5)
    assert found.outputs["h2"]["mae"] == pytest.approx(2.5)
    assert (found.rows, found.metrics["mae"]) == (3, pytest.approx(1.5))


def test_flags_are_measured_by_label_and_as_a_whole(batch: Log) -> None:
    truth = RANDOM.integers(0, 2, (200, 2))
    chances = np.clip(truth * 0.3 + RANDOM.random((200, 2)) * 0.7, 0.01, 0.99)
    answers = (chances > 0.5).astype(int)
    labels = {f"p{at}": row for at, row in enumerate(truth.tolist())}
    found = measured(batch, "multilabel", answers.tolist(), labels, chances.tolist()).overall
    assert found.metrics["accuracy"] == pytest.approx(metrics.accuracy_score(truth, answers))
    for at, name in enumerate(("h1", "h2")):
        assert found.outputs[name] == pytest.approx(
            {
                "accuracy": metrics.accuracy_score(truth[:, at], answers[:, at]),
                "log_loss": metrics.log_loss(truth[:, at], chances[:, at]),
                "auc": metrics.roc_auc_score(truth[:, at], chances[:, at]),
            }
        )


def test_several_labels_are_compared_by_name(batch: Log) -> None:
    labels = {"p0": {"h1": "a", "h2": "2"}, "p1": ["b", 3]}
    found = measured(batch, "multiclassifier", [["a", 2], ["a", 3]], labels).overall
    assert found.outputs == {"h1": {"accuracy": 0.5}, "h2": {"accuracy": 1.0}}
    assert found.metrics == {"accuracy": 0.5}


@pytest.mark.parametrize("label", [3.0, [1.0], {"h9": 1.0}, "[1, 2"])
def test_a_label_that_does_not_fit_the_outputs_is_named(batch: Log, label: object) -> None:
    with pytest.raises(MonitorError, match=r"does not fit an answer of 2 values \(h1, h2\)") as caught:
        measured(batch, "multioutput", [[0.0, 0.0]], {"p0": label})
    assert "as a list" in caught.value.remedy
