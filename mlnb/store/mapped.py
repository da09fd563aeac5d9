"""A stored file becomes private, writable memory that costs nothing until it is touched, and tells what was changed.

Large files are mapped copy-on-write: a page that somebody writes becomes a private copy, the file never changes. On
Linux the kernel itself says which pages are such copies (``/proc/self/pagemap``, bit 61), so that a frame of any size
is known to be untouched without reading it; elsewhere the memory is compared with the file.

References
----------
.. [1] Linux, Documentation/admin-guide/mm/pagemap.rst
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple
from weakref import WeakSet

PAGEMAP = Path("/proc/self/pagemap")

_SMALL_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_OF_FILE, _SWAPPED, _PRESENT = 1 << 61, 1 << 62, 1 << 63
_serials = count(1)
_live: WeakSet[_Mapping] = WeakSet()


class Region(NamedTuple):
    """A span of live mapped memory: which mapping it is of, the file's path, and the span in bytes."""

    serial: int
    path: Path
    start: int
    stop: int


def open_private(path: Path) -> memoryview:
    """Return the bytes of a file as writable memory that nobody shares; it lives as long as a view of it."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < _SMALL_BYTES:
            return memoryview(bytearray(file.read()))
        mapping = _Mapping(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapping.path = path
    mapping.serial = next(_serials)
    mapping.address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    _live.add(mapping)
    return memoryview(mapping)


def region(address: int, size_bytes: int) -> Region | None:
    """Return what part of which mapped file lies at an address, None where that is other memory."""
    for mapping in list(_live):
        start = address - mapping.address
        if start >= 0 and start + size_bytes <= len(mapping):
            return Region(mapping.serial, mapping.path, start, start + size_bytes)
    return None


def touched(place: Region, pagemap: Path = PAGEMAP) -> bool:
    """Say whether the memory differs from the file by now; where it cannot be told, that counts as different."""
    mapping = next((each for each in list(_live) if each.serial == place.serial), None)
    if mapping is None:
        return True
    try:
        spans = list(_copied(mapping.address, place, pagemap))
        if not spans:
            return False
        with place.path.open("rb") as file, memoryview(mapping) as view:
            return any(_differ(file, view, *span) for span in spans)
    except FileNotFoundError:
        return True


class _Mapping(mmap.mmap):
    """A mapping that knows its file and where in memory it is."""

    path: Path
    serial: int
    address: int

    __hash__ = object.__hash__


def _copied(address: int, place: Region, pagemap: Path) -> Iterator[tuple[int, int]]:
    """Yield the spans of the file whose pages are private copies; the whole span where the system does not say."""
    page = mmap.PAGESIZE
    first, last = (address + place.start) // page, (address + place.stop - 1) // page
    try:
        with pagemap.open("rb", buffering=0) as file:
            file.seek(first * 8)
            content = file.read((last - first + 1) * 8)
    except OSError:
        content = b""
    if len(content) != (last - first + 1) * 8:
        yield place.start, place.stop
        return
    import numpy as np

    entries = np.frombuffer(content, "<u8")
    copied = (entries & (_SWAPPED | _OF_FILE | _PRESENT)) == _PRESENT
    for at in np.flatnonzero(copied | (entries & _SWAPPED != 0)).tolist():
        start = (first + at) * page - address
        yield max(start, place.start), min(start + page, place.stop)


def _differ(file: BinaryIO, view: memoryview, start: int, stop: int) -> bool:
    file.seek(start)
    for at in range(start, stop, _PIECE_BYTES):
        piece = view[at : min(at + _PIECE_BYTES, stop)]
        if bytes(piece) != file.read(len(piece)):
            return True
    return False
