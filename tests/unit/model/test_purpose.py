"""More than row to number: what each kind of estimator is for, and that its package answers what it answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlnb.errors import ModelError
from mlnb.model.answers import Scores
from mlnb.model.hooks import compile_hooks
from mlnb.model.inference import examine
from mlnb.model.scorer import Scorer
from tests.unit.model.conftest import Exported

IRIS = load_iris(as_frame=True)
WIDE = np.column_stack([IRIS.target == 0, IRIS.data["petal width (cm)"] > 1.5]).astype(int)
NAMED = np.column_stack([np.array(["a", "b", "c"])[IRIS.target], np.where(WIDE[:, 1], "wide", "thin")])
DIABETES = load_diabetes(as_frame=True)
BOTH = np.column_stack([DIABETES.target, DIABETES.data["bmi"] * 100])


class Shop:
    """Ranks by the length of the name, and a user's own favourite first; knows no base class."""

    def predict(self, rows: pd.DataFrame) -> list[list[float]]:
        asked = zip(rows["favourite"], rows["items"], strict=True)
        return [[len(one) + 100 * (one == favourite) for one in items] for favourite, items in asked]


class Days(BaseEstimator, RegressorMixin):  # type: ignore[misc]
    """Forecasts two named days: the mean of the window, and its last value."""

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        means = [np.mean(window) for window in rows["window"]]
        return pd.DataFrame({"today": means, "tomorrow": [window[-1] for window in rows["window"]]})


QUESTIONS = pd.DataFrame(
    {"favourite": ["tea", "rum", "tea"], "items": [["tea", "coffee"], ["coffee", "milk", "rum"], ["ale"]]}
)
WINDOWS = np.random.default_rng(0).normal(size=(40, 6))


def answered(scorer: Scorer, rows: list[dict[str, Any]]) -> Scores:
    return scorer.score(scorer.signature.check(rows))


def test_several_labels_answer_flags_and_chances(exported: Exported) -> None:
    data = IRIS.data
    for model in (
        RandomForestClassifier(5, random_state=0).fit(data, WIDE),
        KNeighborsClassifier().fit(data, WIDE),
        MultiOutputClassifier(LogisticRegression()).fit(data, WIDE),
        ClassifierChain(LogisticRegression()).fit(data, WIDE),
    ):
        _, scorer, _ = exported(model, data)
        assert scorer.signature.task == "multilabel", model
        assert [output.name for output in scorer.signature.outputs] == ["y0", "y1"]
        got = answered(scorer, data.to_dict("records"))
        np.testing.assert_array_equal(got.predictions, model.predict(data))
        chances = model.predict_proba(data)
        chances = np.column_stack([one[:, 1] for one in chances]) if isinstance(chances, list) else chances
        np.testing.assert_allclose(np.array(got.probabilities), chances, atol=1e-6)


def test_several_classes_answer_labels_and_the_chances_of_each(exported: Exported) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(IRIS.data, NAMED)
    _, scorer, _ = exported(model, IRIS.data)
    assert scorer.signature.task == "multiclassifier"
    assert [output.classes for output in scorer.signature.outputs] == [("a", "b", "c"), ("thin", "wide")]
    got = answered(scorer, IRIS.data.to_dict("records")[:60:20])
    assert got.predictions == model.predict(IRIS.data[:60:20]).tolist()
    letters, widths = model.predict_proba(IRIS.data[:60:20])
    assert got.probabilities is not None
    for at, row in enumerate(got.probabilities):
        assert row[0] == pytest.approx(letters[at], abs=1e-6)
        assert row[1] == pytest.approx(widths[at], abs=1e-6)


def test_several_numbers_and_a_transformers_columns_are_answered(exported: Exported) -> None:
    data = DIABETES.data
    line = LinearRegression().fit(data, BOTH)
    _, scorer, _ = exported(line, data)
    assert (scorer.signature.task, len(scorer.signature.outputs)) == ("multioutput", 2)
    np.testing.assert_allclose(answered(scorer, data.to_dict("records")).predictions, line.predict(data), rtol=1e-6)
    parts = PCA(2).fit(data)
    _, scorer, _ = exported(parts, data)
    assert scorer.signature.task == "transformer"
    assert [output.name for output in scorer.signature.outputs] == ["pca0", "pca1"]
    np.testing.assert_allclose(answered(scorer, data.to_dict("records")).predictions, parts.transform(data), atol=1e-6)


def test_a_ranker_orders_the_items_of_each_row(exported: Exported) -> None:
    _, scorer, _ = exported(Shop(), QUESTIONS)
    assert (scorer.signature.task, scorer.signature.items) == ("ranker", "items")
    rows = [{"favourite": "ale", "items": ["tea", "port", "ale", "gin"]}, {"favourite": "", "items": ["x"]}]
    got = answered(scorer, rows)
    assert got.predictions == [["ale", "port", "tea", "gin"], ["x"]]  # equal scores stay in the order of the request
    assert got.scores == [[103.0, 4.0, 3.0, 3.0], [1.0]]
    assert answered(scorer, rows[1:]).predictions == [["x"]]


def test_a_window_laid_side_by_side_is_forecast_by_any_regressor_in_onnx(exported: Exported) -> None:
    model = Ridge().fit(WINDOWS, WINDOWS[:, :3])
    made, scorer, _ = exported(model, pd.DataFrame({"history": list(WINDOWS)}))
    assert (made.exporter, scorer.signature.task) == ("onnx", "forecaster")
    assert [output.name for output in scorer.signature.outputs] == ["h1", "h2", "h3"]
    assert scorer.signature.inputs[0].length == 6
    got = answered(scorer, [{"history": window.tolist()} for window in WINDOWS])
    np.testing.assert_allclose(got.predictions, model.predict(WINDOWS), rtol=1e-6)


def test_a_forecaster_of_ones_own_names_its_steps(exported: Exported) -> None:
    sample = pd.DataFrame({"window": [[1, 2, 3], [4, 5, 9]]})
    _, scorer, _ = exported(Days(), sample)
    assert scorer.signature.task == "forecaster"
    assert [output.name for output in scorer.signature.outputs] == ["today", "tomorrow"]
    assert answered(scorer, [{"window": [3, 3, 6]}]).predictions == [[4.0, 6.0]]


def test_a_hook_may_make_the_window_of_a_regressor(exported: Exported) -> None:
    lags = pd.DataFrame(WINDOWS[:, -2:], columns=["last", "before"])
    model = LinearRegression().fit(lags, WINDOWS[:, :2])
    hook = (
        "def preprocess(rows):\n"
        "    return [{'last': row['history'][-2], 'before': row['history'][-1]} for row in rows]\n"
    )
    _, scorer, _ = exported(model, pd.DataFrame({"history": list(WINDOWS)}), hooks=hook)
    assert (scorer.signature.task, scorer.exporter) == ("forecaster", "onnx")
    assert [column.name for column in scorer.signature.features] == ["last", "before"]
    got = answered(scorer, [{"history": WINDOWS[0].tolist()}])
    np.testing.assert_allclose(got.predictions, model.predict(lags[:1]), rtol=1e-6)


def test_a_regressor_with_no_classes_in_its_attribute_is_none_behind_a_pipeline_either() -> None:
    class Boosted(Ridge):  # type: ignore[misc]
        classes_: tuple[object, ...] = ()  # as CatBoost's regressors have it

    pipeline = make_pipeline(StandardScaler(), Boosted()).fit(DIABETES.data, DIABETES.target)
    assert hasattr(pipeline, "classes_")
    assert examine(DIABETES.data, pipeline).signature.task == "regressor"


def test_lists_of_different_lengths_that_rank_nothing_are_refused() -> None:
    class Odd:
        def predict(self, rows: pd.DataFrame) -> list[list[float]]:
            return [[1.0] * (1 + at % 2) for at in range(len(rows))]

    with pytest.raises(ModelError, match="odd answers lists of different lengths, but no list column"):
        examine(QUESTIONS, Odd(), variable="odd")


def test_a_list_column_with_something_else_is_refused() -> None:
    with pytest.raises(ModelError, match="The column 'items' of sample holds lists, but row 1 holds str"):
        examine(QUESTIONS.assign(items=[["a"], "b", ["c"]]), Shop())


def test_answers_of_format_1_are_read() -> None:
    old = {"format": 1, "predictions": ["a", "b"], "probabilities": [[0.9, 0.1], [0.2, 0.8]]}
    assert Scores.from_json(old) == Scores(["a", "b"], [[0.9, 0.1], [0.2, 0.8]])
    ranked = Scores([["a"], ["b", "c"]], None, [[1.0], [2.0, 1.0]])
    assert Scores.from_json(ranked.to_json()) == ranked
    assert ranked.take([1]) == Scores([["b", "c"]], None, [[2.0, 1.0]])


def test_a_hook_gets_lists_as_plain_values() -> None:
    hooks = compile_hooks("def preprocess(rows):\n    return [{'n': float(len(row['items']))} for row in rows]\n")
    assert hooks is not None
    model = LinearRegression().fit(pd.DataFrame({"n": [1.0, 2.0, 3.0]}), [1.0, 2.0, 3.0])
    specimen = examine(QUESTIONS, model, hooks=hooks)
    assert specimen.signature.task == "regressor"
    assert specimen.features["n"].tolist() == [2.0, 3.0, 1.0]
