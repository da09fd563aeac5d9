"""Windows of counts become evidence that a share has left its tolerance: an e-process that may be looked at any time.

Against the hypothesis that a share differs from the reference's by at most the tolerance, bets are placed in each
window: the likelihood of the window's count under a share further out, over that under the tolerance's end. A bet's
expected factor is at most 1 while the hypothesis holds, for rows that are independent; where chunks of the reference
vary more than dice, the logarithm is divided by the factor by which they do, as if so many rows were one. That is no
theorem but a model of what varies; ``python -m tests.bench alarms`` shows how well it holds. The bets
differ in which share, up or down, and how far out. A change may begin at any window: the sum of the products of all
stretches that end now is an e-detector of Shiryaev and Roberts, and its mean over the bets is one, too. Until it first
exceeds A while nothing is beyond its tolerance, at least A windows pass on average.

References
----------
Shin, Ramdas, Rinaldo (2024), E-detectors: a nonparametric framework for sequential change detection, New England
Journal of Statistics in Data Science 2(2), theorem 2.4 and section 3. Ramdas, Grünwald, Vovk, Shafer (2023),
Game-theoretic statistics and safe anytime-valid inference, Statistical Science 38(4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.values import Flags, Floats, Ints

GAPS = (0.02, 0.05, 0.12, 0.3)
"""How far beyond the tolerance the bets expect a share to be."""

_NEAR_ONE = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Evidence over windows.

    Attributes
    ----------
    log_e : ndarray of float64, shape (windows,)
        Natural logarithm of the e-detector after each window; -inf where no bet is possible.
    share : ndarray of int64, shape (windows,)
        The watched share of the bet that has won most after each window.
    begun : ndarray of int64, shape (windows,)
        The window at which the stretch began on which that bet has won most.
    """

    log_e: Floats
    share: Ints
    begun: Ints


def course(counts: Floats, rows: Floats, shares: Floats, tolerance: Floats, factors: Floats) -> Course:
    """Return the evidence of windows in order.

    Parameters
    ----------
    counts : ndarray of float64, shape (windows, shares)
        Rows inside each watched share.
    rows : ndarray of float64, shape (windows,)
        Of each window; a window without rows changes nothing.
    shares, tolerance : ndarray of float64, shape (shares,)
        Of the reference, and by how much each may differ.
    factors : ndarray of float64, shape (windows,)
        By which the evidence of each window is divided, 1 or more.

    Examples
    --------
    >>> found = course(np.full((3, 1), 80.0), np.full(3, 100.0), np.array([0.5]), np.array([0.03]), np.ones(3))
    >>> bool(found.log_e[0] > 10), int(found.begun[2])
    (True, 0)
    """
    ends, further, of_share, upward = _bets(shares, tolerance)
    windows = len(rows)
    if not len(ends):
        nothing = np.zeros(windows, dtype=np.int64)
        return Course(np.full(windows, -math.inf), nothing, nothing)
    inside = np.where(upward, counts[:, of_share], rows[:, None] - counts[:, of_share])
    outside = rows[:, None] - inside
    gains = inside * np.log(further / ends) + outside * np.log((1.0 - further) / (1.0 - ends))
    totals = np.cumsum(gains / factors[:, None], axis=0)
    before = np.vstack([np.zeros(len(ends)), totals[:-1]])
    starts = np.where((rows > 0)[:, None], -before, -math.inf)  # no stretch begins at a window without rows
    detectors = totals + np.logaddexp.accumulate(starts, axis=0)
    highest = detectors.max(axis=1)
    with np.errstate(invalid="ignore"):
        spread = np.exp(detectors - np.where(np.isfinite(highest), highest, 0.0)[:, None]).sum(axis=1)
    with np.errstate(divide="ignore"):
        log_e = highest + np.log(spread) - math.log(len(ends))
    log_e = np.where(np.isfinite(highest), log_e, -math.inf)
    best = detectors.argmax(axis=1)
    richest = starts == np.maximum.accumulate(starts, axis=0)
    begun = np.maximum.accumulate(np.where(richest, np.arange(windows)[:, None], 0), axis=0)
    return Course(log_e, of_share[best], begun[np.arange(windows), best])


def _bets(shares: Floats, tolerance: Floats) -> tuple[Floats, Floats, Ints, Flags]:
    """Return the hypothesis' end and the bet's share, each as the share that grows; of which share; and which way."""
    ends, further, of_share, upward = [], [], [], []
    for place, (share, allowed) in enumerate(zip(shares.tolist(), tolerance.tolist(), strict=True)):
        for up in (True, False):
            end = max((share if up else 1.0 - share) + allowed, 1e-9)
            for gap in GAPS:
                if end + gap < _NEAR_ONE:
                    ends.append(end)
                    further.append(end + gap)
                    of_share.append(place)
                    upward.append(up)
    return np.array(ends), np.array(further), np.array(of_share, dtype=np.int64), np.array(upward, dtype=np.bool_)
