"""Trees behind functions, and behind columns of float32, in ONNX: against the estimator on and around its thresholds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from xgboost import XGBClassifier

from mlnb.model.export import Export
from mlnb.model.inference import examine
from mlnb.model.onnx_build import build_onnx
from mlnb.model.onnx_origins import last_left
from mlnb.model.scorer import Scorer

Tumours = tuple[pd.DataFrame, pd.Series]
Exported = Callable[..., tuple[Export, Scorer, Path]]
Floats = npt.NDArray[np.float64]
LOG = FunctionTransformer(np.log1p)
HIST = HistGradientBoostingClassifier(max_iter=10)
FOREST = RandomForestClassifier(10, random_state=0)
CLOSE = 1e-12


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("function", [np.log1p, np.log, np.exp, np.cbrt, np.tanh], ids=lambda one: one.__name__)
def test_the_last_number_on_the_left_is_that_of_the_function_itself(
    function: Callable[[Floats], Floats], single: bool
) -> None:
    numbers = np.array([1e-300, 0.001, 0.3, 1.0, 2.5, 7.0])
    thresholds = np.unique(function(numbers)[function(numbers) < (0.99 if function is np.tanh else np.inf)])

    def seen(values: Floats) -> Floats:
        made = function(values)
        return made.astype(np.float32).astype(np.float64) if single else made

    found = last_left(function, thresholds, single=single)
    assert (seen(found) <= thresholds).all()
    assert (seen(np.nextafter(found, np.inf)) > thresholds).all()


def test_thresholds_that_all_numbers_or_none_are_below_are_infinite() -> None:
    found = last_left(np.exp, np.array([-1.0, np.inf]), single=False)
    assert found[0] == -np.inf
    assert found[1] > 1e308


FUNCTIONS = {
    "log1p, boosted": make_pipeline(LOG, HIST),
    "log1p scaled to a range, forest": make_pipeline(LOG, MinMaxScaler((1, 2)), FOREST),
    "box-cox, boosted": make_pipeline(MinMaxScaler((1, 2)), PowerTransformer("box-cox"), HIST),
    "yeo-johnson, boosted": make_pipeline(PowerTransformer(), GradientBoostingClassifier(n_estimators=10)),
    "normal quantiles, boosted": make_pipeline(QuantileTransformer(n_quantiles=50, output_distribution="normal"), HIST),
    "some columns, outliers": make_pipeline(
        make_column_transformer((LOG, [0, 2]), (SimpleImputer(), [1])), IsolationForest(n_estimators=20, random_state=0)
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_trees_behind_functions_pass_in_onnx_at_their_thresholds(
    name: str, tumours: Tumours, exported: Exported
) -> None:
    data, target = tumours[0][["mean texture", "mean smoothness", "mean area"]].round(2), tumours[1]
    model = FUNCTIONS[name].fit(data, target)  # boosted trees make thresholds of these very numbers
    export, _, _ = exported(model, data)
    assert (export.exporter, export.parity.flipped) == ("onnx", 0)
    assert export.parity.largest < CLOSE
    assert "thresholds led back through functions" in export.reason
    (close,) = [part for part in export.parity.parts if part.name == "last digits"]
    assert close.rows > 5
    assert close.max_abs < CLOSE


@pytest.mark.parametrize(
    "model",
    [XGBClassifier(n_estimators=10, n_jobs=1), LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1)],
    ids=lambda model: type(model).__name__,
)
def test_other_libraries_trees_behind_functions_do_so_too(model: Any, tumours: Tumours, exported: Exported) -> None:
    data, target = tumours[0][["mean texture", "mean smoothness", "mean area"]].round(2), tumours[1]
    export, _, _ = exported(make_pipeline(LOG, StandardScaler(), model).fit(data, target), data)
    (close,) = [part for part in export.parity.parts if part.name == "last digits"]
    assert (export.exporter, close.rows > 5, close.passed) == ("onnx", True, True)
    assert "thresholds led back through functions" in export.choice.how


def test_what_has_no_logarithm_is_missing_for_boosted_trees() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    frame = pd.DataFrame({"x": values})
    with np.errstate(all="ignore"):
        model = make_pipeline(FunctionTransformer(np.log), HistGradientBoostingClassifier(max_iter=5))
        made = build_onnx(model.fit(frame, np.abs(values) > 0.5), examine(frame, model), 1e-4)
    assert "led back" in made.way
    assert (made.parity.flips, made.parity.max_abs < CLOSE) == (0, True)


SINGLES = {
    "scaled, boosted": make_pipeline(StandardScaler(), HIST),
    "scaled robustly, boosted": make_pipeline(RobustScaler(), HIST),
    "scaled to a range, forest": make_pipeline(MinMaxScaler(), FOREST),
    "products, boosted": make_pipeline(SimpleImputer(), PolynomialFeatures(2), HIST),
    "log1p, boosted": make_pipeline(LOG, StandardScaler(), HIST),
    "yeo-johnson, forest": make_pipeline(PowerTransformer(), FOREST),
    "learnt in float32": GaussianNB(),
}


@pytest.mark.parametrize("array", [False, True], ids=["frame", "array"])
@pytest.mark.parametrize("name", SINGLES)
def test_columns_of_float32_are_rounded_as_the_estimator_rounds_them(
    name: str, array: bool, tumours: Tumours, exported: Exported
) -> None:
    data, target = tumours[0][["mean texture", "mean smoothness", "mean area"]].astype("float32"), tumours[1]
    given: Any = data.to_numpy() if array else data
    model = SINGLES[name].fit(given[::2], target[::2])
    export, _, _ = exported(model, given[1::2])
    assert (export.exporter, export.parity.flipped) == ("onnx", 0)
    assert {one.dtype for one in export.signature.inputs} == {"float32"}
    assert export.parity.largest < (1e-5 if name == "learnt in float32" else CLOSE)


def test_a_wider_column_beside_makes_all_of_them_wide(tumours: Tumours, exported: Exported) -> None:
    data, target = tumours[0].iloc[:, :4].astype({"mean area": "float32"}), tumours[1]
    export, _, _ = exported(make_pipeline(StandardScaler(), HIST).fit(data[::2], target[::2]), data[1::2])
    assert (export.exporter, export.parity.largest < CLOSE) == ("onnx", True)
    assert "float32" not in export.choice.how
