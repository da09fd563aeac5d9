"""What an estimator is fitted on becomes the columns of X that are the target in disguise.

A column is suspect where it alone gives the target away: an equal copy, a relabelling, a monotone transformation
(rank correlation), or for two classes a perfect ranking (AUC).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR = 0.999
"""AUC, or absolute rank correlation, from which a column counts as a copy of the target."""
_FEWEST_ROWS, _FEWEST_OF_A_CLASS = 30, 5
_MOST_ROWS, _MOST_COLUMNS = 20_000, 2_000
_CLASSES = 20


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column of X that gives y away.

    Attributes
    ----------
    column : str
        Its name, or ``column 3`` (counted from 0) where it has none.
    how : str
        ``is equal to``, ``is a relabelling of``, ``has a rank correlation of 1.000 with``, ...
    strength : float
        Share of equal rows, AUC or absolute rank correlation; 1 is the most.
    """

    column: str
    how: str
    strength: float


def suspects(features: Any, target: Any) -> tuple[Suspect, ...]:
    """Return the columns that give the target away; () where there are too few rows to tell.

    Rows beyond 20,000 are left out evenly, columns beyond 2,000 are not looked at. Missing values count as their own
    value; a target with missing values, or of several columns, is not looked at.
    """
    y = np.asarray(target)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) < _FEWEST_ROWS or hasattr(features, "tocsr"):
        return ()
    every = max(1, len(y) // _MOST_ROWS)
    y = y[::every]
    labels, codes = np.unique(y.astype(str) if y.dtype.kind == "O" else y, return_inverse=True)
    if len(labels) < 2:
        return ()
    classes = (y.dtype.kind not in "f" and len(labels) <= _CLASSES) or y.dtype.kind in "OUSb" or len(labels) == 2
    if classes and np.bincount(codes).min() < _FEWEST_OF_A_CLASS:
        return ()
    judge = _of_classes if classes else _of_numbers
    if not classes and y.dtype.kind not in "iuf":
        return ()
    found = ((name, judge(column[::every], y, codes)) for name, column in _named(features, len(target)))
    return tuple(Suspect(name, *verdict) for name, verdict in found if verdict is not None)


def _named(features: Any, rows: int) -> Iterator[tuple[str, NDArray[Any]]]:
    if hasattr(features, "columns") and hasattr(features, "shape"):
        names = list(features.columns)[:_MOST_COLUMNS]
        for place, name in enumerate(names):
            part = features.iloc[:, place] if hasattr(features, "iloc") else features[name]
            yield str(name), np.asarray(part)
        return
    array = np.asarray(features)
    if array.ndim == 2 and len(array) == rows:
        for place in range(min(array.shape[1], _MOST_COLUMNS)):
            yield f"column {place}", array[:, place]


def _of_classes(column: NDArray[Any], y: NDArray[Any], codes: NDArray[np.intp]) -> tuple[str, float] | None:
    values, places = np.unique(column.astype(str) if column.dtype.kind == "O" else column, return_inverse=True)
    classes = int(codes.max()) + 1
    if len(values) == classes:
        pairs = np.unique(np.stack([places.reshape(-1), codes]), axis=1)
        if pairs.shape[1] == classes:
            equal = column.dtype.kind == y.dtype.kind and bool((column == y).all())
            return ("is equal to" if equal else "is a relabelling of"), 1.0
    if classes == 2 and column.dtype.kind in "biuf":
        auc = _auc(column.astype(float), codes == 1)
        strength = max(auc, 1 - auc)
        if strength >= NEAR:
            return f"alone ranks the rows with an AUC of {strength:.3f} by", strength
    return None


def _of_numbers(column: NDArray[Any], y: NDArray[Any], codes: NDArray[np.intp]) -> tuple[str, float] | None:
    if column.dtype.kind not in "iuf":
        return None
    known = ~(np.isnan(column.astype(float)) | np.isnan(y.astype(float)))
    if known.sum() < _FEWEST_ROWS:
        return None
    x, y = column[known].astype(float), y[known].astype(float)
    if (x == y).all():
        return "is equal to", 1.0
    one, other = _ranks(x), _ranks(y)
    spread = one.std() * other.std()
    if spread == 0:
        return None
    strength = abs(float(((one - one.mean()) * (other - other.mean())).mean() / spread))
    return (f"has a rank correlation of {strength:.3f} with", strength) if strength >= NEAR else None


def _auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    scores = np.where(np.isnan(scores), -np.inf, scores)
    ranks = _ranks(scores)
    yes = int(positive.sum())
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * (len(scores) - yes)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, ties in the middle of their places."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: NDArray[np.float64] = (ends - (counts - 1) / 2)[places.reshape(-1)]
    return middles
