"""Generated edges find what real rows hide: each kind against an export that errs in just that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mlnb.model.answers import Scores
from mlnb.model.edges import make_edges
from mlnb.model.inference import Specimen, examine
from mlnb.model.kinds import Values
from mlnb.model.parity import Parity
from mlnb.model.scorer import EstimatorRuntime
from mlnb.model.trial import Trial

Tumours = tuple[pd.DataFrame, pd.Series]
Change = Callable[[Mapping[str, Values]], Mapping[str, Values]]


class Erring:
    """The estimator itself, asked about other rows than those that were given."""

    def __init__(self, estimator: Any, specimen: Specimen, change: Change) -> None:
        self._inner = EstimatorRuntime(estimator, specimen.signature)
        self._change = change

    def score(self, columns: Mapping[str, Values]) -> Scores:
        return self._inner.score(self._change(columns))


def judged(estimator: Any, data: pd.DataFrame, change: Change) -> Parity:
    """Judge the estimator that errs."""
    specimen = examine(data, estimator)
    return Trial(estimator, specimen, 1e-4).judge(Erring(estimator, specimen, change))


def failed(parity: Parity) -> set[str]:
    return {part.name for part in parity.parts if not part.passed}


def singles(columns: Mapping[str, Values]) -> dict[str, Values]:
    """Round numbers to float32, as a converter does that computes in it."""
    return {
        name: values.astype(np.float32).astype(np.float64) if values.dtype.kind == "f" else values
        for name, values in columns.items()
    }


@pytest.fixture(scope="module")
def words(tumours: Tumours) -> tuple[pd.DataFrame, Any]:
    """Real rows with a text and a number, both missing in places, and a model that takes any text."""
    data, target = tumours
    grade = pd.cut(data["mean texture"], 4, labels=["fine", "plain", "rough", "coarse"]).astype("str")
    frame = pd.DataFrame(
        {"area": data["mean area"].mask(data.index % 3 == 0), "grade": grade.mask(data.index % 7 == 0)}
    )
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    taken = make_column_transformer((numbers, ["area"]), (OneHotEncoder(handle_unknown="ignore"), ["grade"]))
    return frame, make_pipeline(taken, LogisticRegression()).fit(frame, target)


def test_what_agrees_everywhere_passes_in_every_part(words: tuple[pd.DataFrame, Any]) -> None:
    frame, model = words
    parity = judged(model, frame, dict)
    assert parity.passed
    rows = {part.name: part.rows for part in parity.parts}
    assert (rows["one row"], rows["10,000 rows"], rows["missing"]) == (16, 10_000, 9)
    assert rows["unseen category"] > 3
    assert rows["extremes"] == 7
    assert parity.evidence() == {"parity_max_abs": 0.0, "parity_flips": 0.0}


@pytest.mark.parametrize("steps", [[], [StandardScaler()], [PowerTransformer()]], ids=["raw", "scaled", "power"])
def test_thresholds_are_met_from_both_sides(steps: list[Any], tumours: Tumours) -> None:
    data, target = tumours[0].iloc[:, :6], tumours[1]
    model = make_pipeline(*steps, DecisionTreeRegressor(min_samples_leaf=20, random_state=0)).fit(data, target)
    edges = {edge.kind: edge for edge in make_edges(model, examine(data, model))}
    edge = edges.get("last digits", edges["thresholds"])
    table = pd.DataFrame(dict(edge.columns))[list(data.columns)]
    answers = model.predict(table)
    assert len(answers) == 3 * (model[-1].tree_.n_leaves - 1)
    left, right = answers[0::3], answers[1::3]
    assert (left != right).all()  # neighbouring numbers, two sides of each split
    columns = table.to_numpy()
    apart = columns[0::3] != columns[1::3]
    assert (apart.sum(axis=1) == 1).all()
    one, other = columns[0::3][apart], columns[1::3][apart]
    assert (np.nextafter(one, other) == other).all()


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        HistGradientBoostingClassifier(max_iter=20),
    ],
    ids=lambda model: type(model).__name__,
)
def test_numbers_that_are_rounded_too_early_are_found_at_thresholds(model: Any, tumours: Tumours) -> None:
    data, target = tumours
    rounded = data.astype(np.float32).astype(np.float64)  # real rows that no rounding changes
    pipeline = make_pipeline(StandardScaler(), model).fit(rounded, target)
    parity = judged(pipeline, rounded, singles)
    assert parity.max_abs == 0
    assert failed(parity) - {"far"} == {"thresholds"}
    assert not parity.passed
    (part,) = [part for part in parity.parts if part.name == "thresholds"]
    worst = part.worst[0]
    assert worst.difference == part.max_abs > 1e-4
    assert set(worst.values) == set(data.columns)
    assert "; thresholds: " in parity.sentence()
    assert parity.evidence()["parity_max_abs"] == part.max_abs


def test_the_last_digits_of_sums_are_told_and_what_is_beyond_them_is_judged(tumours: Tumours) -> None:
    data, target = tumours[0].iloc[:, :6], tumours[1]
    tree = DecisionTreeRegressor(min_samples_leaf=20, random_state=0)
    model = make_pipeline(StandardScaler(), PCA(3), tree).fit(data, target)

    def otherwise(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        return {name: values * (1 + 4e-16) for name, values in columns.items()}

    parity = judged(model, data[::3].reset_index(drop=True), otherwise)
    parts = {part.name: part for part in parity.parts}
    assert parity.passed
    assert (parts["last digits"].passed, parts["last digits"].judged) == (False, False)
    assert "the last digit of a step before the trees decides" in parts["last digits"].sentence()
    assert (parts["thresholds"].passed, parts["thresholds"].judged) == (True, True)
    assert parts["thresholds"].rows > 5
    assert "thresholds" in failed(judged(model, data[::3].reset_index(drop=True), singles))


def test_thresholds_that_cannot_be_searched_are_told(tumours: Tumours) -> None:
    data, target = tumours[0].iloc[:, :3], tumours[1]
    forest = RandomForestClassifier(5, random_state=0)
    inside = make_pipeline(StandardScaler(), forest)
    cases = {
        "the trees of VotingClassifier are not searched": VotingClassifier([("f", inside)]),
        "not searched: ValueError: only low rows": make_pipeline(FunctionTransformer(_low), forest),
        "thresholds are met by no change of one number": make_pipeline(
            make_column_transformer((SimpleImputer(), [0]), (OneHotEncoder(), [1])), forest
        ),
    }
    data = data.assign(**{"mean texture": pd.cut(data["mean texture"], 3, labels=["a", "b", "c"]).astype("str")})
    for told, model in cases.items():
        given = data if "one number" in told else tumours[0].iloc[:, :3]
        parity = judged(model.fit(given, target), given, dict)
        (part,) = [part for part in parity.parts if part.name == "thresholds"]
        assert told in part.sentence()


def _low(frame: pd.DataFrame) -> pd.DataFrame:
    """Refuse what the search begins with: rows that are alike but for the largest number of one column."""
    if len(frame) == 6:
        raise ValueError("only low rows")
    return frame


def test_an_unseen_category_that_is_taken_for_a_known_one_fails(words: tuple[pd.DataFrame, Any]) -> None:
    frame, model = words

    def first_known(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        known = [value if value in {None, "plain", "rough", "coarse"} else "fine" for value in columns["grade"]]
        return {**columns, "grade": np.array(known, dtype=object)}

    assert failed(judged(model, frame, first_known)) == {"unseen category"}


def test_numbers_beyond_the_sample_that_are_cut_off_fail(tumours: Tumours) -> None:
    data, target = tumours
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-4)).fit(data, target)

    def cut(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        return {name: np.clip(values, data[name].min(), data[name].max()) for name, values in columns.items()}

    parity = judged(model, data, cut)
    assert "extremes" in failed(parity)
    assert not parity.passed


def test_what_only_differs_far_beyond_any_use_is_told_and_not_judged(tumours: Tumours) -> None:
    data, target = tumours
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, target)

    def overflow(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        return {name: np.where(np.abs(values) > 1e29, 0.0, values) for name, values in columns.items()}

    parity = judged(model, data, overflow)
    assert parity.passed
    assert failed(parity) == {"far"}
    (far,) = [part for part in parity.parts if part.name == "far"]
    assert not far.judged
    assert far.flips > 0
    assert parity.evidence()["parity_flips"] == 0


def test_where_the_estimator_itself_raises_there_is_nothing_to_fail(tumours: Tumours) -> None:
    frame = pd.DataFrame({"grade": pd.cut(tumours[0]["mean texture"], 3, labels=["a", "b", "c"]).astype("str")})
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, tumours[1])
    parity = judged(model, frame, dict)
    assert parity.passed
    told = {part.name: part.note for part in parity.parts}
    assert told["unseen category"].startswith("grade: the estimator raises ValueError: Found unknown categories")
    assert "the estimator raises ValueError: Found array with 0 sample(s)" in told["empty batch"]


def test_an_export_that_raises_where_the_estimator_answers_fails(words: tuple[pd.DataFrame, Any]) -> None:
    frame, model = words

    def refuse(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        if len(columns["area"]) == 9 and np.isnan(columns["area"]).sum() >= 6:  # as in the part "missing" alone
            raise ValueError("no number")
        return columns

    parity = judged(model, frame, refuse)
    assert failed(parity) == {"missing"}
    (part,) = [part for part in parity.parts if part.name == "missing"]
    assert part.note == "the estimator answers, the export raises ValueError: no number"
    assert (parity.passed, parity.flipped) == (False, 9)


def test_answers_that_depend_on_the_other_rows_are_found(tumours: Tumours) -> None:
    data, target = tumours
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, target)

    def by_batch(columns: Mapping[str, Values]) -> Mapping[str, Values]:
        count = len(columns["mean area"])
        return columns if count in (len(data), 0) else {**columns, "mean area": columns["mean area"] + 500 * count}

    parity = judged(model, data, by_batch)
    assert parity.max_abs < 1e-12
    assert {"one row", "10,000 rows"} <= failed(parity)
