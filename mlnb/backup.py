"""A project's state becomes one file that can be restored elsewhere: `mlnb backup FILE`, while the project is in use.

Format 1, a ZIP file (ZIP64): ``ledger/<table>.jsonl``, the rows of one moment as JSON lines; ``state/<path>``, files of
``.mlnb`` (runs, cache, studies, prediction logs, tokens); ``artifacts/<hex>``, the bytes behind all that those name,
from this machine and from the depot; last ``backup.json``, which lists every other member with its size and digest and
is signed by who made the backup. Rows are copied first and artifacts last: what is named by then, is there by then.
Where the settings name an encryption key the whole file is sealed (`mlnb.store.vault`) under the label `LABEL`. To
raise the number: teach `Content` the new one, keep the old and its test.

Notebooks, data and settings are the project's own files and belong into version control; services and Bentos are made
anew by the next deploy, for which nothing is run again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy import select

from mlnb.errors import CorruptError, NewerFormatError, SecretError, StateError, UntrustedError
from mlnb.registry.lineage import Lineage
from mlnb.store import signing
from mlnb.store.disk import make_folder, replacing, storing
from mlnb.store.files import PLAIN, SEALED
from mlnb.store.manifest import Fields, timestamp
from mlnb.store.tables import MODEL, VERSION
from mlnb.store.vault import is_sealed

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder
    from mlnb.store.ledger import Ledger
    from mlnb.store.vault import Vault

FORMAT = 1
LABEL = "mlnb backup 1"
MANIFEST = "backup.json"
_PURPOSE = b"mlnb backup 1\n"
_CHUNK_BYTES = 1 << 20
_DIGEST_CHARACTERS = 71
_FOLDERS = ("runs", "cache", "tuning", "predictions")
_PASSING = ("-wal", "-shm", "-journal", ".lock")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""What Python's ZIP library raises for files that are none, or not whole."""
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a backup: what it is called, how large it is, and the digest of its bytes."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole.

    Attributes
    ----------
    file : str
        Where it lies.
    digest : str
        Of the list of its members: what it is known by.
    project : str
        Name of the project's folder.
    made_at, made_by : str
        When, and by whom.
    rows, artifacts : int
        Rows of the audit log, and artifacts.
    size_bytes : int
        Of the file.
    encrypted : bool
        Whether it is sealed.
    key : str
        Id of the key that signed it.
    trusted : bool
        Whether this user trusts that key.
    missing : tuple of str
        Artifacts that are damaged, and that nothing in the ledger needs: they are not in it.
    """

    file: str
    digest: str
    project: str
    made_at: str
    made_by: str
    rows: int
    artifacts: int
    size_bytes: int
    encrypted: bool
    key: str
    trusted: bool
    missing: tuple[str, ...] = ()


def back_up(state: StateFolder, ledger: Ledger, file: Path, *, by: str) -> Backup:
    """Write all that a project's state is to one file, and read it again to see that it is whole.

    Raises
    ------
    StorageError
        If the file cannot be written; what was there before stays.
    CorruptError
        If bytes that a version needs are missing or damaged.
    RemoteError
        If the depot cannot be reached.
    """
    files = state.files
    make_folder(file.absolute().parent)
    with state.in_use(), storing(file), tempfile.TemporaryFile(dir=file.absolute().parent) as draft:
        with zipfile.ZipFile(draft, "w", allowZip64=True) as archive:
            packing = _Packing(archive)
            with ledger.read() as connection:
                needed, wanted = _pack_rows(packing, connection)
            _pack_state(packing, state)
            missing = _pack_artifacts(packing, files, needed, wanted)
            about = {"project": state.project.name, "made_at": timestamp(datetime.now(UTC)), "made_by": by}
            packing.finish(about)
        draft.seek(0)
        if files.vault is not None:
            files.vault.seal(draft, LABEL, file, mode=0o600)
        else:
            with replacing(file, mode=0o600) as target:
                shutil.copyfileobj(draft, target, _CHUNK_BYTES)
    with opened(file, files.vault) as content:
        for member in content.members:
            content.check(member)
        return content.described(missing)


class Content:
    """An opened backup, whose list of members is whole and fits its signature.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The ZIP file.
    file : Path
        Where it came from, for messages.
    """

    def __init__(self, archive: zipfile.ZipFile, file: Path) -> None:
        self._archive = archive
        self._file = file
        try:
            with archive.open(MANIFEST) as manifest:
                told = json.load(manifest)
        except (KeyError, ValueError, *_UNREADABLE) as error:
            raise _damaged(file, "its list of members is missing or cannot be read") from error
        self.about = Fields(str(file), told if isinstance(told, dict) else {})
        NewerFormatError.check(str(file), self.about.integer("format"), FORMAT, "Upgrade mlnb, then restore it.")
        listed = self.about.values("members")
        self.members = tuple(_member(name, about, file) for name, about in listed.items())
        self.digest = _digest(listed, self.about)
        if sorted([*listed, MANIFEST]) != sorted(archive.namelist()):
            raise _damaged(file, "its members are not those that it lists")
        signature, key, public = (self.about.text(name) for name in ("signature", "key", "public"))
        if not signing.fits(self.digest, signature, key, public, _PURPOSE):
            raise UntrustedError(
                f"The signature of the backup {file} is wrong: it was changed after it was made.",
                "Use another backup.",
                path=str(file),
                digest=self.digest,
                key=key,
            )

    def pieces(self, member: Member) -> Iterator[bytes]:
        """Yield the bytes of a member.

        Raises
        ------
        CorruptError
            At the end, if they are not those that were put in; as soon as there are too many.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self._archive.open(member.name) as file:
                while piece := file.read(_CHUNK_BYTES):
                    size += len(piece)
                    digest.update(piece)
                    if size > member.size_bytes:
                        break
                    yield piece
        except _UNREADABLE as error:
            raise _damaged(self._file, f"{member.name} cannot be read") from error
        if size != member.size_bytes or member.digest != "sha256:" + digest.hexdigest():
            raise _damaged(self._file, f"{member.name} is not what was put in")

    def check(self, member: Member) -> None:
        """Read a member to its end."""
        for _ in self.pieces(member):
            continue

    def rows(self, table: str) -> Iterator[dict[str, object]]:
        """Yield the rows of a table, none where the backup has no such table."""
        member = next((one for one in self.members if one.name == f"ledger/{table}.jsonl"), None)
        rest = b""
        for piece in self.pieces(member) if member is not None else ():
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, lines)

    def described(self, missing: tuple[str, ...] = ()) -> Backup:
        """Return what there is to say of it."""
        about = self.about
        return Backup(
            file=str(self._file),
            digest=self.digest,
            project=about.text("project"),
            made_at=about.text("made_at"),
            made_by=about.text("made_by"),
            rows=sum(1 for _ in self.rows("audit")),
            artifacts=sum(member.name.startswith("artifacts/") for member in self.members),
            size_bytes=self._file.stat().st_size,
            encrypted=is_sealed(self._file),
            key=about.text("key"),
            trusted=signing.trusts(about.text("key")),
            missing=missing,
        )


@contextmanager
def opened(file: Path, vault: Vault | None) -> Iterator[Content]:
    """Open a backup.

    Raises
    ------
    StorageError
        If it cannot be read.
    SecretError
        If it is encrypted and its key is not known.
    CorruptError, UntrustedError
        If it is no backup, or not as it was made.
    NewerFormatError
        If a newer mlnb made it.
    """
    with storing(file, "read"), _plain(file, vault) as plain:
        try:
            archive = zipfile.ZipFile(plain)
        except (ValueError, *_UNREADABLE) as error:
            raise _damaged(file, "it is no backup of mlnb, or was cut off") from error
        with archive:
            yield Content(archive, file)


@contextmanager
def _plain(file: Path, vault: Vault | None) -> Iterator[IO[bytes]]:
    if not is_sealed(file):
        with file.open("rb") as plain:
            yield plain
        return
    if vault is None:
        raise SecretError(
            f"The backup {file} is encrypted, and no key is known.",
            "Name the key: encryption_key in [tool.mlnb], or MLNB_ENCRYPTION_KEY.",
            name="encryption_key",
        )
    with tempfile.TemporaryFile() as plain:
        vault.unseal(file, LABEL, plain)
        plain.seek(0)
        yield plain


class _Packing:
    """Puts members into an archive and lists them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, tuple[int, str]] = {}

    def add(self, name: str, pieces: Iterable[bytes]) -> str:
        """Add a member and return its digest."""
        digest, size, waiting = hashlib.sha256(), 0, iter(pieces)
        first = next(waiting, b"")
        about = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        about.compress_type = zipfile.ZIP_DEFLATED if _shrinks(first) else zipfile.ZIP_STORED
        about._compresslevel = 1  # type: ignore[attr-defined]  # public as `compress_level` since Python 3.13
        with self._archive.open(about, "w", force_zip64=True) as member:
            for piece in chain((first,), waiting):
                digest.update(piece)
                size += len(piece)
                member.write(piece)
        self._members[name] = (size, "sha256:" + digest.hexdigest())
        return self._members[name][1]

    def finish(self, about: Mapping[str, object]) -> None:
        """Add the signed list."""
        members = {name: list(pair) for name, pair in self._members.items()}
        signature, key = signing.sign(_digest(members, Fields("", about)), _PURPOSE)
        seal = {"signature": signature, "key": key, "public": signing.own_public()}
        told = {"format": FORMAT, "mlnb": version("mlnb"), **about, "members": members, **seal}
        self._archive.writestr(MANIFEST, json.dumps(told), zipfile.ZIP_DEFLATED, 1)


def _pack_rows(packing: _Packing, connection: Connection) -> tuple[set[str], set[str]]:
    """Add every row of the ledger; return the digests of the files of versions, and those of their lineage."""
    needed, wanted = set[str](), set[str]()
    for table in MODEL.metadata.sorted_tables:
        found = connection.execute(select(table).order_by(*table.primary_key)).mappings().yield_per(1000)
        try:
            packing.add(f"ledger/{table.name}.jsonl", ((json.dumps(dict(row)) + "\n").encode() for row in found))
            if table is VERSION:
                for files, lineage in connection.execute(select(VERSION.c.files, VERSION.c.lineage)):
                    needed.update(str(digest) for digest in json.loads(files).values())
                    wanted.update(Lineage.from_json(json.loads(lineage)).digests())
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise StateError(
                f"A row of the table {table.name} of the ledger cannot be read: {error}.",
                "Run mlnb audit verify to see what is wrong.",
            ) from error
    return needed, wanted


def _pack_state(packing: _Packing, state: StateFolder) -> None:
    found = [path for folder in _FOLDERS for path in sorted((state.root / folder).rglob("*"))]
    found += sorted(state.services.glob("*/tokens.json"))
    for path in sorted(found, key=lambda path: path.suffix != ".db"):  # a log before the segments that it lists
        temporary = path.name.startswith(".tmp-") or path.name.endswith(_PASSING)
        if path.is_file() and not path.is_symlink() and not temporary:
            with suppress(FileNotFoundError):
                packing.add(f"state/{path.relative_to(state.root).as_posix()}", _content(path))


def _pack_artifacts(packing: _Packing, files: FileStore, needed: set[str], wanted: set[str]) -> tuple[str, ...]:
    here = {f"sha256:{path.name}" for tree in (PLAIN, SEALED) for path in (files.folder / tree).glob("??/*")}
    missing = []
    for digest in sorted(needed | wanted | {one for one in here if len(one) == _DIGEST_CHARACTERS}):
        try:
            packing.add(f"artifacts/{digest.removeprefix('sha256:')}", _content(files.verify(digest)))
        except CorruptError:
            if digest in needed:
                raise
            if digest in here:
                missing.append(digest)
    return tuple(missing)


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix == ".db" and file.read(len(_SQLITE)) == _SQLITE:
            yield from _database(path)
            return
        file.seek(0)
        while piece := file.read(_CHUNK_BYTES):
            yield piece


def _database(path: Path) -> Iterator[bytes]:
    """Yield a copy of a database as it is at one moment, though others write to it."""
    with tempfile.TemporaryDirectory(prefix="mlnb-backup-") as folder:
        copy = Path(folder) / "copy"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        with copy.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                yield piece


def _shrinks(first: bytes) -> bool:
    sample = first[: 1 << 16]
    return len(zlib.compress(sample, 1)) < 0.9 * len(sample)


def _digest(members: Mapping[str, object], about: Fields) -> str:
    told = {name: about.text(name) for name in ("project", "made_at", "made_by")}
    text = json.dumps([FORMAT, told, members], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _member(name: str, about: object, file: Path) -> Member:
    if isinstance(about, list) and len(about) == 2 and isinstance(about[0], int) and isinstance(about[1], str):
        return Member(name, about[0], about[1])
    raise _damaged(file, f"its list says nothing of {name}")


def _damaged(file: Path, why: str) -> CorruptError:
    return CorruptError(f"The backup {file} is damaged: {why}.", "Use another backup.", path=str(file), digest="")
