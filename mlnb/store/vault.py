"""Bytes become bytes that only a holder of the key can read: AES-256-GCM, the digest of the plain bytes bound in.

A sealed file, format 1, is ``mlnbseal1``, 8 bytes that name the key, then Tink's AES-GCM-HKDF stream [1]_ of the bytes
with the text ``sha256:<hex>`` as associated data: each file has its own key, derived from 32 random bytes, and its
segments of 1 MiB cannot be altered, cut off, put in another order or into another file.

The keys are lines of 32 bytes in base64: the first one seals, any of them opens, so a key is changed by a line above
the old one. They lie in a file outside the project that only its owner can read, or are a secret (`mlnb.store.secret`);
who loses them has lost what they sealed. What is opened lies in memory (``/dev/shm``) until the process ends, and in
the folder of temporary files where the system has no such place.

References
----------
.. [1] https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming, after Hoang, Reyhanitabar, Rogaway and
   Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING

from mlnb.errors import CorruptError, SecretError, SettingsError
from mlnb.store.disk import replacing, storing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from mlnb.settings import Settings

_MAGIC = b"mlnbseal1"
_KEY_BYTES = 32
_ID_BYTES = 8
_SALT_BYTES = 32
_PREFIX_BYTES = 7
_TAG_BYTES = 16
_HEADER_BYTES = 1 + _SALT_BYTES + _PREFIX_BYTES
_SEGMENT_BYTES = 1 << 20
_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made there, for us alone
_OPENED = "mlnb-opened-"


class Vault:
    """Seals files and opens them. Threads may share one.

    Parameters
    ----------
    keys : sequence of bytes
        32 bytes each; the first one seals.

    Attributes
    ----------
    key : str
        What the sealing key is known by; it says nothing of the key itself.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._first = keys[0]
        self.key = _key_id(self._first).hex()
        self._lock = Lock()
        self._folder: Path | None = None

    def seal(self, source: IO[bytes], label: str, target: Path, *, mode: int = 0o444) -> None:
        """Write the bytes of an open file sealed to `target`, wholly or not at all; `label` (a digest) opens them."""
        with replacing(target, mode=mode) as file:
            file.write(_MAGIC + _key_id(self._first))
            for piece in _sealed(self._first, source, label):
                file.write(piece)

    def unseal(self, sealed: Path, label: str, target: IO[bytes]) -> None:
        """Write to an open file what `sealed` holds under that label.

        Raises
        ------
        SecretError
            If it was sealed with a key that is not among ours.
        CorruptError
            If the file is not what was sealed so.
        """
        with storing(sealed, "read"), sealed.open("rb") as file:
            for piece in self._pieces(file, label, str(sealed)):
                target.write(piece)

    def open(self, sealed: Path, digest: str) -> Path:
        """Return a file, private to this process, with the bytes of `digest` that `sealed` holds.

        Raises
        ------
        SecretError
            If they were sealed with a key that is not among ours.
        CorruptError
            If the file is not what was sealed, or holds other bytes than those of the digest.
        """
        with self._lock:
            target = self._opened() / digest.removeprefix("sha256:")
            if not target.is_file():
                with storing(sealed, "read"), sealed.open("rb") as file, replacing(target, mode=0o400) as plain:
                    found = hashlib.sha256()
                    for piece in self._pieces(file, digest, str(sealed)):
                        found.update(piece)
                        plain.write(piece)
                    if digest != "sha256:" + found.hexdigest():
                        raise _damaged(str(sealed), digest)
            return target

    def _pieces(self, file: IO[bytes], digest: str, name: str) -> Iterator[bytes]:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _damaged(name, digest)
        key_id = file.read(_ID_BYTES)
        key = self._keys.get(key_id)
        if key is None:
            raise SecretError(
                f"{name} was encrypted with the key {key_id.hex()}, which is not among yours.",
                "Add that key as a further line to those that encryption_key names.",
                name="encryption_key",
            )
        yield from _opened_pieces(key, file, digest, name)

    def _opened(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(dir=_place_of(os.getpid())))
        return self._folder


def is_sealed(path: Path) -> bool:
    """Say whether a file is a sealed one."""
    with storing(path, "read"), path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def sealed_bytes(size_bytes: int) -> int:
    """Return how large a file of `size_bytes` is when it is sealed."""
    first, further = _SEGMENT_BYTES - _HEADER_BYTES - _TAG_BYTES, _SEGMENT_BYTES - _TAG_BYTES
    segments = 1 + max(0, -(-(size_bytes - first) // further))
    return len(_MAGIC) + _ID_BYTES + _HEADER_BYTES + size_bytes + segments * _TAG_BYTES


def vault_of(settings: Settings, project: Path) -> Vault | None:
    """Return the vault of the keys that ``encryption_key`` names; None where it names none.

    Raises
    ------
    SettingsError
        If the file lies in the project, where who clones or copies it gets the key as well.
    SecretError
        If the file or secret is missing, may be read by others, or holds no keys.
    """
    named = settings.encryption_key
    if not named:
        return None
    from mlnb.store.secret import look_up, read_private

    if "/" not in named:
        return _vault(look_up(named, os.environ, settings, project), named)
    file = Path(named).expanduser()
    if not file.is_absolute() or file.resolve().is_relative_to(project.resolve()):
        raise SettingsError(
            f"The setting encryption_key names {named}, which is not outside the project.",
            "Keep the key elsewhere, such as ~/.config/mlnb/team.key: what it protects must not bring it along.",
            key="encryption_key",
        )
    text = read_private(file, "encryption_key")
    if text is None:
        raise SecretError(
            f"There is no file {file} with the encryption key.",
            f"Ask a colleague for it, or make a new one: (umask 077; openssl rand -base64 32 > {file}).",
            name="encryption_key",
        )
    return _vault(text, str(file))


@lru_cache(maxsize=8)
def _vault(text: str, name: str) -> Vault:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    keys = [_decoded(line) for line in lines]
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise SecretError(
            f"{name} does not hold encryption keys of {_KEY_BYTES} bytes in base64, one a line.",
            "Make one: openssl rand -base64 32.",
            name="encryption_key",
        )
    return Vault(keys)


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"mlnb key 1\n" + key).digest()[:_ID_BYTES]


def _cipher(key: bytes, salt: bytes, digest: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, digest.encode()).derive(key))


def _sealed(key: bytes, source: IO[bytes], digest: str) -> Iterator[bytes]:
    salt, prefix = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_PREFIX_BYTES)
    yield bytes([_HEADER_BYTES]) + salt + prefix
    cipher = _cipher(key, salt, digest)
    piece, index = source.read(_SEGMENT_BYTES - _HEADER_BYTES - _TAG_BYTES), 0
    while True:
        following = source.read(_SEGMENT_BYTES - _TAG_BYTES)
        yield cipher.encrypt(_nonce(prefix, index, not following), piece, None)
        if not following:
            return
        piece, index = following, index + 1


def _opened_pieces(key: bytes, file: IO[bytes], digest: str, name: str) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag

    header = file.read(_HEADER_BYTES)
    if len(header) != _HEADER_BYTES or header[0] != _HEADER_BYTES:
        raise _damaged(name, digest)
    prefix = header[1 + _SALT_BYTES :]
    cipher = _cipher(key, header[1 : 1 + _SALT_BYTES], digest)
    piece, index = file.read(_SEGMENT_BYTES - _HEADER_BYTES), 0
    while True:
        following = file.read(_SEGMENT_BYTES)
        try:
            yield cipher.decrypt(_nonce(prefix, index, not following), piece, None)
        except InvalidTag as error:
            raise _damaged(name, digest) from error
        if not following:
            return
        piece, index = following, index + 1


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + index.to_bytes(4, "big") + bytes([last])


def _damaged(name: str, digest: str) -> CorruptError:
    return CorruptError(
        f"{name} is not what was encrypted as {digest}: it was altered, cut off, or put under another name.",
        "Restore it from a backup, or deploy the model again.",
        path=name,
        digest=digest,
    )


@lru_cache(maxsize=1)
def _place_of(process: int) -> Path:
    """Return a folder for what this process opens, which goes with it."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_OPENED}{process}-", dir=place))
    atexit.register(_forget, folder, process)
    return folder


def _sweep(place: Path) -> None:
    """Remove what processes of this user that were killed have left open."""
    for folder in place.glob(f"{_OPENED}*"):
        number = folder.name.removeprefix(_OPENED).partition("-")[0]
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and number.isdigit() and not _lives(int(number)):
                shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _forget(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in what was forked from it
        shutil.rmtree(folder, ignore_errors=True)
