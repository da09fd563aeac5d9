"""Tables become one 64-bit digest a row, and two sets of digests the number of rows that they share.

Equal rows have equal digests whatever holds them: a frame, an array, a sparse matrix, a list. Columns are taken by
position; numbers count as float64, NaN equals NaN, everything else counts by its text.

Notes
-----
Some rows are equal by nature (few columns of few values). The rate at which a fresh row meets an equal one is estimated
from the rows themselves: the share of rows that have a twin inside their own table. What both tables share counts as a
leak only where it exceeds that rate by three standard deviations of a Poisson count, and one row.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Digests: TypeAlias = NDArray[np.uint64]

MOST_ROWS = 5_000_000
"""Tables above this are not looked at."""
_MOST_CELLS = 4_000_000
_DEVIATIONS = 3.0
_NAN = np.uint64(0x7FF8000000000001)
_SEED, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Shared:
    """How many of `scored` rows are among the fitted ones, and how many would be by nature.

    Attributes
    ----------
    rows, scored : int
        Counts of rows.
    expected : float
        Rows that one would expect to be equal without any leak.
    """

    rows: int
    scored: int
    expected: float

    @property
    def beyond_chance(self) -> bool:
        """Whether more rows are shared than equal rows in the data explain."""
        return self.rows > self.expected + _DEVIATIONS * math.sqrt(self.expected) + 1

    @property
    def share(self) -> float:
        """Share of the scored rows, 0 to 1."""
        return self.rows / self.scored if self.scored else 0.0


def row_digests(table: Any) -> Digests | None:
    """Return a digest for each row, None for what is no table."""
    columns = _columns(table)
    return mixed(columns[0], columns[1]) if columns is not None else None


def cell_digests(frame: Any) -> Digests | None:
    """Return a digest for each value of a frame (rows x columns); None for others and for frames above 4 M values."""
    if not hasattr(frame, "columns") or not hasattr(frame, "shape") or math.prod(frame.shape) > _MOST_CELLS:
        return None
    columns = _columns(frame)
    return np.stack(columns[0], axis=1) if columns is not None and columns[0] else None


def mixed(columns: Iterable[Digests], rows: int) -> Digests:
    """Return the digests of rows, given the digests of their values column by column."""
    found = np.full(rows, _SEED, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            found = (found ^ column) * _PRIME
            found ^= found >> np.uint64(29)
    return found


def shared(fitted: Digests, scored: Digests) -> Shared:
    """Compare scored rows with those that something was fitted on."""
    found = int(np.isin(scored, fitted).sum())
    twins, rows = _twins(fitted) + _twins(scored), len(fitted) + len(scored)
    return Shared(found, len(scored), len(scored) * (twins + 1) / (rows + 1))


def same_rows(fitted: Digests, scored: Digests) -> bool:
    """Say whether the scored rows are the fitted ones themselves: a training score, asked for on purpose."""
    if not len(scored) or not np.isin(scored, fitted).all():
        return False
    unique = np.unique(fitted)
    return bool(np.isin(unique, scored).mean() >= 0.95)


def _twins(digests: Digests) -> int:
    _, counts = np.unique(digests, return_counts=True)
    return int(counts[counts > 1].sum())


def _columns(table: Any) -> tuple[list[Digests], int] | None:
    if hasattr(table, "tocsr"):
        return _sparse(table.tocsr())
    if hasattr(table, "columns") and hasattr(table, "shape"):  # pandas and polars frames
        parts = [table[name] for name in table.columns]
        parts = [part if getattr(part, "ndim", 1) == 1 else part.iloc[:, 0] for part in parts]
        rows = int(table.shape[0])
    else:
        try:
            array = np.asarray(table)
        except ValueError:
            return None
        if array.ndim == 0 or not len(array):
            return None
        array = array.reshape(len(array), -1)
        parts, rows = list(array.T), len(array)
    return ([_column(part) for part in parts], rows) if 0 < rows <= MOST_ROWS else None


def _column(part: Any) -> Digests:
    values = np.asarray(part)
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
        bits: Digests = numbers.view(np.uint64).copy()
        bits[np.isnan(numbers)] = _NAN
        return bits
    texts = values.astype(str)
    unique, codes = np.unique(texts, return_inverse=True)
    digests = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in unique]
    return np.asarray(digests, dtype=np.uint64)[codes.reshape(-1)]


def _sparse(matrix: Any) -> tuple[list[Digests], int] | None:
    rows = int(matrix.shape[0])
    if not 0 < rows <= MOST_ROWS:
        return None
    matrix.sum_duplicates()
    ends = matrix.indptr
    digests = [
        hashlib.blake2b(
            matrix.indices[ends[row] : ends[row + 1]].tobytes() + matrix.data[ends[row] : ends[row + 1]].tobytes(),
            digest_size=8,
        ).digest()
        for row in range(rows)
    ]
    return [np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)], rows
