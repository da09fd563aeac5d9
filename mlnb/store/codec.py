"""A value becomes a signed, content-addressed artifact, and an artifact the value again.

A codec is a plug-in (entry points ``mlnb.codecs``). Codecs are asked in the order of their rank; the first whose
round trip reproduces the value is used. Bytes are hashed while they are written, known by their stamp where this
machine wrote them and read whole otherwise; bytes that can execute code are loaded only if a key that this user trusts
signed them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from mlnb import plugins
from mlnb.errors import HandoffError, MlnbError
from mlnb.store import signing
from mlnb.store.artifact import Artifact
from mlnb.store.disk import storing
from mlnb.store.equality import same
from mlnb.store.files import FileStore
from mlnb.store.hashed import HashedFile
from mlnb.store.imprint import imprint

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

    def write(self, value: object, file: HashedFile) -> None:
        """Write `value` to a new file; any error of the value itself is a ValueError or TypeError."""

    def read(self, path: Path) -> object:
        """Return the value: private and writable, whatever becomes of `path`."""

    def faithful(self, value: object, copy: object) -> bool:
        """Say whether `copy`, which was written and read, can stand for `value`.

        What is exact by construction need not be compared; a test has to show that it is.
        """


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
        with store.writing() as new:
            reason = _written(codec, value, new.file)
            if not reason:
                digest, size = new.keep()
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


def decode(artifact: Artifact, store: FileStore, *, verify: bool = False) -> object:
    """Return the value of an artifact, private and writable.

    Parameters
    ----------
    verify : bool
        Read all bytes, though this machine wrote them.

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
    path = store.trusted(artifact.digest, verify=verify)
    if codec.executes_code:
        signing.verify(artifact.digest, artifact.signature, artifact.key)
    return codec.read(path)


@dataclass(frozen=True, slots=True)
class Taken:
    """A value that was decoded and handed out.

    Attributes
    ----------
    artifact : Artifact
        What it is.
    value : callable
        Returns the value, or None if nobody has it any more.
    imprint : bytes
        What it was like when it was handed out; empty where that cannot be told.
    """

    artifact: Artifact
    value: Callable[[], object]
    imprint: bytes


def hand_out(artifact: Artifact, value: object) -> Taken:
    """Remember what a decoded value is like, without keeping it alive where that can be avoided."""
    try:
        reference: Callable[[], object] = weakref.ref(value)
    except TypeError:

        def reference() -> object:
            return value

    return Taken(artifact, reference, imprint(value))


def changed(taken: Taken, store: FileStore) -> bool:
    """Say whether a value that was handed out is another value by now.

    Any kind of value is compared, by its imprint first, and where that differs with the artifact itself. What cannot be
    seen through, and a value that nobody has any more, counts as unchanged.
    """
    value = taken.value()
    if value is None or not taken.imprint:
        return False
    now = imprint(value)
    return bool(now) and now != taken.imprint and not same(value, decode(taken.artifact, store))


def codecs() -> tuple[Codec, ...]:
    """Return the installed codecs, lowest rank first."""
    return tuple(sorted((_codec(name) for name in plugins.names(GROUP)), key=lambda codec: (codec.rank, codec.name)))


def type_name(value: object) -> str:
    """Return ``module.Class`` of a value, without the module for Python's own."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _codec(name: str) -> Codec:
    make = plugins.load(GROUP, name)
    return cast(Codec, make() if isinstance(make, type) else make)


def _written(codec: Codec, value: object, file: HashedFile) -> str:
    """Write, read and compare; return why the codec cannot be used, or nothing."""
    try:
        with storing(file.path):
            codec.write(value, file)
            file.flush()
        return "" if codec.faithful(value, codec.read(file.path)) else f"{codec.name} does not give an equal value back"
    except MlnbError:
        raise
    except Exception as error:  # noqa: BLE001  # foreign objects raise what they like when they are pickled
        return f"{codec.name}: {type(error).__name__}: {error}"
