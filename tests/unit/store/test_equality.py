from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor

from mlnb.store.equality import same


@settings(max_examples=30)
@given(value=st.recursive(st.integers() | st.floats() | st.text() | st.binary(), lambda inner: st.lists(inner)))
def test_a_value_is_the_same_as_its_deep_copy(value: object) -> None:
    assert same(value, copy.deepcopy(value))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ([1], (1,)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([None], [float("nan")]),
        (np.arange(3), np.arange(3.0)),
        (np.arange(4), np.arange(4).reshape(2, 2)),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=[1])),
        (pd.DataFrame({"a": [1]}, index=pd.Index([0])), pd.DataFrame({"a": [1]})),
        (pd.DataFrame({"a": [True]}, dtype=object), pd.DataFrame({"a": [1]}, dtype=object)),
        (pd.Series([1], name="a"), pd.Series([1], name="b")),
        (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["b", "a"]))),
        (
            pd.Series(pd.date_range("2020", periods=3), index=pd.date_range("2020", periods=3)),
            pd.Series(
                pd.date_range("2020", periods=3), index=pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03"])
            ),
        ),
    ],
    ids=repr,
)
def test_what_somebody_could_tell_apart_is_not_the_same(left: object, right: object) -> None:
    assert not same(left, right)
    assert same(left, copy.deepcopy(left))
    assert same(right, copy.deepcopy(right))


def test_frames_differ_by_their_attributes() -> None:
    left, right = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})
    assert same(left, right)
    right.attrs["source"] = "elsewhere"
    assert not same(left, right)


def test_estimators_are_compared_by_what_they_learned() -> None:
    rows = np.random.default_rng(1).normal(size=(60, 2))
    target = (rows[:, 0] > 0).astype(int)
    for model in (GradientBoostingClassifier(n_estimators=3), HistGradientBoostingRegressor(max_iter=3)):
        model.fit(rows, target)
        other = copy.deepcopy(model)
        assert same(model, other)
        other.fit(rows, 1 - target)
        assert not same(model, other)


def test_a_value_that_holds_itself_does_not_hang() -> None:
    left: list[object] = [1]
    left.append(left)
    assert same(left, copy.deepcopy(left))
