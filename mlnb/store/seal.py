"""All files of a folder become covered by one signature: ``seal.json``, format 1.

It lists every file of the folder but itself with its digest, and holds the Ed25519 signature of that list with the key
that made it. Anybody can find a changed, missing or added file; whether the signer is trusted is the user's matter
(`mlnb.store.signing`): data of a stranger may be read, code of a stranger may not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import CorruptError, UntrustedError
from mlnb.store import signing
from mlnb.store.disk import storing
from mlnb.store.hashed import digests_of
from mlnb.store.manifest import read_json, write_json

FORMAT = 1
FILE = "seal.json"
_PURPOSE = b"mlnb package 1\n"


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal that holds.

    Attributes
    ----------
    key : str
        Id of the key that made it.
    trusted : bool
        Whether this user trusts that key.
    """

    key: str
    trusted: bool


def seal(folder: Path) -> None:
    """Sign all files of a folder with this user's key; files that come later break it.

    Raises
    ------
    StorageError
        If the folder cannot be read or written, or the key cannot.
    """
    files = _digests(folder)
    signature, key = signing.sign(_digest(files), _PURPOSE)
    content = {"format": FORMAT, "files": files, "signature": signature, "key": key, "public": signing.own_public()}
    write_json(folder / FILE, content)


def check_seal(folder: Path) -> Seal | None:
    """Return the seal of a folder; None where it has none, as the packages of mlnb 0.1 have none.

    Raises
    ------
    CorruptError
        If a file was changed, added or taken away.
    UntrustedError
        If the signature is wrong.
    """
    if not (folder / FILE).is_file():
        return None
    fields = read_json(folder / FILE, FORMAT)
    listed = {name: str(digest) for name, digest in fields.values("files").items()}
    found = _digests(folder)
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            how = "was added" if name not in listed else "is missing" if name not in found else "was changed"
            raise CorruptError(
                f"{folder / name} {how} after the package was sealed.",
                "Deploy the model again, or restore the file.",
                path=str(folder / name),
                digest=listed.get(name, ""),
            )
    key, public = fields.text("key"), fields.text("public")
    if not signing.fits(_digest(listed), fields.text("signature"), key, public, _PURPOSE):
        raise UntrustedError(
            f"The seal of {folder} is wrong: its signature is not of the key {key}.",
            "Do not use it: somebody changed it. Deploy the model again.",
            path=str(folder / FILE),
            digest=_digest(listed),
            key=key,
        )
    return Seal(key, signing.trusts(key))


def _digests(folder: Path) -> dict[str, str]:
    with storing(folder, "read"):
        return {name: digest for name, digest in digests_of(folder).items() if name != FILE}


def _digest(files: Mapping[str, str]) -> str:
    text = json.dumps(dict(files), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
