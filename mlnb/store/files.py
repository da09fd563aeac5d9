"""Bytes become a file named by their digest: ``artifacts/sha256/ab/abcd...``.

A file is written once, under a temporary name in the same folder, and renamed: several processes may put the same
bytes at once. Stored files are never changed or truncated (kernels map their pages); a file whose bytes are not its
name is damaged and said to be. What this machine wrote itself is known by its stamp (`mlnb.store.stamps`), whatever
comes from elsewhere is read whole.

Where the settings name a key, what is put here and what a version names lies encrypted in ``aes256gcm/`` instead
(`mlnb.store.vault`); where they name an address, what a version names lies there as well (`mlnb.store.depot`), and what
is missing here comes from there.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import CorruptError, SecretError
from mlnb.store.disk import make_folder, replacing, storing, sync_folder, write_bytes
from mlnb.store.hashed import HashedFile, digest_of
from mlnb.store.stamps import LARGE_BYTES, stamp, stamped

if TYPE_CHECKING:
    from mlnb.store.depot import Depot
    from mlnb.store.vault import Vault

PLAIN, SEALED = "sha256", "aes256gcm"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FileStore:
    """Content-addressed files below one folder.

    Attributes
    ----------
    folder : Path
        Where the trees ``sha256/`` and ``aes256gcm/`` are.
    depot : Depot or None
        Where the artifacts of versions lie for everybody.
    vault : Vault or None
        What encrypts them.
    """

    folder: Path
    depot: Depot | None = None
    vault: Vault | None = None

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
                if self.vault is not None:
                    self.vault.seal(io.BytesIO(source), digest, self._sealed_place(digest))
                    return digest, size
                write_bytes(self._place(digest), source, mode=0o444)
                self._stamp(digest, size)
            return digest, size
        with storing(source, "read"):
            digest, size = digest_of(source), source.stat().st_size
        if self.has(digest, size):
            return digest, size
        if self.vault is not None:
            with storing(source, "read"), source.open("rb") as file:
                self.vault.seal(file, digest, self._sealed_place(digest))
        else:
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
            if self.vault is not None or self.has(digest, size):
                self.put(source)
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

    def stored(self, digest: str) -> Path | None:
        """Return the file of that digest on this machine, plain or encrypted and not read; None where there is none."""
        with suppress(CorruptError):  # what is no digest is nowhere
            return next((one for one in (self._place(digest), self._sealed_place(digest)) if one.is_file()), None)
        return None

    def path(self, digest: str) -> Path:
        """Return where the bytes of `digest` are.

        Raises
        ------
        CorruptError
            If they are missing.
        """
        path = self._place(digest)
        if path.is_file():
            return path
        found = self._opened(digest) or (self._opened(digest) if self._brought(digest) else None)
        if found is None and path.is_file():
            return path
        if found is None:
            depot = f" and from {self.depot.name}" if self.depot else ""
            raise CorruptError(
                f"The artifact {digest} is missing from {self.folder}{depot}.",
                "Run the pipeline again with --force, or restore the folder.",
                path=str(path),
                digest=digest,
            )
        return found

    def keep(self, digests: Iterable[str]) -> None:
        """Make sure that artifacts of a version last: encrypted where there is a key, and in the depot if there is one.

        Raises
        ------
        CorruptError
            If the bytes of one are missing, or, where they are encrypted or copied now, not what was stored.
        RemoteError
            If the depot cannot be reached or written.
        """
        wanted = list(dict.fromkeys(digests))
        if self.depot is None and self.vault is None:
            for digest in wanted:
                self.path(digest)
            return
        _at_once(self._keep, wanted)

    def bring(self, digests: Iterable[str]) -> None:
        """Fetch what is missing here from the depot, several at a time; what is not there either is left missing."""
        if self.depot is not None:
            _at_once(self._brought, [digest for digest in dict.fromkeys(digests) if self.stored(digest) is None])

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
        path, place = self.path(digest), self._place(digest)
        if path != place and not verify:
            return path  # what was encrypted was compared with its digest when it was opened
        with storing(path, "read"):
            size = path.stat().st_size
        if verify or size < LARGE_BYTES or not stamped(self._stamp_place(digest), path, digest):
            self._verified(path, digest)
            if path == place:
                self._stamp(digest, size)
        return path

    def verify(self, digest: str) -> Path:
        """Return the path of `digest` after reading all its bytes.

        Raises
        ------
        CorruptError
            If they are missing or are not the bytes that were stored.
        """
        return self._verified(self.path(digest), digest)

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

    def _verified(self, path: Path, digest: str) -> Path:
        with storing(path, "read"):
            self._check(path, digest, digest_of(path))
        return path

    def _check(self, path: Path, digest: str, found: str, where: str = "") -> None:
        if found != digest:
            raise CorruptError(
                f"The artifact {digest} in {where or path} is damaged: its bytes have the digest {found}.",
                "Remove that file and run the pipeline again with --force, or restore it.",
                path=str(path),
                digest=digest,
            )

    def _place(self, digest: str) -> Path:
        if _DIGEST.fullmatch(digest) is None:
            raise CorruptError(
                f"{digest!r} is not a digest.",
                "Restore the manifest that names it, or run the pipeline again with --force.",
                digest=digest,
            )
        return _at(self.folder, PLAIN, digest)

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
        return _at(self.folder, "stamps", digest)

    def _whole(self, digest: str, size_bytes: int) -> bool:
        try:
            return self._place(digest).stat().st_size == size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return self.vault is not None and self._sealed_whole(digest, size_bytes)

    def _sealed_whole(self, digest: str, size_bytes: int) -> bool:
        from mlnb.store.vault import sealed_bytes

        try:
            return self._sealed_place(digest).stat().st_size == sealed_bytes(size_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _sealed_place(self, digest: str) -> Path:
        self._place(digest)  # what is no digest has no place
        return _at(self.folder, SEALED, digest)

    def _opened(self, digest: str) -> Path | None:
        """Return the bytes of what lies here encrypted; None where nothing does."""
        sealed = self._sealed_place(digest)
        if not sealed.is_file():
            return None
        if self.vault is None:
            raise SecretError(
                f"The artifact {digest} in {self.folder} is encrypted, and no key is known.",
                "Name the key in the settings: encryption_key.",
                name="encryption_key",
            )
        return self.vault.open(sealed, digest)

    def _keep(self, digest: str) -> None:
        sealed = self._sealed_place(digest)
        if self.vault is not None and not sealed.is_file() and self._place(digest).is_file():
            with self.verify(digest).open("rb") as file:
                self.vault.seal(file, digest, sealed)
        path = sealed if self.vault is not None and sealed.is_file() else self.path(digest)
        if self.depot is not None and path in (sealed, self._place(digest)):
            self.depot.push(path, path.relative_to(self.folder).as_posix())
        if path == sealed:  # the last step: until here, whoever looks finds the plain bytes
            self._place(digest).unlink(missing_ok=True)
            self._stamp_place(digest).unlink(missing_ok=True)

    def _brought(self, digest: str) -> bool:
        """Fetch an artifact from the depot, as it lies there; say whether it was there."""
        if self.depot is None:
            return False
        places = (self._sealed_place(digest), self._place(digest))
        for place in places if self.vault is not None else reversed(places):
            with self.depot.fetching(place.relative_to(self.folder).as_posix(), self.folder) as part:
                if part is None:
                    continue
                if place == self._place(digest):
                    self._check(part, digest, digest_of(part), self.depot.name)
                    self.adopt(part)
                else:
                    if self.vault is not None:  # what was cut off on its way must not stay under the name of the whole
                        self.vault.open(part, digest)
                    make_folder(place.parent)
                    with storing(place):
                        part.chmod(0o444)
                        with part.open("rb") as file:
                            os.fsync(file.fileno())
                        part.replace(place)
                        sync_folder(place.parent)
                return True
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


def _at_once(do: Callable[[str], object], digests: list[str]) -> None:
    """Do something with each digest, several at a time: most of it is waiting for the network."""
    if len(digests) < 2:
        for digest in digests:
            do(digest)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(do, digests))


@lru_cache(maxsize=1024)  # an act asks for the same few again and again
def _at(folder: Path, tree: str, digest: str) -> Path:
    value = digest.removeprefix("sha256:")
    return folder.joinpath(tree, value[:2], value)
