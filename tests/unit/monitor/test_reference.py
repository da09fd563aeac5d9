from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.errors import MonitorError, NewerFormatError
from mlnb.model.signature import Column, Signature
from mlnb.monitor.feature import Categorical, Numeric, categorical, numeric, places
from mlnb.monitor.reference import Reference, scores_of, summarise
from mlnb.monitor.values import names, numbers


def test_each_of_few_values_has_its_bin() -> None:
    feature = numeric("stars", [3, 1, 1, 5, None, math.nan])
    assert feature.edges == (1, 3, 5)
    assert feature.counts == (2, 1, 1, 0)
    assert (feature.missing, feature.rows, feature.whole) == (2, 6, True)


def test_many_values_get_bins_of_nearly_equal_weight() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    feature = numeric("x", values)
    inside = [count for count in feature.counts if count]
    assert len(feature.edges) <= 66
    assert max(inside) <= 10_000 / 40
    assert feature.counts[-1] == 0
    assert feature.mean == pytest.approx(values.mean())
    assert feature.deviation == pytest.approx(values.std())


def test_a_heavy_value_is_alone_in_its_bin() -> None:
    values = np.concatenate([np.zeros(6000), np.random.default_rng(0).exponential(size=4000), [-1.0, -2.0]])
    feature = numeric("price", values)
    zero = feature.edges.index(0.0)
    assert feature.counts[zero] == 6000
    assert feature.means[zero] == 0


def test_bins_beyond_the_range_wait_for_what_drifts_out() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    feature = numeric("x", values)
    assert feature.edges[0] == pytest.approx(values.mean() - 6 * values.std())
    assert feature.edges[-1] == pytest.approx(values.mean() + 6 * values.std())
    assert set(feature.counts[:4]) == set(feature.counts[-4:]) == {0}
    assert np.diff(feature.edges).max() <= values.std() / 2 + 1e-9


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-5, 5)), max_size=300))
def test_no_row_is_lost(values: list[float | None]) -> None:
    feature = numeric("x", values)
    assert sum(feature.counts) + feature.missing == len(values)
    assert list(feature.edges) == sorted(set(feature.edges))
    assert len(feature.counts) == len(feature.means) == len(feature.edges) + 1


def test_the_means_of_the_bins_give_back_the_mean() -> None:
    feature = numeric("x", np.random.default_rng(3).lognormal(size=5000))
    total = sum(count * mean for count, mean in zip(feature.counts, feature.means, strict=True) if count)
    assert total / 5000 == pytest.approx(feature.mean)


def test_categories_are_ranked_and_the_listed_ones_are_known() -> None:
    feature = categorical("city", ["B", "A", "B", None], ["C", "A"])
    assert feature.categories == ("B", "A", "C")
    assert feature.counts == (2, 1, 0)
    assert (feature.missing, feature.other) == (1, 0)


def test_categories_beyond_the_limit_are_counted_together() -> None:
    feature = categorical("tail", [f"N{number}" for number in range(300)] + ["N1"])
    assert len(feature.categories) == 200
    assert feature.categories[0] == "N1"
    assert feature.other == 100


def test_missing_values_and_whole_floats_have_one_name_each() -> None:
    assert names([None, math.nan, pd.NA, np.float64("nan"), pd.NaT]) == [None] * 5
    assert names([True, 3, 3.0, np.int64(3), 2.5, "3"]) == ["true", "3", "3", "3", "2.5", "3"]


def test_what_is_no_number_is_unusable_and_not_missing() -> None:
    floats, unusable = numbers([1, None, [2], "x", True])
    assert floats[0] == 1 and math.isnan(floats[1]) and math.isnan(floats[2]) and floats[4] == 1
    assert unusable.tolist() == [False, False, True, True, False]


def test_scores_are_of_the_second_class_or_the_largest() -> None:
    assert scores_of([[0.2, 0.8], [0.9, 0.1]]).tolist() == [0.8, 0.1]
    assert scores_of([[0.2, 0.5, 0.3]]).tolist() == [0.5]


def test_a_reference_survives_json(reference: Reference) -> None:
    again = Reference.from_json(json.loads(json.dumps(reference.to_json(), allow_nan=False)))
    assert again.to_json() == reference.to_json()
    assert isinstance(again.features[0], Numeric) and isinstance(again.features[2], Categorical)
    assert again.features[2] == reference.features[2]


def test_the_size_does_not_grow_with_the_rows(
    signature: Signature, draw: Callable[..., list[dict[str, object]]]
) -> None:
    def size(count: int) -> int:
        rows = draw(count, 2)
        columns = {name: [row[name] for row in rows] for name in ("age", "price", "city")}
        return len(json.dumps(summarise(signature, columns, ["no"] * count).to_json()))

    assert size(30_000) < 1.2 * size(3_000)


def test_a_regressor_has_no_score_and_numbers_for_answers() -> None:
    made = summarise(Signature((Column("x", "float64"),), "regressor"), {"x": [1.0, 2.0]}, [1.5, 2.5])
    assert made.score is None
    assert isinstance(made.prediction, Numeric) and made.prediction.mean == 2


def test_dates_are_not_watched_and_an_absent_column_is_missing_everywhere() -> None:
    signature = Signature((Column("at", "datetime"), Column("x", "int64", False, (), 0, 1)), "regressor")
    made = summarise(signature, {}, [1.0, 2.0])
    assert [feature.name for feature in made.features] == ["x"]
    assert made.features[0].missing == 2


def test_a_newer_format_is_refused(reference: Reference) -> None:
    with pytest.raises(NewerFormatError, match="format 2, this mlnb knows 1 at the most"):
        Reference.from_json({**reference.to_json(), "format": 2})


@pytest.mark.parametrize("broken", [{}, {"features": 3}, {"features": [{"kind": "numeric"}]}])
def test_something_else_is_refused(reference: Reference, broken: dict[str, object]) -> None:
    document = {**reference.to_json(), **broken} if broken else {"format": 1}
    with pytest.raises(MonitorError, match=r"not a reference summary of format 1.*Deploy the model again"):
        Reference.from_json(document)


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=300), st.booleans())
def test_a_number_that_was_written_and_read_again_stays_in_its_bin(steps: list[int], more: bool) -> None:
    values = np.array(steps) * 1.15078
    made = numeric("wind_speed", values)
    travelled = values * (1 + 1e-12 if more else 1 - 1e-12)
    edges = np.array(made.edges)
    assert np.bincount(places(edges, travelled), minlength=edges.size + 1).tolist() == list(made.counts)
