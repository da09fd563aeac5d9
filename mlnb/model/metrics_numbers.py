"""True numbers and answered ones (also quantiles, also of a forecast) become samples of weighted rows.

Names and definitions are scikit-learn's where it has them; MASE is Hyndman and Koehler's, sMAPE the M4 competition's as
a share (0 to 2), WAPE the sum of errors over the sum of true values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mlnb.model.bootstrap import Flags, Floats, Ints, OneEach


@dataclass(frozen=True)
class NumberSample(OneEach):
    """Rows with a true number and answers.

    Attributes
    ----------
    truth : ndarray of float, shape (rows,)
    answers : ndarray of float, shape (rows,), optional
        The expected number, or the median; None where only other quantiles were answered.
    quantiles : ndarray of float, shape (rows, levels), optional
    levels : tuple of float
        In (0, 1), rising.
    scales : ndarray of float, shape (rows,), optional
        Mean absolute error of the seasonal naive forecast on each row's history, for MASE; NaN where there is none.
    forecast : bool
        Whether the metrics of forecasts are wanted.
    series : ndarray of int, shape (rows,), optional
        Where whole series are drawn: the series of each row, from 0.
    block : int
        Where rows follow each other in time: how many are drawn together.
    """

    truth: Floats
    answers: Floats | None
    quantiles: Floats | None = None
    levels: tuple[float, ...] = ()
    scales: Floats | None = None
    forecast: bool = False
    series: Ints | None = None
    block: int = 1

    @property
    def units(self) -> int:
        """Return the number of rows or, where whole series are drawn, of those."""
        return self.truth.size if self.series is None else int(self.series.max()) + 1

    @property
    def cost(self) -> int:
        """Return how many numbers a resample touches."""
        return self.truth.size

    @property
    def names(self) -> tuple[str, ...]:
        """Return the metrics."""
        forecast = (*(("mase",) if self.scales is not None else ()), "smape", "wape") if self.forecast else ()
        point = ("rmse", "mae", *(("mape",) if np.all(self.truth != 0) else ()), "r2", "bias")
        return (
            *((*forecast, *point) if self.answers is not None else ()),
            *(("pinball", *(f"pinball@{100 * level:g}" for level in self.levels)) if self.levels else ()),
            *(f"coverage@{100 * level:g}" for level, _, _ in self._pairs()),
        )

    def values(self, weights: Floats) -> Floats:
        """Return the metrics of weighted units, shape (resamples, metrics)."""
        if self.series is not None:
            weights = weights[:, self.series]
        total = weights.sum(axis=1)
        found: dict[str, Floats] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.answers is not None:
                found |= self._point(weights, total)
            if self.quantiles is not None:
                losses = weights @ pinball_losses(self.truth, self.quantiles, self.levels) / total[:, None]
                found["pinball"] = losses.mean(axis=1)
                found |= {f"pinball@{100 * level:g}": losses[:, place] for place, level in enumerate(self.levels)}
                for level, low, high in self._pairs():
                    inside = (self.truth >= self.quantiles[:, low]) & (self.truth <= self.quantiles[:, high])
                    found[f"coverage@{100 * level:g}"] = weights @ inside / total
        return np.column_stack([found[name] for name in self.names])

    def part(self, rows: Flags) -> NumberSample:
        """Return the sample of some of the rows; those of a block stay together as far as they are left."""
        return replace(
            self,
            block=fitting_block(self.block, int(rows.sum())),
            truth=self.truth[rows],
            answers=_of(self.answers, rows),
            quantiles=_of(self.quantiles, rows),
            scales=_of(self.scales, rows),
            series=None if self.series is None else np.unique(self.series[rows], return_inverse=True)[1],
        )

    def scarcest(self) -> int:
        """Return the number of units."""
        return self.units

    def _point(self, weights: Floats, total: Floats) -> dict[str, Floats]:
        answers = self.truth if self.answers is None else self.answers
        error = answers - self.truth
        away = self.truth - self.truth.mean()
        size = np.abs(self.truth)
        both = size + np.abs(answers)
        absolute = np.abs(error)
        columns = [
            np.square(error),
            absolute,
            absolute / np.where(size > 0, size, np.nan),
            error,
            away,
            np.square(away),
            size,
            np.where(both > 0, 2 * absolute / np.where(both > 0, both, 1), 0),
            absolute / (np.full(size.size, np.nan) if self.scales is None else self.scales),
        ]
        usable = [not np.isnan(column).any() for column in columns]
        sums = weights @ np.column_stack([np.where(ok, c, 0) for ok, c in zip(usable, columns, strict=True)])
        squared, total_error, shares, signed, first, second, sizes, halves, scaled = sums.T
        spread = second - first**2 / total
        return {
            "mase": scaled / total if usable[8] else np.full(total.size, math.nan),
            "smape": halves / total,
            "wape": np.where(sizes > 0, total_error / sizes, np.nan),
            "rmse": np.sqrt(squared / total),
            "mae": total_error / total,
            "mape": shares / total if usable[2] else np.full(total.size, math.nan),
            "r2": np.where(spread > 0, 1 - squared / spread, np.nan),
            "bias": signed / total,
        }

    def _pairs(self) -> list[tuple[float, int, int]]:
        """Return the central intervals that the levels make: nominal coverage, place of the lower and upper end."""
        found = []
        for low, level in enumerate(self.levels):
            for high, other in enumerate(self.levels):
                if level < 0.5 and math.isclose(level + other, 1, abs_tol=1e-9):
                    found.append((round(other - level, 9), low, high))
        return sorted(found)


def pinball_losses(truth: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Return the pinball loss of each row and level, shape (rows, levels)."""
    short = truth[:, None] - quantiles
    return np.maximum(np.asarray(levels) * short, (np.asarray(levels) - 1) * short)


def naive_error(history: npt.NDArray[np.float64], season: int) -> float:
    """Return the mean absolute error of answering each value with the one a season before; NaN where there is none."""
    if history.size <= season:
        return math.nan
    error = float(np.abs(history[season:] - history[:-season]).mean())
    return error if error > 0 else math.nan


def fitting_block(block: int, rows: int) -> int:
    """Return the length of blocks, or less where fewer than five would fit."""
    return max(1, min(block, rows // 5))


def _of(values: Floats | None, rows: Flags) -> Floats | None:
    return None if values is None else values[rows]
