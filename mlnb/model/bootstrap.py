"""A sample whose metrics are functions of the weights of its units becomes values with intervals.

Every resample is a row of weights: how often each unit was drawn. Metrics of many resamples are computed at once, by
sums over weighted rows, so that 1,000 resamples of 100,000 rows take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

METHOD = "BCa bootstrap"
FEWEST_RESAMPLES = 200
WORK = 300_000_000
_AT_ONCE = 2_000_000
_GROUPS = 200
_UNDEFINED = 0.1
_NORMAL = NormalDist()


class OneEach:
    """What a sample says of units that are told apart, each of which is one thing."""

    @property
    def units(self) -> int:
        """Count the units."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Return the number of units: each is one."""
        return self.units

    @property
    def sizes(self) -> None:
        """Return None: each unit is told apart."""
        return None


class Sample(Protocol):
    """Units (rows, queries, series), and their metrics.

    Attributes
    ----------
    names : tuple of str
        The metrics.
    rows : int
        How many things there are.
    units : int
        How many weights the metrics are a function of.
    sizes : ndarray of int, shape (units,), or None
        How many of the things each unit stands for, because no metric tells them apart; None for one each.
    block : int
        1 where units are independent; else as many consecutive ones are drawn together.
    cost : int
        Numbers that one resample touches.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name the metrics."""

    @property
    def rows(self) -> int:
        """Count the things."""

    @property
    def units(self) -> int:
        """Count the weights."""

    @property
    def sizes(self) -> Ints | None:
        """Count the things of each unit."""

    @property
    def block(self) -> int:
        """Count the units that are drawn together."""

    @property
    def cost(self) -> int:
        """Count the numbers that a resample touches."""

    def values(self, weights: Floats) -> Floats:
        """Return the metrics, shape (resamples, metrics), of weights of shape (resamples, units); NaN for undefined."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made.

    Attributes
    ----------
    resamples : int
        0 for no intervals.
    level : float
        Nominal coverage.
    seed : int
        The same seed gives the same intervals.
    """

    resamples: int
    level: float
    seed: int

    def affordable(self, cost: int) -> int:
        """Return how many resamples there are of a sample: fewer of a huge one, never less than 200 if asked for."""
        return min(self.resamples, max(WORK // max(cost, 1), FEWEST_RESAMPLES))


def exact(sample: Sample) -> Floats:
    """Return the metrics of the sample itself, shape (metrics,)."""
    found: Floats = sample.values(_as_it_is(sample))[0]
    return found


def intervals(sample: Sample, how: Resampling, stream: int = 0) -> tuple[Floats, Floats]:
    """Return the ends of the metrics' intervals, two arrays of shape (metrics,).

    Parameters
    ----------
    sample : Sample
    how : Resampling
    stream : int
        Which of several samples of the same seed this is.

    Returns
    -------
    tuple of ndarray
        NaN where no interval can be given: fewer than two units, a metric that is not defined in over a tenth of the
        resamples, or an interval of no width (every resample gave the same, which proves nothing).

    Notes
    -----
    Bias-corrected and accelerated bootstrap. The acceleration comes from a jackknife over units, or over 200 groups of
    them where there are more: the skewness of the groups' influences over the root of their number is that of the
    units. Blocks of consecutive units are drawn with their ends joined (circular block bootstrap).

    References
    ----------
    Efron, B. (1987). Better bootstrap confidence intervals. JASA 82. Politis, D. and Romano, J. (1992). A circular
    block-resampling procedure for stationary data.
    """
    size = len(sample.names)
    low, high = np.full(size, math.nan), np.full(size, math.nan)
    resamples = how.affordable(sample.cost)
    if sample.rows < 2 or not resamples:
        return low, high
    random = np.random.default_rng([how.seed, stream])
    at_once = max(1, _AT_ONCE // max(sample.cost, 1))
    drawn = np.concatenate([sample.values(weights) for weights in _draws(sample, resamples, at_once, random)])
    left = np.concatenate([sample.values(weights) for weights in _leaving_out(sample, at_once, random)])
    values = exact(sample)
    for place in range(size):
        low[place], high[place] = _bca(values[place], drawn[:, place], left[:, place], how.level)
    return low, high


def _as_it_is(sample: Sample) -> Floats:
    return (np.ones(sample.units) if sample.sizes is None else sample.sizes.astype(np.float64))[None, :]


def _draws(sample: Sample, resamples: int, at_once: int, random: np.random.Generator) -> Iterator[Floats]:
    """Yield weights, shape (some resamples, units): how often each unit was drawn."""
    units, block = sample.units, min(sample.block, sample.units)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        if sample.sizes is not None:
            yield random.multinomial(sample.rows, sample.sizes / sample.rows, size=rows).astype(np.float64)
            continue
        blocks = math.ceil(units / block)
        starts = random.integers(0, units, size=(rows, blocks))
        starts += np.arange(rows)[:, None] * units
        counts = np.bincount(starts.ravel(), minlength=rows * units).reshape(rows, units)
        if block > 1:
            reached = np.cumsum(np.concatenate([counts[:, -block + 1 :], counts], axis=1), axis=1)
            counts = reached[:, block - 1 :] - np.pad(reached, ((0, 0), (1, 0)))[:, :-block]
        yield counts.astype(np.float64)


def _leaving_out(sample: Sample, at_once: int, random: np.random.Generator) -> Iterator[Floats]:
    """Yield weights without one group of units each: neighbours where they depend on each other, else random ones."""
    units = sample.units
    if sample.sizes is not None:
        groups = min(sample.rows, _GROUPS)
        group = random.permutation(np.arange(sample.rows) % groups)
        out = np.bincount(group * units + np.repeat(np.arange(units), sample.sizes), minlength=groups * units)
        yield (sample.sizes - out.reshape(groups, units)).astype(np.float64)
        return
    groups = min(units if sample.block == 1 else max(units // sample.block, 2), _GROUPS)
    group = np.arange(units) * groups // units
    if sample.block == 1:
        random.shuffle(group)
    for start in range(0, groups, at_once):
        left_out = np.arange(start, min(start + at_once, groups))
        yield (group[None, :] != left_out[:, None]).astype(np.float64)


def _bca(value: float, drawn: Floats, left: Floats, level: float) -> tuple[float, float]:
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or known.size < (1 - _UNDEFINED) * drawn.size:
        return math.nan, math.nan
    close = math.fabs(value) * 1e-12
    below = float(np.mean(known < value - close) + np.mean(np.abs(known - value) <= close) / 2)
    edge = 1 / (2 * known.size)
    bias = _NORMAL.inv_cdf(min(max(below, edge), 1 - edge))
    left = left[~np.isnan(left)]
    pull = left.mean() - left if left.size else np.zeros(1)
    spread = float(np.square(pull).sum()) ** 1.5
    acceleration = float((pull**3).sum()) / (6 * spread) if spread > 0 else 0.0
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + _NORMAL.inv_cdf(share)
        ends.append(_NORMAL.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-6)))
    low, high = np.quantile(known, ends)
    if high - low <= close:
        return math.nan, math.nan
    return float(low), float(high)
