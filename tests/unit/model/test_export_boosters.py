"""XGBoost and LightGBM, alone and behind a pipeline, are exported to ONNX and answer there as they do themselves.

Missing numbers, categories, unseen ones and thresholds are among what every export is asked (`test_parity_edges`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from mlnb.model.export import Export
from mlnb.model.scorer import Scorer

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]
X: Mapping[str, Any] = {"n_estimators": 15, "n_jobs": 1}
L: Mapping[str, Any] = {"n_estimators": 15, "n_jobs": 1, "verbose": -1}


@pytest.fixture(scope="module")
def some(tumours: Tumours) -> tuple[pd.DataFrame, pd.Series]:
    """Real measurements with missing numbers, two columns of categories (one missing in places), a truth."""
    data, target = tumours
    frame = pd.DataFrame(
        {
            "area": data["mean area"].mask(data.index % 3 == 0),
            "smoothness": data["mean smoothness"],
            "points": (data["mean concave points"] * 1000).round().astype("int32"),
            "radius": pd.cut(data["mean radius"], 5, labels=["xs", "s", "m", "l", "xl"]).mask(data.index % 7 == 0),
            "grade": pd.Categorical(pd.cut(data["mean texture"], 12, labels=False) + 3),
            "big": data["worst area"] > 700,
        }
    )
    return frame, target


def rows_by_part(export: Export) -> dict[str, int]:
    assert export.exporter == "onnx", export.reason
    return {part.name: part.rows for part in export.parity.parts}


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(enable_categorical=True, **X),
        XGBClassifier(enable_categorical=True, max_cat_to_onehot=1, **X),
        LGBMClassifier(min_data_per_group=5, cat_smooth=1, **L),
    ],
    ids=["xgboost one by one", "xgboost sets", "lightgbm"],
)
def test_native_categories_and_missing_values(model: Any, some: Tumours, exported: Exported) -> None:
    export, scorer, _ = exported(model.fit(*some), some[0])
    rows = rows_by_part(export)
    assert min(rows["missing"], rows["unseen category"], rows["thresholds"]) > 0
    assert export.parity.largest < 2e-7
    row = {"area": None, "smoothness": 0.1, "points": 3, "radius": "giant", "grade": 99, "big": True}
    got = scorer.score(scorer.signature.check([row]))
    known = some[0]
    asked = pd.DataFrame([{**row, "area": np.nan, "radius": None, "grade": None}]).astype({"points": "int32"})
    asked["radius"] = pd.Categorical(asked["radius"], categories=known["radius"].cat.categories, ordered=True)
    asked["grade"] = pd.Categorical(asked["grade"], categories=known["grade"].cat.categories)
    np.testing.assert_allclose(got.probabilities, model.predict_proba(asked[known.columns]), atol=2e-7)


@pytest.mark.parametrize("model", [XGBClassifier(**X), LGBMClassifier(**L)], ids=["xgboost", "lightgbm"])
def test_behind_preprocessing(model: Any, some: Tumours, exported: Exported) -> None:
    words = some[0].assign(radius=some[0]["radius"].astype("str"), grade=some[0]["grade"].astype("int64"))
    taken = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["radius"]),
        (StandardScaler(), ["area", "smoothness"]),
        remainder="passthrough",
    )
    export, _, _ = exported(make_pipeline(taken, model).fit(words, some[1]), words)
    assert rows_by_part(export)["thresholds"] > 100
    assert export.parity.largest < 2e-7


@pytest.mark.parametrize(
    "model",
    [
        XGBRegressor(objective="count:poisson", **X),
        XGBRegressor(booster="dart", rate_drop=0.3, **X),
        XGBRegressor(missing=0.0, num_parallel_tree=2, **X),
        LGBMRegressor(objective="tweedie", **L),
        LGBMRegressor(reg_sqrt=True, **L),
        LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **L),
        LGBMRegressor(zero_as_missing=True, **L),
    ],
    ids=["poisson", "dart", "missing is 0", "tweedie", "sqrt", "forest", "0 is missing"],
)
def test_numbers(model: Any, exported: Exported) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    data["sex"] -= 1
    export, _, _ = exported(model.fit(data, target), data)
    assert rows_by_part(export)["thresholds"] > 100
    assert export.parity.largest < 5e-6


@pytest.mark.parametrize(
    "model", [XGBClassifier(**X), LGBMClassifier(**L), LGBMClassifier(objective="multiclassova", **L)]
)
def test_several_classes(model: Any, exported: Exported) -> None:
    data, target = load_iris(return_X_y=True, as_frame=True)
    export, scorer, _ = exported(model.fit(data, target), data)
    assert rows_by_part(export)["thresholds"] > 50
    assert scorer.score(scorer.signature.check(data.to_dict("records"))).predictions == model.predict(data).tolist()


def test_several_outputs_and_several_labels(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    two = np.column_stack([target, data["mean area"] > 600]).astype(int)
    assert rows_by_part(exported(XGBClassifier(**X).fit(data, two), data)[0])["one row"] == 16
    assert rows_by_part(exported(XGBRegressor(**X).fit(data, two * 3.5), data)[0])["one row"] == 16


def test_early_stopping_leaves_the_later_trees_out(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    model = XGBClassifier(n_estimators=200, n_jobs=1, early_stopping_rounds=2)
    model.fit(data[100:], target[100:], eval_set=[(data[:100], target[:100])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    export, _, _ = exported(model, data)
    assert rows_by_part(export)["thresholds"] > 100


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (XGBRegressor(booster="gblinear", **X), "its booster is gblinear, which is no trees"),
        (XGBRegressor(multi_strategy="multi_output_tree", **X), "leaves of several outputs"),
        (LGBMRegressor(linear_tree=True, **L), "its leaves are linear models"),
    ],
    ids=["linear booster", "leaves of several outputs", "linear leaves"],
)
def test_what_is_no_sum_of_plain_leaves_is_told(model: Any, why: str, tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    wanted = np.column_stack([target, target]) if why.startswith("leaves") else target
    export, _, _ = exported(model.fit(data, wanted), data)
    assert export.exporter == "skops"
    assert why in export.choice.refused[0].why
