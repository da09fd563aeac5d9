"""What a sample says of a model, and what is no sample or no model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlnb.errors import ModelError, SignatureError
from mlnb.model.hooks import compile_hooks
from mlnb.model.inference import as_frame, checked_columns, examine, infer_columns, infer_signature
from mlnb.model.signature import Column

Tumours = tuple[pd.DataFrame, pd.Series]


def test_columns_of_every_dtype_are_told(mixed: Tumours) -> None:
    frame, _ = mixed
    area = frame["area"]
    assert infer_columns(frame, "X") == (
        Column("area", "float64", True, (), float(area.min()), float(area.max())),
        Column("smoothness", "float64", False, (), frame["smoothness"].min(), frame["smoothness"].max()),
        Column("points", "int32", False, (), frame["points"].min(), frame["points"].max()),
        Column("radius", "string", False, ("xs", "s", "m", "l", "nan")),
        Column("texture", "string", True),
        Column("symmetry", "string", True, (), None, None, "none"),
        Column("big", "bool"),
    )


@pytest.mark.parametrize(
    ("values", "dtype", "nullable"),
    [
        (pd.array([1, None], dtype="Int16"), "int16", True),
        (pd.array([1.0, 2.0], dtype="Float64"), "float64", False),
        (pd.array([True, None], dtype="boolean"), "bool", True),
        (pd.Series([True, None], dtype=object), "bool", True),
        (pd.Series([1, 2.5], dtype=object), "float64", False),
        (pd.Series([3, 4], dtype=object), "int64", False),
        (pd.Series([None, None], dtype=object), "string", True),
        (pd.Series(np.array([1.5, 2.5], dtype="float32")), "float32", False),
        (pd.to_datetime(["2013-01-01", "NaT"]), "datetime", True),
        (pd.to_datetime(["2013-01-01", "2013-02-01"]).tz_localize("Europe/Berlin"), "datetime", False),
        (pd.Categorical([2, None], categories=[1, 2]), "int64", True),
    ],
)
def test_unusual_dtypes_are_understood(values: Any, dtype: str, nullable: bool) -> None:
    frame = pd.DataFrame({"x": values})
    (column,) = infer_columns(frame, "X")
    assert (column.dtype, column.nullable) == (dtype, nullable)
    assert len(checked_columns(frame, (column,))["x"]) == 2


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([{"a": 1}, {"a": 2}]),
        pd.Series(["a", 1], dtype=object),
        pd.Series([1 + 2j, 3j]),
        pd.to_timedelta([1, 2], unit="s"),
        pd.period_range("2013-01", periods=2, freq="M"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_the_columns_name(values: Any) -> None:
    with pytest.raises(ModelError, match=r"The column 'odd' of X holds .* which cannot be sent as JSON"):
        infer_columns(pd.DataFrame({"odd": values}), "X")


def test_an_infinity_in_the_sample_is_refused() -> None:
    frame = pd.DataFrame({"x": [1.0, np.inf]})
    with pytest.raises(SignatureError, match="column 'x' is inf, which is not JSON"):
        checked_columns(frame, infer_columns(frame, "X"))


def test_a_classifier_gives_its_classes_in_order(tumours: Tumours) -> None:
    data, target = tumours
    named = np.array(["malignant", "benign"])[target]
    signature = infer_signature(data, RandomForestClassifier(3, random_state=0).fit(data, named))
    assert (signature.task, signature.classes, signature.output) == ("classifier", ("benign", "malignant"), "string")
    assert signature.probabilities
    assert signature.frame
    assert json.loads(json.dumps(signature.to_json()))["classes"] == ["benign", "malignant"]


def test_an_array_has_columns_x0_and_so_on(tumours: Tumours) -> None:
    data = tumours[0].to_numpy()[:, :3]
    signature = infer_signature(data, LinearRegression().fit(data, data[:, 0]))
    assert [column.name for column in signature.inputs] == ["x0", "x1", "x2"]
    assert (signature.task, signature.classes, signature.frame) == ("regressor", (), False)


def test_clusters_and_outliers_are_labels(tumours: Tumours) -> None:
    data, _ = tumours
    clusters = infer_signature(data, KMeans(3, n_init=1, random_state=0).fit(data))
    assert (clusters.task, clusters.classes, clusters.probabilities) == ("classifier", (0, 1, 2), False)
    outliers = infer_signature(data, IsolationForest(n_estimators=5, random_state=0).fit(data))
    assert outliers.classes == (-1, 1)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (3, "winner is not a model: it is of type int and has no predict."),
        ("text", "winner is not a model: it is of type str and has no predict."),
        (None, "winner is not a model: it is of type NoneType and has no predict."),
        (pd.DataFrame(), "winner is not a model: it is of type pandas.DataFrame and has no predict."),
        (LogisticRegression, "winner is the class LogisticRegression, not a fitted model."),
        (LogisticRegression(), "winner is not fitted."),
    ],
)
def test_what_is_no_model_is_refused_by_name_and_type(value: object, problem: str) -> None:
    with pytest.raises(ModelError) as caught:
        examine(pd.DataFrame({"x": [1.0]}), value, variable="winner")
    assert caught.value.problem == problem
    assert caught.value.name == "winner"


def test_missing_and_extra_columns_are_both_named(tumours: Tumours) -> None:
    data, target = tumours
    model = LogisticRegression(max_iter=5000).fit(data[["mean area", "mean texture"]] / 100, target)
    sample = data[["mean area"]].assign(late=1, other=2)
    with pytest.raises(ModelError) as caught:
        examine(sample, model, variable="clf", sample_name="X_test")
    assert caught.value.problem == (
        "X_test lacks mean texture and has late, other too much: other columns than clf was fitted with."
    )
    with pytest.raises(ModelError, match="sample has 1 columns, but model was fitted with 2"):
        examine(data[["mean area"]], LinearRegression().fit(data.to_numpy()[:, :2], target))


def test_columns_in_another_order_are_put_in_the_order_of_the_fit(tumours: Tumours) -> None:
    data, target = tumours
    model = RandomForestClassifier(3, random_state=0).fit(data, target)
    specimen = examine(data[data.columns[::-1]], model)
    assert [column.name for column in specimen.signature.inputs] == list(data.columns)
    assert specimen.expected.predictions == model.predict(data).tolist()


@pytest.mark.parametrize("sample", [[[1.0]], np.array([1.0, 2.0]), {"x": [1.0]}, pd.Series([1.0]), "rows"])
def test_what_is_no_table_is_refused(sample: object) -> None:
    with pytest.raises(ModelError, match=r"X is of type .* which is not a table"):
        as_frame(sample, "X")


def test_an_empty_table_and_doubled_columns_are_refused() -> None:
    with pytest.raises(ModelError, match="X holds no rows or no columns"):
        as_frame(pd.DataFrame({"x": []}), "X")
    with pytest.raises(ModelError, match="X has two columns called x"):
        as_frame(pd.DataFrame([[1, 2]], columns=["x", "x"]), "X")


def test_a_model_that_fails_on_the_sample_is_told(tumours: Tumours) -> None:
    data, target = tumours
    model = LinearRegression().fit(data[["mean area"]], target)
    with pytest.raises(ModelError, match="model fails on sample: ValueError: Input X contains NaN"):
        examine(pd.DataFrame({"mean area": [1.0, None]}), model)


def test_with_a_hook_the_signature_tells_the_raw_rows_and_the_features() -> None:
    raw = pd.DataFrame({"at": pd.date_range("2013-01-01", periods=48, freq="h"), "d": range(48)})
    features = pd.DataFrame({"hour": raw["at"].dt.hour, "d": raw["d"]})
    model = LinearRegression().fit(features, features["hour"] * 2.0)
    hooks = compile_hooks(
        "from datetime import datetime\n"
        "def preprocess(rows): return [{'hour': datetime.fromisoformat(r['at']).hour, 'd': r['d']} for r in rows]"
    )
    specimen = examine(raw, model, hooks=hooks)
    assert [(column.name, column.dtype) for column in specimen.signature.inputs] == [("at", "datetime"), ("d", "int64")]
    assert [column.name for column in specimen.signature.features] == ["hour", "d"]
    assert specimen.expected.predictions == model.predict(features).tolist()
    assert specimen.rows["at"][1] == "2013-01-01T01:00:00"
