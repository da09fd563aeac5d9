"""The tests of a finished run, asked of another thing than its model, and what a package answers in the model's place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from mlnb.errors import StageError
from mlnb.model.export import export_model
from mlnb.model.packaged import OnlyPredictsError, PackagedModel
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Input
from mlnb.run.engine import run_pipeline
from mlnb.run.retest import retest
from mlnb.service.package_tests import run_package_tests
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

Write = Callable[..., Path]
CELLS = (
    "%load_ext mlnb",
    "# parameters\nleast: float = 0.9",
    "import numpy as np\nfrom sklearn.linear_model import LogisticRegression",
    "%%stage train\nX = np.linspace(-1, 1, 40).reshape(-1, 2)\ny = X[:, 0] > 0\nmodel = LogisticRegression().fit(X, y)",
    "%%test train\nassert model.predict_proba(X).shape == (20, 2)\n\n"
    "def test_it_is_right():\n    assert (model.predict(X) == y).mean() >= least\n\n"
    "def test_it_has_two_coefficients():\n    assert model.coef_.shape == (1, 2)",
    "%%stage other\nz = float(X.sum())",
    "%%test other\nassert z < 1",
    "%%deploy half --model model --sample X",
)


def test_the_tests_that_name_the_model_are_asked_of_its_package_alone(user_notebook: Write, tmp_path: Path) -> None:
    state, settings = StateFolder.open(tmp_path), Settings()
    pipeline = build_pipeline(read_document(user_notebook(*CELLS)))
    record = run_pipeline(pipeline, {"least": 0.9}, state, settings, lambda event: None)
    assert record.state == "done"
    before = sorted(path for path in state.artifacts.rglob("*") if path.is_file())
    rows = np.linspace(-1, 1, 40).reshape(-1, 2)

    def unpack(folder: Path) -> None:
        export_model(LogisticRegression().fit(rows, rows[:, 0] > 0), rows, folder, model="half")

    model = Input("model", "train")
    found = run_package_tests(model, unpack, "half/1", record, state, settings)
    assert (found.passed, found.beyond) == (2, 1)
    assert "2 test cases pass with the package, 1 asks for more" in found.sentence()

    wrong = DummyClassifier(strategy="constant", constant=False).fit(rows, rows[:, 0] > 0)
    [tested] = retest(model, wrong, record, state, settings)
    states = {case.name: case.state for case in tested.record.cases}
    assert states["test_it_is_right"] == "failed"
    assert sorted(path for path in state.artifacts.rglob("*") if path.is_file()) == before

    def unpack_wrong(folder: Path) -> None:
        export_model(wrong, rows, folder, model="half")

    with pytest.raises(
        StageError, match=r"test_it_is_right of 'test-train' passes with the estimator and fails.*half/1"
    ):
        run_package_tests(model, unpack_wrong, "half/1", record, state, settings)


def test_a_package_answers_as_its_estimator_behind_the_hook(tmp_path: Path) -> None:
    import pandas as pd

    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.normal(size=50), "origin": random.choice(["JFK", "LGA"], 50)})
    features = pd.DataFrame({"old": (frame["age"] > 0).astype(float), "jfk": (frame["origin"] == "JFK").astype(float)})
    label = np.where(random.random(50) > 0.5, "late", "on time")
    estimator = LogisticRegression().fit(features, label)
    hook = (
        "def preprocess(rows: list[dict]):\n"
        "    return [{'old': float(row['age'] > 0), 'jfk': float(row['origin'] == 'JFK')} for row in rows]\n"
    )
    export_model(estimator, frame, tmp_path / "package", model="late", hooks=hook)
    packaged = PackagedModel(str(tmp_path / "package"))
    assert packaged.predict(features).tolist() == estimator.predict(features).tolist()
    assert packaged.predict_proba(features) == pytest.approx(estimator.predict_proba(features), abs=1e-6)
    assert packaged.classes_.tolist() == estimator.classes_.tolist()
    with pytest.raises(OnlyPredictsError, match="has no coef_"):
        _ = packaged.coef_
    assert json.loads((tmp_path / "package" / "package.json").read_text())["exporter"] == "onnx"
