"""What a person passes as truth, answers or groups becomes arrays of classes or numbers, or a refusal that says why.

Lists, arrays, and series and frames of pandas and polars are taken by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.errors import UsageError
from mlnb.model.bootstrap import Floats, Ints
from mlnb.model.naming import is_missing, name_of


def array_of(values: object, name: str, size: int | None = None) -> npt.NDArray[Any]:
    """Return the values as an array with a first axis of `size` rows, none of them missing.

    Raises
    ------
    UsageError
        If the length is another, or a value is missing.
    """
    found = np.asarray(values)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim not in (1, 2) or (found.ndim == 2 and size is None):
        raise UsageError(f"{name} has the shape {found.shape}.", "Pass one value for each row.")
    if not found.shape[0]:
        raise UsageError(f"{name} has no rows.", "Pass at least one.")
    if size is not None and found.shape[0] != size:
        raise UsageError(
            f"{name} has {found.shape[0]} rows, but there are {size} true values.", "Pass one value for each row."
        )
    gaps = _missing(found)
    if gaps:
        raise UsageError(
            f"{gaps} of {found.shape[0]} rows of {name} have a missing value.",
            "Leave those rows out of truth and answers alike, or give them a value.",
        )
    return found


def floats_of(values: npt.NDArray[Any], name: str) -> Floats:
    """Return an array as floats.

    Raises
    ------
    UsageError
        If a value is no number, or infinite.
    """
    try:
        found = values.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} holds values that are no numbers.", 'Say what it is: task="multiclass", or pass numbers.'
        ) from None
    if not np.isfinite(found).all():
        raise UsageError(f"{name} holds infinite values.", "Leave those rows out, or give them a number.")
    return found


def distinct(values: Sequence[object]) -> list[object]:
    """Return the different values, sorted as scikit-learn sorts classes: numbers by size, texts by code."""
    found = list(dict.fromkeys(values))
    try:
        return sorted(found)  # type: ignore[type-var]  # whatever can be compared
    except TypeError:
        return sorted(found, key=str)


def places(values: Sequence[object], classes: Sequence[object], name: str) -> Ints:
    """Return the place of each value among the classes; True, 1 and 1.0 are the same class.

    Raises
    ------
    UsageError
        If a value is none of them.
    """
    index = {one: place for place, one in enumerate(classes)}
    found = np.array([index.get(value, -1) for value in values], dtype=np.int64)
    if (found < 0).any():
        stranger = values[int(np.flatnonzero(found < 0)[0])]
        raise UsageError(
            f"{name} holds {stranger!r}, which is none of the classes {', '.join(map(repr, classes[:10]))}.",
            "Pass all classes in the order of the probabilities: classes=model.classes_.",
        )
    return found


def class_names(classes: Sequence[object]) -> tuple[str, ...]:
    """Return the classes as texts that can stand in the name of a slice."""
    return tuple((name_of(one) or "missing").translate(str.maketrans("[]", "()")) or "empty" for one in classes)


def _missing(values: npt.NDArray[Any]) -> int:
    if values.dtype.kind == "f":
        gaps = np.isnan(values)
    elif values.dtype.kind == "O":
        gaps = np.array([is_missing(value) for value in values.ravel().tolist()]).reshape(values.shape)
    else:
        return 0
    return int(gaps.any(axis=1).sum() if gaps.ndim == 2 else gaps.sum())
