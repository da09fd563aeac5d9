"""A digest becomes a signature that only this user's keys make valid (Ed25519).

Bytes that execute code when they are loaded are loaded only if a key that this *user* trusts has signed them. The
keys lie in the user's Jupyter data folder, ``mlnb/keys``, never in a project: a cloned project must not bring its
own trust. ``mlnb_ed25519`` is the private key (0600, folder 0700), ``trusted/<id>.pub`` are public keys of colleagues
or of a CI, in PEM. A key's id is the first 16 hex digits of the SHA-256 of its raw public bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlnb.errors import StorageError, UntrustedError, UsageError
from mlnb.store.disk import make_folder, storing, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PURPOSE = b"mlnb artifact 1\n"
_DECIDE = ("JUPYTER_DATA_DIR", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_PLATFORM_DIRS", "XDG_DATA_HOME", "HOME", "APPDATA")
"""Variables of the environment that decide where Jupyter's data folder is."""


class _Places(NamedTuple):
    """The folder of the keys, and this user's own one in it."""

    folder: Path
    own: Path


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """The key of this user, and the folder of those that they trust."""

    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    id: str
    trusted: Path


def sign(digest: str, purpose: bytes = _PURPOSE) -> tuple[str, str]:
    """Sign a digest with this user's key, which is made where it is missing.

    Parameters
    ----------
    digest : str
        Of what is signed.
    purpose : bytes
        What the signature says of it: one that was made for an artifact holds for nothing else.

    Returns
    -------
    tuple[str, str]
        The signature in base64 and the key's id.

    Raises
    ------
    StorageError
        If the key cannot be made or read, or others could read it.
    """
    own = _own()
    return _signature(own, purpose + digest.encode()), own.id


def verify(digest: str, signature: str, key: str) -> None:
    """Return if a key that this user trusts has signed `digest`.

    Raises
    ------
    UntrustedError
        If there is no signature, its key is not trusted, or it does not fit the digest.
    """
    public = _trusted(_own()).get(key)
    if public is None:
        whose = f"the key {key}, which you do not trust" if key else "nobody"
        raise UntrustedError(
            f"The artifact {digest} can execute code when it is loaded, and is signed by {whose}.",
            "Add the key with `mlnb doctor --trust FILE.pub` if you trust its owner, or run with --force.",
            digest=digest,
            key=key,
        )
    if not _made(signature, public.public_bytes_raw(), _PURPOSE + digest.encode()):
        raise UntrustedError(
            f"The artifact {digest} can execute code when it is loaded, and its signature is wrong.",
            "Do not use it: somebody changed it. Run the pipeline again with --force.",
            digest=digest,
            key=key,
        )


Finding = Literal["valid", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys that this user trusts, their own first.

    Attributes
    ----------
    own : str
        Id of this user's key.
    keys : mapping of str to public key
        By id.
    signer : key
        This user's own, whole: a signature of theirs is known by making it again.
    """

    own: str
    keys: Mapping[str, Ed25519PublicKey]
    signer: _Own = field(repr=False)

    def examine(self, digest: str, signature: str, key: str, purpose: bytes) -> Finding:
        """Say whether a signature is the key's; ``unknown`` where the key is not trusted, so that nobody can say."""
        public = self.keys.get(key)
        if public is None:
            return "unknown"
        message = purpose + digest.encode()
        if key == self.own:
            return "valid" if signature == _signature(self.signer, message) else "wrong"
        return "valid" if _made(signature, public.public_bytes_raw(), message) else "wrong"


@lru_cache(maxsize=1024)
def _signature(own: _Own, message: bytes) -> str:
    """Return this user's signature of a message in base64: always the same (RFC 8032, 5.1.6)."""
    return base64.b64encode(own.private.sign(message)).decode()


@lru_cache(maxsize=1024)
def _made(signature: str, public: bytes, message: bytes) -> bool:
    """Say whether a key has made the signature (base64) of a message; what was asked lately is known."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def ring() -> Ring:
    """Return the keys that this user trusts; their own is made where it is missing."""
    own = _own()
    return Ring(own.id, _trusted(own), own)


def own_id() -> str:
    """Return the id of this user's key."""
    return _own().id


def fits(digest: str, signature: str, key: str, public: str, purpose: bytes) -> bool:
    """Say whether a signature is of the public key (its raw bytes in base64) whose id is `key`; no trust is asked."""
    try:
        raw = base64.b64decode(public, validate=True)
    except ValueError:
        return False
    return _made(signature, raw, purpose + digest.encode()) and _id_of(raw) == key


def trusts(key: str) -> bool:
    """Say whether this user trusts the key of that id."""
    return key in _trusted(_own())


def own_public() -> str:
    """Return the raw bytes of this user's public key in base64."""
    return base64.b64encode(_own().public.public_bytes_raw()).decode()


def trust(public_key_file: Path) -> str:
    """Add a colleague's public key (PEM or OpenSSH, Ed25519) to those that this user trusts; return its id.

    Raises
    ------
    UsageError
        If the file holds no Ed25519 public key.
    StorageError
        If it cannot be read, or the key cannot be kept.
    """
    with storing(public_key_file, "read"):
        content = public_key_file.read_bytes()
    public = _public_key(content)
    if public is None:
        raise UsageError(
            f"{public_key_file} holds no Ed25519 public key.",
            f"Ask its owner for the file {own_public_key().name} in their Jupyter data folder under mlnb/keys.",
        )
    write_bytes(keys_folder() / "trusted" / f"{key_id(public)}.pub", _pem(public))
    return key_id(public)


def own_public_key() -> Path:
    """Return the file of this user's public key, to be given to colleagues; the key is made where it is missing."""
    path = keys_folder() / "mlnb_ed25519"
    _write_public(_own().public, path)
    return path.with_suffix(".pub")


def key_id(public: Ed25519PublicKey) -> str:
    """Return the id of a public key: 16 hex digits."""
    return _id_of(public.public_bytes_raw())


def _id_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def keys_folder() -> Path:
    """Return the folder of this user's keys, made (0700) where it is missing."""
    folder = _places(*map(os.environ.get, _DECIDE)).folder
    if not folder.is_dir():
        make_folder(folder / "trusted")
        with storing(folder):
            folder.chmod(0o700)
    return folder


@lru_cache(maxsize=4)
def _places(*_: str | None) -> _Places:
    """Return where the keys are, looked up once for each environment."""
    from jupyter_core.paths import jupyter_data_dir

    folder = Path(jupyter_data_dir()) / "mlnb" / "keys"
    return _Places(folder, folder / "mlnb_ed25519")


def _own() -> _Own:
    path = _places(*map(os.environ.get, _DECIDE)).own
    with storing(path, "read"):
        try:
            status = path.stat()
        except FileNotFoundError:
            keys_folder()
            _make_key(path)
            status = path.stat()
    return _read_key(path, status.st_mode, _state(status))


def _state(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs where a file was written again."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4)
def _read_key(path: Path, mode: int, _: tuple[int, ...]) -> _Own:
    """Read a private key, once for each state of its file."""
    with storing(path, "read"):
        if os.name == "posix" and mode & 0o077:
            raise StorageError(
                f"The private key {path} can be read by others.",
                f"Make it yours alone with `chmod 600 {path}`, or remove it to get a new one.",
                path=str(path),
            )
        content = path.read_bytes()
    key = _private_key(content)
    if key is None:
        raise StorageError(f"{path} is no Ed25519 private key.", "Remove it to get a new one.", path=str(path))
    public = key.public_key()
    _write_public(public, path)
    return _Own(key, public, key_id(public), path.with_name("trusted"))


def _write_public(key: Ed25519PublicKey, path: Path) -> None:
    """Write the public half of a private key beside it, where it is missing."""
    public = path.with_suffix(".pub")
    if not public.exists():
        write_bytes(public, _pem(key))


def _make_key(path: Path) -> None:
    """Make a key so that of two processes that do it at once, both use the one that came first."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    content = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with storing(path):
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)  # 0600 from its birth
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                path.hardlink_to(name)
        finally:
            Path(name).unlink()


def _trusted(own: _Own) -> Mapping[str, Ed25519PublicKey]:
    states = []
    with suppress(FileNotFoundError), storing(own.trusted, "read"), os.scandir(own.trusted) as entries:
        states = sorted((one.name, _state(one.stat())) for one in entries if one.name.endswith(".pub"))
    return _read_ring(own, tuple(states))


@lru_cache(maxsize=4)
def _read_ring(own: _Own, states: tuple[tuple[str, tuple[int, ...]], ...]) -> Mapping[str, Ed25519PublicKey]:
    """Read the trusted keys, once for each state of their files."""
    known = {own.id: own.public}
    for name, _ in states:
        with storing(own.trusted / name, "read"):
            public = _public_key((own.trusted / name).read_bytes())
        if public is not None:
            known[key_id(public)] = public
    return MappingProxyType(known)


@lru_cache(maxsize=4)
def _private_key(content: bytes) -> Ed25519PrivateKey | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(content, password=None)
    except ValueError:
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


@lru_cache(maxsize=256)
def _public_key(content: bytes) -> Ed25519PublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    load = load_ssh_public_key if content.startswith(b"ssh-") else load_pem_public_key
    try:
        public = load(content)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return public if isinstance(public, Ed25519PublicKey) else None


def _pem(public: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
