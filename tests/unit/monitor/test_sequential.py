"""The intervals against their definitions, computed by SciPy and by the papers' formulas one observation at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import beta, norm

from mlnb.monitor.sequential import (
    asymptotic_difference,
    asymptotic_mean,
    boundary,
    difference_confidence,
    further,
    mean_confidence,
)

Floats = npt.NDArray[np.float64]
STEP = 0.001


def log_mixture(ones: int, count: int) -> float:
    """Return the mixture of all shares' likelihoods of one sequence, integrated numerically against Beta(1/2, 1/2)."""
    angles, weights = np.polynomial.legendre.leggauss(200)  # sin^2 of a uniform angle is Beta(1/2, 1/2)
    shares = np.sin((angles + 1.0) * math.pi / 4.0) ** 2
    return math.log(float((weights / 2.0) @ (shares**ones * (1.0 - shares) ** (count - ones))))


def log_likelihood(ones: int, count: int, mean: float) -> float:
    return ones * math.log(mean) + (count - ones) * math.log1p(-mean)


def test_the_angle_that_the_reference_integrates_over_is_beta_a_half_a_half() -> None:
    angles = np.linspace(0.1, 1.4, 5)
    assert beta(0.5, 0.5).cdf(np.sin(angles) ** 2) == pytest.approx(angles * 2.0 / math.pi)


def test_the_interval_of_a_share_is_where_the_mixture_has_not_won() -> None:
    values = (np.random.default_rng(3).random(90) < 0.3).astype(float)
    found = mean_confidence(values, alpha=0.1)
    low, high = 0.0, 1.0
    for place, count in enumerate(found.counts.tolist()):
        ones = int(values[:count].sum())
        mixed = log_mixture(ones, count) - math.log(10.0)
        excess = lambda mean, ones=ones, count=count, mixed=mixed: mixed - log_likelihood(ones, count, mean)  # noqa: E731
        middle = ones / count
        low = max(low, brentq(excess, 1e-9, middle) if ones else 0.0)
        high = min(high, brentq(excess, middle, 1.0 - 1e-9) if ones < count else 1.0)
        assert found.lower[place] == pytest.approx(low, abs=2.1 * STEP)
        assert found.upper[place] == pytest.approx(high, abs=2.1 * STEP)
    assert found.estimate[-1] == pytest.approx(values.mean())


def hedged(values: Floats, mean: float, alpha: float) -> float:
    """Return the hedged capital as the paper writes it, one observation at a time (sum of the two, theta a half)."""
    up = down = 1.0
    total, spread = 0.5, 0.25
    for number, value in enumerate(values.tolist(), start=1):
        bet = math.sqrt(2.0 * math.log(2.0 / alpha) / (spread / number * number * math.log(number + 1.0)))
        up *= 1.0 + min(bet, 0.5 / mean) * (value - mean)
        down *= 1.0 - min(bet, 0.5 / (1.0 - mean)) * (value - mean)
        total += value
        spread = (spread * number + (value - total / (number + 1.0)) ** 2) / (number + 1.0)
    return (up + down) / 2.0


def test_the_interval_of_a_bounded_mean_is_where_the_hedged_capital_has_not_won() -> None:
    values = np.random.default_rng(5).beta(6.0, 4.0, 50)
    found = mean_confidence(values, alpha=0.05)
    low, high = 0.0, 1.0
    for place, count in enumerate(found.counts.tolist()):
        excess = lambda mean, count=count: math.log(hedged(values[:count], mean, 0.05) * 0.05)  # noqa: E731
        middle = float(values[:count].mean())
        low = max(low, brentq(excess, 1e-3, middle)) if excess(1e-3) > 0 else low
        high = min(high, brentq(excess, middle, 1 - 1e-3)) if excess(1 - 1e-3) > 0 else high
        assert found.lower[place] == pytest.approx(low, abs=2.1 * STEP)
        assert found.upper[place] == pytest.approx(high, abs=2.1 * STEP)


def test_a_difference_is_excluded_where_every_pair_of_means_with_it_is() -> None:
    random = np.random.default_rng(8)
    second = random.random(80) < 0.4
    values = (random.random(80) < np.where(second, 0.9, 0.3)).astype(float)
    found = difference_confidence(values, second, alpha=0.1)
    low, high = -1.0, 1.0
    for place, count in enumerate(found.counts.tolist()):
        groups = values[:count][~second[:count]], values[:count][second[:count]]
        (ones, others), (all_ones, all_others) = map(int, map(np.sum, groups)), map(len, groups)

        mixed = log_mixture(ones, all_ones) + log_mixture(others, all_others) - math.log(10.0)

        def least(
            apart: float, mixed: float = mixed, counts: tuple[int, ...] = (ones, all_ones, others, all_others)
        ) -> float:
            """Return the smallest wealth against a pair of means so far apart, in excess of the limit."""
            begin, end = max(0.0, -apart) + 1e-9, min(1.0, 1.0 - apart) - 1e-9

            def lost(mean: float) -> float:
                return log_likelihood(*counts[:2], mean) + log_likelihood(*counts[2:], mean + apart)

            return mixed + float(
                minimize_scalar(lambda mean: -lost(mean), bounds=(begin, end), options={"xatol": 1e-4}).fun
            )

        middle = float(np.clip(found.estimate[place], -0.99, 0.99))
        low = max(low, brentq(least, -0.999, middle, xtol=1e-4)) if least(-0.999) > 0 > least(middle) else low
        high = min(high, brentq(least, middle, 0.999, xtol=1e-4)) if least(0.999) > 0 > least(middle) else high
        assert found.lower[place] == pytest.approx(low, abs=3.1 * STEP)
        assert found.upper[place] == pytest.approx(high, abs=3.1 * STEP)
    assert found.lower[-1] > 0.0
    assert 0 < found.first_without() <= 80


@pytest.mark.parametrize("count", [50, 1000, 30_000])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_at_the_boundary_robbins_mixture_of_normal_bets_has_won_just_enough(count: int, alpha: float) -> None:
    tuned = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / 1000.0
    total, scale = boundary(count, alpha) * count, math.sqrt(tuned)
    centre, width = total / (count + 1.0 / tuned), 1.0 / math.sqrt(count + 1.0 / tuned)
    wealth = quad(
        lambda bet: math.exp(bet * total - bet * bet * count / 2.0 + norm.logpdf(bet, scale=scale)),
        centre - 12.0 * width,
        centre + 12.0 * width,
    )[0]
    assert wealth == pytest.approx(1.0 / alpha, rel=1e-6)


@pytest.mark.parametrize("kind", ["shares", "bounded", "any"])
def test_whoever_looks_all_the_time_is_misled_no_more_often_than_alpha(kind: str) -> None:
    """`python -m tests.bench sequential` has longer ones; 100 of them at alpha 0.1 may have 10 + 4 sd = 22 alarms."""
    random, alarms = np.random.default_rng(13), 0
    for _ in range(100):
        second = random.random(400) < 0.3
        if kind == "shares":
            found = difference_confidence((random.random(400) < 0.2).astype(float), second, alpha=0.1)
        elif kind == "bounded":
            found = mean_confidence(random.beta(2.0, 2.0, 400), alpha=0.1)
        else:
            found = asymptotic_difference(random.exponential(size=400), second, alpha=0.1)
        alarms += found.first_without(0.5 if kind == "bounded" else 0.0) > 0
    assert alarms <= 22


def test_a_difference_is_found_and_about_as_many_more_were_needed_as_was_said() -> None:
    random = np.random.default_rng(21)
    second = random.random(40_000) < 0.5
    values = random.exponential(size=40_000) + 0.1 * second
    found = asymptotic_difference(values, second)
    needed = found.first_without()
    assert found.lower[-1] < 0.1 < found.upper[-1]
    expected = further(0.1, 4.0, 0)  # variance 1 in each half: 1 / 0.5 + 1 / 0.5
    assert 0.2 * expected < needed < 3.0 * expected
    assert further(0.0, 4.0, 10) == 0
    assert further(1e-9, 4.0, 10) == 0
    assert asymptotic_mean(values - 1.0).lower[-1] > 0.0


def test_a_mean_that_changes_is_told_and_the_same_look_gives_the_same_interval_whenever_one_asks() -> None:
    values = np.concatenate([np.zeros(2000), np.ones(6000)])
    found = mean_confidence(values)
    assert not found.consistent
    steady = (np.random.default_rng(1).random(5000) < 0.5).astype(float)
    early, late = mean_confidence(steady[:700]), mean_confidence(steady)
    shared = early.counts.size - 1
    assert late.counts[:shared].tolist() == early.counts[:shared].tolist()
    assert late.lower[:shared].tolist() == early.lower[:shared].tolist()
    with pytest.raises(ValueError, match="must lie in"):
        mean_confidence(np.array([0.0, 2.0]))
