"""A live value becomes an imprint: equal imprints of one object mean that nobody changed it in between.

The imprint is a digest of what pickle would keep, except that functions, classes, modules and whatever cannot be
pickled stand for themselves, and that arrays over the untouched pages of a stored file are known by their place in it,
unread. It holds within one process only, and cannot see what pickle would not keep.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import pickle
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from mlnb.store.codecs.kinds import kind_of
from mlnb.store.equality import place_of
from mlnb.store.mapped import Region, region, touched

_PIECE = 50_000
_PIECE_BYTES = 4 << 20
_THEMSELVES = (type, FunctionType, BuiltinFunctionType, ModuleType)


def imprint(value: object) -> bytes:
    """Return the imprint of a value, empty where the value cannot be seen through."""
    stream = _Stream()
    try:
        _Walker(stream, protocol=5).dump(value)
    except Exception:  # noqa: BLE001  # foreign objects raise what they like when they are pickled
        return b""
    return stream.digest.digest()


class _Stream(io.RawIOBase):
    """A file that keeps nothing but the digest of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return memoryview(data).nbytes


class _Walker(pickle.Pickler):
    """Walks through a value as pickle does; its output is never read."""

    def reducer_override(self, value: Any) -> Any:
        if value is _leaf:
            return NotImplemented
        if isinstance(value, _THEMSELVES):
            return _leaf, (id(value),)
        found = _known(value)
        if found is not None:
            return _leaf, found
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            made = reduce(value) if reduce is not None else value.__reduce_ex__(5)
        except Exception:  # noqa: BLE001  # what cannot be pickled stands for itself
            return _leaf, (id(value),)
        return (_leaf, (id(value),)) if isinstance(made, str) else made


def _leaf(*content: object) -> None:
    """Stand in a pickle for what is not looked into."""


def _known(value: Any) -> tuple[object, ...] | None:
    """Return what tells arrays, Arrow buffers and polars frames apart, None for all other values."""
    numpy, arrow, polars = (sys.modules.get(name) for name in ("numpy", "pyarrow", "polars"))
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.hasobject:
            return _objects(value)
        return ("array", type(value).__qualname__, str(value.dtype), value.shape, value.strides, *_memory(value))
    if arrow is not None and isinstance(value, arrow.Buffer):
        return ("buffer", *_bytes_of(region(value.address, value.size), value))
    if polars is not None and isinstance(value, polars.DataFrame):
        return ("polars", value.width, *(imprint(column) for column in value.get_columns()))
    if polars is not None and isinstance(value, polars.Series):
        return ("polars", value.name, str(value.dtype), *(imprint(chunk) for chunk in _chunks(value)))
    kind = kind_of(value)
    return ("kind", kind.tag, kind.take(value)) if kind is not None and kind.mutable else None


def _memory(array: Any) -> tuple[object, ...]:
    place = place_of(array)
    if place is not None and not touched(place):
        return (place.serial, place.start)
    digest = hashlib.sha256()
    numpy = sys.modules["numpy"]
    flat = array if array.flags.c_contiguous else array.T
    step = max(1, _PIECE_BYTES * len(flat) // flat.nbytes) if flat.ndim and flat.nbytes else 1
    for piece in [flat[at : at + step] for at in range(0, len(flat), step)] if flat.ndim else [flat]:
        if piece.nbytes:
            digest.update(numpy.ascontiguousarray(piece).reshape(-1).view("u1"))
    return (digest.digest(),)


def _bytes_of(place: Region | None, content: Any) -> tuple[object, ...]:
    if place is not None and not touched(place):
        return (place.serial, place.start, place.stop)
    return (hashlib.sha256(content).digest(),)


def _objects(array: Any) -> tuple[object, ...]:
    """Walk an array of objects a piece at a time: the walker remembers all that it has met."""
    flat = array.reshape(-1)
    pieces = (flat[at : at + _PIECE].tolist() for at in range(0, len(flat), _PIECE))
    found = [imprint(piece) for piece in pieces]
    if b"" in found:
        raise pickle.PicklingError("an object cannot be seen through")
    return ("objects", str(array.dtype), array.shape, *found)


def _chunks(series: Any) -> list[Any]:
    arrow = series.to_arrow()
    return list(arrow.chunks) if hasattr(arrow, "chunks") else [arrow]
