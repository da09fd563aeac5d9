"""What stock conversions get wrong, or do not know, in ONNX: against the estimator on real rows and at its thresholds."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_linnerud, load_wine
from sklearn.ensemble import (
    AdaBoostRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from mlnb.errors import InexactError
from mlnb.model.export import Export
from mlnb.model.inference import examine
from mlnb.model.onnx_build import Built, build_onnx
from mlnb.model.onnx_graph import Graph
from mlnb.model.onnx_normal import normal_quantile
from mlnb.model.onnx_trees import search
from mlnb.model.scorer import Scorer, load_onnxruntime

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]
Floats = npt.NDArray[np.float64]
CLOSE = 1e-12


def built(estimator: Any, sample: Any) -> Built:
    """Write an estimator as ONNX, and see that it agrees with it on the sample as closely as float64 can."""
    made = build_onnx(estimator, examine(sample, estimator), 1e-4)
    assert made.parity.flips == 0
    assert made.parity.ties == 0
    assert made.parity.max_abs < CLOSE
    return made


def computed(write: Callable[[Graph, str], str], values: Floats) -> Floats:
    """Return what the graph of one operation gives for a column."""
    graph = Graph()
    graph.output(write(graph, graph.input("x", text=False)), "y", 11, 2)
    session = load_onnxruntime().InferenceSession(graph.finish())
    return np.asarray(session.run(None, {"x": values.reshape(-1, 1)})[0])[:, 0]


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Two hundred categories, and numbers, some of both missing."""
    random = np.random.default_rng(7)
    rows = 4000
    city = pd.Series(random.integers(0, 200, rows)).map("town {}".format)
    size = pd.Series(random.normal(size=rows)).round(2)
    return pd.DataFrame({"city": city.mask(random.random(rows) < 0.05), "size": size.mask(random.random(rows) < 0.1)})


@pytest.mark.parametrize("kind", ["two", "three", "number", "count"])
def test_native_categories_are_exact_sets_in_onnx(kind: str, many: pd.DataFrame) -> None:
    frame = many.astype({"city": pd.CategoricalDtype(sorted(many["city"].dropna().unique()))})
    hidden = frame["city"].cat.codes * 37 % 11 + frame["size"].fillna(3)
    if kind in ("two", "three"):
        target: Any = pd.qcut(hidden, 2 if kind == "two" else 3, labels=False).map({0: "a", 1: "b", 2: "c"})
        model: Any = HistGradientBoostingClassifier(max_iter=15)
    else:
        target = hidden.clip(lower=0)
        model = HistGradientBoostingRegressor(max_iter=15, loss="poisson" if kind == "count" else "squared_error")
    known = frame["city"].isna() | ~frame["city"].isin(["town 3", "town 4"])
    model.fit(frame[known], target[known])
    assert "native categories as set-membership nodes" in built(model, frame).way


@pytest.mark.parametrize("unknown", [-1, np.nan])
def test_categories_by_index_behind_codes_are_exact(unknown: float, many: pd.DataFrame) -> None:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=unknown)
    prepared = ColumnTransformer([("codes", codes, ["city"]), ("kept", "passthrough", ["size"])])
    model = make_pipeline(prepared, HistGradientBoostingRegressor(max_iter=10, categorical_features=[0]))
    target = many["city"].fillna("town 0").str[5:].astype(int) * 37 % 11
    model.fit(many[:1000], target[:1000])
    assert "native categories" in built(model, many).way


def test_native_categories_pass_their_edges_in_a_package(mixed: Tumours, exported: Exported) -> None:
    data, target = mixed
    model = HistGradientBoostingClassifier(max_iter=10).fit(data[["area", "radius"]][::2], target[::2])
    export, scorer, _ = exported(model, data[["area", "radius"]][1::2])
    assert (export.exporter, export.parity.passed) == ("onnx", True)
    assert "set-membership" in export.reason
    got = scorer.score(scorer.signature.check([{"area": None, "radius": "xxl"}, {"area": 700.0, "radius": "xs"}]))
    rows = pd.DataFrame(
        {"area": [np.nan, 700.0], "radius": pd.Categorical([None, "xs"], data["radius"].cat.categories)}
    )
    np.testing.assert_allclose(got.probabilities, model.predict_proba(rows), atol=CLOSE)  # type: ignore[arg-type]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("boosted", [False, True])
def test_values_on_thresholds_take_the_branch_of_the_estimator(boosted: bool, scaled: bool, tumours: Tumours) -> None:
    data, target = tumours[0].iloc[:, :4], tumours[1]
    model: Any = HistGradientBoostingClassifier(max_iter=20) if boosted else RandomForestClassifier(20, random_state=0)
    whole = make_pipeline(StandardScaler() if scaled else "passthrough", model).fit(data, target)
    rows = []
    for at in range(4):
        cuts = _thresholds(model, at)
        if scaled:
            cuts = cuts * whole[0].scale_[at] + whole[0].mean_[at]
        near = np.concatenate([cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)])
        changed = data.iloc[np.arange(len(near)) % len(data)].reset_index(drop=True)
        rows.append(changed.assign(**{str(data.columns[at]): near}))
    built(whole, pd.concat(rows, ignore_index=True))


def _thresholds(model: Any, at: int) -> Floats:
    if hasattr(model, "_predictors"):
        nodes = np.concatenate([tree.nodes for trees in model._predictors for tree in trees])
        return np.unique(nodes["num_threshold"][(nodes["feature_idx"] == at) & (nodes["is_leaf"] == 0)])
    trees = [one.tree_ for one in model.estimators_]
    return np.unique(np.concatenate([tree.threshold[tree.feature == at] for tree in trees]))


STEPS = {
    "spline": SplineTransformer(5),
    "spline, linear": SplineTransformer(5, degree=2, extrapolation="linear", include_bias=False),
    "spline, continued": SplineTransformer(4, knots="quantile", extrapolation="continue"),
    "spline, periodic": SplineTransformer(6, extrapolation="periodic"),
    "log1p": FunctionTransformer(np.log1p),
    "sqrt": FunctionTransformer(np.sqrt),
    "clip": FunctionTransformer(np.clip, kw_args={"a_min": 0.1, "a_max": 100.0}),
    "polynomial": PolynomialFeatures(3),
    "products": PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    "bins": KBinsDiscretizer(7, quantile_method="averaged_inverted_cdf"),
    "places of bins": KBinsDiscretizer(7, encode="ordinal", strategy="uniform"),
    "yeo-johnson": PowerTransformer(),
    "box-cox": make_pipeline(FunctionTransformer(np.abs), FunctionTransformer(np.exp2), PowerTransformer("box-cox")),
    "quantiles": QuantileTransformer(n_quantiles=100),
    "normal quantiles": QuantileTransformer(n_quantiles=100, output_distribution="normal"),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("forest", [False, True])
def test_steps_that_stock_conversions_do_not_know_are_exact(name: str, forest: bool, tumours: Tumours) -> None:
    data, target = tumours[0][["mean texture", "mean smoothness", "mean area"]] / [1.0, 1.0, 100.0], tumours[1]
    model: Any = RandomForestClassifier(10, random_state=0) if forest else LogisticRegression(max_iter=3000)
    pipeline = make_pipeline(STEPS[name], StandardScaler(with_mean=False), model).fit(data[::2], target[::2])
    beyond = pd.concat([data[1::2], data[1:40] * 3, data[1:40] / 3])
    made = built(pipeline, beyond)
    assert made.way.startswith("float64")


@pytest.mark.parametrize("step", list(STEPS.values())[:8], ids=list(STEPS)[:8])
def test_transformers_alone_are_models(step: Any, tumours: Tumours, exported: Exported) -> None:
    data = tumours[0][["mean texture", "mean smoothness"]]
    step.fit(data[::2])
    export, scorer, _ = exported(step, data[1::2])
    assert (export.exporter, export.signature.task) == ("onnx", "transformer")
    got = scorer.score(scorer.signature.check(data[:1].to_dict("records")))
    np.testing.assert_allclose(np.ravel(got.predictions), np.ravel(step.transform(data[:1])), atol=CLOSE)


def test_target_encodings_are_exact_also_for_what_was_never_seen(many: pd.DataFrame) -> None:
    known = many["city"].isna() | ~many["city"].isin(["town 3", "town 4"])
    target = (many["city"].fillna("town 0").str[5:].astype(int) * 37 % 3).map({0: "a", 1: "b", 2: "c"})
    encoded = ColumnTransformer([("t", TargetEncoder(), ["city"])])
    model = make_pipeline(encoded, RandomForestClassifier(10, random_state=0)).fit(many[known], target[known])
    assert "TargetEncoder" in built(model, many).way


@pytest.mark.parametrize(
    "options",
    [
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.sqrt, "inverse_func": np.square},
        {"transformer": StandardScaler()},
        {"transformer": PowerTransformer()},
        {"transformer": QuantileTransformer(n_quantiles=50)},
    ],
    ids=["log", "root", "scaled", "power", "quantiles"],
)
@pytest.mark.parametrize("model", [Ridge(), RandomForestRegressor(10, random_state=0)], ids=["linear", "forest"])
def test_a_transformed_target_comes_back(options: dict[str, Any], model: Any) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    whole = TransformedTargetRegressor(make_pipeline(StandardScaler(), model), **options).fit(data[::2], target[::2])
    assert "TransformedTargetRegressor" in built(whole, data[1::2]).way


FOREST = RandomForestClassifier(10, random_state=0)
TOGETHER = {
    "sigmoid": CalibratedClassifierCV(FOREST, cv=2),
    "isotonic": CalibratedClassifierCV(FOREST, cv=2, method="isotonic"),
    "soft vote": VotingClassifier([("f", FOREST), ("l", LogisticRegression())], voting="soft", weights=[2, 1]),
    "hard vote": VotingClassifier([("f", FOREST), ("l", LogisticRegression())]),
    "stack": StackingClassifier([("f", FOREST), ("l", LogisticRegression())], cv=2, passthrough=True),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_estimators_put_together_are_exact(name: str) -> None:
    data, target = load_wine(return_X_y=True, as_frame=True)
    named = np.array(["barolo", "grignolino", "barbera"])[target]
    built(make_pipeline(StandardScaler(), TOGETHER[name]).fit(data[::2], named[::2]), data[1::2])


def test_a_weighted_median_is_exact() -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    built(AdaBoostRegressor(n_estimators=10, random_state=0).fit(data[::2], target[::2]), data[1::2])


def test_outliers_are_exact(tumours: Tumours) -> None:
    built(make_pipeline(StandardScaler(), IsolationForest(random_state=0)).fit(tumours[0][::2]), tumours[0][1::2])


@pytest.mark.parametrize("model", [MultiOutputClassifier(FOREST), FOREST, ClassifierChain(LogisticRegression())])
def test_several_labels_are_exact(model: Any, tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    labels = pd.DataFrame({"benign": target, "rough": (data["mean texture"] > 19).astype(int)})
    pipeline = make_pipeline(StandardScaler(), model).fit(data[::2], labels[::2])
    export, scorer, _ = exported(pipeline, data[1::2])
    assert (export.exporter, export.signature.task, export.parity.flips) == ("onnx", "multilabel", 0)
    got = scorer.score(scorer.signature.check(data[1:3].to_dict("records")))
    assert got.predictions == np.asarray(pipeline.predict(data[1:3])).astype(int).tolist()


def test_labels_of_several_outputs_keep_their_own_classes(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours
    texture = pd.cut(data["mean texture"], 3, labels=["fine", "plain", "rough"]).astype(str)
    labels = pd.DataFrame({"kind": target.map({0: "bad", 1: "good"}), "texture": texture})
    model = RandomForestClassifier(10, random_state=0).fit(data[::2], labels[::2])
    export, scorer, _ = exported(model, data[1::2])
    assert (export.exporter, export.signature.task) == ("onnx", "multiclassifier")
    got = scorer.score(scorer.signature.check(data[1:2].to_dict("records")))
    assert got.predictions == model.predict(data[1:2]).tolist()
    assert [len(one) for one in (got.probabilities or [[]])[0]] == [2, 3]


def test_several_numbers_are_exact() -> None:
    data, target = load_linnerud(return_X_y=True, as_frame=True)
    built(RandomForestRegressor(10, random_state=0).fit(data[::2], target[::2]), data[1::2])


@pytest.mark.parametrize("right", [False, True])
def test_a_search_among_edges_is_that_of_numpy(right: bool) -> None:
    edges = np.array([-2.0, 0.0, 0.0, 1e-300, 3.5, 1e9])
    values = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), [np.nan, -np.inf]])
    found = computed(lambda graph, tensor: search(graph, tensor, edges, right=right), values)
    assert found.tolist() == np.searchsorted(edges, values, side="right" if right else "left").tolist()


def test_quantiles_of_the_normal_distribution_are_those_of_scipy() -> None:
    values = np.concatenate([np.linspace(1e-7, 1 - 1e-7, 2001), [1e-7, 0.5, np.exp(-2), 1 - np.exp(-2)]])
    np.testing.assert_allclose(computed(normal_quantile, values), stats.norm.ppf(values), rtol=1e-14, atol=1e-16)


def test_what_onnx_cannot_hold_exactly_is_refused_with_the_reason(tumours: Tumours) -> None:
    data, target = tumours[0].iloc[:, :3].round(0), tumours[1]
    notes = pd.DataFrame({"note": ["Äußerst groß", "klein, glatt", "STRASSE"] * 100})
    words = make_pipeline(ColumnTransformer([("w", TfidfVectorizer(), "note")]), LogisticRegression())
    cases = [
        ("equal rows", KNeighborsClassifier().fit(data, target), data),
        ("KNNImputer", make_pipeline(KNNImputer(), LogisticRegression(max_iter=3000)).fit(data, target), data),
        ("Unicode", words.fit(notes, [0, 1, 1] * 100), notes),
    ]
    for why, model, sample in cases:
        with pytest.raises(InexactError) as caught:
            build_onnx(model, examine(sample, model), 1e-4)
        assert why in caught.value.problem


CASES = list(importlib.import_module("tests.bench.fidelity_cases").estimators())
CASES = [one for one in CASES if one.bundled and one.exporter == "onnx"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore")
def test_estimators_of_the_table_are_exact_on_rows_drawn_again(case: Any) -> None:
    estimator = case.fit()
    made = build_onnx(estimator, examine(case.rows().fresh(300), estimator), 1e-4)
    assert made.parity.passed
    assert made.parity.ties == 0
    assert made.parity.max_abs < 1e-9
