"""An evaluation's way through a run: mark, kernel, artifact, numbers for gates, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.model.evaluation_view import PLOTLY
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.registry.gates import judge, parse_gate
from mlnb.run.engine import run_pipeline
from mlnb.run.history import read_run
from mlnb.run.record import RunRecord
from mlnb.run.report import report_html
from mlnb.run.values import evaluations, every_number, numbers
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

Write = Callable[..., Path]

DATA = (
    "%load_ext mlnb",
    "import numpy as np\nfrom mlnb import evaluate",
    "%%stage data\nrandom = np.random.default_rng(0)\ny = random.random(300) < 0.3\n"
    "scores = np.clip(random.normal(0.3 + 0.2 * y, 0.2), 0, 1)\nrows = {'origin': ['JFK', 'EWR', 'LGA'] * 100}",
)
MEASURE = (
    "%%stage evaluate --metrics auc,f1,share --slices origin\nshare = float(y.mean())\n"
    "evaluation = evaluate(y, scores, rows=rows, resamples=100)\nevaluation"
)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Path], RunRecord]:
    state = StateFolder.open(tmp_path)

    def execute(path: Path) -> RunRecord:
        return run_pipeline(build_pipeline(read_document(path)), {}, state, Settings(), lambda event: None)

    return execute


def test_a_stages_evaluation_is_kept_sliced_as_marked_and_gives_the_marks_metrics(
    run: Callable[[Path], RunRecord], user_notebook: Write, tmp_path: Path
) -> None:
    record = run(user_notebook(*DATA, MEASURE))
    files = StateFolder.open(tmp_path).files
    (evaluation,) = evaluations(record, files).values()
    assert {one.name for one in record.stage("evaluate").artifacts} == {"auc", "f1", "share", "evaluation"}
    assert [one.value for one in evaluation.slices] == ["EWR", "JFK", "LGA"]
    found = numbers(record, files)
    assert set(found) == {"auc", "f1", "share", "evaluate.auc", "evaluate.f1", "evaluate.share"}
    assert found["auc"] == evaluation["roc_auc"]
    gates = ("auc >= 0.5", "evaluate.auc_low >= 0.5", "auc[origin=JFK] >= 0.5", "brier <= 0.5", "roc_auc_high < 1")
    known = every_number(record, files)
    assert all(verdict.passed for verdict in judge([parse_gate(text) for text in gates], known))

    executed = json.loads((tmp_path / ".mlnb" / record.stage("evaluate").notebook).read_text())
    outputs = [output["data"] for cell in executed["cells"] for output in cell["outputs"] if "data" in output]
    tables, figure = outputs
    assert "average_precision" in "".join(tables["text/html"])
    assert {PLOTLY, "text/html", "text/plain"} == set(figure)
    page = report_html(tmp_path / ".mlnb" / "runs" / record.id / "nb.ipynb")
    assert "Evaluation evaluate.evaluation" in page
    assert page.count("Plotly.newPlot(") >= 1

    again = run(user_notebook(*DATA, MEASURE))
    assert {stage.state for stage in again.stages} == {"cached"}
    assert evaluations(read_run(StateFolder.open(tmp_path), again.id), files) == {"evaluate.evaluation": evaluation}
    by = run(user_notebook(*DATA, MEASURE.replace("--slices origin", "")))
    assert [stage.state for stage in by.stages] == ["cached", "done"]
    (unsliced,) = evaluations(by, files).values()
    assert unsliced.slices == ()


def test_several_evaluations_of_a_stage_keep_their_variables_names(
    run: Callable[[Path], RunRecord], user_notebook: Write, tmp_path: Path
) -> None:
    both = "early = evaluate(y[:150], scores[:150], resamples=0)\nlate = evaluate(y[150:], scores[150:], resamples=0)"
    record = run(user_notebook(*DATA, f"%%stage evaluate\n{both}"))
    found = every_number(record, StateFolder.open(tmp_path).files)
    assert found["evaluate.early.auc"] == found["early.auc"] == found["early.roc_auc"]
    assert "auc" not in found
    failed = run(user_notebook(*DATA, f"%%stage evaluate --metrics auc\n{both}"))
    assert failed.state == "failed"
    error = failed.stage("evaluate").error
    assert error is not None
    assert "'auc', which 2 evaluations have: early, late." in error.problem
    assert error.remedy == "Bind the one that you mean: auc = late['auc']."
