"""Packages and aliases become the folder that a router follows: version folders first, then ``aliases.json``.

A version folder appears whole (copied beside, then renamed), and ``aliases.json`` is replaced in one rename after all
folders that it names are there; so a router sees a complete routing at any moment. Code is checked here against the
keys that this user trusts: the process that loads it knows none.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlnb.model.scorer import code_files
from mlnb.service.router import FORMAT
from mlnb.store.disk import make_folder, storing
from mlnb.store.manifest import read_json, write_json
from mlnb.store.seal import check_seal


@dataclass(frozen=True, slots=True)
class Placed:
    """What an ``aliases.json`` says.

    Attributes
    ----------
    model : str
        Name of the model.
    revision : int
        Raised by one with every change.
    aliases : Mapping of str to int
        Version number behind each alias.
    code : tuple of str
        Digests of the files that may execute code when they are loaded.
    """

    model: str
    revision: int
    aliases: Mapping[str, int]
    code: tuple[str, ...]


def read_aliases(folder: Path) -> Placed | None:
    """Return the routing in `folder`; None where there is none yet."""
    try:
        fields = read_json(folder / "aliases.json", FORMAT)
    except FileNotFoundError:
        return None
    aliases = fields.one("aliases")
    return Placed(
        fields.text("model"),
        fields.integer("revision"),
        {alias: aliases.integer(alias) for alias in aliases.mapping},
        fields.texts("code"),
    )


def write_aliases(folder: Path, model: str, revision: int, aliases: Mapping[str, int]) -> None:
    """Replace ``aliases.json``; the packages it names are in ``versions/`` already.

    Raises
    ------
    CorruptError
        If a package of theirs is not as it was sealed.
    UntrustedError
        If a file of theirs can execute code and no key that this user trusts has signed it.
    """
    packages = [folder / "versions" / str(number) for number in sorted(set(aliases.values()))]
    content = {
        "format": FORMAT,
        "model": model,
        "revision": revision,
        "aliases": dict(sorted(aliases.items())),
        "code": sorted(_trusted_code(packages)),
    }
    write_json(folder / "aliases.json", content)


def check_trust(folder: Path) -> None:
    """Write the routing in `folder` anew if the code that it allows is not exactly what this user trusts.

    Raises
    ------
    UntrustedError
        If a version needs code that this user does not trust.
    """
    placed = read_aliases(folder)
    if placed is not None:
        packages = [folder / "versions" / str(number) for number in sorted(set(placed.aliases.values()))]
        if sorted(_trusted_code(packages)) != list(placed.code):
            write_aliases(folder, placed.model, placed.revision + 1, placed.aliases)


def place(folder: Path, model: str, packages: Mapping[int, Path], aliases: Mapping[str, int]) -> int:
    """Put a new routing into `folder` and return its revision; the same routing as before keeps its own.

    Raises
    ------
    StorageError
        If the disk is full or read-only; the routing is then as it was.
    UntrustedError
        As `write_aliases` says.
    """
    versions = make_folder(folder / "versions")
    wanted = sorted(set(aliases.values()) & packages.keys())
    changed = [number for number in wanted if _place_version(versions, number, packages[number])]
    before = read_aliases(folder)
    if before is not None and not changed and before.aliases == dict(aliases) and before.model == model:
        return before.revision
    revision = before.revision + 1 if before else 1
    write_aliases(folder, model, revision, aliases)
    return revision


def prune(folder: Path, kept: Collection[int]) -> None:
    """Remove the version folders that no alias needs any more."""
    for version in (folder / "versions").glob("*"):
        if version.name.isdigit() and int(version.name) not in kept:
            shutil.rmtree(version, ignore_errors=True)


def _trusted_code(packages: Iterable[Path]) -> Iterator[str]:
    for package in packages:
        check_seal(package)
        for file in code_files(package):
            from mlnb.store.signing import verify

            verify(file.digest, file.signature, file.key)
            yield file.digest


def _place_version(versions: Path, number: int, package: Path) -> bool:
    target = versions / str(number)
    if target.is_dir():
        if _manifest(target) == _manifest(package):
            return False
        shutil.rmtree(target)
    with storing(target):
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=versions))
        try:
            shutil.copytree(package, temporary / "package")
            (temporary / "package").rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def _manifest(package: Path) -> object:
    try:
        return json.loads((package / "package.json").read_bytes())
    except (OSError, ValueError):
        return None
