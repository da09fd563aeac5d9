"""What pyarrow writes an Arrow file to becomes the bytes of a stored file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mlnb.store.hashed import HashedFile


def _as_it_is(data: Any) -> Iterable[Any]:
    return (data,)


class ArrowSink:
    """The part of a file that begins where the file is now.

    Parameters
    ----------
    file : HashedFile
        Where the bytes go.
    pieces : callable
        Returns what is written in the place of an Arrow buffer; nobody may change it before the file is finished.
    """

    closed = False

    def __init__(self, file: HashedFile, pieces: Callable[[Any], Iterable[Any]] = _as_it_is) -> None:
        self._file = file
        self._pieces = pieces
        self._start = file.tell()

    def write(self, data: Any) -> int:
        """Write bytes, or a buffer of an array."""
        if isinstance(data, bytes):
            return self._file.write(data)
        return sum(self._file.lend(piece) for piece in self._pieces(data))

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._file.tell() - self._start

    def flush(self) -> None:
        """Nothing to do: the file is flushed when it is finished."""

    def close(self) -> None:
        """Let pyarrow go; the file stays open."""
        self.closed = True

    def writable(self) -> bool:
        """Say yes."""
        return True
