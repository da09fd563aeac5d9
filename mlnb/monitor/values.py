"""The raw values of one column, as logged or sampled, become numbers or category names.

Missing is ``None``, ``nan``, ``pandas.NA`` and ``pandas.NaT`` alike. Whole floats and integers are one name (``3.0``
is ``"3"``), because a missing value turns a column of integers into floats and back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlnb.model.naming import is_missing, name_of

Values = Sequence[object] | npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def numbers(values: Values) -> tuple[Floats, Flags]:
    """Return the values as floats (``nan`` where missing or unusable) and where they are unusable: no number at all."""
    try:
        floats = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        floats = np.empty(0)
    if floats.ndim == 1 and floats.size == len(values):
        return floats, np.zeros(floats.size, dtype=np.bool_)
    pairs = np.array([_number(value) for value in values], dtype=np.float64).reshape(len(values), 2)
    return pairs[:, 0], pairs[:, 1] > 0


def names(values: Values) -> list[str | None]:
    """Return the values as category names, ``None`` where missing."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return [value if type(value) is str else name_of(value) for value in values]


def _number(value: object) -> tuple[float, bool]:
    if is_missing(value):
        return math.nan, False
    if isinstance(value, int | float | np.number | np.bool_):
        try:
            return float(value), False
        except OverflowError:
            return (math.inf if value > 0 else -math.inf), False
    return math.nan, True
