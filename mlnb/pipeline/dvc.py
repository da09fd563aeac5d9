"""A path becomes the MD5 by which DVC knows it, read from the pointer beside it (``data.csv.dvc``) or a ``dvc.lock``.

The pointer stands for the content where the file was not pulled, and where the file is what the pointer says. A file
that was changed since is known by its own bytes. Format: https://dvc.org/doc/user-guide/project-structure/dvc-files
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from mlnb.store.digests import FileDigests, Stamp

_LEVELS = 12


def pointed(path: Path, digests: FileDigests) -> str:
    """Return ``md5:<hex>`` of a path under DVC (of a folder with ``.dir`` behind it), ``""`` where DVC says nothing.

    Also ``""`` where the file or folder differs from its pointer.
    """
    recorded = pointer(path)
    if not recorded:
        return ""
    if path.is_dir():
        same = recorded.endswith(".dir") and _folder_md5(path, digests) == recorded
    elif path.exists():
        same = digests.md5(path) == f"md5:{recorded}"
    else:
        same = True
    return f"md5:{recorded}" if same else ""


def pointer(path: Path) -> str:
    """Return the MD5 that DVC recorded for a path, whatever is there now; ``""`` where it recorded none."""
    beside = path.with_name(f"{path.name}.dvc")
    for name, md5 in _outs(beside):
        if name == path.name:
            return md5
    for folder in list(path.parents)[:_LEVELS]:
        lock = folder / "dvc.lock"
        if lock.is_file():
            relative = path.relative_to(folder).as_posix()
            return next((md5 for name, md5 in _outs(lock) if name == relative), "")
    return ""


def _outs(file: Path) -> Iterator[tuple[str, str]]:
    try:
        stamp = Stamp.of(file)
    except OSError:
        return
    yield from _read(file, stamp)


@lru_cache(maxsize=256)
def _read(file: Path, _stamp: Stamp) -> tuple[tuple[str, str], ...]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ()
    found = []
    for owner in _owners(content):
        outs = owner.get("outs")
        for out in outs if isinstance(outs, list) else []:
            if isinstance(out, dict) and isinstance(out.get("path"), str) and isinstance(out.get("md5"), str):
                found.append((out["path"], out["md5"]))
    return tuple(found)


def _owners(content: object) -> Iterator[Mapping[str, object]]:
    """Yield the objects that have ``outs``: the file itself, or each stage of a ``dvc.lock``."""
    if not isinstance(content, dict):
        return
    yield content
    stages = content.get("stages")
    for stage in stages.values() if isinstance(stages, dict) else ():
        if isinstance(stage, dict):
            yield stage


def _folder_md5(folder: Path, digests: FileDigests) -> str:
    """Return what DVC makes of a folder: the MD5 of a JSON list of its files, sorted by path."""
    import hashlib

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = [
        {"md5": digests.md5(path).removeprefix("md5:"), "relpath": path.relative_to(folder).as_posix()}
        for path in files
    ]
    listed.sort(key=lambda entry: entry["relpath"])
    content = json.dumps(listed, sort_keys=True).encode()
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"
