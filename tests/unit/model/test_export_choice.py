"""Which exporter is taken, in which order they are tried, and why not another: as data, and as `models show` tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBRegressor

from mlnb.model.choice import Choice, choice_of
from mlnb.model.export import Export
from mlnb.model.exporters import exporters
from mlnb.model.parity import Parity
from mlnb.model.scorer import Scorer, load_scorer, read_package

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]


@pytest.fixture
def own_code(tumours: Tumours) -> Any:
    """A model with a function of the notebook's own, which only a pickle holds."""
    twice = FunctionTransformer(eval("lambda X: X * 2", {"__name__": "__main__"}))
    return make_pipeline(twice, LinearRegression()).fit(*tumours)


def test_each_refusal_is_recorded_with_its_remedy(own_code: Any, tumours: Tumours, exported: Exported) -> None:
    export, _, folder = exported(own_code, tumours[0])
    told = json.loads((folder / "package.json").read_bytes())["choice"]
    assert told == export.choice.to_json()
    assert (told["exporter"], [one["exporter"] for one in told["order"]]) == ("native", ["onnx", "skops", "native"])
    onnx, skops = told["refused"]
    assert (onnx["exporter"], onnx["kind"]) == ("onnx", "unsupported")
    assert "is Python code" in onnx["why"]
    assert "preprocess of the deploy cell" in onnx["remedy"]
    assert skops["remedy"] == "Move what is named from the notebook into a module that can be imported."
    assert Choice.from_json(told) == export.choice


def test_an_export_that_differs_is_recorded_with_what_was_measured(tumours: Tumours, exported: Exported) -> None:
    model = XGBRegressor(n_estimators=10, n_jobs=1).fit(*tumours)  # sums in float32, which the export does in float64
    export, _, _ = exported(model, tumours[0], parity_limit=1e-9)
    (refusal,) = export.choice.refused
    assert (export.exporter, refusal.exporter, refusal.kind) == ("skops", "onnx", "differs")
    assert refusal.parity is not None
    assert 1e-9 < refusal.parity.max_abs < 1e-6
    assert not refusal.parity.passed


def test_neighbours_of_a_large_fit_are_searched_in_a_tree_and_not_one_by_one() -> None:
    rows = np.random.default_rng(0).random((5_001, 2))
    model = KNeighborsRegressor().fit(rows, rows[:, 0])
    placed = exporters(make_pipeline(FunctionTransformer(), model))
    assert [exporter.name for exporter, _ in placed] == ["skops", "onnx", "native"]
    assert placed[1][1].why == "ONNX would compare each row with all 5,001 rows of the fit"
    small = KNeighborsRegressor().fit(rows[:100], rows[:100, 0])
    assert [exporter.name for exporter, _ in exporters(small)] == ["onnx", "skops", "native"]


def test_a_package_of_format_1_is_read(tumours: Tumours, exported: Exported) -> None:
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(*tumours)
    _, scorer, folder = exported(model, tumours[0])
    package = json.loads((folder / "package.json").read_bytes())
    del package["choice"], package["parity"]["parts"]
    for row in package["parity"]["worst"]:
        del row["values"]
    (folder / "package.json").write_text(json.dumps({**package, "format": 1}))
    assert load_scorer(folder).exporter == scorer.exporter == "onnx"
    read = read_package(folder)
    assert choice_of(read) == Choice("onnx", "", (("onnx", ""),))
    parity = Parity.from_json(read["parity"])
    assert (parity.rows, parity.parts, parity.passed) == (569, (), True)
