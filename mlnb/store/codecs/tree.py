"""Values inside values become one file without pickle: a JSON tree whose leaves are Arrow and npy files.

Tuples, sets, dicts with any keys, and what `mlnb.store.codecs.kinds` knows, nested as anybody likes, with arrays and
frames anywhere. Format 1: ``mlnbtre1``, the parts (each starting at a multiple of 64), a JSON object with ``tree`` and
``parts`` in ASCII, then its offset and size (little-endian u64). A list is a JSON array, plain values are themselves,
all else is ``{"tag": content}``. Elements of sets are sorted by their JSON, dicts keep their order: equal values give
equal bytes.

Exact types only. A mutable object that is met twice inside one value would come back as two, so it is refused.
The round trip is exact by construction for all but text with halves of characters and the parts: those are compared.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mlnb.store.codecs.arrays import NpyCodec
from mlnb.store.codecs.frames import ArrowCodec
from mlnb.store.codecs.kinds import KINDS, kind_of
from mlnb.store.codecs.polars_frames import PolarsCodec
from mlnb.store.equality import same
from mlnb.store.hashed import HashedFile
from mlnb.store.mapped import open_private

_MAGIC = b"mlnbtre1"
_ALIGN = 64
_DEEPEST = 100
_ATOMS = (type(None), bool, int, float, str)
_BOXES: dict[str, Callable[[list[object]], object]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class _PartCodec(Protocol):
    def handles(self, value: object) -> bool: ...
    def write(self, value: Any, file: HashedFile) -> None: ...
    def read_view(self, view: memoryview) -> object: ...
    def faithful(self, value: Any, copy: Any) -> bool: ...


_PARTS: dict[str, _PartCodec] = {"npy": NpyCodec(), "arrow": ArrowCodec(), "polars": PolarsCodec()}


class TreeCodec:
    """Nested values of known kinds <-> one file."""

    name = "tree"
    rank = 20
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it is a container or of a known kind; what it holds is seen when it is written."""
        return type(value) in (list, dict) or type(value).__name__ in _BOXES or kind_of(value) is not None

    def write(self, value: object, file: HashedFile) -> None:
        """Write the parts, then the tree; a value inside that is of no known kind is a TypeError."""
        planted = _Planted(value)
        file.write(_MAGIC)
        places = []
        for codec, part in planted.parts:
            file.write(b"\0" * (-file.tell() % _ALIGN))
            start = file.tell()
            _PARTS[codec].write(part, file)
            places.append([codec, start, file.tell() - start])
        start = file.tell()
        content = json.dumps({"tree": planted.tree, "parts": places}, separators=(",", ":")).encode("ascii")
        file.write(content)
        file.write(struct.pack("<2Q", start, len(content)))

    def read(self, path: Path) -> object:
        """Return the value; its arrays and frames lie in private pages."""
        view = open_private(path)
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise ValueError(f"{path} is not of this codec")
        start, size = struct.unpack("<2Q", view[-16:])
        found = json.loads(bytes(view[start : start + size]))
        parts = [_PARTS[codec].read_view(view[at : at + length]) for codec, at, length in found["parts"]]
        return _grown(found["tree"], parts)

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether both are the same tree with the same leaves."""
        if type(value) is not type(copy):
            return False
        ours, theirs = _Planted(value), _Planted(copy)
        return (
            (ours.tree == theirs.tree or same(ours.tree, theirs.tree))
            and len(ours.parts) == len(theirs.parts)
            and all(
                codec == other and _PARTS[codec].faithful(part, its_copy)
                for (codec, part), (other, its_copy) in zip(ours.parts, theirs.parts, strict=True)
            )
        )


class _Planted:
    """A value as a JSON tree and the parts that the tree refers to by their number."""

    def __init__(self, value: object) -> None:
        self.parts: list[tuple[str, object]] = []
        self._met: set[int] = set()
        self._kept: list[object] = []
        self.tree = self._node(value, 0)

    def _node(self, value: object, depth: int) -> object:
        if type(value) in _ATOMS:
            return value
        if depth == _DEEPEST:
            raise TypeError(f"it is nested more than {_DEEPEST} deep")
        self._meet(value)
        if isinstance(value, list) and type(value) is list:
            return [self._node(item, depth + 1) for item in value]
        if isinstance(value, dict) and type(value) is dict:
            pairs = value.items()
            return {"dict": [[self._node(key, depth + 1), self._node(item, depth + 1)] for key, item in pairs]}
        if isinstance(value, (tuple, set, frozenset)) and type(value).__name__ in _BOXES:
            return self._box(value, depth)
        scalar = _scalar(value)
        if scalar is not None:
            return {"scalar": scalar}
        for name, codec in _PARTS.items():
            if codec.handles(value):
                self.parts.append((name, value))
                return {"part": len(self.parts) - 1}
        kind = kind_of(value)
        if kind is None:
            raise TypeError(f"it holds a value of type {type(value).__qualname__}")
        inner = kind.take(value)
        self._kept.append(inner)  # so that no id is given twice
        return {kind.tag: self._node(inner, depth + 1)}

    def _box(self, value: tuple[object, ...] | set[object] | frozenset[object], depth: int) -> object:
        if type(value) not in (tuple, set, frozenset):
            raise TypeError(f"it holds a value of type {type(value).__qualname__}")
        count = len(self.parts)
        nodes = [self._node(item, depth + 1) for item in value]
        if isinstance(value, (set, frozenset)):
            if len(self.parts) > count:
                raise TypeError("a set holds arrays")
            nodes.sort(key=lambda node: json.dumps(node, separators=(",", ":")))
        return {type(value).__name__: nodes}

    def _meet(self, value: object) -> None:
        if _immutable(value):
            return
        if id(value) in self._met:
            raise TypeError("it holds the same object twice")
        self._met.add(id(value))


def _immutable(value: object) -> bool:
    kind = kind_of(value)
    if isinstance(value, (tuple, frozenset)) or _scalar(value) is not None:
        return True
    return kind is not None and not kind.mutable


def _scalar(value: object) -> list[str] | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in "biufcmM":
        return None
    return [value.dtype.str, value.tobytes().hex()]


def _grown(node: object, parts: list[object]) -> object:
    if isinstance(node, list):
        return [_grown(item, parts) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag == "part":
        return parts[content]
    if tag == "dict":
        return {_grown(key, parts): _grown(item, parts) for key, item in content}
    if tag in _BOXES:
        return _BOXES[tag]([_grown(item, parts) for item in content])
    if tag == "scalar":
        import numpy as np

        return np.frombuffer(bytes.fromhex(content[1]), content[0])[0]
    return KINDS[tag].make(_grown(content, parts))
