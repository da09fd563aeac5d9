"""One file becomes a project's state again: `mlnb restore FILE`, whole or not at all.

Everything is unpacked beside ``.mlnb`` and compared with the digests that the backup lists, the rows are put into a
ledger of their own and the audit log is followed there from its first row; then the folder is renamed. Where the
settings name a ledger or a depot elsewhere the rows and packages go there, before the rename, so that whoever is
interrupted can restore again. A ledger elsewhere that has rows must have those of the backup: then it stays as it is.

Effects that were waiting to be done when the backup was made are not done by the copy: the project did them.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, text, update

from mlnb.backup import Backup, Content, Member, opened
from mlnb.errors import CorruptError, NewerFormatError, UsageError
from mlnb.registry.audit import Audit
from mlnb.registry.registry import Registry
from mlnb.store.disk import make_folder, replacing, storing
from mlnb.store.folder import StateFolder
from mlnb.store.ledger import Ledger, shown
from mlnb.store.tables import AUDIT, AUDIT_HEAD, MODEL, OUTBOX, SCHEMA
from mlnb.store.vault import vault_of

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Connection

    from mlnb.settings import Settings
    from mlnb.store.files import FileStore

_ARTIFACT = re.compile(r"artifacts/([0-9a-f]{64})")
_PLACES = ("runs", "cache", "tuning", "predictions", "services")
_PRIVATE = {"tokens.json"}
_MANY = 500


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes
    ----------
    backup : Backup
        From what.
    state : str
        The folder that holds it now.
    ledger : str
        Where the rows are.
    intact : bool
        Whether the audit log is whole; a log that was broken when the backup was made, still is.
    sentence : str
        What the audit log's verification says.
    """

    backup: Backup
    state: str
    ledger: str
    intact: bool
    sentence: str


def restore(file: Path, project: Path, settings: Settings, *, by: str) -> Restored:
    """Make a project's state out of a backup.

    Raises
    ------
    UsageError
        If the project has a state already, or its ledger elsewhere holds other rows.
    StorageError
        If it cannot be read or written; nothing of it stays then.
    CorruptError, UntrustedError
        If the backup is not as it was made.
    NewerFormatError
        If a newer mlnb made it.
    RemoteError
        If the depot cannot be reached.
    """
    project = project.absolute()
    _check_empty(project)
    with opened(file, vault_of(settings, project)) as content:
        schema = next((row["number"] for row in content.rows("ledger_schema")), 0)
        known = isinstance(schema, int) and schema > 0
        if not known:
            raise CorruptError(f"The backup {file} holds no ledger.", "Use another one.", path=str(file), digest="")
        NewerFormatError.check(f"The ledger in {file}", int(str(schema)), SCHEMA, "Upgrade mlnb, then restore it.")
        draft = project / f".mlnb.restoring-{secrets.token_hex(4)}"
        try:
            verified = _unpacked(content, draft, project, settings)
            with storing(project / ".mlnb"):
                shutil.rmtree(project / ".mlnb", ignore_errors=True)  # `_check_empty` has seen that it holds nothing
                draft.rename(project / ".mlnb")
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        backup = content.described()
    state = StateFolder.open(project, settings.shared_cache, settings)
    with Ledger(state.ledger) as ledger:
        detail = {"backup": backup.digest, "made_at": backup.made_at, "made_by": backup.made_by, "key": backup.key}
        Audit(ledger).record(by, "restore", project.name, detail)
        return Restored(backup, str(state.root), str(ledger.name), *verified)


def _check_empty(project: Path) -> None:
    state = project / ".mlnb"
    holds = _has_rows(state / "ledger.db") or any(
        any((state / name).rglob("*")) for name in ("runs", "cache", "artifacts", "services", "predictions")
    )
    if holds:
        raise UsageError(
            f"{project} has a state already: {state}.",
            "Move it away, or restore into another folder: mlnb restore FILE --project DIR.",
        )


def _has_rows(path: Path) -> bool:
    if not path.exists():
        return False
    with Ledger(path) as ledger, ledger.read() as connection:
        return any(connection.scalar(select(func.count()).select_from(table)) for table in (AUDIT, MODEL))


def _unpacked(content: Content, draft: Path, project: Path, settings: Settings) -> tuple[bool, str]:
    """Unpack everything below `draft`, and what belongs elsewhere there; say what verifying the audit log has found."""
    make_folder(draft)
    beside = StateFolder(draft, "", replace(settings, ledger="", artifacts=""))
    state = StateFolder(project / ".mlnb", "", settings)
    for member in content.members:
        if not member.name.startswith("ledger/"):
            _place(content, member, draft, beside.files)
    with Ledger(draft / "ledger.db") as ledger:
        with ledger.write() as connection:
            _fill(content, connection)
        report = Audit(ledger).verify(beside.files)
        depot = replace(state.files, folder=beside.files.folder)
        for version in Registry(ledger, depot).list() if depot.depot is not None else ():
            depot.keep([*version.files.values(), *filter(depot.stored, version.lineage.digests())])
    if settings.ledger:
        with storing(draft):
            for part in draft.glob("ledger.db*"):
                part.unlink()
        with Ledger(state.ledger) as ledger, ledger.write() as connection:
            _fill(content, connection)
    (draft / "format.json").unlink(missing_ok=True)
    return report.ok, report.sentence


def _place(content: Content, member: Member, draft: Path, files: FileStore) -> None:
    """Put one member where it belongs: nowhere else than below `draft`."""
    artifact = _ARTIFACT.fullmatch(member.name)
    path = PurePosixPath(member.name)
    inside = path.parts[:1] == ("state",) and len(path.parts) > 2 and path.parts[1] in _PLACES
    if artifact is None and (not inside or ".." in path.parts or path.as_posix() != member.name or "\\" in path.name):
        raise CorruptError(
            f"The backup holds {member.name!r}, which mlnb does not write.", "Do not use it.", path="", digest=""
        )
    if artifact is None:
        target = draft.joinpath(*path.parts[1:])
        make_folder(target.parent)
        with replacing(target, mode=0o600 if target.name in _PRIVATE else 0o644) as file:
            for piece in content.pieces(member):
                file.write(piece)
        return
    part = make_folder(files.folder) / f".tmp-{secrets.token_hex(8)}"
    with storing(part):
        try:
            with part.open("xb") as file:
                for piece in content.pieces(member):
                    file.write(piece)
            if member.digest != f"sha256:{artifact[1]}":
                raise CorruptError(
                    f"The backup holds an artifact under the name {artifact[1]} that is another.",
                    "Do not use it.",
                    digest=artifact[1],
                )
            (files.adopt if files.vault is None else files.put)(part)
        finally:
            part.unlink(missing_ok=True)


def _fill(content: Content, connection: Connection) -> None:
    """Put the rows of a backup into a new ledger; leave one that has them already."""
    if connection.scalar(select(func.count()).select_from(AUDIT)):
        _check_same(content, connection)
        return
    if connection.scalar(select(func.count()).select_from(MODEL)):
        raise _other(connection)
    connection.execute(delete(AUDIT_HEAD))
    for table in MODEL.metadata.sorted_tables:
        if table.name != "ledger_schema":
            _insert(connection, table, content.rows(table.name))
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    waiting = update(OUTBOX).where(OUTBOX.c.done_at == "")
    connection.execute(waiting, {"done_at": at, "problem": "Not done: this ledger was restored from a backup."})
    if connection.dialect.name == "postgresql":
        _count_on(connection)


def _insert(connection: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    waiting = iter(rows)
    while chunk := list(islice(waiting, _MANY)):
        try:
            connection.execute(insert(table), chunk)
        except TypeError as error:
            raise CorruptError(
                f"Rows of the table {table.name} in the backup cannot be read: {error}.", "Use another one.", digest=""
            ) from error


def _count_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that came with their numbers."""
    for table in MODEL.metadata.sorted_tables:
        counted = [column.name for column in table.primary_key if column is table.autoincrement_column]
        for name in counted:
            last = connection.scalar(select(func.max(table.c[name])))
            if last is not None:
                sequence = text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)")
                connection.execute(sequence, {"table": table.name, "column": name, "last": last})


def _check_same(content: Content, connection: Connection) -> None:
    """Refuse a ledger whose log does not begin with the rows of the backup."""
    head = next(iter(content.rows("audit_head")), {})
    found = connection.scalar(select(AUDIT.c.digest).where(AUDIT.c.id == head.get("rows")))
    if found is None or found != head.get("digest"):
        raise _other(connection)


def _other(connection: Connection) -> UsageError:
    name = shown(connection.engine.url)
    return UsageError(
        f"The ledger {name} holds other rows than the backup.", "Name an empty database: ledger in [tool.mlnb]."
    )
