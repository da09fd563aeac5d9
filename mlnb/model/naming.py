"""A single value, as logged, sampled or grouped by, becomes the one name under which it is counted.

Missing is ``None``, ``nan``, ``pandas.NA`` and ``pandas.NaT`` alike. Whole floats and integers are one name (``3.0``
is ``"3"``), because a missing value turns a column of integers into floats and back.
"""

from __future__ import annotations

import json
import math

import numpy as np


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
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True)
    return str(value)


def is_missing(value: object) -> bool:
    """Say whether a value stands for none."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)
