"""Bytes become a file named by their digest: ``artifacts/sha256/ab/abcd...``.

A file is written once, under a temporary name in the same folder, and renamed: several processes may put the same
bytes at once. Stored files are never changed; a file whose bytes are not its name is damaged and said to be.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import CorruptError
from mlnb.store.disk import make_folder, replacing, storing, sync_folder, write_bytes

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
            if not self._whole(digest, size):
                write_bytes(self._place(digest), source, mode=0o444)
            return digest, size
        with storing(source, "read"):
            digest, size = digest_of(source), source.stat().st_size
        if not self._whole(digest, size):
            target = self._place(digest)
            with replacing(target, mode=0o444) as copy, source.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    copy.write(chunk)
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
            if self._whole(digest, size):
                source.unlink()
                return digest, size
        target = self._place(digest)
        make_folder(target.parent)
        with storing(target):
            handle = os.open(source, os.O_RDONLY)
            try:
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            finally:
                os.close(handle)
            source.replace(target)
            sync_folder(target.parent)
        return digest, size

    def has(self, digest: str, size_bytes: int) -> bool:
        """Say whether a file of that digest and size is here (its bytes are not read)."""
        return self._whole(digest, size_bytes)

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

    def verify(self, digest: str) -> Path:
        """Return the path of `digest` after reading all its bytes.

        Raises
        ------
        CorruptError
            If they are missing or are not the bytes that were stored.
        """
        path = self.path(digest)
        with storing(path, "read"):
            found = digest_of(path)
        if found != digest:
            raise CorruptError(
                f"The artifact {digest} in {path} is damaged: its bytes have the digest {found}.",
                "Remove that file and run the pipeline again with --force, or restore it.",
                path=str(path),
                digest=digest,
            )
        return path

    def read(self, digest: str) -> bytes:
        """Return the verified bytes of `digest`.

        Raises
        ------
        CorruptError
            If they are missing or damaged.
        """
        path = self.verify(digest)
        with storing(path, "read"):
            return path.read_bytes()

    def _place(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise CorruptError(
                f"{digest!r} is not a digest.",
                "Restore the manifest that names it, or run the pipeline again with --force.",
                digest=digest,
            )
        return self.folder / "sha256" / value[:2] / value

    def _whole(self, digest: str, size_bytes: int) -> bool:
        try:
            return self._place(digest).stat().st_size == size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes as ``sha256:<hex>``."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
