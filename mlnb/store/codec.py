"""A value becomes a signed, content-addressed artifact, and an artifact the value again.

A codec is a plug-in (entry points ``mlnb.codecs``). Codecs are asked in the order of their rank; the first whose
round trip reproduces the value is used. Every read verifies the digest, and bytes that can execute code are loaded only
if a key that this user trusts signed them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from mlnb import plugins
from mlnb.errors import HandoffError, MlnbError
from mlnb.store import signing
from mlnb.store.artifact import Artifact
from mlnb.store.disk import make_folder, storing
from mlnb.store.files import FileStore, digest_of

GROUP = "mlnb.codecs"


class Codec(Protocol):
    """Values of some kinds <-> the bytes of one file.

    Attributes
    ----------
    name : str
        The entry point's name; it stays in manifests for ever.
    rank : int
        Codecs of a lower rank are asked first.
    canonical : bool
        Equal values give equal bytes, so that the digest may stand for the value.
    executes_code : bool
        Reading can execute code, so that the bytes must be signed.
    """

    name: str
    rank: int
    canonical: bool
    executes_code: bool

    def handles(self, value: object) -> bool:
        """Say, without importing anything, whether `value` is of a kind that this codec knows."""

    def write(self, value: object, path: Path) -> None:
        """Write `value` to the new file `path`; any error of the value itself is a ValueError or TypeError."""

    def read(self, path: Path) -> object:
        """Return the value: private and writable, whatever becomes of `path`."""

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether `copy`, which was written and read, can stand for `value`."""


def encode(
    name: str, value: object, store: FileStore, key_identity: str, *, giver: str = "", taker: str = ""
) -> Artifact:
    """Store `value` with the first codec whose round trip is proven.

    Parameters
    ----------
    name : str
        The variable's name.
    key_identity : str
        Cache key of the stage that gives it: the identity of values without a canonical codec is made of it.
    giver, taker : str
        The stage that gives the value and those that take it, for the message.

    Raises
    ------
    HandoffError
        If no codec can hold the value; it names the reason that the last one gave.
    StorageError
        If the disk is full, read-only or not ours.
    """
    reason = ""
    for codec in codecs():
        if not codec.handles(value):
            continue
        with _private_file(store) as path:
            reason = _written(codec, value, path)
            if not reason:
                digest, size = store.adopt(path)
                signature, key = signing.sign(digest) if codec.executes_code else ("", "")
                identity = digest if codec.canonical else f"{key_identity}:{name}"
                return Artifact(name, codec.name, digest, size, identity, type_name(value), signature, key)
    way = f", which {giver} gives and {taker or 'nobody'} takes," if giver else ""
    raise HandoffError(
        f"The variable {name!r} of type {type_name(value)}{way} cannot be stored: "
        f"{reason or 'no codec knows its type'}.",
        "Hand over its content (plain values, arrays, frames, an estimator) and make the object where it is used.",
        name=name,
        giver=giver,
        taker=taker,
    )


def decode(artifact: Artifact, store: FileStore) -> object:
    """Return the value of an artifact, private and writable.

    Raises
    ------
    CorruptError
        If the bytes are missing or damaged.
    UntrustedError
        If the bytes can execute code and no key that this user trusts has signed them; nothing was loaded then.
    PluginError
        If its codec is not installed.
    """
    codec = _codec(artifact.codec)
    path = store.verify(artifact.digest)
    if codec.executes_code:
        signing.verify(artifact.digest, artifact.signature, artifact.key)
    return codec.read(path)


def changed(artifact: Artifact, value: object, store: FileStore) -> bool:
    """Say whether `value`, which was decoded from a canonical artifact, is another value by now.

    Artifacts of other codecs cannot be compared by digest: they count as unchanged.
    """
    codec = _codec(artifact.codec)
    if not codec.canonical:
        return False
    if not codec.handles(value):
        return True
    with _private_file(store) as path:
        if not _written(codec, value, path) and digest_of(path) == artifact.digest:
            return False
    return not codec.faithful(value, decode(artifact, store))


def codecs() -> tuple[Codec, ...]:
    """Return the installed codecs, lowest rank first."""
    return tuple(sorted((_codec(name) for name in plugins.names(GROUP)), key=lambda codec: (codec.rank, codec.name)))


def type_name(value: object) -> str:
    """Return ``module.Class`` of a value, without the module for Python's own."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@contextmanager
def _private_file(store: FileStore) -> Iterator[Path]:
    with storing(store.folder):
        folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=make_folder(store.folder)))
    try:
        yield folder / "value"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _codec(name: str) -> Codec:
    make = plugins.load(GROUP, name)
    return cast(Codec, make() if isinstance(make, type) else make)


def _written(codec: Codec, value: object, path: Path) -> str:
    """Write, read and compare; return why the codec cannot be used, or nothing."""
    try:
        with storing(path):
            codec.write(value, path)
        return "" if codec.faithful(value, codec.read(path)) else f"{codec.name} does not give an equal value back"
    except MlnbError:
        raise
    except Exception as error:  # noqa: BLE001  # foreign objects raise what they like when they are pickled
        return f"{codec.name}: {type(error).__name__}: {error}"
