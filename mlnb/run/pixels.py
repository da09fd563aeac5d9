"""The bytes of two PNG images become the share of pixels in which an eye would see a difference.

Read with zlib and numpy alone (PNG specification, third edition, sections 7 to 9), so that no imaging library is
needed. Interlaced images and 16-bit channels, which no plotting library writes, are not read.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SEEN = 16
"""Difference between two channel values (of 255) below which nobody sees it."""


def share_apart(before: bytes, after: bytes) -> float:
    """Return the share of pixels that differ visibly, from 0 to 1; 1 where the sizes differ.

    Raises
    ------
    ValueError
        If one of them is no PNG that can be read.
    """
    import numpy as np

    if before == after:
        return 0.0
    ours, theirs = read_png(before), read_png(after)
    if ours.shape != theirs.shape:
        return 1.0
    gap = np.abs(ours.astype(np.int16) - theirs.astype(np.int16)).max(axis=2)
    return float((gap > _SEEN).mean())


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height in pixels. Raises `ValueError` if it is no PNG."""
    if png[:8] != _SIGNATURE or len(png) < 33:
        raise ValueError("it is not a PNG image")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def read_png(png: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG image.

    Returns
    -------
    ndarray of uint8, shape (height, width, channels)
        One channel is grey, three are RGB; two and four have alpha behind. Palettes are resolved.

    Raises
    ------
    ValueError
        If it is no PNG, damaged, interlaced or not of 8 bits a channel.
    """
    import numpy as np

    width, height = size_of(png)
    depth, colour, _, _, interlaced = png[24:29]
    if depth != 8 or interlaced or colour not in _CHANNELS:
        raise ValueError("it is an interlaced PNG, or not one of 8 bits a channel")
    content, palette = b"", b""
    at = 8
    while at + 8 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        content += body if kind == b"IDAT" else b""
        palette = body if kind == b"PLTE" else palette
        at += 12 + length
    channels = _CHANNELS[colour]
    try:
        raw = np.frombuffer(zlib.decompress(content), np.uint8).reshape(height, 1 + width * channels)
    except (zlib.error, ValueError) as error:
        raise ValueError(f"it is a damaged PNG ({error})") from error
    pixels = _unfiltered(raw, width, channels)
    return np.frombuffer(palette, np.uint8).reshape(-1, 3)[pixels[:, :, 0]] if colour == 3 else pixels


def _unfiltered(raw: NDArray[np.uint8], width: int, channels: int) -> NDArray[np.uint8]:
    """Undo the filter of each row: each byte was stored as its difference to its neighbours, modulo 256."""
    import numpy as np

    pixels = np.zeros((len(raw), width, channels), np.uint8)
    above = np.zeros((width, channels), np.uint8)
    for at, row in enumerate(raw):
        stored = row[1:].reshape(width, channels)
        match int(row[0]):
            case 0:
                above = stored
            case 1:
                above = np.cumsum(stored, axis=0, dtype=np.uint8)
            case 2:
                above = stored + above
            case 3 | 4 as kind:
                above = _from_neighbours(stored, above, nearest=kind == 4)
            case kind:
                raise ValueError(f"it is a damaged PNG (filter {kind})")
        pixels[at] = above
    return pixels


def _from_neighbours(stored: NDArray[np.uint8], above: NDArray[np.uint8], *, nearest: bool) -> NDArray[np.uint8]:
    """Undo the filters whose every pixel needs the one before it."""
    import numpy as np

    columns = []
    for column, up_column in zip(stored.T.tolist(), above.T.tolist(), strict=True):
        left = corner = 0
        made = []
        for value, up in zip(column, up_column, strict=True):
            if nearest:
                guess = left + up - corner
                by_left, by_up, by_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
                near = left if by_left <= by_up and by_left <= by_corner else up if by_up <= by_corner else corner
            else:
                near = (left + up) // 2
            left, corner = (value + near) & 255, up
            made.append(left)
        columns.append(made)
    return np.array(columns, np.uint8).T
