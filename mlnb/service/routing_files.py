"""Packages, aliases and traffic become the folder that a router follows: versions first, then ``aliases.json``.

A version folder appears whole (copied beside, then renamed), and ``aliases.json`` is replaced in one rename after all
folders that it names are there; so a router sees a complete routing at any moment. Code is checked here against the
keys that this user trusts: the process that loads it knows none.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlnb.errors import CorruptError, MlnbError
from mlnb.model.scorer import code_files
from mlnb.service.router import FORMAT
from mlnb.service.traffic import Traffic, traffic_from_json, traffic_to_json
from mlnb.store.disk import make_folder, storing
from mlnb.store.hashed import digests_of
from mlnb.store.manifest import read_json, write_json
from mlnb.store.seal import check_seal

_PLAIN = 1
"""The format without ``traffic``, which every service can read."""
_WARM = 2


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
    traffic : Mapping of str to Traffic
        By alias: how its requests are spread over several versions.
    warm : tuple of int
        Versions that were live last, the newest first; they stay loaded.
    """

    model: str
    revision: int
    aliases: Mapping[str, int]
    code: tuple[str, ...]
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    warm: tuple[int, ...] = ()

    @property
    def live(self) -> frozenset[int]:
        """The versions that an alias or its traffic asks for."""
        return frozenset(self.aliases.values()).union(*(one.numbers for one in self.traffic.values()))


def read_aliases(folder: Path) -> Placed | None:
    """Return the routing in `folder`; None where there is none yet."""
    try:
        fields = read_json(folder / "aliases.json", FORMAT)
    except FileNotFoundError:
        return None
    aliases = fields.one("aliases")
    try:
        said: Any = fields.mapping
        traffic = {str(alias): traffic_from_json(one) for alias, one in said.get("traffic", {}).items()}
        warm = tuple(map(int, said.get("warm", [])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = folder / "aliases.json"
        raise CorruptError(
            f"The traffic in {path} cannot be read: {error!r}.", "Deploy the service again.", path=str(path), digest=""
        ) from error
    return Placed(
        fields.text("model"),
        fields.integer("revision"),
        {alias: aliases.integer(alias) for alias in aliases.mapping},
        fields.texts("code"),
        traffic,
        warm,
    )


def write_aliases(
    folder: Path,
    model: str,
    revision: int,
    aliases: Mapping[str, int],
    traffic: Mapping[str, Traffic] | None = None,
    warm: Iterable[int] = (),
) -> None:
    """Replace ``aliases.json``; the packages it names are in ``versions/`` already.

    Parameters
    ----------
    traffic : Mapping of str to Traffic
        By alias; none where it is left out.
    warm : iterable of int
        Versions that are to stay loaded; one whose package is no longer as it was sealed is left out.

    Raises
    ------
    CorruptError
        If a package of a live version is not as it was sealed.
    UntrustedError
        If a file of theirs can execute code and no key that this user trusts has signed it.
    """
    spread = dict(traffic or {})
    live = Placed(model, revision, aliases, (), spread).live
    code, kept = _allowed(folder, live, warm)
    content: dict[str, object] = {
        "format": FORMAT if spread else _PLAIN,
        "model": model,
        "revision": revision,
        "aliases": dict(sorted(aliases.items())),
        "code": code,
        "warm": kept,
    }
    if spread:
        content["traffic"] = {alias: traffic_to_json(one) for alias, one in sorted(spread.items())}
    write_json(folder / "aliases.json", content)


def check_trust(folder: Path) -> None:
    """Write the routing in `folder` anew if the code that it allows is not exactly what this user trusts.

    Raises
    ------
    UntrustedError
        If a live version needs code that this user does not trust; one that is only kept warm is left out.
    """
    placed = read_aliases(folder)
    if placed is not None and _allowed(folder, placed.live, placed.warm) != (list(placed.code), list(placed.warm)):
        write_aliases(folder, placed.model, placed.revision + 1, placed.aliases, placed.traffic, placed.warm)


def place(
    folder: Path,
    model: str,
    packages: Mapping[int, Path],
    aliases: Mapping[str, int],
    traffic: Mapping[str, Traffic] | None = None,
) -> int:
    """Put a new routing into `folder` and return its revision; the same routing as before keeps its own.

    Parameters
    ----------
    traffic : Mapping of str to Traffic
        By alias; None leaves it as it was, except that of an alias which moves: that ends.

    Raises
    ------
    StorageError
        If the disk is full or read-only; the routing is then as it was.
    UntrustedError
        As `write_aliases` says.
    """
    versions = make_folder(folder / "versions")
    before = read_aliases(folder)
    spread = dict(traffic) if traffic is not None else _unmoved(before, aliases)
    now = Placed(model, 0, aliases, (), spread)
    wanted = sorted(now.live & packages.keys())
    changed = [number for number in wanted if _place_version(versions, number, packages[number])]
    same = before is not None and before.aliases == dict(aliases) and before.traffic == spread
    if before is not None and same and not changed and before.model == model:
        return before.revision
    revision = before.revision + 1 if before else 1
    write_aliases(folder, model, revision, aliases, spread, _warm(before, now))
    return revision


def prune(folder: Path, kept: Collection[int]) -> None:
    """Remove the version folders that neither `kept` nor traffic nor warm standby needs any more."""
    placed = read_aliases(folder)
    needed = {*kept, *placed.live, *placed.warm} if placed else set(kept)
    for version in (folder / "versions").glob("*"):
        if version.name.isdigit() and int(version.name) not in needed:
            shutil.rmtree(version, ignore_errors=True)


def _unmoved(before: Placed | None, aliases: Mapping[str, int]) -> dict[str, Traffic]:
    """Return the traffic of the aliases that stay where they were."""
    if before is None:
        return {}
    return {alias: one for alias, one in before.traffic.items() if before.aliases.get(alias) == aliases.get(alias)}


def _warm(before: Placed | None, now: Placed) -> list[int]:
    """Return the versions that were live last and no longer are, the newest first."""
    if before is None:
        return []
    candidates = dict.fromkeys([*sorted(before.live - now.live, reverse=True), *before.warm])
    return [number for number in candidates if number not in now.live][:_WARM]


def _allowed(folder: Path, live: Iterable[int], warm: Iterable[int]) -> tuple[list[str], list[int]]:
    """Return the digests of the code that may be loaded, sorted, and the warm versions that may stay."""
    code = {digest for number in sorted(live) for digest in _trusted_code(folder / "versions" / str(number))}
    kept = []
    for number in warm:
        try:
            code |= set(_trusted_code(folder / "versions" / str(number)))
        except MlnbError:
            continue
        kept.append(number)
    return sorted(code), kept


def _trusted_code(package: Path) -> Iterator[str]:
    check_seal(package)
    for file in code_files(package):
        from mlnb.store.signing import verify

        verify(file.digest, file.signature, file.key)
        yield file.digest


def _place_version(versions: Path, number: int, package: Path) -> bool:
    target = versions / str(number)
    with storing(target):
        if target.is_dir() and digests_of(target) == digests_of(package):
            return False
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=versions))
        try:
            shutil.copytree(package, temporary / "package")
            if target.exists():  # until here all that may fail has left it as it was
                target.rename(temporary / "before")
            (temporary / "package").rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True
