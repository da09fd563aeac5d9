"""An effect on the disk becomes done wholly or a `StorageError`: atomic files, made folders, named failures.

Everything that mlnb writes below ``.mlnb`` goes through here: a temporary file beside the target, fsync, rename,
fsync of the folder. A reader sees the old bytes or the new ones, and a failure leaves no temporary file.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mlnb.errors import StorageError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free space on the disk that holds it, then repeat the command."),
    errno.EDQUOT: ("your disk quota is used up", "Free space or ask for more, then repeat the command."),
    errno.EFBIG: (
        "the file is larger than the system allows here",
        "Raise the limit (ulimit -f) or use another disk, then repeat the command.",
    ),
    errno.EROFS: ("the file system is read-only", "Work in a folder that you can write, or mount it writable."),
    errno.EACCES: ("you have no permission", "Give yourself permission, or work in a folder that you own."),
    errno.EPERM: ("you have no permission", "Give yourself permission, or work in a folder that you own."),
    errno.ENOTDIR: ("a file is where a folder should be", "Move that file away, then repeat the command."),
    errno.EEXIST: ("a file is where a folder should be", "Move that file away, then repeat the command."),
}


@contextmanager
def storing(path: Path, act: str = "written") -> Iterator[None]:
    """Turn every OSError of the block into a `StorageError` that names `path`.

    Raises
    ------
    StorageError
        With the reason (full, read-only, not permitted, ...) and what to do.
    """
    try:
        yield
    except OSError as error:
        reason, remedy = _REASONS.get(
            error.errno or 0, (error.strerror or str(error), "Check the disk, then repeat the command.")
        )
        raise StorageError(f"{path} cannot be {act}: {reason}.", remedy, path=str(path)) from error


def make_folder(path: Path) -> Path:
    """Make `path` and the folders above it where they are missing, and return it.

    Raises
    ------
    StorageError
        If it cannot be made, or something else than a folder is there.
    """
    with storing(path, "made"):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Give a file to write that becomes `path` when the block ends, and vanishes if it fails.

    Raises
    ------
    StorageError
        If the bytes cannot be written; `path` is then as it was.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`, wholly or not at all."""
    with replacing(path, mode=mode) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
