"""An address elsewhere becomes a second store: artifacts by digest and small documents by name, for several machines.

Layout below the address: ``sha256/ab/abcd...`` and ``<folder>/<name>.json``. Nothing is locked: an object is written
whole (object stores do that; elsewhere under another name, then renamed), the same name always means the same bytes or
an equally good document, and a reader checks digests. A bucket that fails once is left alone for the rest of the
process, reading and writing apart, and `said` tells it once: sharing saves work, and its absence must not stop any.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import TypeVar

from mlnb.errors import RemoteError
from mlnb.store.disk import make_folder
from mlnb.store.files import FileStore
from mlnb.store.hashed import digest_of
from mlnb.store.remote import open_address, put_whole, reaching, shown

T = TypeVar("T")


class Bucket:
    """What several machines share. Threads may share one.

    Parameters
    ----------
    address : str
        ``s3://bucket/prefix``, ``file:///mnt/share/cache``, or whatever fsspec knows.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._suspect: set[str] = set()
        self._broken: set[str] = set()
        self._noted: set[str] = set()
        self._said: list[str] = []
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The address as people may see it."""
        return shown(self._address)

    def read(self, name: str) -> bytes | None:
        """Return a document, None where there is none or it cannot be had."""
        return self._guarded("read", lambda: self._content(name), None)

    def write(self, name: str, content: bytes) -> bool:
        """Put a document there, whole; say whether it is there now."""

        def put(place: str) -> None:
            system, path = open_address(place)
            system.pipe_file(path, content)

        return self._guarded("written", lambda: self._put(name, put), False)

    def fetch(self, digest: str, size_bytes: int, store: FileStore) -> bool:
        """Bring an artifact into `store`; False where it is missing, partial, or not the bytes of that digest."""
        return self._guarded("read", lambda: self._fetched(digest, size_bytes, store), False)

    def push(self, digest: str, size_bytes: int, store: FileStore) -> bool:
        """Put an artifact of `store` there if it is not there yet; say whether it is there now."""

        def put(place: str) -> None:
            system, path = open_address(place)
            system.put_file(str(store.path(digest)), path)

        def push() -> bool:
            name = _place(digest)
            if digest not in self._suspect and self._size(name) == size_bytes:
                return True
            done = self._put(name, put)
            self._suspect.discard(digest)
            return done

        return self._guarded("written", push, False)

    def note(self, sentence: str) -> None:
        """Keep a sentence that a person should read, once."""
        with self._lock:
            if sentence not in self._noted:
                self._noted.add(sentence)
                self._said.append(sentence)

    def said(self) -> tuple[str, ...]:
        """Return what there is to say and was not returned before."""
        with self._lock:
            said, self._said = tuple(self._said), []
        return said

    def _guarded(self, act: str, do: Callable[[], T], otherwise: T) -> T:
        if act in self._broken:
            return otherwise
        try:
            with reaching(self._address):
                return do()
        except RemoteError as error:
            with self._lock:
                if act not in self._broken:
                    self._broken.add(act)
                    self._said.append(
                        f"The shared cache {self.name} cannot be {act}, so this run goes on without: "
                        f"{error.problem} {error.remedy}"
                    )
            return otherwise

    def _content(self, name: str) -> bytes | None:
        system, path = open_address(f"{self._address}/{name}")
        try:
            return bytes(system.cat_file(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _size(self, name: str) -> int:
        system, path = open_address(f"{self._address}/{name}")
        try:
            return int(system.info(path)["size"])
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def _fetched(self, digest: str, size_bytes: int, store: FileStore) -> bool:
        system, path = open_address(f"{self._address}/{_place(digest)}")
        part = make_folder(store.folder) / f".tmp-{secrets.token_hex(8)}"
        try:
            system.get_file(path, str(part))
            if part.stat().st_size != size_bytes or digest_of(part) != digest:
                self._suspect.add(digest)
                return False
            store.adopt(part)
        except (FileNotFoundError, NotADirectoryError):
            return False
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return True

    def _put(self, name: str, put: Callable[[str], None]) -> bool:
        put_whole(f"{self._address}/{name}", put)
        return True


@lru_cache(maxsize=8)
def bucket_at(address: str) -> Bucket:
    """Return the bucket at an address; one object for each, so that a broken one is found broken once."""
    return Bucket(address)


def _place(digest: str) -> str:
    value = digest.removeprefix("sha256:")
    return f"sha256/{value[:2]}/{value}"
