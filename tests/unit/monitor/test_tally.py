from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlnb.monitor.feature import Feature, categorical, numeric
from mlnb.monitor.tally import Tally, merged_tallies, tallies

ODD = st.sampled_from([None, math.nan, math.inf, -math.inf, 1e200, "x", True, 0.0, 1.0, 2.5])
VALUES = st.lists(st.one_of(st.floats(-5, 5), ODD), max_size=40)
REFERENCES: list[Feature] = [
    numeric("few", [0.0, 1.0, 1.0, 2.5]),
    numeric("many", np.random.default_rng(0).normal(size=500)),
    numeric("silent", [None, None]),
    categorical("named", ["x", "1", "x", "true"]),
]


def facts(tally: Tally) -> tuple[object, ...]:
    return (
        tally.counts.tolist(),
        (tally.missing, tally.unusable, tally.below, tally.above, dict(tally.unseen)),
        [None if math.isnan(value) else value for value in (tally.minimum, tally.maximum)],
    )


@pytest.mark.parametrize("feature", REFERENCES, ids=lambda feature: feature.name)
@given(values=VALUES)
def test_one_window_is_counted_as_each_of_several_is(feature: Feature, values: list[object]) -> None:
    member = np.zeros(len(values), dtype=np.int64)
    (alone,) = tallies(feature, values, member, 1)
    beside, nothing = tallies(feature, values, member, 2)
    assert facts(alone) == facts(beside)
    assert alone.sums == pytest.approx(beside.sums)
    assert nothing.rows == 0
    assert alone.rows == len(values)


@pytest.mark.parametrize("feature", REFERENCES, ids=lambda feature: feature.name)
@given(parts=st.lists(VALUES, min_size=1, max_size=4))
def test_tallies_are_merged_as_they_are_added(feature: Feature, parts: list[list[object]]) -> None:
    each = [tallies(feature, values, np.zeros(len(values), dtype=np.int64), 1)[0] for values in parts]
    assert facts(merged_tallies(each)) == facts(sum(each[1:], start=each[0]))
