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

from mlnb.store.codecs.kinds import kind_of
from mlnb.store.mapped import Region, region, touched

_PIECE_BYTES = 1 << 20
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


def same_axis(left: object, right: object) -> bool:
    """Say whether two pandas indexes are equal in type, names, frequency, dtype and values."""
    return _same_axis(left, right, {})


def same_column(left: object, right: object) -> bool:
    """Say whether two pandas Series have equal dtypes and values; their indexes and names do not count."""
    return _same_column(left, right, {})


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
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(left, polars.DataFrame):
        return bool(left.schema == right.schema and left.equals(right, null_equal=True))
    if polars is not None and isinstance(left, polars.Series):
        return bool(left.name == right.name and left.equals(right, check_dtypes=True, null_equal=True))
    kind = kind_of(left)
    if kind is not None:  # what a sparse matrix has found out about itself does not count
        return _same(kind.take(left), kind.take(right), seen)
    return _same_reduced(left, right, seen)


def _same_array(left: Any, right: Any, seen: _SEEN) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.names:  # field by field: the bytes between the fields are anything
        return all(_same_array(left[field], right[field], seen) for field in left.dtype.names)
    if left.dtype.hasobject:
        return _all_same(left.ravel().tolist(), right.ravel().tolist(), seen)
    return _one_memory(left, right) or _same_bytes(left, right)


def _one_memory(left: Any, right: Any) -> bool:
    """Say whether both lie at the same place of the same stored file and nobody has changed either."""
    ours, theirs = place_of(left), place_of(right)
    if ours is None or theirs is None or left.strides != right.strides:
        return False
    return ours[1:] == theirs[1:] and not touched(ours) and not touched(theirs)


def place_of(array: Any) -> Region | None:
    """Return which part of which stored file an array's memory is a private view of."""
    if not array.nbytes or any(stride < 0 for stride in array.strides):
        return None
    span = sum((size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)) + array.itemsize
    return region(array.__array_interface__["data"][0], span)


def _same_bytes(left: Any, right: Any) -> bool:
    """Compare a piece at a time: nothing as large as the arrays is made."""
    numpy = sys.modules["numpy"]
    if left.ndim == 0 or not left.size:
        return bool(left.tobytes() == right.tobytes())
    if left.flags.f_contiguous and right.flags.f_contiguous:
        left, right = left.T, right.T
    if left.flags.c_contiguous and right.flags.c_contiguous:
        left, right = left.reshape(-1), right.reshape(-1)
    step = max(1, _PIECE_BYTES * len(left) // left.nbytes)
    for at in range(0, len(left), step):
        ours, theirs = (numpy.ascontiguousarray(each[at : at + step]).view("u1") for each in (left, right))
        if not numpy.array_equal(ours, theirs):
            return False
    return True


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
    if isinstance(left, sys.modules["pandas"].RangeIndex):
        return bool((left.start, left.stop, left.step) == (right.start, right.stop, right.step))
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
        if _one_memory(ours, theirs):
            return True
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
