from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mlnb.monitor.reference import Reference
from mlnb.monitor.span import parse_span
from mlnb.monitor.window import Window, count, empty_window, parse_texts
from mlnb.service.log_reader import Batch

NO_RANKS = np.empty(0, dtype=np.int64)
DAY = parse_span("day")
Rows = list[dict[str, object]]


def merged(windows: dict[int, Window]) -> Window:
    first, *others = windows.values()
    return sum(others, start=first)


def same(one: Window, two: Window) -> bool:
    pairs = list(
        zip((*one.features, one.prediction, one.score), (*two.features, two.prediction, two.score), strict=True)
    )
    counts = all(np.array_equal(a.counts, b.counts) and np.allclose(a.sums, b.sums) for a, b in pairs if a and b)
    facts = all(
        (a.missing, a.unusable, a.below, a.above, a.unseen) == (b.missing, b.unusable, b.below, b.above, b.unseen)
        for a, b in pairs
        if a and b
    )
    outer = (one.start, one.end, one.first, one.last, one.rows, one.errors, one.versions, one.statuses)
    return (
        counts
        and facts
        and outer == (two.start, two.end, two.first, two.last, two.rows, two.errors, two.versions, two.statuses)
    )


def test_each_day_has_its_window(reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]) -> None:
    windows = count(reference, batch(draw(250, 2)), DAY, NO_RANKS, version=7)
    assert [window.rows for window in windows.values()] == [100, 100, 50]
    assert [window.prediction.rows for window in windows.values()] == [100, 100, 50]
    assert all(window.features[0].rows == window.rows for window in windows.values())
    assert next(iter(windows.values())).versions == {7: 100}


def test_windows_of_parts_merge_into_the_windows_of_the_whole(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    rows = [*draw(300, 3), {"age": None, "price": "x", "city": "Q"}, {}]
    whole = merged(count(reference, batch(rows, per_day=1000), DAY, NO_RANKS, version=7))
    one = merged(count(reference, batch(rows[:120], per_day=1000), DAY, NO_RANKS, version=7))
    late = batch(rows, per_day=1000)
    rest = Batch(*(getattr(late, name)[120:] for name in Batch.__dataclass_fields__))
    two = merged(count(reference, rest, DAY, NO_RANKS, version=7))
    assert same(one + two, whole)
    assert same(two + one, whole)
    empty = empty_window(reference, whole.start, whole.end)
    assert same(whole + empty, whole)
    assert same(empty + whole, whole)


def test_missing_unusable_unseen_and_out_of_range_are_counted(
    reference: Reference, batch: Callable[..., Batch]
) -> None:
    rows: Rows = [
        {"age": None, "price": [1], "city": "Q"},
        {"age": 1e9, "price": -1e9, "city": "Q"},
        {"price": 0, "city": 5},
        {"age": -1e300, "price": 1e300, "city": None},
    ]
    window = merged(count(reference, batch(rows), DAY, NO_RANKS, version=7))
    age, price, city = window.features
    assert (age.missing, age.unusable, age.above, age.below) == (2, 0, 1, 1)
    assert (price.missing, price.unusable, price.above, price.below) == (0, 1, 1, 1)
    assert (age.minimum, age.maximum) == (-1e300, 1e9)
    assert city.unseen == {"Q": 2, "5": 1} and city.missing == 1
    assert {tally.rows for tally in window.features} == {4}


def test_the_mean_of_a_window_is_kept(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    rows = draw(400, 4)
    age = merged(count(reference, batch(rows), DAY, NO_RANKS, version=7)).features[0]
    assert age.sums.sum() / age.counts.sum() == pytest.approx(np.mean([row["age"] for row in rows]))


def test_refused_rows_count_as_errors_and_not_as_inputs(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    window = merged(
        count(reference, batch(draw(10, 5), status=422, error="column age is missing"), DAY, NO_RANKS, version=7)
    )
    assert (window.rows, window.errors, window.statuses) == (10, 10, {422: 10})
    assert window.messages == ("column age is missing",)
    assert window.prediction.rows == 0 and math.isnan(window.latency_ms(50))


def test_another_version_is_traffic_but_not_compared(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    window = merged(count(reference, batch(draw(10, 5), version=6), DAY, NO_RANKS, version=7))
    assert window.versions == {6: 10}
    assert window.features[0].rows == 0


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_latency_percentiles_are_within_eight_per_cent(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch], percent: float
) -> None:
    made = batch(draw(2000, 6), per_day=5000)
    latencies = np.random.default_rng(1).lognormal(1, 1, 2000)
    values = {name: getattr(made, name) for name in Batch.__dataclass_fields__}
    window = merged(count(reference, Batch(**{**values, "latency_ms": tuple(latencies)}), DAY, NO_RANKS, version=7))
    expected = np.percentile(latencies, percent, method="inverted_cdf")
    assert window.latency_ms(percent) == pytest.approx(expected, rel=0.08)


def test_a_broken_text_spoils_only_itself() -> None:
    assert parse_texts(["1", "{", None, '{"a": NaN}']) == [1, None, None, {"a": pytest.approx(math.nan, nan_ok=True)}]
    assert parse_texts([]) == []


def test_rows_whose_inputs_were_not_logged_count_everywhere_but_in_the_columns(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    whole = batch(draw(100, 4))
    values = {name: getattr(whole, name) for name in Batch.__dataclass_fields__}
    inputs = tuple(text if place % 2 else None for place, text in enumerate(whole.inputs))
    window = merged(count(reference, Batch(**{**values, "inputs": inputs}), DAY, NO_RANKS, version=7))
    assert (window.rows, window.prediction.rows) == (100, 100)
    assert [(tally.rows, tally.missing) for tally in window.features] == [(50, 0)] * 3


def test_a_redacted_column_is_counted_as_redacted_and_not_as_missing(
    reference: Reference, draw: Callable[..., Rows], batch: Callable[..., Batch]
) -> None:
    hidden = [{**row, "city": None, "mlnb:redacted": ["city"]} for row in draw(60, 5)]
    one = merged(count(reference, batch(hidden), DAY, NO_RANKS, version=7))
    two = merged(count(reference, batch([*hidden, *draw(40, 6)]), DAY, NO_RANKS, version=7))
    at = [feature.name for feature in reference.features].index("city")
    assert (one.features[at].rows, one.features[at].missing, one.features[at].redacted) == (0, 0, 60)
    assert (two.features[at].rows, two.features[at].redacted) == (40, 60)
    assert (one + two).features[at].redacted == 120
