"""Rows in cells become sums of weights per cell, and scores the areas that their order gives: for many weights at once.

Rows are sorted by cell once; after that a resample costs one pass over its weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.bootstrap import Flags, Floats, Ints

_COARSE = 512


class CellSums:
    """Sums of weights by cell.

    Parameters
    ----------
    cells : ndarray of int, shape (rows,)
        The cell of each row, from 0.
    size : int
        Number of cells; those without rows have the sum 0.
    """

    def __init__(self, cells: npt.NDArray[Any], size: int) -> None:
        self.size = size
        self._order = np.argsort(cells, kind="stable")
        self._there, self._starts = np.unique(cells[self._order], return_index=True)

    def __call__(self, weights: Floats) -> Floats:
        """Return the sums, shape (resamples, cells), of weights of shape (resamples, rows)."""
        sums = np.zeros((weights.shape[0], self.size))
        if self._starts.size:
            sums[:, self._there] = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        return sums


class Ranks:
    """How well scores put positives above negatives; equal scores count as one threshold.

    Parameters
    ----------
    positive : ndarray of bool, shape (rows,)
    scores : ndarray of float, shape (rows,)

    Attributes
    ----------
    group : ndarray of int, shape (rows,)
        The place of each row's score among the different ones, rising; over 512 of them, neighbours share a place.
    groups : int
        Number of places.

    Notes
    -----
    What the groups change on the sample itself is put right: the areas of the sample are exact, the spread of
    resamples is that of the groups.
    """

    def __init__(self, positive: Flags, scores: Floats) -> None:
        levels, place = np.unique(scores, return_inverse=True)
        self.groups = min(levels.size, _COARSE)
        self.group: Ints = place * self.groups // max(levels.size, 1)
        fine = _areas(_counts(place, positive, levels.size))
        self._shift = fine - _areas(_counts(self.group, positive, self.groups))

    def areas(self, sums: Floats) -> Floats:
        """Return the area under the ROC curve and average precision, shape (resamples, 2); NaN if a class is absent.

        Parameters
        ----------
        sums : ndarray, shape (resamples, 2 * groups)
            Weights of negatives and positives, in turn, by group.
        """
        return _areas(sums) + self._shift


def threshold_counts(positive: Flags, scores: Floats) -> tuple[Floats, Ints, Ints]:
    """Return the different scores, falling, and how many positives and negatives score at least as much."""
    levels, place = np.unique(-scores, return_inverse=True)
    size = levels.size
    good = np.cumsum(np.bincount(place[positive], minlength=size))
    bad = np.cumsum(np.bincount(place[~positive], minlength=size))
    return -levels, good, bad


def _counts(place: Ints, positive: Flags, size: int) -> Floats:
    return np.bincount(2 * place + positive, minlength=2 * size).astype(np.float64)[None, :]


def _areas(sums: Floats) -> Floats:
    bad, good = sums[:, 0::2], sums[:, 1::2]
    bad_below = np.cumsum(bad, axis=1)
    goods, bads = good.sum(axis=1), bad.sum(axis=1)
    pairs = ((bad_below - bad / 2) * good).sum(axis=1)
    good_above = goods[:, None] - np.cumsum(good, axis=1) + good
    bad_above = bads[:, None] - bad_below + bad
    hits = (good * good_above / np.maximum(good_above + bad_above, 1e-300)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = np.where((goods > 0) & (bads > 0), pairs / (goods * bads), np.nan)
        precision = np.where(goods > 0, hits / goods, np.nan)
    return np.column_stack([area, precision])
