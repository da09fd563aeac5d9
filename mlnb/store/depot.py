"""Artifacts that everybody of a team needs lie at an address: ``s3://bucket/models``, or whatever fsspec knows.

Layout below the address, as in `mlnb.store.files`: ``sha256/ab/abcd...``, and ``aes256gcm/ab/abcd...`` for what was
encrypted (`mlnb.store.vault`) before it left the machine. An object is written once and whole, and never changed; who
fetches one checks its digest. Unlike a shared cache, which may fail without harm, a depot that fails is an error: a
version whose bytes are not there must not be registered.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from mlnb.errors import RemoteError
from mlnb.store.disk import make_folder
from mlnb.store.remote import open_address, put_whole, reaching, shown

_FRESH = timedelta(hours=12)
"""Half the age at which a collector may take away what no ledger names: who finds it so is given the other half."""


@dataclass(frozen=True, slots=True)
class Object:
    """Something in a depot.

    Attributes
    ----------
    name : str
        ``sha256/ab/abcd...``.
    size_bytes : int
        Its size.
    written_at : datetime or None
        When it was written, aware; None where the address does not say.
    """

    name: str
    size_bytes: int
    written_at: datetime | None

    def older(self, than: datetime) -> bool:
        """Say whether it is known to have been written before."""
        return self.written_at is not None and self.written_at < than


class Depot:
    """What lies at one address. Threads may share one.

    Parameters
    ----------
    address : str
        Without credentials: those come from where the cloud's own tools look for them.

    Raises
    ------
    RemoteError
        By every method, if it cannot be reached, read or written.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")

    @property
    def name(self) -> str:
        """The address as people may see it."""
        return shown(self._address)

    def try_out(self) -> None:
        """Write a small object, read it, and take it away again."""
        name, content = f"tried-{secrets.token_hex(8)}", secrets.token_bytes(16)

        def write(place: str) -> None:
            system, path = open_address(place)
            system.pipe_file(path, content)

        with reaching(self._address):
            system, path = open_address(f"{self._address}/{name}")
            put_whole(f"{self._address}/{name}", write)
            same = bytes(system.cat_file(path)) == content
            system.rm_file(path)
        if not same:
            raise RemoteError(
                f"{self.name} does not give back what was written to it.", "Choose another address.", address=self.name
            )

    def push(self, source: Path, name: str) -> None:
        """Put a file there; what is there already is put again where it is old, so that no collector takes it away."""
        there = self._about(name)
        if there is not None and there.size_bytes == source.stat().st_size and not there.older(_now() - _FRESH):
            return

        def put(place: str) -> None:
            system, path = open_address(place)
            system.put_file(str(source), path)

        with reaching(self._address):
            put_whole(f"{self._address}/{name}", put)

    @contextmanager
    def fetching(self, name: str, folder: Path) -> Iterator[Path | None]:
        """Give a temporary file in `folder` with the bytes of an object, None where there is none."""
        part = make_folder(folder) / f".tmp-{secrets.token_hex(8)}"
        try:
            with reaching(self._address):
                system, path = open_address(f"{self._address}/{name}")
                try:
                    system.get_file(path, str(part))
                    found = True
                except (FileNotFoundError, NotADirectoryError):
                    found = False
            yield part if found else None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def objects(self, folder: str) -> Iterator[Object]:
        """Yield all objects below a folder of the depot."""
        with reaching(self._address):
            system, root = open_address(f"{self._address}/{folder}")
            found = system.find(root, detail=True)
        for path, about in sorted(found.items()):
            yield _object(f"{folder}{str(path).removeprefix(root)}", about)

    def remove_older(self, name: str, before: datetime) -> bool:
        """Take an object away unless it was written since `before`, or its age is not known; say whether it was."""
        there = self._about(name)
        if there is None or not there.older(before):
            return False
        with reaching(self._address):
            system, path = open_address(f"{self._address}/{name}")
            with suppress(FileNotFoundError):
                system.rm_file(path)
        return True

    def _about(self, name: str) -> Object | None:
        with reaching(self._address):
            system, path = open_address(f"{self._address}/{name}")
            try:
                return _object(name, system.info(path))
            except (FileNotFoundError, NotADirectoryError):
                return None


@lru_cache(maxsize=8)
def depot_at(address: str) -> Depot:
    """Return the depot at an address."""
    return Depot(address)


def _object(name: str, about: Mapping[str, object]) -> Object:
    said = about.get("LastModified") or about.get("mtime")
    written = datetime.fromtimestamp(said, UTC) if isinstance(said, (int, float)) else said
    return Object(name, int(str(about.get("size") or 0)), written if isinstance(written, datetime) else None)


def _now() -> datetime:
    return datetime.now(UTC)
