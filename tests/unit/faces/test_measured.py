"""What the faces show of evaluations, and how a live kernel hears of ``--slices``."""

from __future__ import annotations

import numpy as np
import pytest

from mlnb import evaluate
from mlnb.faces.cells import MarkLine
from mlnb.model.asked import asked
from mlnb.model.evaluation_codec import FILE, write_all
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft


@pytest.fixture
def measured(tmp_path, package):
    """A project with a version whose run has evaluated it."""
    random = np.random.default_rng(0)
    evaluation = evaluate(
        random.random(300) < 0.5, random.random(300), slices={"origin": ["JFK", "E|R", "LGA"] * 100}, resamples=50
    )
    write_all(tmp_path / FILE, {"evaluate.evaluation": evaluation})
    project = Project(tmp_path)
    files = {path.name: project.state.files.put(path)[0] for path in [*package.iterdir(), tmp_path / FILE]}
    lineage = Lineage(run="r1", notebook="nb.ipynb", notebook_digest="sha256:00", parameters={})
    project.models.register(Draft("delays", "ada", "onnx", files, {"auc": 0.7}, lineage, {"task": "classifier"}, {}))
    return evaluation


def test_a_version_shows_what_its_run_has_measured(mlnb, measured):
    text = mlnb("models", "show", "delays/1").out
    assert "evaluate.evaluation: binary, 300 rows; 95% intervals" in text
    assert "by origin" in text
    told = mlnb("models", "show", "delays/1", "--json").json()["evaluations"]["evaluate.evaluation"]
    assert told["metrics"][0] == {
        "name": "roc_auc",
        "value": measured["auc"],
        "low": measured["auc_low"],
        "high": measured["auc_high"],
    }


def test_a_card_holds_the_tables_of_the_evaluation(mlnb, measured):
    card = mlnb("models", "card", "delays/1").out
    assert "evaluate.evaluation: binary on 300 rows, 95% intervals by BCa bootstrap." in card
    assert f"| roc_auc | {measured['auc']:.4g} | [{measured['auc_low']:.4g}, {measured['auc_high']:.4g}] |" in card
    assert "| E\\|R | 100 |" in card


def test_a_live_stage_slices_by_its_mark_and_the_next_cell_does_not():
    line = MarkLine()
    line(["%%stage evaluate --metrics auc --slices origin,carrier\n", "x = 1\n"])
    assert asked() == ("origin", "carrier")
    line(["x = 1\n"])
    assert asked() == ()
