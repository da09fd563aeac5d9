"""Package folders: whole or absent, with the reason, refused where nothing reproduces the estimator."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBRegressor

from mlnb.errors import ModelError, ParityError, StorageError
from mlnb.model.export import Export, export_model
from mlnb.model.exporters import exporters
from mlnb.model.scorer import Scorer, code_files, file_digest, load_scorer
from mlnb.store.signing import verify

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]


class Moody(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Answers otherwise every time."""

    def fit(self, X: Any, y: Any) -> Moody:
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.random.default_rng().random(len(X))


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows as a caller sends them."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


@pytest.fixture
def linear(tumours: Tumours) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*tumours)


def test_the_exporters_are_tried_from_portable_to_native() -> None:
    assert [exporter.name for exporter, _ in exporters()] == ["onnx", "skops", "native"]


def test_a_package_holds_what_it_promises(linear: Any, tumours: Tumours, exported: Exported) -> None:
    data, _ = tumours
    export, _, folder = exported(linear, data)
    names = ["expected.json", "model.onnx", "package.json", "sample.json", "signature.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    package = json.loads((folder / "package.json").read_bytes())
    assert (package["format"], package["model"], package["exporter"], package["task"]) == (
        2,
        "tumours",
        "onnx",
        "classifier",
    )
    assert package["files"] == {name: file_digest(folder / name) for name in names if name != "package.json"}
    assert package["signatures"] == {}
    assert package["parity"] == export.parity.to_json()
    assert export.files == tuple((name, file_digest(folder / name), (folder / name).stat().st_size) for name in names)
    assert export.reason.startswith("Exported as onnx (float64): on 569 rows the largest difference is ")


def test_sample_and_expected_answers_belong_together(linear: Any, tumours: Tumours, exported: Exported) -> None:
    data, _ = tumours
    many = pd.concat([data] * 4, ignore_index=True)
    export, _, folder = exported(linear, many)
    sample = json.loads((folder / "sample.json").read_bytes())
    expected = json.loads((folder / "expected.json").read_bytes())
    assert export.parity.rows == len(many)
    assert len(sample["data"]) == len(expected["predictions"]) == len(expected["probabilities"]) == 1000
    frame = pd.DataFrame(sample["data"], columns=sample["columns"])
    assert expected["predictions"] == linear.predict(frame).tolist()
    np.testing.assert_allclose(expected["probabilities"], linear.predict_proba(frame), rtol=1e-12)


def test_a_model_without_converter_is_packaged_as_skops_and_says_why(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    model = TransformedTargetRegressor(LinearRegression(), func=np.deg2rad, inverse_func=np.rad2deg).fit(data, target)
    export, scorer, folder = exported(model, data)
    assert export.exporter == "skops"
    assert "Not otherwise, because onnx cannot hold it (" in export.reason
    assert "TransformedTargetRegressor" in export.reason or "rad2deg" in export.reason
    (code,) = code_files(folder)
    verify(code.digest, code.signature, code.key)
    got = scorer.score(scorer.signature.check(records(data[:9])))
    np.testing.assert_allclose(got.predictions, model.predict(data[:9]), rtol=1e-12)


def test_the_notebooks_own_code_is_packaged_natively_and_says_why(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    twice = FunctionTransformer(eval("lambda X: X * 2", {"__name__": "__main__"}))
    model = make_pipeline(twice, LinearRegression()).fit(data, target)
    export, scorer, folder = exported(model, data)
    assert export.exporter == "native"
    assert "onnx cannot hold it (the function <lambda> is Python code); skops cannot hold it (" in export.reason
    assert [code.name for code in code_files(folder)] == ["model.pkl"]
    got = scorer.score(scorer.signature.check(records(data[:9])))
    np.testing.assert_allclose(got.predictions, model.predict(data[:9]), rtol=1e-12)


def test_a_model_that_nothing_reproduces_is_refused_and_nothing_remains(tumours: Tumours, tmp_path: Path) -> None:
    model = Moody().fit(*tumours)
    with pytest.raises(ParityError, match="No export of model reproduces it: onnx cannot hold it") as caught:
        export_model(model, tumours[0], tmp_path / "package", model="moody")
    assert "native does not agree with the estimator" in caught.value.problem
    assert list(tmp_path.iterdir()) == []


def test_the_limit_decides(tumours: Tumours, exported: Exported) -> None:
    model = XGBRegressor(n_estimators=10, n_jobs=1).fit(*tumours)  # sums in float32, which the export does in float64
    assert exported(model, tumours[0])[0].exporter == "onnx"
    export, _, _ = exported(model, tumours[0], parity_limit=1e-9)
    assert (export.exporter, export.parity.limit) == ("skops", 1e-9)
    assert "onnx does not agree" in export.reason


def test_a_refused_model_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="clf is not a model: it is of type int"):
        export_model(3, pd.DataFrame({"x": [1.0]}), tmp_path / "new" / "package", model="m", variable="clf")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(linear: Any, tumours: Tumours, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "mine").write_text("mine")
    with pytest.raises(StorageError):
        export_model(linear, tumours[0], tmp_path / "package", model="m")
    assert [path.name for path in tmp_path.rglob("*")] == ["package", "mine"]


def test_a_folder_that_cannot_be_made_is_told(linear: Any, tumours: Tumours, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=os.fspath(tmp_path)):
        export_model(linear, tumours[0], tmp_path / "file" / "package", model="m")


def test_a_failing_hook_is_refused_before_anything_is_written(linear: Any, tumours: Tumours, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="The hook preprocess failed: KeyError: 'nothing'"):
        hook = "def preprocess(rows): return [{'y': row['nothing']} for row in rows]"
        export_model(linear, tumours[0], tmp_path / "package", model="m", hooks=hook)
    with pytest.raises(ModelError, match=r"preprocess\(sample\) lacks .* and has y too much"):
        hook = "def preprocess(rows): return [{'y': 1.0} for row in rows]"
        export_model(linear, tumours[0], tmp_path / "package", model="m", hooks=hook)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("annotation", ["", ": pd.DataFrame"])
def test_a_hook_travels_and_is_signed(annotation: str, linear: Any, tumours: Tumours, exported: Exported) -> None:
    data, _ = tumours
    raw = data.drop(columns=["mean area"]).assign(acres=data["mean area"] / 4046.0)
    taken = "rows.pop('acres') * 4046.0" if annotation else "[row.pop('acres') * 4046.0 for row in rows]"
    hook = f"import pandas as pd\ndef preprocess(rows{annotation}):\n    area = {taken}\n"
    if annotation:
        hook += f"    return rows.assign(**{{'mean area': area}})[{list(data.columns)!r}]\n"
    else:
        hook += "    return [{**row, 'mean area': one} for row, one in zip(rows, area)]\n"
    export, scorer, folder = exported(linear, raw, hooks=hook)
    assert export.exporter == "onnx"
    assert (folder / "hooks.py").read_text() == hook
    assert [column.name for column in export.signature.inputs] == list(raw.columns)
    assert [code.name for code in code_files(folder)] == ["hooks.py"]
    got = scorer.score(scorer.signature.check(records(raw[:9])))
    np.testing.assert_allclose(np.array(got.probabilities), linear.predict_proba(data[:9]), atol=1e-9)
    assert load_scorer(folder, allow_code=[code.digest for code in code_files(folder)]).hooks is not None
