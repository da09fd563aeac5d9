"""What a project keeps becomes less by what nothing needs: `mlnb gc`.

*Needed* is every digest that is written anywhere in the ledger (versions, audit rows, outbox), in a run, a cache entry,
a study or a service, every digest inside what is needed itself, and every run and Bento that the ledger names. The rest
is garbage: artifacts, Bentos that no service was started from and that are not the newest of their model, what was left
by processes that were killed; and, only where an age is given, old runs and the cache entries that no other run has
used. Whatever is younger than an hour (a day in a depot, which other machines write too) stays.

Runs and deployments hold the collector off (`mlnb.store.folder.StateFolder.in_use`). What is removed is first taken out
of what makes it count, a run's record, a Bento's description, then removed: killed at any moment, the collector leaves
a project that lacks nothing. It is nobody's record: nothing of the ledger is touched.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from mlnb.errors import CorruptError, UsageError
from mlnb.run.history import list_runs
from mlnb.service.started import read_started
from mlnb.store.disk import storing
from mlnb.store.files import PLAIN, SEALED
from mlnb.store.process import alive
from mlnb.store.tables import MODEL

if TYPE_CHECKING:
    from mlnb.store.depot import Depot
    from mlnb.store.files import FileStore
    from mlnb.store.folder import StateFolder
    from mlnb.store.ledger import Ledger

YOUNG = timedelta(hours=1)
YOUNG_ELSEWHERE = timedelta(days=1)
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_RUN = re.compile(rb"\d{8}-\d{6}-[0-9a-f]{6}")
_BENTO = re.compile(rb"[0-9a-f]{16}")
_PART = re.compile(r"[0-9a-f]{64}\.tmp-[0-9a-f]{16}")
_SCANNED_BYTES = 4 << 20
"""An artifact up to this size that is JSON may name others: a larger one is a value."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that nothing needs.

    Attributes
    ----------
    kind : str
        ``artifact``, ``bento``, ``leftover``, ``run``, ``cache`` or ``object`` (in the depot).
    name : str
        Its path below ``.mlnb``, or its name in the depot.
    size_bytes : int
        What its removal frees.
    """

    kind: str
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed, or would be.

    Attributes
    ----------
    pieces : tuple of Garbage
        By kind and name.
    kept : int
        Artifacts that are needed.
    dry : bool
        Whether nothing was removed.
    """

    pieces: tuple[Garbage, ...]
    kept: int
    dry: bool

    @property
    def size_bytes(self) -> int:
        """What the removal frees."""
        return sum(piece.size_bytes for piece in self.pieces)

    def counts(self) -> dict[str, object]:
        """Return how many of each kind."""
        return dict(sorted(Counter(piece.kind for piece in self.pieces).items()))

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        pieces = [{"kind": one.kind, "name": one.name, "size_bytes": one.size_bytes} for one in self.pieces]
        return {"dry": self.dry, "size_bytes": self.size_bytes, "kept": self.kept, "pieces": pieces}


@dataclass(frozen=True, slots=True)
class _Named:
    """What the ledger names: digests, runs, and what may be the digest of a Bento."""

    digests: set[bytes]
    runs: set[bytes]
    bentos: set[bytes]


def collect(
    state: StateFolder,
    ledger: Ledger,
    *,
    dry: bool = False,
    older_than: timedelta | None = None,
    depot: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Collected:
    """Remove what nothing needs.

    Parameters
    ----------
    dry : bool
        Only say what would be removed.
    older_than : timedelta
        Runs and cache entries of that age may go as well, if no version, no audit row and no younger run needs them.
        None keeps all.
    depot : bool
        Also look through the depot. Only right where no other ledger keeps its packages at the same address.

    Raises
    ------
    StateError
        If a run or deployment is going on.
    UsageError
        If there is no depot to look through.
    """
    at = now()
    with state.alone():
        facts = _facts(ledger)
        runs, entries = _old(state, facts, at - older_than) if older_than is not None else ([], [])
        needed = _needed(state, facts, {path.resolve() for path in (*runs, *entries)})
        swept = _Sweep(state.root, (at - YOUNG).timestamp(), dry)
        swept.folders("run", runs, first="run.json")
        swept.files("cache", entries)
        swept.folders("bento", _bentos(state, facts), first="bento.yaml")
        kept = swept.artifacts(state.artifacts, needed)
        swept.leftovers(state, (at - YOUNG_ELSEWHERE).timestamp())
        pieces = swept.pieces
    if depot:
        found = state.files.depot
        if found is None:
            raise UsageError("There is no depot to look through.", "Name its address: artifacts in [tool.mlnb].")
        pieces += _elsewhere(found, _facts(ledger).digests, at - YOUNG_ELSEWHERE, dry)
    return Collected(tuple(sorted(pieces, key=lambda piece: (piece.kind, piece.name))), kept, dry)


def _facts(ledger: Ledger) -> _Named:
    """Return all that any row of any table of the ledger names."""
    named = _Named(set(), set(), set())
    with ledger.read() as connection:
        for table in MODEL.metadata.sorted_tables:
            for row in connection.execute(select(table)).yield_per(1000):
                text = "\n".join(value for value in row if isinstance(value, str)).encode()
                named.digests.update(_DIGEST.findall(text))
                named.runs.update(_RUN.findall(text))
                named.bentos.update(_BENTO.findall(text))
    return named


def _old(state: StateFolder, facts: _Named, before: datetime) -> tuple[list[Path], list[Path]]:
    """Return the folders of runs and the files of cache entries that are older and that nothing else needs."""
    runs, kept, newest = [], set(facts.digests), set[str]()
    tuning = b"".join(path.read_bytes() for path in (state.root / "tuning").glob("*.log"))
    for record in list_runs(state):  # newest first
        young = datetime.fromisoformat(record.started_at) >= before
        live = record.state == "running" and alive(record.process)
        named = record.id.encode() in facts.runs or record.id.encode() in tuning
        if young or live or named or record.notebook not in newest:
            kept.update(_DIGEST.findall((state.runs / record.id / "run.json").read_bytes()))
        else:
            runs.append(state.runs / record.id)
        newest.add(record.notebook)
    entries = []
    for path in state.cache.glob("*.json"):
        with suppress(FileNotFoundError):
            if path.stem.encode() not in kept and path.stat().st_mtime < before.timestamp():
                entries.append(path)
    return runs, entries


def _needed(state: StateFolder, facts: _Named, gone: set[Path]) -> set[bytes]:
    """Return the digests that are needed, without those that only what is to go names."""
    needed = set(facts.digests)
    for path in _texts(state):
        if not gone.isdisjoint((path.resolve(), *path.resolve().parents)):
            continue
        with suppress(FileNotFoundError), storing(path, "read"):
            needed.update(_DIGEST.findall(path.read_bytes()))
    files, waiting = state.files, list(needed)
    while waiting:
        inside = set(_DIGEST.findall(_text_of(files, f"sha256:{waiting.pop().decode()}"))) - needed
        needed |= inside
        waiting += inside
    return needed


def _texts(state: StateFolder) -> Iterator[Path]:
    """Yield every file of the project's state that may name an artifact."""
    for path in state.root.iterdir():
        if path.is_file() and path.suffix == ".json" and path.name != "digests.json":
            yield path
    for folder in (state.runs, state.cache, state.services, state.root / "tuning"):
        for path in folder.rglob("*"):
            if path.suffix in (".json", ".jsonl", ".log") and path.is_file():
                yield path


def _text_of(files: FileStore, digest: str) -> bytes:
    """Return an artifact that is JSON and may name others; nothing where it is a value, or not here."""
    stored = files.stored(digest)
    try:
        if stored is None or stored.stat().st_size > _SCANNED_BYTES:
            return b""
        with files.path(digest).open("rb") as file:
            first = file.read(1)
            return first + file.read() if first in (b"{", b"[") else b""
    except (CorruptError, FileNotFoundError):
        return b""


def _bentos(state: StateFolder, facts: _Named) -> list[Path]:
    """Return the Bentos that no service was started from, the ledger does not name, and newer ones have replaced."""
    used = set()
    for folder in state.services.glob("*/"):
        started = read_started(folder)
        if started is not None:
            used.add(Path(started.bento).resolve())
    found = []
    for model in (state.root / "bentoml" / "bentos").glob("*/"):
        built = sorted((path.stat().st_mtime, path.parent) for path in model.glob("*/bento.yaml"))
        found += [
            bento
            for _, bento in built[:-1]
            if bento.resolve() not in used and bento.name.encode() not in facts.bentos and bento.name != _latest(model)
        ]
    return found


def _latest(model: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (model / "latest").read_text("utf-8").strip()
    return ""


class _Sweep:
    """Removes, or only notes, what is old enough."""

    def __init__(self, root: Path, before: float, dry: bool) -> None:
        self.pieces: list[Garbage] = []
        self._root = root
        self._before = before
        self._dry = dry

    def folders(self, kind: str, paths: Iterable[Path], first: str) -> None:
        """Remove folders: first the file that makes them count, then the rest."""
        for path in paths:
            with suppress(FileNotFoundError):
                if (path / first).stat().st_mtime < self._before:
                    self._note(kind, path, _size(path))
                    self._remove(path / first)
                    self._remove_tree(path)

    def files(self, kind: str, paths: Iterable[Path]) -> None:
        """Remove files."""
        for path in paths:
            with suppress(FileNotFoundError):
                about = path.stat()
                if about.st_mtime < self._before:
                    self._note(kind, path, about.st_size)
                    self._remove(path)

    def artifacts(self, folder: Path, needed: set[bytes]) -> int:
        """Remove artifacts that are not needed, and stamps without an artifact; return how many are needed."""
        kept = 0
        for tree in (PLAIN, SEALED):
            for path in (folder / tree).glob("??/*"):
                if path.name.encode() in needed:
                    kept += 1
                elif len(path.name) == 64:
                    self.files("artifact", [path])
        for path in (folder / "stamps").glob("??/*"):
            if not (folder / PLAIN / path.parent.name / path.name).is_file() and not self._dry:
                path.unlink(missing_ok=True)
        return kept

    def leftovers(self, state: StateFolder, before: float) -> None:
        """Remove what processes that were killed have left half done."""
        self._before = before
        self.files("leftover", (*state.artifacts.glob(".tmp-*"), *state.artifacts.glob("*/*/.tmp-*")))
        halves = [
            *(path for path in state.runs.iterdir() if path.is_dir() and not (path / "run.json").exists()),
            *(path for path in (state.root / "bentoml").glob(".build-*")),
            *(path for path in (state.root / "bentoml" / "bentos").glob("*/*/") if not (path / "bento.yaml").exists()),
        ]
        for path in halves:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < self._before:
                    self._note("leftover", path, _size(path))
                    self._remove_tree(path)

    def _note(self, kind: str, path: Path, size_bytes: int) -> None:
        self.pieces.append(Garbage(kind, path.relative_to(self._root).as_posix(), size_bytes))

    def _remove(self, path: Path) -> None:
        if not self._dry:
            with storing(path, "removed"):
                path.unlink()

    def _remove_tree(self, path: Path) -> None:
        if not self._dry:
            with storing(path, "removed"):
                shutil.rmtree(path)


def _elsewhere(depot: Depot, needed: set[bytes], before: datetime, dry: bool) -> list[Garbage]:
    """Remove objects of the depot that no row of the ledger names.

    An object that is put again while this goes on is young again (`mlnb.store.depot.Depot.push`), so it stays.
    """
    pieces = []
    for tree in (PLAIN, SEALED):
        for one in depot.objects(tree):
            name = one.name.rpartition("/")[2]
            ours = len(name) == 64 or _PART.fullmatch(name)
            if one.older(before) and ours and name.encode() not in needed:
                if not dry and not depot.remove_older(one.name, before):
                    continue
                pieces.append(Garbage("object", one.name, one.size_bytes))
    return pieces


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
