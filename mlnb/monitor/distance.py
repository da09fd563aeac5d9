"""Two rows of counts over the same bins become one number that says how far apart they are.

Conventions of every function here: counts are non-negative and of equal length; they are normalised to shares, so
their totals need not agree; bins that are empty on both sides change nothing; where one side holds no counts at all
the answer is ``nan`` (nothing is known), never 0. Missing values are not bins unless the caller makes them one.

`jensen_shannon` is the primary metric, by which features are ranked: it is a metric, bounded by 0 and 1, defined for
numbers and categories alike, finite with empty bins, and symmetric. Because a small sample never equals its source,
`chance_level` tells which distance sampling alone would produce.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = Sequence[float] | npt.NDArray[np.float64] | npt.NDArray[np.int64]
Positions = Counts

Rows = npt.NDArray[np.float64] | npt.NDArray[np.int64]

Distance = Callable[[Counts, Counts], float]

_Z95 = 1.6448536269514722
TOLERANCE = 0.1
"""Jensen-Shannon distance below which a change is called practically irrelevant."""


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """Return the Jensen-Shannon distance, from 0 (equal) to 1 (disjoint).

    Parameters
    ----------
    reference, current : sequence of float, shape (bins,)
        Counts per bin.

    Returns
    -------
    float
        Square root of the Jensen-Shannon divergence in bits; ``nan`` if either side is empty.

    Notes
    -----
    With shares p and q and m = (p + q) / 2: sqrt(KL(p, m) / 2 + KL(q, m) / 2), logarithms to base 2. A bin that is
    empty on one side adds a finite amount; no smoothing takes place. The order of the bins is ignored.

    References
    ----------
    Endres, Schindelin (2003), A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7).

    Examples
    --------
    >>> jensen_shannon([10, 0], [0, 3])
    1.0
    """
    shares = _shares(reference, current)
    if shares is None:
        return math.nan
    p, q = shares
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def chance_level(reference: Counts, current: Counts) -> float:
    """Return the Jensen-Shannon distance that equal sources exceed in one of twenty pairs of samples of these sizes.

    Parameters
    ----------
    reference, current : sequence of float, shape (bins,)
        Counts per bin: true counts, not shares, because their totals are the sample sizes.

    Returns
    -------
    float
        From 0 to 1; ``nan`` if either side is empty.

    Notes
    -----
    For equal sources 8 ln(2) D² nm / (n + m) follows, for large samples, a chi-square law with (bins in use - 1)
    degrees of freedom. Its 95 % point is taken from the Wilson-Hilferty approximation. This is one comparison: it is
    no alarm rule for many features and many windows.

    References
    ----------
    Grosse et al. (2002), Analysis of symbolic sequences using the Jensen-Shannon divergence, Phys. Rev. E 65.
    """
    p, q = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    n, m = float(p.sum()), float(q.sum())
    if n <= 0 or m <= 0:
        return math.nan
    freedom = int(np.count_nonzero(p + q)) - 1
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _Z95 * math.sqrt(spread)) ** 3
    return min(1.0, math.sqrt(quantile * (n + m) / (8 * math.log(2) * n * m)))


def each_jensen_shannon(reference: Counts, rows: Rows) -> npt.NDArray[np.float64]:
    """Return `jensen_shannon` of the reference and each of many rows of counts, shape (rows,)."""
    p, counts = np.asarray(reference, dtype=float), np.asarray(rows, dtype=float)
    totals = counts.sum(axis=1)
    known = (totals > 0) & (p.sum() > 0)
    found = np.full(totals.size, math.nan)
    if known.any():
        p, q = p / p.sum(), counts[known] / totals[known, None]
        middle = (p + q) / 2
        divergence = (_entropies(p, middle) + _entropies(q, middle)) / 2
        found[known] = np.sqrt(np.clip(divergence, 0.0, 1.0))
    return found


def each_chance_level(reference: Counts, rows: Rows) -> npt.NDArray[np.float64]:
    """Return `chance_level` of the reference and each of many rows of counts, shape (rows,)."""
    p, counts = np.asarray(reference, dtype=float), np.asarray(rows, dtype=float)
    n, m = p.sum(), counts.sum(axis=1)
    freedom = np.maximum(np.count_nonzero(p + counts, axis=1) - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = 2 / (9 * freedom)
        quantile = freedom * (1 - spread + _Z95 * np.sqrt(spread)) ** 3
        level = np.minimum(1.0, np.sqrt(quantile * (n + m) / (8 * math.log(2) * n * m)))
    return np.where((n > 0) & (m > 0), np.where(freedom > 0, level, 0.0), math.nan)


def psi(reference: Counts, current: Counts) -> float:
    """Return the population stability index, from 0 (equal) without upper bound.

    Notes
    -----
    The sum of (q - p) ln(q / p). It has no value where a bin is empty on one side only: then half a count is added to
    every bin in use on both sides (the Jeffreys prior). By custom < 0.1 is stable, > 0.25 is a large shift.

    References
    ----------
    Siddiqi (2006), Credit Risk Scorecards, chapter 9.
    """
    p, q = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    used = (p + q) > 0
    p, q = p[used], q[used]
    if p.sum() <= 0 or q.sum() <= 0:
        return math.nan
    if not (p > 0).all() or not (q > 0).all():
        p, q = p + 0.5, q + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def hellinger(reference: Counts, current: Counts) -> float:
    """Return the Hellinger distance, from 0 (equal) to 1 (disjoint); no smoothing, order ignored.

    References
    ----------
    Le Cam, Yang (2000), Asymptotics in Statistics, chapter 4; there without the factor that makes 1 the largest.
    """
    shares = _shares(reference, current)
    if shares is None:
        return math.nan
    p, q = shares
    return min(1.0, float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2)))


def total_variation(reference: Counts, current: Counts) -> float:
    """Return the total variation, from 0 to 1: the share of rows that would have to move to another bin.

    References
    ----------
    Levin, Peres (2017), Markov Chains and Mixing Times, 2nd ed., proposition 4.2.
    """
    shares = _shares(reference, current)
    if shares is None:
        return math.nan
    p, q = shares
    return min(1.0, float(np.abs(p - q).sum() / 2))


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's statistic of two rows of counts.

    Attributes
    ----------
    statistic : float
        From 0 (equal shares) to the number of rows; ``nan`` if either side is empty.
    freedom : int
        Bins in use less one.
    """

    statistic: float
    freedom: int

    @property
    def p_value(self) -> float:
        """How often equal sources would give as much or more; 1 where only one bin is in use."""
        from scipy.special import chdtrc

        alone = not self.freedom and not math.isnan(self.statistic)
        return 1.0 if alone else float(chdtrc(self.freedom, self.statistic))


def chi_square(reference: Counts, current: Counts) -> ChiSquare:
    """Return Pearson's chi-square of homogeneity: the reference is a sample too, not the truth.

    Notes
    -----
    The sum of (observed - expected)² / expected over both rows, expected from the shares of both together; without
    continuity correction. Bins that are empty on both sides are left out; one that is empty on one side is counted as
    it is. The statistic grows with the number of rows, whatever the size of the change, so it is no measure of drift
    and no alarm rule; and its law is rough where a bin expects fewer than five rows.

    References
    ----------
    Pearson (1900), On the criterion that a given system of deviations ..., Philosophical Magazine 50.

    Examples
    --------
    >>> found = chi_square([10, 20, 30], [10, 20, 30])
    >>> found.statistic, found.freedom
    (0.0, 2)
    """
    table = np.array([reference, current], dtype=float)
    table = table[:, table.sum(axis=0) > 0]
    totals = table.sum(axis=1)
    if not (totals > 0).all():
        return ChiSquare(math.nan, max(table.shape[1] - 1, 0))
    expected = np.outer(totals, table.sum(axis=0)) / table.sum()
    return ChiSquare(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)


def ks(reference: Counts, current: Counts) -> float:
    """Return the Kolmogorov-Smirnov statistic, from 0 to 1, for bins in ascending order.

    Notes
    -----
    The largest difference between the two cumulative shares, taken at the bins' upper ends. Equal values are one
    bin's business and need no correction. Against the statistic of the raw values it is exact where each distinct
    value has its bin, else too low by at most the largest share inside one bin.

    References
    ----------
    Smirnov (1948), Table for estimating the goodness of fit of empirical distributions, Ann. Math. Stat. 19.
    """
    shares = _shares(reference, current)
    if shares is None:
        return math.nan
    p, q = shares
    return min(1.0, float(np.abs(np.cumsum(p) - np.cumsum(q)).max()))


def wasserstein(
    reference_positions: Positions,
    reference: Counts,
    current_positions: Positions,
    current: Counts,
    *,
    deviation: float,
) -> float:
    """Return the first Wasserstein distance in units of the reference's standard deviation.

    Parameters
    ----------
    reference_positions, current_positions : sequence of float, shape (bins,)
        Where each bin's mass sits: the mean of its values. The two sides may differ, and that is what keeps the tails
        right. Positions of empty bins are ignored and may be ``nan``.
    reference, current : sequence of float, shape (bins,)
        Counts per bin.
    deviation : float
        Standard deviation of the reference, in the feature's own unit.

    Returns
    -------
    float
        From 0 without upper bound; ``nan`` if either side is empty, or if the reference is constant and the current
        is not the same constant (no unit exists).

    Notes
    -----
    The area between the two cumulative distribution functions, which on a line is the least work of moving one to the
    other. Values that share a bin count as its mean; equal positions of both sides are merged, so ties change nothing.

    References
    ----------
    Vallender (1974), Calculation of the Wasserstein distance between probability distributions on the line,
    Theory Probab. Appl. 18.
    """
    p, q = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    at_p = np.asarray(reference_positions, dtype=float)[p > 0]
    at_q = np.asarray(current_positions, dtype=float)[q > 0]
    p, q = p[p > 0], q[q > 0]
    if p.size == 0 or q.size == 0:
        return math.nan
    positions = np.concatenate([at_p, at_q])
    steps = np.concatenate([p / p.sum(), -q / q.sum()])
    order = np.argsort(positions, kind="stable")
    gaps = np.diff(positions[order])
    moved = float(np.sum(np.abs(np.cumsum(steps[order])[:-1]) * gaps))
    if deviation > 0:
        return moved / deviation
    return 0.0 if moved == 0 else math.nan


def _shares(reference: Counts, current: Counts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    p, q = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    n, m = p.sum(), q.sum()
    if n <= 0 or m <= 0:
        return None
    return p / n, q / m


def _relative_entropy(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    used = p > 0
    return float(np.sum(p[used] * np.log2(p[used] / q[used])))


def _entropies(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the relative entropy in bits of each row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / q), 0.0)
    return terms.sum(axis=1)  # type: ignore[no-any-return]
