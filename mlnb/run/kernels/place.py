"""A kernel's sockets get a private folder with a short path; what killed processes left in its place goes away.

All lie in one folder of the user's, ``<temporary folder>/mlnb-<uid>`` (0700), because a unix socket's path may have 108
characters at the most: ``k-*`` are the folders of running notebooks, each locked by its owner for as long as that
lives, ``z-*`` the sockets of zygotes. Who makes or removes something there holds the lock of the folder itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlnb.errors import StorageError
from mlnb.store.disk import storing

_SOCKET_PATH_LIMIT = 108
_swept: set[Path] = set()
_LONGEST = "/mlnb-1234567890/z-0123456789abcdef"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give a folder of our own; it is removed at the end, or by the next user of this function if we are killed.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    if os.name != "posix":
        with tempfile.TemporaryDirectory(prefix="mlnb-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    with shared_folder() as shared:
        if shared not in _swept:
            sweep(shared)
            _swept.add(shared)
        with storing(shared):
            folder = Path(tempfile.mkdtemp(prefix="k-", dir=shared))
        handle = _opened(folder)
        _lock(handle, wait=True)
    try:
        yield folder
    finally:
        with shared_folder():
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Give the user's folder, locked; it is removed at the end where it is empty.

    Raises
    ------
    StorageError
        If it cannot be made, or is not private.
    """
    path = _path()
    handle = _locked(path)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.rmdir()
        os.close(handle)


def sweep(shared: Path) -> None:
    """Remove what processes left that were killed. The folder's lock must be held."""
    for path in shared.iterdir():
        if path.name.startswith("k-"):
            _sweep_folder(path)
        elif path.name.startswith("z-"):
            _sweep_socket(path)


def tidy() -> None:
    """Sweep the user's folder, if there is one: a zygote that was killed when nobody used it leaves its socket."""
    if os.name == "posix" and _path().is_dir():
        with suppress(StorageError), shared_folder() as shared:
            sweep(shared)


def connected(path: Path) -> socket.socket | None:
    """Return a connection to the unix socket `path`, or None where nobody listens."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        return None
    return made


def _sweep_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)  # whoever is busy has others waiting
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return


def _sweep_folder(path: Path) -> None:
    try:
        handle = _opened(path)
    except OSError:
        return
    try:
        if _lock(handle, wait=False):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(handle)


def _path() -> Path:
    parent = tempfile.gettempdir()
    if len(parent) + len(_LONGEST) >= _SOCKET_PATH_LIMIT:
        parent = "/tmp"  # noqa: S108  # what is made in it is private, and checked to be
    return Path(parent) / f"mlnb-{os.getuid()}"


def _locked(path: Path) -> int:
    """Return a descriptor of the folder that holds its lock; the folder is made where it is missing."""
    while True:
        with storing(path, "made"), suppress(FileExistsError):
            path.mkdir(mode=0o700)
        try:
            _check_private(path)
            handle = _opened(path)
        except FileNotFoundError:
            continue  # somebody has just removed it
        _lock(handle, wait=True)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), os.fstat(handle)):
                return handle
        os.close(handle)


def _check_private(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(
            f"{path}, where kernels have their sockets, is not a private folder of yours.",
            "Remove it, or set TMPDIR to a folder of your own.",
            path=str(path),
        )


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _lock(handle: int, *, wait: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
