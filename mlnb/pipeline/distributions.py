"""The name of an imported module becomes the installed distributions that bring it, with their versions.

Told from the names in site-packages alone (1 ms) where module and distribution are called alike, as most are; else
from the lists of files that distributions keep. Metadata is not parsed: that costs half a second for 300 of them.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

_KNOWN = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml", "cv2": "opencv-python", "bs4": "beautifulsoup4"}
_SHARED = frozenset(
    {"google", "azure", "zope", "jaraco", "sphinxcontrib", "backports", "ruamel", "nvidia", "mpl_toolkits"}
)
"""Namespaces that several distributions share: there a distribution of the same name says nothing."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution.

    Attributes
    ----------
    name : str
        Normalised: lower case, words parted by ``-``.
    editable : bool
        Whether it is somebody's working copy, whose sources change while its version stays.
    """

    name: str
    version: str
    editable: bool = False


def distributions_of(module: str) -> tuple[Distribution, ...]:
    """Return the distributions that bring a top-level module; () for Python's own and for what is not installed."""
    if module in sys.stdlib_module_names:
        return ()
    places = ((place, _changed_ns(place)) for place in dict.fromkeys(sys.path) if place)
    return _found(module, tuple(place for place in places if place[1]))


@lru_cache(maxsize=4096)
def _found(module: str, places: tuple[tuple[str, int], ...]) -> tuple[Distribution, ...]:
    installed = _installed(places)
    if module not in _SHARED:
        for guess in (_KNOWN.get(module, module), module):
            folder = installed.get(_normal(guess))
            if folder is not None:
                return (_read(folder),)
    return tuple(_read(folder) for folder in installed.values() if _brings(folder, module))


@lru_cache(maxsize=8)
def _installed(places: tuple[tuple[str, int], ...]) -> Mapping[str, Path]:
    """Return the folder of each distribution's metadata; of two, Python imports the first on its path."""
    found: dict[str, Path] = {}
    for place, _ in places:
        for name in sorted(_listed(Path(place))):
            if name.endswith((".dist-info", ".egg-info")):
                found.setdefault(_normal(name.rpartition(".")[0].partition("-")[0]), Path(place, name))
    return found


def _listed(folder: Path) -> Iterator[str]:
    try:
        yield from (path.name for path in folder.iterdir())
    except OSError:  # a zip, or not ours to read
        return


@cache
def _read(folder: Path) -> Distribution:
    name, _, version = folder.name.rpartition(".")[0].partition("-")
    if not version:
        version = _version_in(folder)
    return Distribution(_normal(name), version.partition("-py")[0], _editable(folder))


def _version_in(folder: Path) -> str:
    text = _text(folder / "PKG-INFO" if folder.is_dir() else folder)
    found = re.search(r"^Version: (\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def _editable(folder: Path) -> bool:
    try:
        told = json.loads(_text(folder / "direct_url.json") or "{}")
    except ValueError:
        return False
    about = told.get("dir_info") if isinstance(told, dict) else None
    return isinstance(about, dict) and about.get("editable") is True


@lru_cache(maxsize=4096)
def _top_level(folder: Path) -> tuple[str, str]:
    return _text(folder / "top_level.txt"), _text(folder / "RECORD")


def _brings(folder: Path, module: str) -> bool:
    names, record = _top_level(folder)
    if module in names.split():
        return True
    starts = (f"{module}/", f"{module}.py,", f"{module}.")
    return any(record.startswith(start) or f"\n{start}" in record for start in starts)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _changed_ns(place: str) -> int:
    try:
        found = os.stat(place)  # noqa: PTH116  # a Path costs three times as much, for each module of each stage
    except OSError:
        return 0
    return found.st_mtime_ns if stat.S_ISDIR(found.st_mode) else 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
