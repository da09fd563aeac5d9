"""The data that a stage reads becomes a content-addressed copy, and a run of the past a folder that can be run again.

``runs/<id>/data/<stage>.json``, format 1, says for each thing that was read which stored bytes it was. What was not
copied can still be had where DVC or the bucket keeps versions, or where the file is as it was.
"""

from __future__ import annotations

import json
import os.path
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlnb.errors import CorruptError, RemoteError, StorageError, UsageError
from mlnb.pipeline.sources import existing, name_of, same_content
from mlnb.run.notebooks import source_path
from mlnb.run.record import RunRecord
from mlnb.store.digests import digests_in
from mlnb.store.disk import make_folder, storing
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import read_json, write_json
from mlnb.store.remote import fetch, versioned

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """One file that was copied.

    Attributes
    ----------
    read : str
        The path, pattern or address by which it was read: its entry in the run's data.
    path : str
        Relative to the notebook's folder; the address itself of what lies elsewhere.
    digest, size_bytes : str, int
        Of the bytes in the file store.
    """

    read: str
    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` has put where.

    Attributes
    ----------
    run, folder : str
        The run, and the folder that holds it now.
    notebook, parameters : str
        The notebook and a file of its parameters, relative to the folder.
    files : tuple of str
        Data, relative to the folder.
    missing : tuple of str
        Sentences, one for each thing that could not be had.
    commit : str
        The git commit at which the project's modules were, ``""`` where there was none; ``+`` behind one that had been
        changed.
    """

    run: str
    folder: str
    notebook: str
    parameters: str
    files: tuple[str, ...]
    missing: tuple[str, ...]
    commit: str


def keep(state: StateFolder, run: Path, stage: str, folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Copy the data that a stage reads into the file store.

    Parameters
    ----------
    run : Path
        The run's folder.
    folder : Path
        The notebook's folder.
    files : mapping of str to str
        What the stage reads, with identities: the part ``files`` of its key.

    Returns
    -------
    tuple of str
        Sentences about what could not be copied.

    Raises
    ------
    StorageError
        If ``.mlnb`` cannot be written, or a file cannot be read.
    """
    kept: list[Kept] = []
    notices: list[str] = []
    for read in files:
        if "://" in read:
            try:
                kept.append(_copied_from(state, read))
            except RemoteError as error:
                notices.append(f"No copy of the data was kept: {error.problem} {error.remedy}")
            continue
        for path in existing(read, folder):
            digest, size = digests_in(state.root).sha256(path), path.stat().st_size
            if not state.files.has(digest, size):
                digest, size = state.files.put(path)
            kept.append(Kept(read, name_of(path, folder), digest, size))
    if kept:
        entries = [
            {"read": one.read, "path": one.path, "digest": one.digest, "size_bytes": one.size_bytes} for one in kept
        ]
        write_json(make_folder(run / "data") / f"{stage}.json", {"format": FORMAT, "files": entries})
    return tuple(notices)


def restore(state: StateFolder, record: RunRecord, target: Path) -> Restored:
    """Put a run's notebook, its parameters and the data that it read, as they were, into a new folder.

    Raises
    ------
    UsageError
        If `target` holds something.
    StorageError
        If it cannot be written.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there and not empty.", "Name a new folder: nothing is overwritten.")
    make_folder(target)
    notebook = PurePosixPath(record.notebook)
    inside = PurePosixPath(_inside(notebook.as_posix()) or notebook.name)
    source = source_path(state.runs / record.id, state.project / record.notebook)
    _copy(source, target / inside)
    parameters = f"{inside.stem}.parameters.json"
    with storing(target):
        (target / parameters).write_text(json.dumps(dict(record.parameters), indent=1, ensure_ascii=False), "utf-8")
    files: list[str] = []
    missing: list[str] = []
    for name, path, found in _wanted(state, record):
        place = _place(inside.parent, path)
        if found is None or not place:
            why = "lies outside the project" if found is not None else "was not kept and is no more what it was"
            missing.append(f"{name} {why}.")
            continue
        _copy(found, target / place)
        files.append(place)
    commit = record.git_commit + "+" * (record.git_dirty and bool(record.git_commit))
    return Restored(
        record.id, str(target), str(inside), parameters, tuple(sorted(set(files))), tuple(sorted(set(missing))), commit
    )


def kept_in(run: Path) -> tuple[Kept, ...]:
    """Return what was copied for a run."""
    found: list[Kept] = []
    for path in sorted((run / "data").glob("*.json")):
        with suppress(FileNotFoundError, CorruptError):
            for one in read_json(path, FORMAT).many("files"):
                size = one.integer("size_bytes")
                found.append(Kept(one.text("read"), one.text("path"), one.text("digest"), size))
    return tuple(dict.fromkeys(found))


def _wanted(state: StateFolder, record: RunRecord) -> Iterator[tuple[str, str, Path | None]]:
    """Yield what a run has read: its name, its path, and where its bytes are now; None where they are gone."""
    copies = kept_in(state.runs / record.id)
    for one in copies:
        whole = state.files.has(one.digest, one.size_bytes)
        yield one.path, one.path, state.files.path(one.digest) if whole else None
    folder = (state.project / record.notebook).parent
    for name, identity in record.data:
        if name not in {one.read for one in copies} and identity != "nothing":
            yield from _uncopied(state, name, identity, folder)


def _uncopied(state: StateFolder, name: str, identity: str, folder: Path) -> Iterator[tuple[str, str, Path | None]]:
    if "://" in name:
        yield name, name, _version(state, name, identity)
        return
    if same_content(name, identity, folder, digests_in(state.root)):
        for path in existing(name, folder):
            yield name, name_of(path, folder), path
        return
    algorithm, _, value = identity.partition(":")
    if not set(value) <= set("0123456789abcdef"):  # a damaged record's; it becomes part of a path
        yield name, name, None
        return
    stored = state.artifacts / "sha256" / value[:2] / value
    if algorithm == "sha256" and stored.is_file():
        yield name, name, stored
    elif algorithm == "md5":
        yield name, name, _in_dvc(state.project, folder, value)
    else:
        yield name, name, None


def _in_dvc(project: Path, folder: Path, md5: str) -> Path | None:
    """Return where DVC's own cache has a file."""
    for place in (folder, *folder.parents):
        for layout in (".dvc/cache/files/md5", ".dvc/cache"):
            path = place / layout / md5[:2] / md5[2:]
            if path.is_file():
                return path
        if place == project:
            break
    return None


def _version(state: StateFolder, address: str, identity: str) -> Path | None:
    """Return a copy of the version of an object that a run has read."""
    part = make_folder(state.artifacts) / f".tmp-{secrets.token_hex(8)}"
    try:
        if versioned(address, identity, part):
            digest, _ = state.files.adopt(part)
            return state.files.path(digest)
    except (RemoteError, StorageError):
        return None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return None


def _copied_from(state: StateFolder, address: str) -> Kept:
    part = make_folder(state.artifacts) / f".tmp-{secrets.token_hex(8)}"
    try:
        fetch(address, part)
        digest, size = state.files.adopt(part)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Kept(address, address, digest, size)


def _place(folder: PurePosixPath, path: str) -> str:
    """Return where data lie in the restored folder, ``""`` where they may not be put."""
    if "://" in path:
        scheme, _, rest = path.partition("://")
        return _inside(f"addresses/{scheme}/{rest.partition('?')[0]}")
    return _inside(f"{folder}/{path}") if not path.startswith(("/", "~")) else ""


def _inside(path: str) -> str:
    plain = os.path.normpath(path).replace("\\", "/")
    return "" if plain.startswith(("../", "/")) or plain in ("..", ".") else plain


def _copy(source: Path, target: Path) -> None:
    make_folder(target.parent)
    with storing(target):
        shutil.copyfile(source, target)


def sentences(restored: Restored) -> Sequence[str]:
    """Return what people are told."""
    lines = [
        f"{restored.run} is in {restored.folder}: {restored.notebook}, {restored.parameters}"
        + (f" and {len(restored.files)} file{'s' * (len(restored.files) != 1)} of data" if restored.files else "")
    ]
    lines += [f"missing: {sentence}" for sentence in restored.missing]
    if restored.commit:
        changed = " with changes that were not committed" if restored.commit.endswith("+") else ""
        lines.append(f"its modules were at git commit {restored.commit.rstrip('+')}{changed}")
    lines.append(
        f"run it with: mlnb run {restored.folder}/{restored.notebook} -f {restored.folder}/{restored.parameters}"
    )
    return lines
