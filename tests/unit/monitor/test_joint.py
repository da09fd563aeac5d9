from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from mlnb.errors import MonitorError
from mlnb.monitor import distance
from mlnb.monitor.feature import categorical, numeric
from mlnb.monitor.joint import LEAST_ROWS, compare_joint
from mlnb.monitor.reference import Reference

Columns = dict[str, Sequence[object]]


def drawn(seed: int, together: float = 0.8, rows: int = 400) -> Columns:
    """Return two numbers that belong together, one that does not, and a word."""
    random = np.random.default_rng(seed)
    first, other = random.normal(size=(2, rows))
    second = together * first + (1 - together**2) ** 0.5 * other
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "alone": random.exponential(size=rows).tolist(),
        "word": np.array(["x", "y", "z"])[random.integers(0, 3, rows)].tolist(),
    }


def reference_of(sample: Columns) -> Reference:
    features = [numeric(name, sample[name]) for name in ("first", "second", "alone") if name in sample]
    words = [categorical("word", sample["word"])] if "word" in sample else []
    return Reference(400, "regressor", (), (*features, *words), numeric("prediction", sample["first"]))


def test_columns_that_only_belong_together_in_another_way_are_found() -> None:
    sample, current = drawn(3), drawn(4, together=-0.8)
    for name in ("first", "second"):
        edges = np.quantile(np.array(sample[name]), np.linspace(0.1, 0.9, 9))
        counts = [np.bincount(np.searchsorted(edges, side[name]), minlength=10) for side in (sample, current)]
        assert distance.jensen_shannon(*counts) < distance.chance_level(*counts)  # no column shows it
    found = compare_joint(reference_of(sample), sample, current)
    assert found.reconstruction_drifted and found.lower > 1.1
    assert found.domain_drifted and found.domain > 0.75
    kinds = [finding.kind for finding in found.findings()]
    assert kinds == ["joint", "joint"]
    assert f"principal components is {found.reconstruction:.2f} times as large" in found.findings()[0].sentence


def test_the_same_source_does_not_drift_together() -> None:
    alarms = []
    for seed in range(2):
        sample = drawn(10 + seed)
        found = compare_joint(reference_of(sample), sample, drawn(50 + seed))
        alarms += [found.reconstruction_drifted, found.domain_drifted]
        assert found.lower < 1 < found.upper
    assert sum(alarms) == 0


def test_what_a_single_column_shows_is_seen_too() -> None:
    sample, current = drawn(1), drawn(2)
    current["alone"] = [float(str(value)) + 1 for value in current["alone"]]
    assert compare_joint(reference_of(sample), sample, current).domain > 0.8


def test_missing_values_unknown_words_and_absent_columns_are_compared_all_the_same() -> None:
    sample, current = drawn(1), drawn(2)
    current["first"] = [None, "x", float("inf"), *current["first"][3:]]
    current["word"] = [None, "never", 5, *current["word"][3:]]
    del current["alone"]
    told = json.dumps(compare_joint(reference_of(sample), sample, current).to_json(), allow_nan=False)
    assert json.loads(told)["rows"] == 400


def test_of_the_larger_side_as_many_rows_are_taken_as_the_smaller_has() -> None:
    sample = drawn(1)
    assert compare_joint(reference_of(sample), sample, drawn(2, rows=150)).rows == 150


def test_too_few_rows_and_columns_without_any_difference_are_refused() -> None:
    sample = drawn(1)
    with pytest.raises(MonitorError, match=r"400 rows of the sample and 49 of the log, and 50 of each"):
        compare_joint(reference_of(sample), sample, drawn(2, rows=LEAST_ROWS - 1))
    constant: Columns = {"first": [1.0] * 400, "word": ["x"] * 400}
    with pytest.raises(MonitorError, match="No column of the sample has two different values"):
        compare_joint(reference_of(constant), constant, constant)


def test_one_column_alone_leaves_nothing_to_reconstruct() -> None:
    sample: Columns = {"first": drawn(1)["first"]}
    found = compare_joint(reference_of(sample), sample, {"first": drawn(2)["first"]})
    assert (found.reconstruction, found.components) == (1.0, 1)
