"""How far two values are apart, told in one clause; numpy's and pandas' own testing functions are the second source."""

from __future__ import annotations

import doctest
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import mlnb.run.apart
from mlnb.run.apart import apart

ROWS = np.random.default_rng(0).normal(size=(60, 3))
LATE = ROWS[:, 0] > 0
FRAME = pd.DataFrame({"a": [1.0, 2.0, None], "b": ["x", "y", "z"]})


def _double(x: int) -> int:
    return 2 * x


def _triple(x: int) -> int:
    return 3 * x


class Scale:
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, value: float) -> float:
        return value * self.by


@dataclass(frozen=True, slots=True)
class Slotted:
    sizes: tuple[float, ...]


def test_the_examples_of_the_module_hold():
    assert doctest.testmod(mlnb.run.apart).failed == 0


@pytest.mark.parametrize(
    ("before", "after", "clause"),
    [
        (1, 2, "1 became 2 (+100 %)"),
        (0.81, 0.79, "0.81 became 0.79 (-2.47 %)"),
        (1, True, "1 (int) became True (bool)"),
        ("a", "b", "'a' became 'b'"),
        (None, [1], "None (NoneType) became a list (list)"),
        ([1, 2], [1, 2, 3], "2 items became 3"),
        ([1, [2, 3]], [1, [2, 4]], "[1][1]: 3 became 4 (+33.3 %)"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "['b'] is gone, ['c'] is new"),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, "['a']: 1 became 2 (+100 %); 1 more differ"),
        ([[1, 2], 3], [[2, 3], 4], "[0][0]: 1 became 2 (+100 %); 2 more differ"),
        ({1, 2}, {2, 3, 4}, "1 items are gone, 2 are new"),
        (np.arange(3), np.arange(4), "shape (3,) became (4,)"),
        (np.arange(3.0), np.array([0, 1.5, 2]), "1 of 3 values differ by up to 0.5"),
        (np.arange(3), np.arange(3.0), "dtype int64 became float64"),
        (FRAME, FRAME.head(2), "3 rows became 2"),
        (FRAME, FRAME.assign(a=[1.0, 5.0, None]), "1 of 6 values differ (a by up to 3)"),
        (FRAME, FRAME.rename(columns={"b": "c"}), "without column b; with the new column c"),
        (FRAME, FRAME.astype({"b": "category"}), "column 'b' is category, no longer " + str(FRAME["b"].dtype)),
        (FRAME["a"], FRAME["a"] + 1, "2 of 3 values differ (a by up to 1)"),
        (FRAME, FRAME.set_axis([3, 4, 5]), "its index differs"),
        (_double, _triple, "the function '_triple' was made by other code"),
        (Scale(2.0), Scale(3.0), ".by: 2.0 became 3.0 (+50 %)"),
        (Slotted((1.0,)), Slotted((1.5,)), ".sizes[0]: 1.0 became 1.5 (+50 %)"),
    ],
)
def test_what_differs_is_named_with_its_place_and_size(before, after, clause):
    assert apart(before, after) == clause
    assert apart(before, before) == apart(after, after) == ""


NEAR = (([1.0], [1.0 + 1e-9]), (Slotted((1.0,)), Slotted((1.0 + 1e-9,))))


def test_numbers_anywhere_in_a_value_may_differ_by_the_tolerance():
    model = LogisticRegression().fit(ROWS, LATE)
    other = LogisticRegression().fit(ROWS, LATE)
    other.coef_ = other.coef_ * (1 + 1e-9)
    assert apart(model, other).startswith(".coef_: 3 of 3 values differ by up to")
    for before, after in ((model, other), (FRAME, FRAME.assign(a=FRAME["a"] * (1 + 1e-9))), *NEAR):
        assert apart(before, after)
        assert apart(before, after, tolerance=1e-6) == ""
        assert apart(before, after, tolerance=1e-12)


def test_estimators_fitted_alike_are_equal_and_fitted_otherwise_are_not():
    forest = RandomForestClassifier(3, random_state=0).fit(ROWS, LATE)
    assert apart(forest, RandomForestClassifier(3, random_state=0).fit(ROWS, LATE)) == ""
    assert apart(forest, RandomForestClassifier(3, random_state=0).fit(ROWS, ROWS[:, 1] > 0))
    assert apart(forest, RandomForestClassifier(3, random_state=1).fit(ROWS, LATE)).startswith(".random_state: 0")


def test_the_same_code_makes_the_same_function_and_class_wherever_it_stands():
    spaces: list[dict[str, object]] = [{}, {}, {}]
    code = (
        "def f(x):\n    return [x + n for n in range(3)]\nclass A:\n    size = 1\n    def g(self):\n        return 1\n"
    )
    for space, text in zip(spaces, (code, "\n\n" + code, code.replace("1", "2")), strict=True):
        exec(compile(text, f"<{id(space)}>", "exec"), space)
    assert apart(spaces[0]["f"], spaces[1]["f"]) == apart(spaces[0]["A"], spaces[1]["A"]) == ""
    assert apart(spaces[0]["A"], spaces[2]["A"]) == "the class 'A' was made by other code"


floats = st.floats(allow_nan=True, width=64)


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=6), st.lists(floats, min_size=1, max_size=6))
def test_arrays_are_equal_where_numpy_says_so(left, right):
    ours, theirs = np.array(left), np.array(right)
    if ours.shape == theirs.shape:
        assert (apart(ours, theirs) == "") == bool(np.array_equal(ours, theirs, equal_nan=True))
