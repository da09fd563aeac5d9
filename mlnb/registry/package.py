"""A version's files, kept by digest in the store, become the folder that a service or a scorer reads."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex

from mlnb.errors import StorageError
from mlnb.registry.reference import check_name
from mlnb.store.disk import make_folder, replacing, storing, sync_folder
from mlnb.store.files import FileStore
from mlnb.store.hashed import digest_of
from mlnb.store.seal import check_seal


def unpack(files: Mapping[str, str], store: FileStore, folder: Path) -> None:
    """Write `files` to `folder` under another name and rename it: whoever sees the folder sees it whole.

    Raises
    ------
    RegistryError
        If a name is not that of a plain file.
    CorruptError
        If the store's bytes are not those of the digest, or the files are not those that were sealed.
    UntrustedError
        If the seal's signature is wrong.
    StorageError
        If the folder cannot be written, or holds something else than these files.
    """
    for name in files:
        check_name("file", name)
    if _holds(folder, files):
        return
    make_folder(folder.parent)
    store.bring(files.values())
    draft = folder.with_name(f".{folder.name}.{token_hex(4)}")
    try:
        make_folder(draft)
        for name, digest in files.items():
            with store.verify(digest).open("rb") as source, replacing(draft / name) as copy:
                shutil.copyfileobj(source, copy)
        check_seal(draft)
        _move_in(draft, folder, files)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move_in(draft: Path, folder: Path, files: Mapping[str, str]) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if _holds(folder, files):  # another process was faster
            return
        if folder.is_dir():
            raise StorageError(
                f"{folder} holds other files than the package.",
                "Remove it, or choose another folder.",
                path=str(folder),
            ) from None
        with storing(folder, "made"):
            raise
    with storing(folder):
        sync_folder(folder.parent)


def _holds(folder: Path, files: Mapping[str, str]) -> bool:
    with storing(folder, "read"):
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != set(files):
            return False
        return all((folder / name).is_file() and digest_of(folder / name) == digest for name, digest in files.items())
