"""A mapping becomes a JSON file that is whole or absent, and is read back only by who knows its format.

A manifest is a JSON object with a ``format`` number. To raise the number: teach the reader the new one, keep the
reader of the old one and its test, then write the new one. A larger number than the reader knows is refused with
`NewerFormatError`, anything else that is not the object that was written with `CorruptError`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.store.disk import storing, write_bytes

T = TypeVar("T")


def write_json(path: Path, mapping: Mapping[str, object]) -> None:
    """Write `mapping` as JSON to `path`: temporary file, fsync, rename.

    Raises
    ------
    StorageError
        If the disk is full, read-only or not ours; what was at `path` before stays.
    """
    write_bytes(path, (json.dumps(mapping, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))


def read_json(path: Path, format: int = 1) -> Fields:
    """Return the JSON object in `path`, which may have any format up to `format`.

    Raises
    ------
    NewerFormatError
        If it was written by a newer mlnb.
    CorruptError
        If it is no JSON object with a format number.
    StorageError
        If it cannot be read.
    FileNotFoundError
        If there is no such file: what that means is the caller's matter.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError:
        with storing(path, "read"):
            raise
    try:
        mapping = json.loads(content)
    except ValueError as error:
        raise _corrupt(path, f"it is not JSON ({error})") from error
    if not isinstance(mapping, dict) or not isinstance(mapping.get("format"), int):
        raise _corrupt(path, "it has no format number")
    NewerFormatError.check(str(path), mapping["format"], format, "Upgrade mlnb, or work in another project folder.")
    return Fields(str(path), mapping)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one JSON object, each read as the type that it must have.

    Attributes
    ----------
    source : str
        Where the object comes from, for messages.
    mapping : Mapping[str, object]
        The object.

    Raises
    ------
    CorruptError
        By every method, if the field is missing or of another type.
    """

    source: str
    mapping: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a string."""
        return self._typed(name, str)

    def integer(self, name: str) -> int:
        """Return a whole number."""
        return self._typed(name, int)

    def number(self, name: str) -> float:
        """Return a number."""
        return float(self._typed(name, (int, float)))

    def truth(self, name: str) -> bool:
        """Return a boolean."""
        return self._typed(name, bool)

    def values(self, name: str) -> dict[str, object]:
        """Return a JSON object as it is."""
        return self._typed(name, dict)

    def one(self, name: str) -> Fields:
        """Return the fields of an inner object."""
        return Fields(self.source, self.values(name))

    def many(self, name: str) -> list[Fields]:
        """Return the fields of each object in a list."""
        rows = self._typed(name, list)
        if not all(isinstance(row, dict) for row in rows):
            raise _corrupt(Path(self.source), f"its field {name!r} is not a list of objects")
        return [Fields(self.source, row) for row in rows]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        rows = self._typed(name, list)
        if not all(isinstance(row, str) for row in rows):
            raise _corrupt(Path(self.source), f"its field {name!r} is not a list of strings")
        return tuple(rows)

    def _typed(self, name: str, kind: type[T] | tuple[type[T], ...]) -> T:
        value = self.mapping.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _corrupt(Path(self.source), f"its field {name!r} is missing or of another type")
        return value


def timestamp(moment: datetime) -> str:
    """Return an aware moment as ``2026-11-22T19:30:00.123456Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _corrupt(path: Path, why: str) -> CorruptError:
    return CorruptError(
        f"{path} is damaged: {why}.",
        "Restore it from a backup, or remove it and repeat the command that made it.",
        path=str(path),
        digest="",
    )
