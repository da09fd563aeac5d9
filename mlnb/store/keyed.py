"""A text that may be secret becomes a digest that says when it changes and nothing else.

HMAC-SHA256 with 32 random bytes of this user's, ``mlnb/keys/digest.key`` (0600) in the user's Jupyter data folder: who
reads a cache manifest cannot try values out. Two users therefore get two digests of one value.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from mlnb.errors import StorageError
from mlnb.store.disk import storing
from mlnb.store.signing import keys_folder

_BYTES = 32


def keyed_digest(text: str) -> str:
    """Return ``keyed:<hex>`` of a text; the same text gives the same digest for this user only.

    Raises
    ------
    StorageError
        If the user's key can be neither read nor made.
    """
    key = _key(keys_folder() / "digest.key")
    return f"keyed:{hmac.new(key, text.encode('utf-8', 'surrogatepass'), hashlib.sha256).hexdigest()}"


@cache
def _key(path: Path) -> bytes:
    if not path.exists():
        _make(path)
    with storing(path, "read"):
        content = path.read_bytes()
    if len(content) != _BYTES:
        raise StorageError(f"{path} is no key of {_BYTES} bytes.", "Remove it to get a new one.", path=str(path))
    return content


def _make(path: Path) -> None:
    """Make the key so that of two processes that do it at once, both use the one that came first."""
    with storing(path):
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)  # 0600 from its birth
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(name)
        finally:
            Path(name).unlink()
