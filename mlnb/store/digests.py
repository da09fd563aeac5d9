"""A file of the user's becomes its digest, read once: while its stamp stays, the digest of the last reading stands.

``.mlnb/digests.json``, format 1. A stamp is size, inode, time of modification and of change (ns). As in git, the stamp
of a file that was changed within `RACY_NS` before it was read proves nothing, because a clock's tick may hold two
changes: such a file is read again next time. The file also holds what addresses elsewhere last said of themselves.
Losing it costs time, nothing else: a damaged file counts as absent.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock

from mlnb.errors import CorruptError, NewerFormatError
from mlnb.store.disk import storing
from mlnb.store.manifest import read_json, write_json

FORMAT = 1
RACY_NS = 2_000_000_000
"""Two seconds: the coarsest clock of a file system in use (FAT)."""

_KEPT_BYTES = 1 << 20
_MOST = 200_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file system says of a file without reading it."""

    size: int
    inode: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Return the stamp that a file has now; OSError if it cannot be had."""
        found = path.stat()
        return cls(found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)


class FileDigests:
    """Digests of files, remembered by stamp. Threads may share one.

    Parameters
    ----------
    place : Path or None
        Where they are kept from one process to the next; None keeps them in memory.
    clock : callable
        The time in ns since the epoch, as the file system's stamps tell it.

    Attributes
    ----------
    read_bytes : int
        How much was read so far, for benches and tests.
    """

    def __init__(self, place: Path | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        self._place = place
        self._clock = clock
        self._lock = RLock()
        self._known: dict[str, tuple[Stamp, str]] | None = None
        self._said: dict[str, str] = {}
        self._unkept_bytes = 0
        self.read_bytes = 0

    def sha256(self, path: Path) -> str:
        """Return ``sha256:<hex>`` of a file.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        return self._digest(path, "sha256")

    def md5(self, path: Path) -> str:
        """Return ``md5:<hex>`` of a file: what DVC calls it."""
        return self._digest(path, "md5")

    def said(self, address: str) -> str:
        """Return what an address elsewhere last said of its content, ``""`` where it was never asked."""
        with self._lock:
            self._load()
            return self._said.get(address, "")

    def hear(self, address: str, identity: str) -> None:
        """Remember what an address says of its content."""
        with self._lock:
            self._load()
            if self._said.get(address) != identity:
                self._said[address] = identity
                self._save()

    def _digest(self, path: Path, algorithm: str) -> str:
        known, name = self._load(), f"{algorithm}:{path.absolute()}"
        with storing(path, "read"):
            stamp = Stamp.of(path)
            with self._lock:
                before = known.get(name)
            if before is not None and before[0] == stamp:
                return before[1]
            begun = self._clock()
            with path.open("rb") as file:
                digest = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
            settled = max(stamp.modified_ns, stamp.changed_ns) + RACY_NS < begun and Stamp.of(path) == stamp
        with self._lock:
            self.read_bytes += stamp.size
            if settled:
                known[name] = (stamp, digest)
                self._unkept_bytes += stamp.size
                if self._unkept_bytes >= _KEPT_BYTES:
                    self._save()
        return digest

    def _load(self) -> dict[str, tuple[Stamp, str]]:
        with self._lock:
            if self._known is None:
                self._known, self._said = self._read()
            return self._known

    def _read(self) -> tuple[dict[str, tuple[Stamp, str]], dict[str, str]]:
        if self._place is None:
            return {}, {}
        try:
            fields = read_json(self._place, FORMAT)
            files = {name: _entry(value) for name, value in fields.values("files").items()}
            return files, {name: str(text) for name, text in fields.values("said").items()}
        except (FileNotFoundError, CorruptError, NewerFormatError, ValueError, TypeError):
            return {}, {}

    def _save(self) -> None:
        self._unkept_bytes = 0
        if self._place is None or self._known is None:
            return
        others, said = self._read()  # another process may have read other files meanwhile
        kept = {name: entry for name, entry in {**others, **self._known}.items() if _is_there(name)}
        listed = {
            name: [stamp.size, stamp.inode, stamp.modified_ns, stamp.changed_ns, digest]
            for name, (stamp, digest) in list(kept.items())[-_MOST:]
        }
        write_json(self._place, {"format": FORMAT, "files": listed, "said": {**said, **self._said}})


def tree_digest_of(files: Mapping[str, str]) -> str:
    """Return one digest for many files: ``sha256:<hex>`` of their names and digests."""
    whole = hashlib.sha256()
    for name, digest in sorted(files.items()):
        whole.update(f"{name}\0{digest}\n".encode("utf-8", "surrogatepass"))
    return f"sha256:{whole.hexdigest()}"


@lru_cache(maxsize=8)
def digests_in(state: Path) -> FileDigests:
    """Return the digests that a state folder keeps; one object for each folder, so that readings are shared."""
    return FileDigests(state / "digests.json")


def _entry(value: object) -> tuple[Stamp, str]:
    size, inode, modified, changed, digest = value  # type: ignore[misc]  # a ValueError or TypeError is caught
    return Stamp(int(size), int(inode), int(modified), int(changed)), str(digest)  # type: ignore[has-type]


def _is_there(name: str) -> bool:
    return Path(name.partition(":")[2]).exists()
