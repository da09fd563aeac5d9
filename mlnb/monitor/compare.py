"""A reference column and the counts of a span become a `Drift`: how far apart they are, by each distance.

Jensen-Shannon, PSI, Hellinger, total variation and chi-square are taken over the cells of `mlnb.monitor.cells`, and one
cell for missing and unusable values, so that a column that falls silent drifts. Kolmogorov-Smirnov and Wasserstein are
for numbers, over the full bins, among the values present.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor import distance
from mlnb.monitor.cells import cell_of_bins
from mlnb.monitor.distance import ChiSquare
from mlnb.monitor.feature import Feature, Numeric
from mlnb.monitor.values import Floats, Ints
from mlnb.monitor.window import Tally


@dataclass(frozen=True, slots=True)
class Drift:
    """Distances of one column; ``nan`` where one does not apply or a side is empty.

    Attributes
    ----------
    distance : float
        Jensen-Shannon, the primary metric, 0 to 1.
    chance : float
        The Jensen-Shannon distance that sampling alone exceeds in one of twenty comparisons.
    psi, hellinger, total_variation, ks : float
        See `mlnb.monitor.distance`.
    wasserstein : float
        In standard deviations of the reference.
    chi_square : ChiSquare
        Over the cells: a test, which grows with the number of rows, and no measure of how far apart they are.
    """

    distance: float
    chance: float
    psi: float
    hellinger: float
    total_variation: float
    ks: float
    wasserstein: float
    chi_square: ChiSquare

    @property
    def drifted(self) -> bool:
        """Whether the change is larger than the tolerance and larger than chance."""
        return self.distance > distance.TOLERANCE and self.distance > self.chance


def compare(feature: Feature, tally: Tally) -> Drift:
    """Return how far the counts of a span are from the reference."""
    reference, (current,) = cells(feature, [tally])
    ks = wasserstein = math.nan
    if isinstance(feature, Numeric):
        ks = distance.ks(feature.counts, tally.counts)
        with np.errstate(invalid="ignore"):
            means = tally.sums / tally.counts
        wasserstein = distance.wasserstein(
            feature.means, _finite(feature), means, tally.counts, deviation=feature.deviation
        )
    return Drift(
        distance=distance.jensen_shannon(reference, current),
        chance=distance.chance_level(reference, current),
        psi=distance.psi(reference, current),
        hellinger=distance.hellinger(reference, current),
        total_variation=distance.total_variation(reference, current),
        ks=ks,
        wasserstein=wasserstein,
        chi_square=distance.chi_square(reference, current),
    )


def cells(feature: Feature, tallies: Sequence[Tally]) -> tuple[Ints, Ints]:
    """Return the counts over the cells, missing values last.

    Returns
    -------
    reference : ndarray of int64, shape (cells,)
    current : ndarray of int64, shape (tallies, cells)
    """
    if isinstance(feature, Numeric):
        counts = np.array(feature.counts, dtype=np.int64)
    else:
        counts = np.array([*feature.counts, feature.other], dtype=np.int64)
    groups = cell_of_bins(feature)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    current = np.array([tally.counts for tally in tallies], dtype=np.int64).reshape(len(tallies), counts.size)
    absent = np.array([tally.missing + tally.unusable for tally in tallies], dtype=np.int64)
    joined = np.append(np.add.reduceat(counts, starts), feature.missing)
    return joined, np.column_stack([np.add.reduceat(current, starts, axis=1), absent])


def _finite(feature: Numeric) -> Floats:
    counts = np.array(feature.counts, dtype=np.float64)
    return np.where(np.isnan(np.array(feature.means)), 0.0, counts)
