"""Zeros and ones, in the order in which they came, become the moment at which it is certain that their share changed.

For every split of what was seen, the zeros and ones before it and after it are each given the probability that
Krichevsky and Trofimov's mixture gives them; the product is divided by the largest probability that one share for all
could give. Under "one share for all" that is an e-process (universal inference), and so is its mean over the splits
with weights that were fixed before: 1/(k (k + 1)) for the k-th. It reaches 1/alpha with probability alpha at most,
however long one looks (Ville's inequality). Nothing else is assumed, and no length of a window is chosen.

Splits and looks are the ends of blocks, so the time grows with the square of their number, which is bounded.

References
----------
Krichevsky and Trofimov, "The performance of universal encoding", IEEE Trans. Inf. Theory 27, 1981. Wasserman, Ramdas
and Balakrishnan, "Universal inference", PNAS 117, 2020, section 8.
"""

from __future__ import annotations

import math

import numpy as np

from mlnb.monitor.values import Floats, Ints

BLOCK = 20
"""Values in a block; twice, four times, ... as many where there were more than `MOST_BLOCKS`."""

MOST_BLOCKS = 2_000


def certain_at(values: Floats, alpha: float) -> int:
    """Return after how many values a change of their share of ones is certain; 0 where it is not.

    Parameters
    ----------
    values : ndarray of float64, shape (rows,)
        Zeros and ones.
    alpha : float
        Probability at most of a false alarm in the whole stream, however long.

    Examples
    --------
    >>> stream = np.concatenate([np.tile([0.0] * 9 + [1.0], 50), np.tile([0.0, 1.0], 250)])
    >>> certain_at(stream, 0.001), certain_at(stream[:500], 0.001)
    (560, 0)
    """
    block = BLOCK
    while values.size > block * MOST_BLOCKS:
        block *= 2
    ends = np.arange(block, values.size + 1, block)
    ones = np.concatenate([[0], np.cumsum(values)]).astype(np.int64)[ends]
    half, whole = _log_gamma(values.size)
    before = _mixture(half, whole, ones, ends)
    order = np.arange(1, ends.size + 1, dtype=np.float64)
    weight = -np.log(order * (order + 1.0))
    for look in range(1, ends.size):
        seen, count = int(ends[look]), int(ones[look])
        after = _mixture(half, whole, count - ones[:look], seen - ends[:look])
        found = before[:look] + after + weight[:look] - _best(count, seen)
        top = float(found.max())
        if top + math.log(float(np.exp(found - top).sum())) >= -math.log(alpha):
            return seen
    return 0


def _log_gamma(size: int) -> tuple[Floats, Floats]:
    """Return the logarithms of gamma(m + 1/2) and of gamma(m + 1) for m from 0 to `size`."""
    steps = np.arange(1, size + 1, dtype=np.float64)
    half = np.concatenate([[0.5 * math.log(math.pi)], 0.5 * math.log(math.pi) + np.cumsum(np.log(steps - 0.5))])
    return half, np.concatenate([[0.0], np.cumsum(np.log(steps))])


def _mixture(half: Floats, whole: Floats, ones: Ints, counts: Ints) -> Floats:
    found: Floats = half[ones] + half[counts - ones] - whole[counts] - math.log(math.pi)
    return found


def _best(ones: int, count: int) -> float:
    return sum(part * math.log(part / count) for part in (ones, count - ones) if part)
