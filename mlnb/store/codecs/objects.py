"""Any other object becomes a cloudpickle (protocol 5), its large buffers beside it: mapped privately when it is read.

Layout: ``mlnbpkl1``, the number of parts, the size of each part (little-endian u64), then the parts, each starting at
a multiple of 64: the pickle, then its out-of-band buffers. Reading maps the file copy-on-write, so that arrays are
writable and cost nothing until they are touched (`mlnb.store.mapped`).

Estimators of scikit-learn are among them: skops would cost every run 2.5 s of imports, needs a signature as well, and
gives some random states back changed.

What the notebook defines is pickled by value, and by name as well: in a kernel whose setup has defined that name
already, the setup's own class is used, so that ``isinstance`` means the same in every stage. Equal values have equal
pickles: the random number by which cloudpickle knows a class again is replaced by a digest of the class.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
from cloudpickle import Pickler
from cloudpickle import cloudpickle as _tracker

from mlnb.store.hashed import HashedFile
from mlnb.store.mapped import open_private

_MAGIC = b"mlnbpkl1"
_ALIGN = 64
_defined: ContextVar[Mapping[str, object] | None] = ContextVar("mlnb_defined", default=None)


class PickleCodec:
    """Whatever cloudpickle can hold <-> one file."""

    name = "pickle"
    rank = 90
    canonical = False
    executes_code = True

    def handles(self, value: object) -> bool:
        """Say yes: it is the last to be asked."""
        return True

    def write(self, value: object, file: HashedFile) -> None:
        """Write the pickle and its buffers."""
        buffers: list[Any] = []
        stream = io.BytesIO()
        _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
        parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
        file.write(_MAGIC + struct.pack(f"<{len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts)))
        for part in parts:
            file.write(b"\0" * (-file.tell() % _ALIGN))
            file.lend(part)

    def read(self, path: Path) -> object:
        """Return the object; the caller has checked the signature."""
        view = open_private(path)
        if bytes(view[:8]) != _MAGIC:
            raise ValueError(f"{path} is not of this codec")
        (count,) = struct.unpack_from("<Q", view, 8)
        sizes = struct.unpack_from(f"<{count}Q", view, 16)
        parts, at = [], 16 + 8 * count
        for size in sizes:
            at += -at % _ALIGN
            parts.append(view[at : at + size])
            at += size
        return cloudpickle.loads(parts[0], buffers=parts[1:])

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether it came back as the same type: more cannot be asked of any object."""
        return type(value).__qualname__ == type(copy).__qualname__


def prefer_definitions(namespace: Mapping[str, object] | None) -> None:
    """Let what is read from now on use the classes and functions that `namespace` has, by their names."""
    _defined.set(dict(namespace) if namespace is not None else None)


class _Pickler(Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) and obj.__module__ == "__main__":
            _know_by_digest(obj)
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__" and obj.__qualname__.isidentifier():
            stream = io.BytesIO()
            Pickler(stream, protocol=5).dump(obj)
            return _definition, (obj.__qualname__, isinstance(obj, type), stream.getvalue())
        return super().reducer_override(obj)


def _know_by_digest(cls: type) -> None:
    """Let cloudpickle know a class, and those that it refers to, by what they are, unless it knows them already.

    A class that equals another one of this process, as after a cell has run twice, keeps its random number: the two
    must not be taken for each other.
    """
    numbers, classes = _tracker._DYNAMIC_CLASS_TRACKER_BY_CLASS, _tracker._DYNAMIC_CLASS_TRACKER_BY_ID
    if cls in numbers:
        return
    before = set(classes)
    stream = io.BytesIO()
    Pickler(stream, protocol=5).dump(cls)
    content = stream.getvalue()
    made = sorted(set(classes) - before, key=lambda number: content.find(number.encode()))
    for number in made:
        content = content.replace(number.encode(), b"0" * len(number))
    digest = hashlib.sha256(content)
    with _tracker._DYNAMIC_CLASS_TRACKER_LOCK:
        for number in made:
            digest.update(b"1")
            known = digest.hexdigest()[: len(number)]
            owner = classes.get(number)
            if owner is not None and known not in classes:
                del classes[number]
                numbers[owner], classes[known] = known, owner


def _definition(name: str, is_class: bool, pickled: bytes) -> object:
    known = (_defined.get() or {}).get(name)
    if known is not None and isinstance(known, type) == is_class and callable(known):
        return known
    return cloudpickle.loads(pickled)
