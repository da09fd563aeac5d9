"""A column of the sample, cut into chunks in its order of rows, becomes how much more chunks vary than dice would.

1 is what independent rows give. Rows that come in bursts, seasons or from few sources give more, and then a window's
rows are worth fewer than they are. It is measured at several lengths of chunk, from 20 chunks on, because what varies
from week to week does not show from row to row. A sample that was shuffled shows nothing of this: its chunks are dice.

Written with the reference, under ``dispersion``, since mlnb 0.3; a reference without it has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.cells import cell_of_bins
from mlnb.monitor.feature import Feature, Numeric, places
from mlnb.monitor.values import Floats, Ints, Values, names, numbers

CHUNKS = 20
"""Fewer say too little of how chunks vary."""

_SMALLEST = 10
_MOST_SCALES = 3
_STEP = 4
_Z95, _Z20 = 1.6448536269514722, -0.8416212335729143


@dataclass(frozen=True, slots=True)
class Scale:
    """How much chunks of one length vary.

    Attributes
    ----------
    rows, chunks : int
        Rows of a chunk, and how many chunks there were: at least 20.
    shares, missing : float
        Variance of the chunks' shares over that of independent rows, from 0; of the watched shares of the column's
        values on average, and of the share of missing values. 1 where nothing can vary.
    """

    rows: int
    chunks: int
    shares: float
    missing: float

    def to_json(self) -> list[float]:
        """Return the four numbers in their order."""
        return [self.rows, self.chunks, self.shares, self.missing]

    @classmethod
    def from_json(cls, document: Sequence[float]) -> Scale:
        """Return the scale that `to_json` wrote; raise TypeError or ValueError if it is none."""
        rows, chunks, shares, missing = document
        return cls(int(rows), int(chunks), float(shares), float(missing))


@dataclass(frozen=True, slots=True)
class Factor:
    """By how much the evidence of a window is divided.

    Attributes
    ----------
    value : float
        1 or more: so many rows are worth one independent row.
    chunks : int
        Reference chunks, at least as long as the window, that it was measured on; 0 for none.
    """

    value: float
    chunks: int


def scales_of(feature: Feature, values: Values) -> tuple[Scale, ...]:
    """Return how much chunks of a column vary, the longest chunks first; empty for less than 200 rows."""
    codes, width = _codes(feature, values)
    found: list[Scale] = []
    count = CHUNKS
    while codes.size // count >= _SMALLEST and len(found) < _MOST_SCALES:
        rows = codes.size // count
        kept = codes[: rows * count]
        table = np.bincount(np.repeat(np.arange(count), rows) * width + kept, minlength=count * width)
        found.append(_scale(feature, table.reshape(count, width), rows))
        count *= _STEP
    return tuple(found)


def watched(feature: Feature) -> Floats:
    """Return which cells make up each watched share, shape (shares, cells), of zeros and ones.

    Of a number the shares of values up to the end of each cell but the last, so that the largest change is the
    Kolmogorov-Smirnov statistic over the cells; of categories the share of each. Categories that the reference never
    had are none of them: those are a matter of their own, unless the reference had more than it lists.
    """
    cells = int(cell_of_bins(feature).max(initial=0)) + 1
    if isinstance(feature, Numeric):
        return np.tril(np.ones((cells, cells)))[:-1]
    alone = not feature.other and cells == len(feature.categories) + 1
    shares = np.eye(cells)[:-1] if alone else np.eye(cells)
    return shares[:1] if len(shares) == 2 and not alone else shares


def factor_of(scales: Sequence[Scale], rows: int, freedom: float, *, missing: bool = False) -> Factor:
    """Return the factor for windows of so many rows.

    Parameters
    ----------
    scales : sequence of Scale
        Of the column.
    rows : int
        Of the window.
    freedom : float
        Independent shares in a chunk, see `freedom_of`.
    missing : bool
        Whether it is for the share of missing values rather than for the values.

    Notes
    -----
    Chunks at least as long as the window speak for it; of several lengths the one that varies most, because what is
    correlated from window to window shows in longer chunks. Where all are shorter, the longest one speaks, scaled up as
    if all that varies beyond dice did so from chunk to chunk; nobody measured that, and `chunks` is 0. What 20 chunks
    vary may be chance: up to the 95 % point of independent rows it counts as 1; beyond it, the estimate's upper 80 %
    limit is taken. Chi-square quantiles are Wilson and Hilferty's.
    """
    if not scales:
        return Factor(1.0, 0)
    long = [scale for scale in scales if scale.rows >= rows]
    if long:
        return Factor(max(_upper(scale, freedom, missing=missing) for scale in long), max(one.chunks for one in long))
    longest = max(scales, key=lambda scale: scale.rows)
    return Factor(1.0 + (_upper(longest, freedom, missing=missing) - 1.0) * rows / longest.rows, 0)


def freedom_of(members: Floats, shares: Floats) -> float:
    """Return how many independent shares the watched ones are worth: (sum of eigenvalues)² / sum of their squares.

    Parameters
    ----------
    members : ndarray of float64, shape (watched, cells)
        See `watched`.
    shares : ndarray of float64, shape (cells,)
        Of the reference.
    """
    means = members @ shares
    covariance = (members * shares) @ members.T - np.outer(means, means)
    sizes = np.sqrt(np.diag(covariance))
    live = sizes > 1e-9
    if not live.any():
        return 1.0
    correlation = covariance[np.ix_(live, live)] / np.outer(sizes[live], sizes[live])
    return float(correlation.trace() ** 2 / (correlation**2).sum())


def _upper(scale: Scale, freedom: float, *, missing: bool) -> float:
    degrees = (scale.chunks - 1) * freedom
    found = scale.missing if missing else scale.shares
    if found <= _chi_square(degrees, _Z95) / degrees:
        return 1.0
    return max(1.0, found * degrees / _chi_square(degrees, _Z20))


def _chi_square(degrees: float, z: float) -> float:
    spread = 2.0 / (9.0 * degrees)
    return float(degrees * (1.0 - spread + z * math.sqrt(spread)) ** 3)


def _codes(feature: Feature, values: Values) -> tuple[Ints, int]:
    """Return the cell of each row, and of how many; the last one is for missing values."""
    cells = cell_of_bins(feature)
    absent = int(cells.max(initial=0)) + 1
    if isinstance(feature, Numeric):
        floats, _ = numbers(values)
        known = ~np.isnan(floats)
        codes = np.full(floats.size, absent, dtype=np.int64)
        codes[known] = cells[places(np.array(feature.edges), floats[known])]
        return codes, absent + 1
    known_names = {name: int(cells[place]) for place, name in enumerate(feature.categories)}
    rest = int(cells[-1])
    found = [absent if name is None else known_names.get(name, rest) for name in names(values)]
    return np.array(found, dtype=np.int64), absent + 1


def _scale(feature: Feature, table: Ints, rows: int) -> Scale:
    present = table[:, :-1].sum(axis=1)
    inside = table[:, :-1] @ watched(feature).T
    shares = excess_of(inside, present)
    missing = excess_of(table[:, -1:].astype(np.float64), np.full(len(table), rows, dtype=np.int64))
    return Scale(rows, len(table), float(f"{shares:.4g}"), float(f"{missing:.4g}"))


def excess_of(inside: Floats, rows: Floats | Ints) -> float:
    """Return the variance of chunks' shares over that of independent rows, on average over the shares.

    Parameters
    ----------
    inside : ndarray of float64, shape (chunks, shares)
        Rows inside each share.
    rows : ndarray, shape (chunks,)
        Rows of each chunk; chunks without any are left out.
    """
    held = rows > 0
    inside, rows = inside[held], rows[held]
    if len(rows) < 2:
        return 1.0
    share = inside.sum(axis=0) / rows.sum()
    spread = share * (1.0 - share)
    live = spread > 1e-9
    if not live.any():
        return 1.0
    apart = (inside[:, live] / rows[:, None] - share[live]) ** 2 * rows[:, None]
    return float((apart.sum(axis=0) / (len(rows) - 1) / spread[live]).mean())
