"""Two values become one answer: whether nobody could tell them apart.

It is the proof behind "a codec is used only where its round trip is proven equal". Stricter than ``==``: types, dtypes,
index, order, attributes and signed zeros count; NaN equals NaN. Objects are compared by what pickle would keep of them
(``__reduce_ex__``), without comparing pickles, whose bytes differ for equal objects. Where it cannot tell it says no.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

_ATOMS = (type(None), bool, int, str, bytes, type(Ellipsis))
_SEEN = dict[tuple[int, int], tuple[object, object]]


def same(left: object, right: object) -> bool:
    """Say whether two values are equal in every observable respect.

    Examples
    --------
    >>> same({"a": [1, float("nan")]}, {"a": [1, float("nan")]})
    True
    >>> same(1, True), same([1], (1,)), same(0.0, -0.0)
    (False, False, False)
    """
    try:
        return _same(left, right, {})
    except (RecursionError, TypeError, ValueError, AttributeError):
        return False


def _same(left: object, right: object, seen: _SEEN) -> bool:
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, _ATOMS):
        return left == right
    if (id(left), id(right)) in seen:
        return True
    seen[id(left), id(right)] = (left, right)  # kept alive, so that no id is given twice
    if isinstance(left, float) and isinstance(right, float):
        return _float_bits(left) == _float_bits(right)
    if type(left) in (list, tuple):
        return _all_same(left, right, seen)  # type: ignore[arg-type]
    if type(left) is dict:
        return _all_same(left.items(), right.items(), seen)  # type: ignore[attr-defined]
    if type(left) in (set, frozenset):
        return left == right
    if isinstance(left, (type, FunctionType, BuiltinFunctionType, ModuleType)):
        return False
    return _same_foreign(left, right, seen)


def _same_foreign(left: Any, right: Any, seen: _SEEN) -> bool:
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if numpy is not None and isinstance(left, (numpy.ndarray, numpy.generic)):
        return _same_array(left, right, seen)
    if pandas is not None:
        if isinstance(left, pandas.DataFrame):
            return _same_frame(left, right, seen)
        if isinstance(left, pandas.Series):
            return (
                _same(left.name, right.name, seen)
                and _same_axis(left.index, right.index, seen)
                and _same_column(left, right, seen)
                and _same(dict(left.attrs), dict(right.attrs), seen)
                and left.flags == right.flags
            )
        if isinstance(left, pandas.Index):
            return _same_axis(left, right, seen)
        if isinstance(left, pandas.api.extensions.ExtensionArray):
            return _same_column(pandas.Series(left), pandas.Series(right), seen)
    return _same_reduced(left, right, seen)


def _same_array(left: Any, right: Any, seen: _SEEN) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.names:  # field by field: the bytes between the fields are anything
        return all(_same_array(left[field], right[field], seen) for field in left.dtype.names)
    if left.dtype.hasobject:
        return _all_same(left.ravel().tolist(), right.ravel().tolist(), seen)
    return bool(left.tobytes() == right.tobytes())


def _same_frame(left: Any, right: Any, seen: _SEEN) -> bool:
    return (
        left.shape == right.shape
        and _same_axis(left.index, right.index, seen)
        and _same_axis(left.columns, right.columns, seen)
        and _same(dict(left.attrs), dict(right.attrs), seen)
        and left.flags == right.flags
        and all(_same_column(left.iloc[:, at], right.iloc[:, at], seen) for at in range(left.shape[1]))
    )


def _same_axis(left: Any, right: Any, seen: _SEEN) -> bool:
    if type(left) is not type(right) or len(left) != len(right):
        return False
    if not _same(list(left.names), list(right.names), seen):
        return False
    if left.nlevels > 1:
        return all(
            _same_axis(left.get_level_values(at), right.get_level_values(at), seen) for at in range(left.nlevels)
        )
    if getattr(left, "freq", None) != getattr(right, "freq", None):
        return False
    return _same_column(left, right, seen)


def _same_column(left: Any, right: Any, seen: _SEEN) -> bool:
    """Compare two Series or flat indexes by dtype and values; NaN equals NaN, None does not."""
    if left.dtype != right.dtype or len(left) != len(right):
        return False
    if hasattr(left.dtype, "categories"):  # unordered dtypes are equal in any order of their categories
        left, right = left.array, right.array
        return _same_axis(left.categories, right.categories, seen) and _same_array(left.codes, right.codes, seen)
    kind = getattr(left.dtype, "kind", "O")
    if not hasattr(left.dtype, "na_value") and isinstance(left.dtype, sys.modules["numpy"].dtype):
        if kind == "O":
            return _all_same(left.tolist(), right.tolist(), seen)
        ours, theirs = left.to_numpy(), right.to_numpy()
        if kind in "fc":
            return bool(sys.modules["numpy"].array_equal(ours, theirs, equal_nan=True))
        return _same_array(ours, theirs, seen)
    return bool(left.array.equals(right.array))


def _same_reduced(left: Any, right: Any, seen: _SEEN) -> bool:
    ours, theirs = left.__reduce_ex__(4), right.__reduce_ex__(4)
    if isinstance(ours, str) or isinstance(theirs, str):
        return bool(ours == theirs)
    return _all_same([_parts(part) for part in ours], [_parts(part) for part in theirs], seen)


def _parts(part: Any) -> Any:
    return list(part) if hasattr(part, "__next__") else part


def _all_same(left: Iterable[object], right: Iterable[object], seen: _SEEN) -> bool:
    ours, theirs = list(left), list(right)
    return len(ours) == len(theirs) and all(_same(a, b, seen) for a, b in zip(ours, theirs, strict=True))


def _float_bits(value: float) -> bytes:
    return b"nan" if value != value else struct.pack("<d", value)
