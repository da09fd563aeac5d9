"""Observations, in the order in which they came, become intervals that hold at all times together: look when you like.

For values in [0, 1]: the wealth of bettors against each possible mean. Against zeros and ones they bet with the mixture
of Krichevsky and Trofimov, Beta(1/2, 1/2), whose wealth is known in closed form (Ville 1939; Cover's universal
portfolio); against other values with the hedged capital process of Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 86, 2024, section 4.4, and its predictable plug-in, equation 26. A mean
against which they have won 1/alpha is excluded (Ville's inequality). Two groups: a pair of means is excluded where the
product of the wealths has reached 1/alpha; a difference where every pair of means with it is. Nothing is assumed but
the bounds, and that a group's mean stays what it is.

For values without bounds: the asymptotic sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences", Annals of Statistics 52, 2024, theorem 2.2: Robbins' normal
mixture with estimated variances. It begins after `BURN_IN` observations of each group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlnb.monitor.values import Flags, Floats, Ints

BURN_IN = 50
_GRID: Floats = np.linspace(0.0, 1.0, 1001)
_STEP = 1.0 / (_GRID.size - 1)
_CAP = 0.5
_AT_ONCE = 256
_TUNED_TO = 1000.0
_MOST = 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Confidence:
    """Intervals that hold together with probability 1 - alpha.

    Attributes
    ----------
    counts : ndarray of int64, shape (looks,)
        Observations at each look.
    estimate, lower, upper : ndarray of float64, shape (looks,)
        The mean, or the difference of means, and the interval: what all looks so far leave of it.
    consistent : bool
        False where no value is left at some look: the mean has changed meanwhile. The interval is then the one before.
    """

    counts: Ints
    estimate: Floats
    lower: Floats
    upper: Floats
    consistent: bool = True

    def first_without(self, value: float = 0.0) -> int:
        """Return after how many observations a value was excluded, 0 where it was not."""
        out = (self.lower > value) | (self.upper < value)
        return int(self.counts[int(np.argmax(out))]) if out.any() else 0


def mean_confidence(values: Floats, alpha: float = 0.05) -> Confidence:
    """Return the intervals of a mean of values in [0, 1].

    Examples
    --------
    >>> found = mean_confidence(np.tile([0.0, 1.0, 1.0, 1.0], 100))
    >>> bool(0.6 < found.lower[-1] < 0.75 < found.upper[-1] < 0.9)
    True
    """
    wealth = _wealth(values, alpha)
    looks = _looks(values.size)
    limit = math.log(1.0 / alpha)
    rows = []
    for look in looks:
        standing = np.flatnonzero(wealth.at(int(look)) < limit)
        rows.append(_span(_GRID[standing] if standing.size else _GRID[:0], 0.0))
    estimates = np.cumsum(values)[looks - 1] / looks
    return _narrowed(looks, estimates, rows)


def difference_confidence(values: Floats, second: Flags, alpha: float = 0.05) -> Confidence:
    """Return the intervals of mean of the second group less mean of the first, of values in [0, 1].

    Parameters
    ----------
    values : ndarray of float64, shape (rows,)
        In the order in which they came to be known; which group comes next may depend on anything before.
    second : ndarray of bool, shape (rows,)
        Whether a value is of the second group.
    """
    wealths = _wealth(values[~second], alpha), _wealth(values[second], alpha)
    looks = _looks(values.size)
    behind = np.cumsum(second)[looks - 1]
    rows = [
        _difference_span(wealths[0].at(int(look - after)), wealths[1].at(int(after)), math.log(1.0 / alpha))
        for look, after in zip(looks, behind, strict=True)
    ]
    return _narrowed(looks, _differences(values, second, looks), rows)


def asymptotic_difference(values: Floats, second: Flags, alpha: float = 0.05) -> Confidence:
    """Return the intervals of mean of the second group less mean of the first, of values without bounds."""
    looks = _looks(values.size)
    behind = np.cumsum(second)[looks - 1]
    ahead = looks - behind
    enough = (ahead >= BURN_IN) & (behind >= BURN_IN)
    estimates = _differences(values, second, looks)
    spread = np.full(looks.size, np.inf)
    for place in np.flatnonzero(enough):
        one, other = values[: looks[place]], second[: looks[place]]
        total = one[~other].var(ddof=1) / ahead[place] + one[other].var(ddof=1) / behind[place]
        spread[place] = math.sqrt(total * looks[place]) * boundary(float(looks[place]), alpha)
    centres = np.where(enough, estimates, 0.0)
    rows = [_around(float(centre), float(half)) for centre, half in zip(centres, spread, strict=True)]
    return _narrowed(looks, estimates, rows)


def asymptotic_mean(values: Floats, alpha: float = 0.05) -> Confidence:
    """Return the intervals of a mean of values without bounds."""
    looks = _looks(values.size)
    estimates = np.cumsum(values)[looks - 1] / looks
    rows = [
        (-math.inf, math.inf)
        if look < BURN_IN
        else _around(float(estimate), float(values[:look].std(ddof=1)) * boundary(float(look), alpha))
        for look, estimate in zip(looks, estimates, strict=True)
    ]
    return _narrowed(looks, estimates, rows)


def boundary(count: float, alpha: float) -> float:
    """Return half the width of the asymptotic sequence after `count` observations of variance 1."""
    tuned = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / _TUNED_TO
    scaled = count * tuned + 1.0
    return math.sqrt(2.0 * scaled / (count * count * tuned) * math.log(math.sqrt(scaled) / alpha))


def further(difference: float, variance: float, seen: int, alpha: float = 0.05) -> int:
    """Return about how many further observations exclude 0, if the difference stays what it is estimated to be.

    Parameters
    ----------
    difference : float
        Between the groups, as estimated.
    variance : float
        Of the estimate, times the observations it was made of.
    seen : int
        Observations so far.

    Returns
    -------
    int
        0 where there is no saying: no difference yet, or more than a thousand million.
    """
    if not difference or not math.isfinite(difference) or not math.isfinite(variance):
        return 0
    low, high = 1, _MOST
    scale = math.sqrt(max(variance, 1e-12))
    if scale * boundary(float(high), alpha) > abs(difference):
        return 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if scale * boundary(float(middle), alpha) <= abs(difference) else (middle + 1, high)
    return max(low - seen, 1)


class _Wealth(Protocol):
    """The logarithm of what was won against each possible mean of one group."""

    def at(self, count: int) -> Floats:
        """Return it after `count` observations; counts only grow."""


def _wealth(values: Floats, alpha: float) -> _Wealth:
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise ValueError("values must lie in [0, 1]")
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    return _Coins(values) if binary else _Hedged(values, alpha)


class _Coins:
    """Zeros and ones, against which is bet with a mixture of all shares."""

    def __init__(self, values: Floats) -> None:
        self._ones = np.concatenate([[0.0], np.cumsum(values)])
        with np.errstate(divide="ignore"):
            self._one, self._zero = np.log(_GRID), np.log1p(-_GRID)

    def at(self, count: int) -> Floats:
        ones = float(self._ones[count])
        zeros = count - ones
        mixed = math.lgamma(ones + 0.5) + math.lgamma(zeros + 0.5) - math.lgamma(count + 1.0) - math.log(math.pi)
        lost = (ones * self._one if ones else 0.0) + (zeros * self._zero if zeros else 0.0)
        wealth: Floats = mixed - lost * np.ones(_GRID.size)
        return wealth


class _Hedged:
    """Values in [0, 1], against which two bettors bet, one on a larger and one on a smaller mean."""

    def __init__(self, values: Floats, alpha: float) -> None:
        self._values = values
        steps = np.arange(1, values.size + 1)
        means = (0.5 + np.cumsum(values)) / (steps + 1.0)
        variances = (0.25 + np.cumsum((values - means) ** 2)) / (steps + 1.0)
        known = np.concatenate([[0.25], variances])  # what is known before each observation
        time = np.arange(1.0, values.size + 2.0)
        self._bets = np.sqrt(2.0 * math.log(2.0 / alpha) / (known * time * np.log1p(time)))
        self._done = 0
        self._up, self._down = np.zeros(_GRID.size), np.zeros(_GRID.size)

    def at(self, count: int) -> Floats:
        while self._done < count:
            last = min(self._done + _AT_ONCE, count)
            self._bet(self._bets[self._done : last, None], self._values[self._done : last, None])
            self._done = last
        wealth: Floats = np.logaddexp(self._up, self._down) - math.log(2.0)
        return wealth

    def _bet(self, sizes: Floats, values: Floats) -> None:
        with np.errstate(divide="ignore"):
            up, down = np.minimum(sizes, _CAP / _GRID), np.minimum(sizes, _CAP / (1.0 - _GRID))
        self._up += np.log1p(up * (values - _GRID)).sum(axis=0)
        self._down += np.log1p(-down * (values - _GRID)).sum(axis=0)


def _difference_span(first: Floats, second: Floats, limit: float) -> tuple[float, float]:
    """Return the least and the largest difference that a pair of means with little wealth against it has."""
    ones = np.flatnonzero(first + second.min() < limit)
    if not ones.size:
        return math.inf, -math.inf
    left = limit - first[ones]  # what the second's wealth must stay below
    falling, rising = -np.minimum.accumulate(second), -np.minimum.accumulate(second[::-1])
    smallest = np.searchsorted(falling, -left, side="right")
    largest = second.size - 1 - np.searchsorted(rising, -left, side="right")
    ends = np.concatenate([_GRID[smallest] - _GRID[ones], _GRID[largest] - _GRID[ones]])
    return _span(ends, -1.0)


def _span(standing: Floats, least: float) -> tuple[float, float]:
    """Return the bounds of what stands, a step of the grid wider: the truth may lie between two of its points."""
    if not standing.size:
        return math.inf, -math.inf
    return max(float(standing.min()) - _STEP, least), min(float(standing.max()) + _STEP, 1.0)


def _around(centre: float, half: float) -> tuple[float, float]:
    return centre - half, centre + half


def _narrowed(looks: Ints, estimates: Floats, rows: list[tuple[float, float]]) -> Confidence:
    """Return what each look leaves of the interval before it."""
    lower, upper = np.empty(looks.size), np.empty(looks.size)
    low, high, consistent = -math.inf, math.inf, True
    for place, (begin, end) in enumerate(rows):
        if max(low, begin) <= min(high, end):
            low, high = max(low, begin), min(high, end)
        else:
            consistent = False
        lower[place], upper[place] = low, high
    return Confidence(looks, estimates, lower, upper, consistent)


def _differences(values: Floats, second: Flags, looks: Ints) -> Floats:
    behind = np.cumsum(second)[looks - 1]
    sums, all_sums = np.cumsum(np.where(second, values, 0.0))[looks - 1], np.cumsum(values)[looks - 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = sums / behind - (all_sums - sums) / (looks - behind)
    return found


def _looks(size: int) -> Ints:
    """Return the counts at which is looked: the same ones as far as the data reaches, and the last."""
    grown = 8.0 * 1.06 ** np.arange(400)
    fixed = np.unique(grown[grown < size].astype(np.int64))
    return np.append(fixed, size).astype(np.int64)
