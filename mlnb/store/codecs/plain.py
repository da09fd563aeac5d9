"""Plain values become JSON: None, bool, int, float (NaN and infinities too), str, and lists and dicts of them.

Exact types only: a tuple, a set, a subclass or a key that is no string would come back as something else. A list or
dict that is met twice inside one value would come back as two, so it is refused as well. Keys keep their order.
"""

from __future__ import annotations

import json
from pathlib import Path

from mlnb.store.equality import same
from mlnb.store.hashed import HashedFile

_DEEPEST = 100


class JsonCodec:
    """Plain values of exact types <-> JSON."""

    name = "json"
    rank = 10
    canonical = True
    executes_code = False

    def handles(self, value: object) -> bool:
        """Say whether it consists of plain values only."""
        return _plain(value, 0, set())

    def write(self, value: object, file: HashedFile) -> None:
        """Write ASCII JSON; Python's NaN and Infinity are the one addition to the standard."""
        file.write(json.dumps(value, separators=(",", ":")).encode("ascii"))

    def read(self, path: Path) -> object:
        """Return the value."""
        return json.loads(path.read_text("ascii"))

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether both are equal; JSON keeps types and order, only text with halves of characters may be joined."""
        return bool(value == copy) or same(value, copy)


def _plain(value: object, depth: int, met: set[int]) -> bool:
    if value is None or type(value) in (bool, int, float, str):
        return True
    if type(value) not in (list, dict) or depth == _DEEPEST or id(value) in met:
        return False
    met.add(id(value))
    if isinstance(value, dict):
        return all(type(key) is str and _plain(item, depth + 1, met) for key, item in value.items())
    return isinstance(value, list) and all(_plain(item, depth + 1, met) for item in value)
