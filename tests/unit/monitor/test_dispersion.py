"""How much chunks of a sample vary, against simulations and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chi2

from mlnb.monitor.dispersion import Factor, Scale, factor_of, freedom_of, scales_of, watched
from mlnb.monitor.feature import categorical, numeric


def test_independent_rows_vary_as_dice_do() -> None:
    values = np.random.default_rng(4).standard_normal(40_000)
    scales = scales_of(numeric("x", values), values)
    assert [(scale.chunks, scale.rows) for scale in scales] == [(20, 2000), (80, 500), (320, 125)]
    assert [scale.shares for scale in scales] == pytest.approx([1.0, 1.0, 1.0], abs=0.3)
    assert {scale.missing for scale in scales} == {1.0}
    assert factor_of(scales, 500, 3.0) == Factor(1.0, 80)


def test_correlated_rows_vary_as_their_correlation_says() -> None:
    rho, random = 0.9, np.random.default_rng(5)
    values = lfilter([np.sqrt(1 - rho**2)], [1, -rho], random.standard_normal(200_000))
    found = scales_of(numeric("x", values), values)[2].shares
    lags = np.arange(1, 200)
    at_median = 1 + 2 * np.sum(2 / np.pi * np.arcsin(rho**lags))  # the signs of a normal autoregression
    assert 0.6 * at_median < found < 1.2 * at_median  # the median is correlated for the longest


def test_a_category_that_comes_in_seasons_varies_more_and_missing_values_have_their_own_measure() -> None:
    values: list[str | None] = (["a"] * 60 + ["b"] * 40) * 100
    values[::2] = ["c"] * 5000
    season = [value if at < 5000 else None for at, value in enumerate(values)]
    assert scales_of(categorical("x", values), values)[0].shares < 1.0
    scale = scales_of(categorical("x", season), season)[0]
    assert scale.missing > 100


def test_two_hundred_rows_are_the_least() -> None:
    values = np.arange(199.0)
    assert scales_of(numeric("x", values), values) == ()
    assert scales_of(numeric("x", np.arange(200.0)), np.arange(200.0))[0].chunks == 20
    assert factor_of((), 10, 1.0) == Factor(1.0, 0)


def test_a_constant_or_empty_column_varies_in_nothing() -> None:
    for values in ([3.0] * 400, [None] * 400):
        scale = scales_of(numeric("x", values), values)[0]
        assert (scale.shares, scale.missing) == (1.0, 1.0)


def test_what_may_be_chance_counts_as_one_and_the_rest_at_its_upper_limit() -> None:
    degrees = 19 * 3.0
    beyond = chi2.ppf(0.95, degrees) / degrees
    assert factor_of([Scale(100, 20, beyond - 0.01, 1.0)], 50, 3.0).value == 1.0
    found = factor_of([Scale(100, 20, beyond + 0.01, 1.0)], 50, 3.0).value
    assert found == pytest.approx((beyond + 0.01) * degrees / chi2.ppf(0.2, degrees), rel=0.01)


def test_longer_chunks_speak_for_shorter_windows_and_for_longer_ones_nobody_has_measured() -> None:
    scales = [Scale(400, 20, 9.0, 1.0), Scale(100, 80, 3.0, 1.0)]
    assert factor_of(scales, 100, 3.0).value > 9.0
    assert factor_of(scales, 100, 3.0).chunks == 80
    at_most = factor_of(scales, 400, 3.0).value
    assert factor_of(scales, 4000, 3.0) == Factor(pytest.approx(1 + 10 * (at_most - 1)), 0)


def test_the_watched_shares_of_a_number_make_its_ks_and_those_of_categories_are_each_alone() -> None:
    values = np.random.default_rng(6).standard_normal(1000)
    members = watched(numeric("x", values))
    assert members.shape == (15, 16) and members.sum(axis=1).tolist() == list(range(1, 16))
    cities = categorical("city", ["A", "A", "B", "C"])
    assert watched(cities).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]  # the last is for those never seen
    two = np.array([[1.0, 0.0]])
    assert freedom_of(two, np.array([0.3, 0.7])) == 1.0
    # Anderson and Darling's statistic, the mean over all shares, has variance 2 / 3 (pi^2 - 9)
    assert freedom_of(np.tril(np.ones((300, 300)))[:-1], np.full(300, 1 / 300)) == pytest.approx(
        2 / (2 / 3 * (np.pi**2 - 9)), rel=0.05
    )
