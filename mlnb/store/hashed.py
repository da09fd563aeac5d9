"""Bytes that are written piece by piece become a file and its digest in one pass: a thread hashes beside the write.

Hashing and writing both release Python's lock, so that together they take as long as the slower one, and what is hashed
is never read back. The thread exists only while something large is being written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined, unused-ignore]  # Python 3.12; read by mypy only

_SMALL_BYTES = 1 << 16
_PIECE_BYTES = 8 << 20
_LENT_PIECES = 2
_READ_BYTES = 1 << 20


class HashedFile:
    """A new file, open for writing, that knows its digest at the end.

    Parameters
    ----------
    path : Path
        Where; there must be nothing yet. Readable for its owner only.

    Raises
    ------
    OSError
        By every method, if the disk is full, read-only or not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        self._size = 0
        self._gathered = bytearray()
        self._hash = hashlib.sha256()
        self._pieces: SimpleQueue[memoryview | None] = SimpleQueue()
        self._room = Semaphore(_LENT_PIECES)
        self._thread: Thread | None = None

    def write(self, data: Buffer) -> int:
        """Write bytes that the caller may change afterwards; return their number."""
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        if len(view) < _SMALL_BYTES:
            self._size += len(view)
            self._gathered += view
            if len(self._gathered) >= _SMALL_BYTES:
                self.flush()
            return len(view)
        for at in range(0, len(view), _PIECE_BYTES):
            self.lend(view[at : at + _PIECE_BYTES])
            self._settle()
        return len(view)

    def lend(self, data: Buffer) -> int:
        """Write bytes that nobody changes before `finish`: they are hashed while the caller goes on.

        No more than a few pieces wait at a time, so that what was made only to be written is soon free again.
        """
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        if len(view) < _SMALL_BYTES:
            return self.write(view)
        self.flush()
        self._size += len(view)
        for at in range(0, len(view), _PIECE_BYTES):
            piece = view[at : at + _PIECE_BYTES]
            self._hash_beside(piece)
            self._write_through(piece)
        return len(view)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def flush(self) -> None:
        """Let the file hold all that was written so far: others can read it by its path."""
        if self._gathered:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            self._hash_beside(memoryview(gathered))
            self._write_through(memoryview(gathered))

    def finish(self) -> tuple[str, int]:
        """Make the bytes survive a power loss, close the file, and return its digest and size in bytes."""
        self.flush()
        os.fchmod(self._handle, 0o444)
        os.fsync(self._handle)  # while the last pieces are being hashed
        self.close()
        return "sha256:" + self._hash.hexdigest(), self._size

    def close(self) -> None:
        """Close the file, wherever it has come to; the thread has ended then."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()
            self._thread = None
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _write_through(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._handle, view) :]

    def _hash_beside(self, view: memoryview) -> None:
        if self._thread is None:
            if len(view) < _SMALL_BYTES:
                self._hash.update(view)
                return
            self._thread = Thread(target=self._hash_all, name="mlnb-hash", daemon=True)
            self._thread.start()
        self._room.acquire()
        self._pieces.put(view)

    def _hash_all(self) -> None:
        while (view := self._pieces.get()) is not None:
            self._hash.update(view)
            del view
            self._room.release()

    def _settle(self) -> None:
        """Wait until nothing that was lent is looked at any more."""
        for _ in range(_LENT_PIECES):
            self._room.acquire()
        self._room.release(_LENT_PIECES)


def digests_of(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder, by its path from there, with ``/``, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in paths}


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes as ``sha256:<hex>``."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()
