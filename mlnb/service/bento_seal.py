"""A built Bento's source becomes one that may be started here: ``mlnb-seal.json`` beside it, signed by its builder.

The source is code: its modules answer, and its ``aliases.json`` says which files of the packages may execute code. It
lies below ``.mlnb``, so a cloned project brings one of its own; it is started only if it is, file by file, what a key
that this user trusts has signed. Compiled files are no part of it: they are removed before it starts, because Python
would believe them. Links are refused, because what is behind them is no part of it either.

Format 1: ``digest`` of the source folder (`folder_digest`), ``signature`` and ``key``. To raise it:
teach `check_bento` the new one, keep its reader of the old one and the test, then write it here.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from mlnb.errors import CorruptError, MlnbError, UntrustedError
from mlnb.store import signing
from mlnb.store.disk import storing
from mlnb.store.manifest import read_json, write_json

FORMAT = 1
FILE = "mlnb-seal.json"
LAYOUT = 2
"""Format of the source itself, `mlnb.service.bento`; part of its digest."""
_PURPOSE = b"mlnb bento 1\n"


def seal_bento(bento: Path) -> None:
    """Sign a Bento's source, which this process has just built, with this user's key.

    Raises
    ------
    StorageError
        If it cannot be read or written.
    """
    with storing(bento):
        digest = _digest(bento)
    signature, key = signing.sign(digest, _PURPOSE)
    write_json(bento / FILE, {"format": FORMAT, "digest": digest, "signature": signature, "key": key})


def check_bento(bento: Path) -> None:
    """Return if a Bento's source is what a key that this user trusts has signed.

    Raises
    ------
    UntrustedError
        If nobody has signed it, or somebody whom this user does not trust.
    CorruptError
        If a file was changed, added or taken away, or there is a link.
    """
    try:
        fields = read_json(bento / FILE, FORMAT)
    except FileNotFoundError:
        raise _untrusted(bento, "", "nobody has signed it; an older mlnb did not") from None
    digest, key = fields.text("digest"), fields.text("key")
    with storing(bento):
        found = _digest(bento)
    if found != digest:
        raise CorruptError(
            f"The Bento {bento} was changed after it was built.",
            "Deploy the model again: mlnb deploy NOTEBOOK.",
            path=str(bento),
            digest=digest,
        )
    finding = signing.ring().examine(digest, fields.text("signature"), key, _PURPOSE)
    if finding != "valid":
        told = (
            "its signature is wrong" if finding == "wrong" else f"it is signed by the key {key}, which you do not trust"
        )
        raise _untrusted(bento, key, told)


def folder_digest(folder: Path) -> str:
    """Return the digest of the names and bytes of all files below `folder`, compiled ones excepted."""
    digest = hashlib.sha256(f"{LAYOUT}\n".encode())
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and "__pycache__" not in inside.parts:
            content = path.read_bytes()
            digest.update(f"{inside.as_posix()}\n{len(content)}\n".encode())
            digest.update(content)
    return "sha256:" + digest.hexdigest()


def sealed(bento: Path) -> bool:
    """Say whether a Bento may be started here, so that it need not be built again."""
    try:
        check_bento(bento)
    except MlnbError:
        return False
    return True


def _digest(bento: Path) -> str:
    source = bento / "src"
    for path in (source, *sorted(source.rglob("*"))):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise CorruptError(
                f"The Bento {bento} holds a link or a special file, {path.relative_to(source)}.",
                "Deploy the model again: mlnb deploy NOTEBOOK.",
                path=str(path),
                digest="",
            )
    for compiled in sorted(source.rglob("__pycache__")):
        shutil.rmtree(compiled)
    return folder_digest(source)


def _untrusted(bento: Path, key: str, why: str) -> UntrustedError:
    return UntrustedError(
        f"The Bento {bento} is code that is not started: {why}.",
        "Deploy the model again (mlnb deploy NOTEBOOK), or trust its builder's key: mlnb doctor --trust FILE.pub.",
        path=str(bento),
        digest="",
        key=key,
    )
