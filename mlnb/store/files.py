"""Bytes become a file named by their digest: ``artifacts/sha256/ab/abcd...``.

A file is written once, under a temporary name in the same folder, and renamed: several processes may put the same
bytes at once. Stored files are never changed or truncated (kernels map their pages); a file whose bytes are not its
name is damaged and said to be. What this machine wrote itself is known by its stamp (`mlnb.store.stamps`), whatever
comes from elsewhere is read whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import CorruptError
from mlnb.store.disk import make_folder, replacing, storing, sync_folder, write_bytes
from mlnb.store.hashed import HashedFile
from mlnb.store.stamps import LARGE_BYTES, stamp, stamped

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileStore:
    """Content-addressed files below one folder.

    Attributes
    ----------
    folder : Path
        Where the tree ``sha256/`` is.
    """

    folder: Path

    def put(self, source: Path | bytes) -> tuple[str, int]:
        """Store the bytes, or the content of a file, and return its digest and size in bytes.

        A file is copied: the caller keeps it.

        Raises
        ------
        StorageError
            If the disk is full, read-only or not ours; nothing half-written stays.
        """
        if isinstance(source, bytes):
            digest = "sha256:" + hashlib.sha256(source).hexdigest()
            size = len(source)
            if not self.has(digest, size):
                write_bytes(self._place(digest), source, mode=0o444)
                self._stamp(digest, size)
            return digest, size
        with storing(source, "read"):
            digest, size = digest_of(source), source.stat().st_size
        if not self.has(digest, size):
            target = self._place(digest)
            with replacing(target, mode=0o444) as copy, source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    copy.write(chunk)
            self._stamp(digest, size)
        return digest, size

    def adopt(self, source: Path) -> tuple[str, int]:
        """Move a file of this file system into the store and return its digest and size in bytes.

        Raises
        ------
        StorageError
            If it cannot be moved.
        """
        with storing(source):
            digest, size = digest_of(source), source.stat().st_size
            if self.has(digest, size):
                source.unlink()
                return digest, size
        with storing(source):
            handle = os.open(source, os.O_RDONLY)
            try:
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            finally:
                os.close(handle)
        self._take_in(source, digest, size)
        return digest, size

    @contextmanager
    def writing(self) -> Iterator[NewFile]:
        """Give a file to write whose digest is known when it is written; what is not kept vanishes with the block.

        Raises
        ------
        StorageError
            If it cannot be made.
        """
        path = make_folder(self.folder) / f".tmp-{secrets.token_hex(8)}"
        with storing(self.folder):
            file = HashedFile(path)
        try:
            yield NewFile(self, file)
        finally:
            file.close()
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def has(self, digest: str, size_bytes: int) -> bool:
        """Say whether a file of that digest and size is here and can be trusted.

        A file that this machine wrote is known by its stamp; a small one, and one from elsewhere, is read.
        """
        with suppress(CorruptError):
            return self._whole(digest, size_bytes) and self.trusted(digest).is_file()
        return False

    def path(self, digest: str) -> Path:
        """Return where the bytes of `digest` are.

        Raises
        ------
        CorruptError
            If they are missing.
        """
        path = self._place(digest)
        if not path.is_file():
            raise CorruptError(
                f"The artifact {digest} is missing from {self.folder}.",
                "Run the pipeline again with --force, or restore the folder.",
                path=str(path),
                digest=digest,
            )
        return path

    def trusted(self, digest: str, *, verify: bool = False) -> Path:
        """Return the path of `digest`: by its stamp where this machine wrote it, after reading all its bytes elsewhere.

        Parameters
        ----------
        verify : bool
            Read all bytes in any case.

        Raises
        ------
        CorruptError
            If they are missing or are not the bytes that were stored.
        """
        path = self.path(digest)
        if verify or not stamped(self._stamp_place(digest), path, digest):
            self.verify(digest)
            self._stamp(digest, path.stat().st_size)
        return path

    def verify(self, digest: str) -> Path:
        """Return the path of `digest` after reading all its bytes.

        Raises
        ------
        CorruptError
            If they are missing or are not the bytes that were stored.
        """
        path = self.path(digest)
        with storing(path, "read"):
            self._check(path, digest, digest_of(path))
        return path

    def read(self, digest: str) -> bytes:
        """Return the verified bytes of `digest`.

        Raises
        ------
        CorruptError
            If they are missing or damaged.
        """
        path = self.path(digest)
        with storing(path, "read"):
            content = path.read_bytes()
        self._check(path, digest, "sha256:" + hashlib.sha256(content).hexdigest())
        return content

    def _check(self, path: Path, digest: str, found: str) -> None:
        if found != digest:
            raise CorruptError(
                f"The artifact {digest} in {path} is damaged: its bytes have the digest {found}.",
                "Remove that file and run the pipeline again with --force, or restore it.",
                path=str(path),
                digest=digest,
            )

    def _place(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise CorruptError(
                f"{digest!r} is not a digest.",
                "Restore the manifest that names it, or run the pipeline again with --force.",
                digest=digest,
            )
        return self.folder / "sha256" / value[:2] / value

    def _take_in(self, source: Path, digest: str, size: int) -> None:
        """Rename a file that is safely on this disk to its place."""
        target = self._place(digest)
        make_folder(target.parent)
        with storing(target):
            source.replace(target)
            sync_folder(target.parent)
        self._stamp(digest, size)

    def _stamp(self, digest: str, size_bytes: int) -> None:
        if size_bytes >= LARGE_BYTES:
            stamp(self._stamp_place(digest), self._place(digest), digest)

    def _stamp_place(self, digest: str) -> Path:
        place = self._place(digest)
        return self.folder / "stamps" / place.parent.name / place.name

    def _whole(self, digest: str, size_bytes: int) -> bool:
        try:
            return self._place(digest).stat().st_size == size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file on its way into a store.

    Attributes
    ----------
    store : FileStore
        Where it goes.
    file : HashedFile
        What is written.
    """

    store: FileStore
    file: HashedFile

    def keep(self) -> tuple[str, int]:
        """Store what was written and return its digest and size in bytes.

        Raises
        ------
        StorageError
            If it cannot be made safe or moved.
        """
        with storing(self.file.path):
            digest, size = self.file.finish()
        if not self.store.has(digest, size):
            self.store._take_in(self.file.path, digest, size)
        return digest, size


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes as ``sha256:<hex>``."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
