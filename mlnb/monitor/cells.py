"""The fine bins of a reference column become few cells of comparable weight: fine bins would measure noise.

A number has at most 16 cells of about equal weight in the reference; a column of categories the 31 most frequent ones
and one cell for all others. Missing values have no cell here.
"""

from __future__ import annotations

import numpy as np

from mlnb.monitor.feature import Feature, Numeric
from mlnb.monitor.values import Ints

CELLS = 16
CATEGORY_CELLS = 32


def cell_of_bins(feature: Feature) -> Ints:
    """Return the cell of each bin, shape (bins,), rising from 0; the last bin of categories is that of all others."""
    if not isinstance(feature, Numeric):
        return np.minimum(np.arange(len(feature.categories) + 1), CATEGORY_CELLS - 1)
    counts = np.array(feature.counts, dtype=np.int64)
    total = counts.sum()
    if total == 0:
        return np.zeros(counts.size, dtype=np.int64)
    middle = (np.cumsum(counts) - counts / 2) / total
    groups = np.minimum((middle * CELLS).astype(np.int64), CELLS - 1)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
