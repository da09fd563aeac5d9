"""A stored file becomes a stamp that only this user on this machine can make, so that its bytes need no second reading.

A stamp is a keyed digest (under a secret in the user's Jupyter data folder) of the file's digest, size, inode, times of
content and of status, and the machine's name. Whoever copies a project elsewhere, or changes a file, has no stamp that
fits: then all bytes are read. The secret matters because stored bytes may execute code: a project's folder, which
others may be able to write, cannot bring its own trust.

Stamps lie in ``artifacts/stamps/ab/abcd...``, beside ``artifacts/sha256``. A lost or torn one costs one reading.
"""

from __future__ import annotations

import hmac
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path

from mlnb.errors import StorageError
from mlnb.store.keyed import keyed_digest

LARGE_BYTES = 1 << 16
"""Files from this size on are stamped; a smaller one is read in less time than its stamp takes."""


def stamp(place: Path, file: Path, digest: str) -> None:
    """Remember at `place` that this machine knows the bytes of `file` to have `digest`.

    Where it cannot be remembered (a read-only project or home) the bytes are read again the next time.
    """
    with suppress(OSError, StorageError):
        content = _stamp_of(file, digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as temporary:
                temporary.write(content)
            Path(name).replace(place)
        except OSError:
            Path(name).unlink(missing_ok=True)


def stamped(place: Path, file: Path, digest: str) -> bool:
    """Say whether the stamp at `place` still fits `file`."""
    try:
        return hmac.compare_digest(place.read_bytes(), _stamp_of(file, digest))
    except (OSError, StorageError):
        return False


def _stamp_of(file: Path, digest: str) -> bytes:
    found = file.stat()
    parts = (digest, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, platform.node())
    return keyed_digest("mlnb stamp 1\n" + "\n".join(map(str, parts))).encode()
