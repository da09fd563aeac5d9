"""The raw values of one column, as logged or sampled, become numbers or category names.

Missing is ``None``, ``nan``, ``pandas.NA`` and ``pandas.NaT`` alike. Whole floats and integers are one name (``3.0``
is ``"3"``), because a missing value turns a column of integers into floats and back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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


def name_of(value: object) -> str | None:
    """Return the name under which a category is counted; ``None`` for a missing value.

    Examples
    --------
    >>> name_of(True), name_of(3.0), name_of("JFK"), name_of(float("nan"))
    ('true', '3', 'JFK', None)
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return str(value)
    if _missing(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True)
    return str(value)


def _number(value: object) -> tuple[float, bool]:
    if _missing(value):
        return math.nan, False
    if isinstance(value, int | float | np.number | np.bool_):
        try:
            return float(value), False
        except OverflowError:
            return (math.inf if value > 0 else -math.inf), False
    return math.nan, True


def _missing(value: object) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)
