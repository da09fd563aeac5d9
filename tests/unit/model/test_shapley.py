"""Shapley values, against the formula as Shapley wrote it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor

from mlnb.model.shapley import least_budget, shapley

NAMES = ("age", "bmi", "bp", "s5")


@pytest.fixture(scope="module")
def forest() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """An answer function, a row and ten background rows."""
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    rows = {name: data[name].to_numpy() for name in NAMES}
    model = RandomForestRegressor(15, random_state=0).fit(np.column_stack(list(rows.values())), target)

    def answer(columns: dict[str, Any]) -> Any:
        found = model.predict(np.column_stack([columns[name] for name in NAMES]))
        return np.column_stack([found, -2 * found])

    return answer, {name: rows[name][100:101] for name in NAMES}, {name: rows[name][:10] for name in NAMES}


def by_permutations(answer: Any, row: dict[str, Any], background: dict[str, Any]) -> Any:
    """The mean gain of each column over all orders in which they can come."""
    names, gains = list(row), np.zeros((len(row), 2))
    orders = list(permutations(range(len(names))))
    for order in orders:
        mixed = {name: values.copy() for name, values in background.items()}
        before = answer(mixed).mean(axis=0)
        for place in order:
            mixed[names[place]] = np.repeat(row[names[place]], len(background[names[place]]))
            after = answer(mixed).mean(axis=0)
            gains[place] += after - before
            before = after
    return gains / len(orders)


def test_with_few_columns_the_values_are_exact(forest: tuple[Any, Any, Any]) -> None:
    answer, row, background = forest
    found = shapley(answer, row, background, budget=10 * 2**4)
    assert (found.exact, found.evaluations, found.background, found.columns) == (True, 160, 10, NAMES)
    assert np.allclose(found.values, by_permutations(answer, row, background), atol=1e-9)
    assert np.allclose(found.base, answer(background).mean(axis=0))
    assert (found.error == 0).all()


@pytest.mark.parametrize("budget", [8, 9, 40, 79, 159])
def test_every_budget_is_kept_and_the_shares_add_up(forest: tuple[Any, Any, Any], budget: int) -> None:
    answer, row, background = forest
    asked = []

    def counted(columns: dict[str, Any]) -> Any:
        asked.append(len(columns["age"]))
        return answer(columns)

    found = shapley(counted, row, background, budget=budget)
    assert sum(asked) == found.evaluations <= budget
    assert np.allclose(found.base + found.values.sum(axis=0), found.answer)
    assert np.allclose(found.answer, answer(row)[0])


def test_the_standard_error_is_the_spread_over_seeds(forest: tuple[Any, Any, Any]) -> None:
    answer, row, background = forest
    exact = shapley(answer, row, background, budget=160).values
    found = [shapley(answer, row, background, budget=140, seed=seed) for seed in range(60)]
    assert not any(one.exact for one in found)
    off = np.stack([one.values - exact for one in found])
    assert np.sqrt((off**2).mean()) == pytest.approx(np.sqrt(np.mean([one.error**2 for one in found])), rel=0.25)
    assert np.abs(off.mean(axis=0)).max() < 4 * off.std(axis=0).max() / np.sqrt(60)


def test_texts_and_missing_values_are_columns_as_well() -> None:
    row = {"a": np.array(["x"], dtype=object), "b": np.array([np.nan])}
    background = {"a": np.array(["y", None], dtype=object), "b": np.array([1.0, 3.0])}

    def answer(columns: dict[str, Any]) -> Any:
        return ((columns["a"] == "x") * 4.0 + np.nan_to_num(columns["b"], nan=10.0))[:, None]

    found = shapley(answer, row, background, budget=100)
    assert found.values.ravel().tolist() == [4.0, 8.0]


def test_a_budget_below_the_least_is_refused(forest: tuple[Any, Any, Any]) -> None:
    answer, row, background = forest
    assert least_budget(4) == 8
    with pytest.raises(ValueError, match="a budget of 7 for 4 columns"):
        shapley(answer, row, background, budget=7)
