"""Real data becomes more than forty pipelines as people build them, whose exports `tests.bench.fidelity` scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    ensemble,
    feature_selection,
    impute,
    linear_model,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
)

from tests.bench.fidelity_cases import (
    DIGITS,
    HOW,
    LATE,
    MISSING,
    NOTHING,
    NUMBERS,
    SEED,
    SINGLES,
    TUMOURS,
    WINE,
    WORDS,
    Case,
    Rows,
    fly,
    forest,
)


def pipelines() -> Iterator[Case]:
    """Return more than forty pipelines as people build them."""
    for name, data, made in _PIPELINES:
        yield Case(name, made, data, "skops" if name in _NOT_ONNX else "onnx")


_NOT_ONNX = (
    "KNNImputer, LogisticRegression",  # of equally near rows it takes those that lie first in memory
    "labels of a KNeighborsClassifier",  # ONNX would measure the distance in so many columns otherwise
    "principal components of float32, forest",  # sums in float32, of which every library makes others
)


def _words(**options: Any) -> Any:
    return pipeline.make_pipeline(
        impute.SimpleImputer(strategy="most_frequent"),
        preprocessing.OneHotEncoder(**{"handle_unknown": "ignore", **options}),
    )


def _numbers(*steps: Any) -> Any:
    return pipeline.make_pipeline(impute.SimpleImputer(strategy="median", add_indicator=True), *steps)


def _prepared(*steps: Any, words: Any = None) -> Any:
    return compose.ColumnTransformer([("n", _numbers(*steps), NUMBERS), ("w", words or _words(), WORDS)])


def _piped(model: Any, *steps: Any, words: Any = None) -> Any:
    return pipeline.make_pipeline(_prepared(*(steps or (preprocessing.StandardScaler(),)), words=words), model)


def _scaled(model: Any) -> Any:
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


_LOGISTIC = linear_model.LogisticRegression(max_iter=3000)
_HGB, _HGBR = ensemble.HistGradientBoostingClassifier(max_iter=30), ensemble.HistGradientBoostingRegressor(max_iter=30)
_ISOLATION = ensemble.IsolationForest(n_estimators=50, **SEED)
_LOG = preprocessing.FunctionTransformer(np.log1p, feature_names_out="one-to-one")
_ABS = preprocessing.FunctionTransformer(np.abs)
_CODES = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)


def _distance(*steps: Any) -> Any:
    """Return a preparation of the distance by these steps beside the other numbers and the texts."""
    others = [one for one in NUMBERS if one != "distance"]
    parts = [("d", pipeline.make_pipeline(*steps), ["distance"]), ("n", _numbers(), others), ("w", _words(), WORDS)]
    return compose.ColumnTransformer(parts)


_PIPELINES: list[tuple[str, Callable[[], Rows], Any]] = [
    ("prepared, LogisticRegression", fly("late"), _piped(_LOGISTIC)),
    ("prepared, LogisticRegression of 3", fly("how"), _piped(_LOGISTIC)),
    ("prepared, RandomForestClassifier", fly("late"), _piped(forest())),
    ("prepared, RandomForestClassifier of 3", fly("how"), _piped(forest())),
    ("prepared, RandomForestRegressor", fly("delay"), _piped(forest(True))),
    ("prepared, ExtraTreesClassifier", fly("late"), _piped(ensemble.ExtraTreesClassifier(30, **SEED))),
    ("prepared, GradientBoostingClassifier", fly("late"), _piped(ensemble.GradientBoostingClassifier(**SEED))),
    ("prepared, GradientBoostingRegressor", fly("delay"), _piped(ensemble.GradientBoostingRegressor(**SEED))),
    ("prepared, HistGradientBoostingClassifier", fly("late"), _piped(_HGB, words=_words(sparse_output=False))),
    ("native categories, 2 classes", fly("late", "categories"), _HGB),
    (
        "native categories by index behind codes",
        fly("how"),
        pipeline.make_pipeline(
            compose.ColumnTransformer([("w", _CODES, WORDS), ("n", "passthrough", NUMBERS)]),
            ensemble.HistGradientBoostingClassifier(max_iter=30, categorical_features=[0, 1, 2]),
        ),
    ),
    (
        "native categories that are numbers",
        MISSING,
        ensemble.HistGradientBoostingClassifier(max_iter=30, categorical_features=["month", "hour"]),
    ),
    (
        "native categories, poisson",
        fly("wait", "categories"),
        ensemble.HistGradientBoostingRegressor(max_iter=30, loss="poisson"),
    ),
    ("missing numbers, RandomForestClassifier", MISSING, forest()),
    ("missing numbers, HistGradientBoostingRegressor", fly("delay", "missing"), _HGBR),
    ("RobustScaler, forest", LATE, pipeline.make_pipeline(preprocessing.RobustScaler(), forest())),
    ("MinMaxScaler, forest", HOW, pipeline.make_pipeline(preprocessing.MinMaxScaler(), forest())),
    (
        "spline of the distance, Ridge",
        fly("delay"),
        pipeline.make_pipeline(_distance(preprocessing.SplineTransformer(6)), linear_model.Ridge()),
    ),
    (
        "periodic spline of the hour, Ridge",
        fly("delay"),
        pipeline.make_pipeline(
            compose.ColumnTransformer(
                [
                    ("h", preprocessing.SplineTransformer(8, extrapolation="periodic"), ["hour", "minute"]),
                    ("w", _words(), WORDS),
                ]
            ),
            linear_model.Ridge(),
        ),
    ),
    ("spline, forest", LATE, pipeline.make_pipeline(preprocessing.SplineTransformer(), forest())),
    (
        "log1p of the distance, LogisticRegression",
        fly("late"),
        pipeline.make_pipeline(_distance(_LOG, preprocessing.StandardScaler()), _LOGISTIC),
    ),
    ("log1p, forest", LATE, pipeline.make_pipeline(_ABS, _LOG, forest())),
    ("log1p, HistGradientBoosting", LATE, pipeline.make_pipeline(_ABS, _LOG, _HGB)),
    (
        "polynomial, LogisticRegression",
        LATE,
        pipeline.make_pipeline(preprocessing.StandardScaler(), preprocessing.PolynomialFeatures(2), _LOGISTIC),
    ),
    ("polynomial, forest", LATE, pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), forest())),
    (
        "bins, LogisticRegression",
        LATE,
        pipeline.make_pipeline(preprocessing.KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), _LOGISTIC),
    ),
    ("PowerTransformer, forest", LATE, pipeline.make_pipeline(preprocessing.PowerTransformer(), forest())),
    (
        "QuantileTransformer, forest",
        LATE,
        pipeline.make_pipeline(preprocessing.QuantileTransformer(n_quantiles=300, **SEED), forest()),
    ),
    (
        "normal quantiles, HistGradientBoosting",
        LATE,
        pipeline.make_pipeline(
            preprocessing.QuantileTransformer(n_quantiles=300, output_distribution="normal", **SEED), _HGB
        ),
    ),
    ("PowerTransformer, HistGradientBoosting", LATE, pipeline.make_pipeline(preprocessing.PowerTransformer(), _HGB)),
    (
        "PowerTransformer, IsolationForest",
        NOTHING,
        pipeline.make_pipeline(preprocessing.PowerTransformer(), _ISOLATION),
    ),
    (
        "principal components, HistGradientBoosting",
        LATE,
        pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(4), _HGB),
    ),
    (
        "products of logarithms, forest",
        LATE,
        pipeline.make_pipeline(_ABS, _LOG, preprocessing.PolynomialFeatures(2), forest()),
    ),
    ("float32, forest", SINGLES, pipeline.make_pipeline(preprocessing.StandardScaler(), forest())),
    ("float32, HistGradientBoosting", SINGLES, pipeline.make_pipeline(preprocessing.RobustScaler(), _HGB)),
    ("log1p of float32, HistGradientBoosting", SINGLES, pipeline.make_pipeline(_ABS, _LOG, _HGB)),
    ("polynomial of float32, forest", SINGLES, pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), forest())),
    (
        "principal components of float32, forest",
        SINGLES,
        pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3), forest()),
    ),
    ("prepared float32, forest", fly("late", "frame of singles"), _piped(forest())),
    ("prepared float32, LogisticRegression", fly("late", "frame of singles"), _piped(_LOGISTIC)),
    ("KNNImputer, LogisticRegression", MISSING, pipeline.make_pipeline(impute.KNNImputer(), _scaled(_LOGISTIC))),
    ("TargetEncoder, HistGradientBoosting", fly("late"), _piped(_HGB, words=preprocessing.TargetEncoder())),
    (
        "TargetEncoder of 3, LogisticRegression",
        fly("how"),
        _piped(_LOGISTIC, words=preprocessing.TargetEncoder()),
    ),
    (
        "SelectKBest, LogisticRegression",
        TUMOURS,
        pipeline.make_pipeline(feature_selection.SelectKBest(k=8), _scaled(_LOGISTIC)),
    ),
    ("PCA, SVC", DIGITS, pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(20), svm.SVC())),
    ("sigmoid calibration of a forest", fly("late"), _piped(calibration.CalibratedClassifierCV(forest(), cv=3))),
    (
        "isotonic calibration of a forest",
        fly("late"),
        _piped(calibration.CalibratedClassifierCV(forest(), cv=3, method="isotonic")),
    ),
    (
        "isotonic calibration of a LinearSVC of 3",
        HOW,
        _scaled(calibration.CalibratedClassifierCV(svm.LinearSVC(**SEED), cv=3, method="isotonic")),
    ),
    (
        "soft vote",
        fly("late"),
        _piped(ensemble.VotingClassifier([("l", _LOGISTIC), ("f", forest())], voting="soft", weights=[1, 2])),
    ),
    ("hard vote of 3", fly("how"), _piped(ensemble.VotingClassifier([("l", _LOGISTIC), ("f", forest())]))),
    (
        "vote of regressors",
        fly("delay"),
        _piped(ensemble.VotingRegressor([("l", linear_model.Ridge()), ("f", forest(True))])),
    ),
    (
        "stack",
        fly("late"),
        _piped(ensemble.StackingClassifier([("f", forest()), ("b", naive_bayes.BernoulliNB())], _LOGISTIC, cv=2)),
    ),
    (
        "stack of regressors",
        fly("delay"),
        _piped(ensemble.StackingRegressor([("f", forest(True)), ("l", linear_model.Ridge())], cv=2, passthrough=True)),
    ),
    (
        "log of the target",
        fly("wait"),
        compose.TransformedTargetRegressor(_piped(linear_model.Ridge()), func=np.log1p, inverse_func=np.expm1),
    ),
    (
        "log of the target, forest",
        fly("wait"),
        compose.TransformedTargetRegressor(_piped(forest(True)), func=np.log1p, inverse_func=np.expm1),
    ),
    (
        "scaled target",
        fly("delay"),
        compose.TransformedTargetRegressor(_piped(linear_model.Ridge()), transformer=preprocessing.StandardScaler()),
    ),
    (
        "power of the target",
        fly("delay"),
        compose.TransformedTargetRegressor(_piped(linear_model.Ridge()), transformer=preprocessing.PowerTransformer()),
    ),
    (
        "quantiles of the target",
        fly("delay"),
        compose.TransformedTargetRegressor(
            _piped(linear_model.Ridge()), transformer=preprocessing.QuantileTransformer(n_quantiles=100)
        ),
    ),
    ("MultiOutputClassifier", fly("labels"), _piped(multioutput.MultiOutputClassifier(_LOGISTIC))),
    ("labels of a forest", fly("labels"), _piped(forest())),
    ("chain of classifiers", fly("labels"), _piped(multioutput.ClassifierChain(_LOGISTIC))),
    ("one label each", fly("labels"), _piped(multiclass.OneVsRestClassifier(_LOGISTIC))),
    (
        "labels of a KNeighborsClassifier",
        fly("labels"),
        _piped(neighbors.KNeighborsClassifier(), words=_words(sparse_output=False)),
    ),
    ("several outputs of a forest", fly("both"), _piped(forest(True))),
    ("several outputs of Ridge", fly("both"), _piped(linear_model.Ridge())),
    (
        "MultiOutputRegressor of HistGradientBoosting",
        fly("both"),
        _piped(multioutput.MultiOutputRegressor(_HGBR), words=_words(sparse_output=False)),
    ),
    ("chain of regressors", fly("both"), _piped(multioutput.RegressorChain(linear_model.Ridge()))),
    ("one against the rest", HOW, _scaled(multiclass.OneVsRestClassifier(_LOGISTIC))),
    ("one against one", WINE, _scaled(multiclass.OneVsOneClassifier(svm.LinearSVC(**SEED)))),
    ("outliers of prepared rows", fly("nothing"), _piped(_ISOLATION)),
    ("clusters of prepared rows", fly("nothing"), _piped(cluster.KMeans(6, n_init=1, **SEED))),
    (
        "preparation alone",
        fly("nothing"),
        _prepared(preprocessing.StandardScaler(), words=_words(sparse_output=False)),
    ),
    (
        "search of a forest",
        fly("late"),
        model_selection.GridSearchCV(_piped(forest()), {"randomforestclassifier__max_depth": [3, 8]}, cv=2),
    ),
    ("threshold of its own", fly("late"), model_selection.TunedThresholdClassifierCV(_piped(_LOGISTIC), cv=2)),
]
