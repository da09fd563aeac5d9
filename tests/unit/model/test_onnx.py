"""ONNX against the estimator, on real rows that it was not fitted with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from mlnb.model.export import Export
from mlnb.model.scorer import Scorer

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]
CLASSIFIERS = [
    LogisticRegression(max_iter=2000),
    RandomForestClassifier(30, random_state=0),
    GradientBoostingClassifier(n_estimators=20, random_state=0),
    HistGradientBoostingClassifier(max_iter=20),
]


def close(scorer: Any, estimator: Any, sample: pd.DataFrame, atol: float = 1e-6) -> None:
    """Compare with the estimator's own answers, the rows sent as JSON would send them."""
    rows = sample.astype(object).where(sample.notna(), None).to_dict("records")
    got = scorer.score(scorer.signature.check(rows))
    if scorer.signature.task == "regressor":
        np.testing.assert_allclose(got.predictions, estimator.predict(sample), rtol=1e-6)
        return
    expected = estimator.predict_proba(sample)
    np.testing.assert_allclose(got.probabilities, expected, atol=atol)
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-6
    assert [type(one) for one in got.predictions] == [type(one) for one in estimator.predict(sample).tolist()]
    assert (np.array(got.predictions)[clear] == estimator.predict(sample)[clear]).all()


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("scaler", [StandardScaler(), RobustScaler()], ids=lambda scaler: type(scaler).__name__)
def test_models_behind_a_scaler_agree_on_real_rows(
    model: Any, scaler: Any, tumours: Tumours, exported: Exported
) -> None:
    data, target = tumours
    pipeline = make_pipeline(scaler, model).fit(data[::2], target[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert (export.exporter, export.parity.passed, export.parity.flips) == ("onnx", True, 0)
    assert export.parity.rows == 284
    close(scorer, pipeline, data[1::2])


@pytest.mark.parametrize("model", CLASSIFIERS[1:], ids=lambda model: type(model).__name__)
def test_several_classes_with_text_labels_agree(model: Any, exported: Exported) -> None:
    data, target = load_wine(return_X_y=True, as_frame=True)
    named = np.array(["barolo", "grignolino", "barbera"])[target]
    pipeline = make_pipeline(MinMaxScaler(clip=True), model).fit(data[::2], named[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert export.exporter == "onnx"
    close(scorer, pipeline, data[1::2])


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        Ridge(),
        RandomForestRegressor(20, random_state=0),
        GradientBoostingRegressor(n_estimators=20, random_state=0),
        HistGradientBoostingRegressor(max_iter=20),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors_agree(model: Any, exported: Exported) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(MaxAbsScaler(), model).fit(data[::2], target[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert export.exporter == "onnx"
    close(scorer, pipeline, data[1::2])


def preparation() -> ColumnTransformer:
    """Return what people put before a model, over numbers, texts and categories with missing values."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60, drop="first")
    return ColumnTransformer(
        [
            ("numbers", numbers, ["area", "smoothness"]),
            ("texts", texts, ["texture"]),
            ("codes", codes, ["texture", "radius", "points", "big"]),
            ("rare", rare, ["radius", "symmetry"]),
            ("kept", "passthrough", ["points", "big"]),
        ]
    )


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_texts_categories_and_missing_values_agree(model: Any, mixed: Tumours, exported: Exported) -> None:
    data, target = mixed
    pipeline = make_pipeline(preparation(), model).fit(data[::2], target[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert export.exporter == "onnx", export.reason
    close(scorer, pipeline, data[1::2])


@pytest.mark.filterwarnings("ignore:Found unknown categories:UserWarning")
def test_values_that_the_encoders_never_saw_agree(mixed: Tumours, exported: Exported) -> None:
    data, target = mixed
    pipeline = make_pipeline(preparation(), LogisticRegression(max_iter=2000)).fit(data[::2], target[::2])
    _, scorer, _ = exported(pipeline, data[1::2])
    strange = data[1::2].copy()
    strange["texture"] = strange["texture"].where(strange["texture"].isna(), "silk")
    strange["points"] = -5
    strange["radius"] = strange["radius"].astype("str").replace("xs", "xxl")
    close(scorer, pipeline, strange)


def test_a_hist_gradient_boosting_gets_missing_numbers_as_they_are(mixed: Tumours, exported: Exported) -> None:
    data, target = mixed
    numbers = data[["area", "smoothness", "points"]]
    model = HistGradientBoostingClassifier(max_iter=20).fit(numbers[::2], target[::2])
    export, scorer, _ = exported(model, numbers[1::2])
    assert export.exporter == "onnx"
    assert export.signature.inputs[0].nullable
    close(scorer, model, numbers[1::2])


@pytest.mark.parametrize("regressor", [False, True])
def test_a_hist_gradient_boosting_tells_values_apart_that_float32_cannot(regressor: bool, exported: Exported) -> None:
    seconds = pd.DataFrame({"at": 1.7e9 + np.arange(600.0)})
    late = (seconds["at"] // 40 % 2).astype(float if regressor else int)
    kind = HistGradientBoostingRegressor if regressor else HistGradientBoostingClassifier
    model = kind(max_iter=20).fit(seconds, late)
    export, scorer, _ = exported(model, seconds)
    assert export.exporter == "onnx", export.reason
    assert "(float64; trees in float64)" in export.reason
    close(scorer, model, seconds)


def test_unions_functions_and_transformers_of_skl2onnx_agree(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    parts = FeatureUnion([("pca", PCA(3)), ("log", FunctionTransformer(np.log1p))])
    pipeline = make_pipeline(StandardScaler(with_std=False), MinMaxScaler(), parts, LogisticRegression())
    pipeline.fit(data[::2], target[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert export.exporter == "onnx", export.reason
    close(scorer, pipeline, data[1::2])


def test_a_search_is_its_best_estimator(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    search = GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 4]}, cv=2).fit(data, target)
    export, scorer, _ = exported(search, data)
    assert export.exporter == "onnx"
    close(scorer, search, data)


def test_labels_without_probabilities_and_array_samples_agree(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours[0].to_numpy(), tumours[1]
    model = make_pipeline(StandardScaler(), LinearSVC(random_state=0)).fit(data[::2], target[::2])
    export, scorer, _ = exported(model, data[1::2])
    assert (export.exporter, export.signature.probabilities) == ("onnx", False)
    got = scorer.score(scorer.signature.check([dict(zip((f"x{n}" for n in range(30)), data[1].tolist(), strict=True))]))
    assert (got.predictions, got.probabilities) == (model.predict(data[[1]]).tolist(), None)


@pytest.mark.parametrize("labels", [[False, True], [1.0, 2.0], [3, 7]])
def test_labels_keep_their_type(labels: list[Any], tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    model = RandomForestClassifier(10, random_state=0).fit(data, np.array(labels)[target])
    export, scorer, _ = exported(model, data)
    assert (export.exporter, export.signature.classes) == ("onnx", tuple(labels))
    close(scorer, model, data)


@pytest.mark.parametrize("name", ["label", "two words", "X", 'naïve "quoted"', "variable"])
def test_column_names_do_not_matter(name: str, tumours: Tumours, exported: Exported) -> None:
    data = tumours[0][["mean area", "mean texture"]].rename(columns={"mean area": name})
    transformer = ColumnTransformer([("s", StandardScaler(), [name]), ("p", "passthrough", ["mean texture"])])
    model = make_pipeline(transformer, LogisticRegression()).fit(data, tumours[1])
    export, scorer, _ = exported(model, data)
    assert export.exporter == "onnx", export.reason
    close(scorer, model, data)


def test_columns_that_the_model_drops_are_taken_and_not_read(tumours: Tumours, exported: Exported) -> None:
    data = tumours[0][["mean area", "mean texture"]].assign(day=pd.Timestamp("2013-01-01"), note="n")
    model = make_pipeline(ColumnTransformer([("s", StandardScaler(), ["mean area"])]), LogisticRegression())
    model.fit(data, tumours[1])
    export, scorer, _ = exported(model, data)
    assert export.exporter == "onnx"
    rows = [{"mean area": 700.0, "mean texture": 1.0, "day": "2020-02-02T00:00:00", "note": ""}]
    got = scorer.score(scorer.signature.check(rows))
    np.testing.assert_allclose(np.array(got.probabilities), model.predict_proba(pd.DataFrame(rows)), atol=1e-6)


def test_the_same_estimator_gives_the_same_bytes(mixed: Tumours, exported: Exported) -> None:
    data, target = mixed
    pipeline = make_pipeline(preparation(), HistGradientBoostingClassifier(max_iter=5)).fit(data, target)
    first, second = exported(pipeline, data), exported(pipeline, data)
    assert first[0].files == second[0].files


def test_what_only_skl2onnx_can_write_is_taken_where_it_agrees(tumours: Tumours, exported: Exported) -> None:
    data, _ = tumours
    model = make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(data[::2])
    export, scorer, _ = exported(model, data[1::2])
    assert export.exporter == "onnx", export.reason
    got = scorer.score(scorer.signature.check(data[1::2].to_dict("records")))
    assert got.predictions == model.predict(data[1::2]).tolist()


def test_python_code_is_refused_in_onnx_with_its_name(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    model = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression(max_iter=5000)).fit(data, target)
    export, _, _ = exported(model, data)
    assert export.exporter == "skops"
    assert "the function nan_to_num is Python code" in export.reason
