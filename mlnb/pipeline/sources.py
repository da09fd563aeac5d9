"""A path or address that code reads becomes the identity of its content, without reading what was read before.

A file is known by the SHA-256 of its bytes, a file or folder under DVC by the MD5 of its pointer (which stands for it
where it was not pulled, too), an object in a bucket by its version id or ETag, a web page by its ETag or date.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import RemoteError, StorageError
from mlnb.pipeline.dvc import pointed
from mlnb.store.digests import FileDigests, tree_digest_of
from mlnb.store.remote import identity_of, shown

UNKNOWN = "unknown"
"""Identity of an address that does not say what it holds."""

_MANY = 200
_NOT_DATA = frozenset({".mlnb", ".git", ".venv", ".dvc", ".ipynb_checkpoints", "__pycache__", "node_modules"})
_SIGNS = "*?["


@dataclass(frozen=True, slots=True)
class Identities:
    """What was found.

    Attributes
    ----------
    files : dict of str to str
        Identity by path relative to the notebook's folder, or by address; sorted. A folder or pattern with more than
        200 files is one entry.
    notices : tuple of str
        What a person should know: a pattern that matches nothing, an address that does not say what it holds.
    """

    files: dict[str, str]
    notices: tuple[str, ...] = ()


def identities(
    texts: Iterable[str], folder: Path, digests: FileDigests, *, declared: Sequence[str] = (), stage: str = ""
) -> Identities:
    """Return the identities of what is read.

    Parameters
    ----------
    texts : iterable of str
        Paths, folders, patterns and addresses. A path where nothing is does not count.
    folder : Path
        Folder of the notebook, in which its code runs.
    digests : FileDigests
        What was read before.
    declared : sequence of str
        What ``--reads`` of a stage says: here nothing counts as well, and is said.
    stage : str
        Whose, for the notices.
    """
    found: dict[str, str] = {}
    notices: list[str] = []
    for text in sorted({*texts, *declared}):
        if "://" in text and not text.startswith("file://"):
            notices += _remote(text, digests, found)
            continue
        path = text.removeprefix("file://")
        before = len(found)
        _local(path, folder, digests, found)
        if text in declared and len(found) == before and not any(_covers(path, name) for name in found):
            found[path] = "nothing"
            notices.append(f"`--reads {text}` of stage `{stage}` matches nothing in {folder}.")
    return Identities(dict(sorted(found.items())), tuple(notices))


def existing(text: str, folder: Path) -> Iterator[Path]:
    """Yield the files that a path, folder or pattern means, sorted; state folders and the like are passed over."""
    try:
        path = folder / os.path.expanduser(text)  # noqa: PTH111  # a pattern, not yet a path
        if path.is_file():
            yield path
        elif path.is_dir():
            if not folder.is_relative_to(path.resolve()):  # the notebook's own surroundings are no data
                yield from _below(path)
        elif any(sign in text for sign in _SIGNS):
            for part in sorted(_glob(text, folder)):
                if part.is_file() and not _NOT_DATA.intersection(part.parts[len(folder.parts) :]):
                    yield part
    except (OSError, ValueError, NotImplementedError):  # not a path on this system
        return


def same_content(text: str, identity: str, folder: Path, digests: FileDigests) -> bool:
    """Say whether a local path, folder or pattern still has an identity, and its bytes are here."""
    found: dict[str, str] = {}
    _local(text.rstrip("/"), folder, digests, found)
    return found.get(text) == identity and next(existing(text, folder), None) is not None


def name_of(path: Path, folder: Path) -> str:
    """Return a path relative to `folder`, with ``..`` where it must be, else absolute."""
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return path.as_posix()


def _local(text: str, folder: Path, digests: FileDigests, found: dict[str, str]) -> None:
    pointer = pointed(folder / text, digests) if not any(sign in text for sign in _SIGNS) else ""
    if pointer:
        found[text] = pointer
        return
    files = {name_of(path, folder): path for path in existing(text, folder)}
    known = {name: _identity(path, digests) for name, path in files.items()}
    if len(known) > _MANY:
        found[text if any(sign in text for sign in _SIGNS) else f"{text.rstrip('/')}/"] = tree_digest_of(known)
    else:
        found.update(known)


def _identity(path: Path, digests: FileDigests) -> str:
    try:
        return pointed(path, digests) or digests.sha256(path)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return "nothing"  # it went while we looked
        raise


def _remote(address: str, digests: FileDigests, found: dict[str, str]) -> Iterator[str]:
    """Ask an address what it holds; one that cannot be reached is taken to hold what it last said."""
    name = shown(address)
    try:
        identity = identity_of(address)
    except RemoteError as error:
        identity = digests.said(name)
        meanwhile = "It counts as unchanged." if identity else "A change there is not seen."
        yield f"{error.problem} {meanwhile} {error.remedy}"
    else:
        if identity:
            digests.hear(name, identity)
        else:
            yield (
                f"{name} does not say what it holds (no version, ETag or date), so a change there reruns nothing: "
                "use --force, or keep a copy beside the notebook."
            )
    found[name] = identity or UNKNOWN


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_DATA)
        yield from (Path(place, name) for name in sorted(files) if Path(place, name).is_file())


def _glob(text: str, folder: Path) -> Iterator[Path]:
    path = Path(text).expanduser()
    if path.is_absolute():
        return Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return folder.glob(text)


def _covers(text: str, name: str) -> bool:
    return name == text or name.startswith(f"{text.rstrip('/')}/")
