"""A file that grows becomes its last lines, and those that are added while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

_LINE_BYTES = 400
_POLL_S = 0.1


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a file; "" where it is not there."""
    return _last(path, lines)[0]


def follow(path: Path, lines: int) -> Iterator[str]:
    """Yield the last lines of a file, then each that is added, for ever; a file that was cut is read from its start."""
    last, place = _last(path, lines)
    yield from last.splitlines()
    rest = b""
    while True:
        size = path.stat().st_size if path.is_file() else 0
        if size < place:
            place, rest = 0, b""
        if size > place:
            with path.open("rb") as file:
                file.seek(place)
                new = file.read(size - place)
            place += len(new)
            *whole, rest = (rest + new).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
        else:
            time.sleep(_POLL_S)


def _last(path: Path, lines: int) -> tuple[str, int]:
    """Return the last lines of a file, and how far it was read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            wanted = _LINE_BYTES * max(lines, 1)
            while True:
                file.seek(max(0, size - wanted))
                content = file.read(min(size, wanted))
                if content.count(b"\n") > lines or wanted >= size:
                    break
                wanted *= 4
    except FileNotFoundError:
        return "", 0
    found = content.decode("utf-8", "replace").splitlines()
    return "\n".join(found[max(0, len(found) - lines) :] if lines > 0 else []), size
