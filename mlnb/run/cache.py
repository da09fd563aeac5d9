"""A finished stage becomes a manifest under its key, ``cache/<digest>.json``: whoever has the same key has the result.

A manifest is committed by rename after its artifacts, and counts only while all of them are there, and the files that
the stage has written as well; one that is damaged or incomplete counts as absent, since the stage can always be run
again. Behind this machine's own results lie those that are shared, where the project has set an address for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mlnb.errors import CorruptError, StorageError
from mlnb.run.record import StageRecord
from mlnb.run.result import FORMAT, CachedStage
from mlnb.store.digests import digests_in, tree_digest_of
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import read_json, write_json

__all__ = ["CachedStage", "cached", "commit", "look_up", "peek", "said", "undone"]


def cached(record: StageRecord, run: str, parts: Mapping[str, str], notebook: str, notebook_bytes: int) -> CachedStage:
    """Return what is kept of a stage that is done."""
    return CachedStage(
        key=record.key,
        stage=record.name,
        kind=record.kind,
        parts=parts,
        artifacts=record.artifacts,
        cases=record.cases,
        warnings=record.warnings,
        run=run,
        started_at=record.started_at,
        seconds=record.seconds,
        notebook=notebook,
        notebook_bytes=notebook_bytes,
    )


def commit(state: StateFolder, result: CachedStage) -> None:
    """Keep a result under its key, here and in the shared cache if there is one.

    Raises
    ------
    StorageError
        If the disk is full, read-only or not ours. A shared cache that fails is told by `said`, never raised.
    """
    result = replace(result, written=_written(state, result.parts))
    write_json(_place(state, result.key), result.to_json())
    if state.shared:
        from mlnb.run import shared

        shared.push(state, result)


def look_up(state: StateFolder, key: str, *, verify: bool = False) -> CachedStage | None:
    """Return the result under a key if it and all its artifacts are there; a shared one is brought here first.

    Parameters
    ----------
    verify : bool
        Read all bytes of the artifacts, though this machine wrote them.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote it, on this machine.
    """
    result = _here(state, key)
    if result is not None and _whole(state, result, verify):
        return result if not undone(state, result) else None
    if not state.shared:
        return None
    from mlnb.run import shared

    result = shared.fetch(state, key)
    if result is None or undone(state, result):
        return None
    write_json(_place(state, key), result.to_json())
    return result


def peek(state: StateFolder, key: str) -> CachedStage | None:
    """Return what is known of a key, here or in the shared cache, whether or not all of it is there; nothing is moved.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote it, on this machine.
    """
    result = _here(state, key)
    if result is None and state.shared:
        from mlnb.run import shared

        return shared.peek(state, key)
    return result


def undone(state: StateFolder, result: CachedStage) -> tuple[str, ...]:
    """Return the files that a stage has written and that are gone, or changed where others read them."""
    return tuple(
        path for path, digest in result.written.items() if not _as_written(state, state.project / path, digest)
    )


def said(state: StateFolder) -> tuple[str, ...]:
    """Return what a person should know of the shared cache and was not told yet: that it cannot be reached, say."""
    if not state.shared:
        return ()
    from mlnb.run import shared

    return shared.said(state)


def _here(state: StateFolder, key: str) -> CachedStage | None:
    try:
        result = CachedStage.from_json(read_json(_place(state, key), FORMAT))
    except (FileNotFoundError, CorruptError):
        return None
    return result if result.key == key else None


def _whole(state: StateFolder, result: CachedStage, verify: bool) -> bool:
    store = state.files
    needed = [(one.digest, one.size_bytes) for one in result.artifacts] + [(result.notebook, result.notebook_bytes)]
    if not all(store.has(*one) for one in needed):
        return False
    try:
        for digest, _ in needed if verify else ():
            store.trusted(digest, verify=True)
    except CorruptError:
        return False
    return True


def _written(state: StateFolder, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the files that the key says a stage writes, as far as they are there, with the digests that matter."""
    found = {}
    for path, how in json.loads(parts.get("writes", "{}")).items():
        place = state.project / path
        if place.exists():
            found[path] = _digest(state, place) if how == "read" else ""
    return found


def _as_written(state: StateFolder, place: Path, digest: str) -> bool:
    return place.exists() and (not digest or _digest(state, place) == digest)


def _digest(state: StateFolder, place: Path) -> str:
    digests = digests_in(state.root)
    try:
        if not place.is_dir():
            return digests.sha256(place)
        files = [path for path in place.rglob("*") if path.is_file()]
        return tree_digest_of({path.relative_to(place).as_posix(): digests.sha256(path) for path in files})
    except StorageError:
        return "unreadable"


def _place(state: StateFolder, key: str) -> Path:
    return state.cache / f"{key.removeprefix('sha256:')}.json"
