"""The estimator's and an export's answers to the same rows become one verdict: how far apart, how often flipped.

A row's difference is the largest absolute difference of its probabilities; for a regressor it is relative to the
expected value where that is larger than one, ``|got - expected| / max(1, |expected|)``, and the largest over several
outputs. A label that differs is a *flip*; where the two most probable classes of the estimator are equal within 1e-6
(the resolution of sums in float32) it is a *tie* instead, because there the label is a matter of rounding. An answer
that is missing or not finite where the expected one is finite differs infinitely. No rows are no parity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.scorer import Scores

TIE = 1e-6
_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_WORST = 5


@dataclass(frozen=True, slots=True)
class WorstRow:
    """One of the rows that differ most.

    Attributes
    ----------
    row : int
        Its position in the sample, from 0.
    difference : float
        As the module defines it.
    expected, got : object
        Both answers: probabilities where there are any, else predictions.
    """

    row: int
    difference: float
    expected: object
    got: object


@dataclass(frozen=True, slots=True)
class Parity:
    """How faithful an export is.

    Attributes
    ----------
    rows : int
        Rows compared.
    max_abs : float
        The largest difference.
    quantiles : mapping of str to float
        ``"0.5"``, ``"0.9"``, ``"0.99"`` and ``"0.999"`` of the differences.
    flips, ties : int
        Labels that differ; those of them that are ties count in `ties` only.
    limit : float
        The largest accepted difference.
    passed : bool
        No flip, and no difference above the limit.
    worst : tuple of WorstRow
        At most five.
    """

    rows: int
    max_abs: float
    quantiles: Mapping[str, float]
    flips: int
    ties: int
    limit: float
    passed: bool
    worst: tuple[WorstRow, ...]

    def sentence(self) -> str:
        """Say the verdict in words."""
        ties = f", {self.ties} ties" if self.ties else ""
        return (
            f"on {self.rows} rows the largest difference is {self.max_abs:.2g} (limit {self.limit:g}) "
            f"and {self.flips} labels differ{ties}"
        )

    def to_json(self) -> dict[str, object]:
        """Return the verdict as JSON; an infinite difference is null."""
        return {
            "rows": self.rows,
            "max_abs": _finite(self.max_abs),
            "quantiles": {name: _finite(value) for name, value in self.quantiles.items()},
            "flips": self.flips,
            "ties": self.ties,
            "limit": self.limit,
            "passed": self.passed,
            "worst": [
                {
                    "row": row.row,
                    "difference": _finite(row.difference),
                    "expected": _plain(row.expected),
                    "got": _plain(row.got),
                }
                for row in self.worst
            ],
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Parity:
        """Return the verdict that `to_json` wrote."""
        return cls(
            mapping["rows"],
            _infinite(mapping["max_abs"]),
            {name: _infinite(value) for name, value in mapping["quantiles"].items()},
            mapping["flips"],
            mapping["ties"],
            mapping["limit"],
            mapping["passed"],
            tuple(
                WorstRow(row["row"], _infinite(row["difference"]), row["expected"], row["got"])
                for row in mapping["worst"]
            ),
        )


def measure(expected: Scores, got: Scores, task: str, limit: float) -> Parity:
    """Compare two answers to the same rows.

    Parameters
    ----------
    expected, got : Scores
        The estimator's answers and the export's.
    task : str
        ``classifier`` or ``regressor``.
    limit : float
        The largest accepted difference.
    """
    rows = len(expected.predictions)
    if len(got.predictions) != rows or rows == 0:
        return Parity(rows, math.inf, {}, rows, 0, limit, False, ())
    flipped, tied = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    if task == "classifier":
        differences = np.zeros(rows)
        pairs = zip(expected.predictions, got.predictions, strict=True)
        flipped = np.array([one != other for one, other in pairs], dtype=bool)
        if expected.probabilities is not None:
            differences = _differences(expected.probabilities, got.probabilities)
            tied = flipped & _is_tie(np.asarray(expected.probabilities, dtype=np.float64))
    else:
        differences = _differences(expected.predictions, got.predictions, relative=True)
    flips = int((flipped & ~tied).sum())
    largest = float(differences.max())
    return Parity(
        rows,
        largest,
        {str(q): float(np.quantile(differences, q, method="higher")) for q in _QUANTILES},
        flips,
        int(tied.sum()),
        limit,
        flips == 0 and largest <= limit,
        tuple(_worst(expected, got, differences, flipped & ~tied)),
    )


def _differences(expected: object, got: object, *, relative: bool = False) -> npt.NDArray[np.float64]:
    one = np.asarray(expected, dtype=np.float64)
    other = np.asarray(got, dtype=np.float64)
    if one.shape != other.shape:
        return np.full(len(one), np.inf)
    one, other = one.reshape(len(one), -1), other.reshape(len(one), -1)
    with np.errstate(invalid="ignore"):
        apart = np.abs(other - one)
    if relative:
        apart /= np.maximum(1, np.abs(one))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    apart[same] = 0
    apart[np.isnan(apart)] = np.inf
    return np.asarray(apart.max(axis=1, initial=0), dtype=np.float64)


def _is_tie(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), dtype=bool)
    top = np.sort(probabilities, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] <= TIE)


def _worst(
    expected: Scores, got: Scores, differences: npt.NDArray[np.float64], flipped: npt.NDArray[np.bool_]
) -> list[WorstRow]:
    order = np.lexsort((-differences, ~flipped))[:_WORST]
    shown = [row for row in order.tolist() if flipped[row] or differences[row] > 0]
    if expected.probabilities is None or got.probabilities is None:
        one, other = expected.predictions, got.predictions
    else:
        one, other = list(expected.probabilities), list(got.probabilities)
    return [WorstRow(row, float(differences[row]), one[row], other[row]) for row in shown]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _finite(value) if isinstance(value, float) else value
