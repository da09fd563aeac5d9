"""Every act becomes a row that holds the digest of the row before it: what is altered afterwards, shows.

Format 1 of a row's digest: sha256 of the canonical JSON of ``{"id", "at", "actor", "action", "subject", "detail",
"previous"}``, where ``detail`` is itself the text of canonical JSON. The number and the digest of the last row are kept
in ``audit_head``, so that a row cut off at the end shows too, and signed at each move of an alias
(`mlnb.registry.signed`). Rows that record an act name in ``detail.record`` the digest of what the act wrote in the
other tables; `verify` compares those as well (`mlnb.registry.verification`).

Who may write to the ledger can make all of it anew, chain and head included, but not sign it with the keys of those who
have acted: those are outside. What such a person can still do is to act under their own key, and to put the ledger back
to one of its earlier states, up to the last head that was exported (`export`, `differs_from`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import CorruptError
from mlnb.registry.canonical import canonical, digest_of_row, storable, time_text, utc_now
from mlnb.registry.verification import AuditReport, verify_ledger
from mlnb.store import signing
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.prepared import Prepared, Row
from mlnb.store.tables import AUDIT, AUDIT_HEAD, AUDIT_SIGNATURE

_HEAD = Prepared(select(AUDIT_HEAD).with_for_update())
_ADD, _ADVANCE = Prepared(insert(AUDIT)), Prepared(update(AUDIT_HEAD))


_TOGETHER = 1000
"""So many rows may be of one time."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act.

    Attributes
    ----------
    id : int
        1, 2, 3 without gaps.
    at : datetime.datetime
        Aware UTC.
    actor : str
        Who did it.
    action : str
        ``register``, ``promote``, ``rollback``, ``gate-failed``, ``deploy``, ...
    subject : str
        To what: ``delays/7``, ``delays@production``.
    detail : mapping
        The rest, by action.
    digest : str
        Of this row; the next one holds it.
    """

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, object]
    digest: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "id": self.id,
            "at": time_text(self.at),
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "detail": dict(self.detail),
            "digest": self.digest,
        }


class Audit:
    """The audit log of a ledger.

    Parameters
    ----------
    ledger : Ledger
        Where the rows are.
    clock : callable
        Returns the present time, aware.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._ledger = ledger
        self._clock = clock

    def record(self, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> AuditRow:
        """Write down an act that is not a row elsewhere, in a transaction of its own: ``deploy``, ``gate-failed``."""
        with self._ledger.write() as connection:
            return _row(append(connection, self._clock(), actor, action, subject, detail))

    def log(self, subject: str = "", last: int = 0, action: str = "") -> tuple[AuditRow, ...]:
        """Return the rows, oldest first.

        Parameters
        ----------
        subject : str
            Only rows about this: ``delays/7``, or ``delays`` for all of the model's. Empty for all.
        last : int
            Only so many of the newest; 0 for all.
        action : str
            Only rows of this action; empty for all.
        """
        query = select(AUDIT).order_by(AUDIT.c.id.desc())
        if action:
            query = query.where(AUDIT.c.action == action)
        if last:
            query = query.limit(last)
        with self._ledger.read() as connection:
            if subject:
                query = query.where(_about(subject, connection.dialect.name))
            return tuple(_row(fields) for fields in reversed(connection.execute(query).mappings().all()))

    def of_move(self, alias: str, kind: str, at: datetime, to: int) -> AuditRow | None:
        """Return the row that tells of a move; None where somebody took it away.

        Parameters
        ----------
        alias, kind, at, to
            ``delays@production``, ``promote`` or ``rollback``, when, and the number of the version.
        """
        query = select(AUDIT).where(AUDIT.c.subject == alias, AUDIT.c.action == kind, AUDIT.c.at == time_text(at))
        query = query.order_by(AUDIT.c.id)
        with self._ledger.read() as connection:
            near = AUDIT.c.id.between(begin := _first_at(connection, time_text(at)), begin + _TOGETHER)
            rows = connection.execute(query.where(near)).mappings().all()
            if not rows:  # a clock that was put back: times do not rise with the rows
                rows = connection.execute(query).mappings().all()
        return next((row for row in map(_row, rows) if row.detail.get("to") == to), None)

    def verify(self, store: FileStore | None = None) -> AuditReport:
        """Check the chain, its head, the signatures, and that everything else is what the log says was done.

        Parameters
        ----------
        store : FileStore
            Where the bytes of versions are, to read them all; None leaves them out.
        """
        return verify_ledger(self._ledger, signing.ring(), store)

    def export(self) -> Iterator[dict[str, object]]:
        """Yield the log for JSON lines: each row with all that its digest covers, each signature after its row.

        A row has the fields of `AuditRow` and ``previous``; a signature has ``signs`` (the id of a row), ``digest``,
        ``at``, ``key`` and ``signature``. With the public key of the one who signed, both can be checked elsewhere.
        """
        with self._ledger.read() as connection:
            signatures = iter(connection.execute(select(AUDIT_SIGNATURE).order_by(AUDIT_SIGNATURE.c.rows)).mappings())
            signed = next(signatures, None)
            for fields in connection.execute(select(AUDIT).order_by(AUDIT.c.id)).mappings().yield_per(1000):
                yield {**_row(fields).to_json(), "previous": fields["previous"]}
                while signed is not None and signed["rows"] <= fields["id"]:
                    names = ("digest", "at", "key", "signature")
                    yield {"signs": signed["rows"], **{name: signed[name] for name in names}}
                    signed = next(signatures, None)

    def differs_from(self, lines: Iterable[str]) -> str:
        """Compare the log with an earlier export of it; return what differs first, empty where nothing does.

        Rows that came after the export are no difference. The lines are a person's file: one that cannot be read is
        said to differ.
        """
        seen = 0
        with self._ledger.read() as connection:
            for count, line in enumerate(lines, 1):
                try:
                    fields = json.loads(line)
                    number, digest = fields.get("id", fields.get("signs")), str(fields["digest"])
                except (ValueError, KeyError, AttributeError):
                    return f"Line {count} of the export is no row of an audit log."
                seen = max(seen, number if isinstance(number, int) else 0)
                if connection.scalar(select(AUDIT.c.digest).where(AUDIT.c.id == seen)) != digest:
                    return f"Row {number} of the audit log is not the one that was exported, or is gone."
        return ""


def _first_at(connection: Connection, at: str) -> int:
    """Return the id of the first row of a time, or after it, by halving: rows are without gaps, and times rise."""
    low, high = 1, int(connection.scalar(select(AUDIT_HEAD.c.rows)) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.scalar(select(AUDIT.c.at).where(AUDIT.c.id == middle))
        low, high = (middle + 1, high) if found is not None and found < at else (low, middle)
    return low


def append(
    connection: Connection, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, object]
) -> Row:
    """Add a row in the caller's writing transaction, so that the act and its record come to be together; return it."""
    (head,) = _HEAD.rows(connection)
    fields: dict[str, object] = {
        "id": head["rows"] + 1,
        "at": time_text(at),
        "actor": storable(actor),
        "action": action,
        "subject": storable(subject),
        "detail": canonical(detail),
        "previous": head["digest"],
    }
    fields["digest"] = digest_of_row(fields)
    _ADD.rows(connection, fields)
    _ADVANCE.rows(connection, {"rows": fields["id"], "digest": fields["digest"]})
    return fields


def _about(subject: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that a row is about a subject or a part of it, such that the index on subjects is used."""
    about = AUDIT.c.subject
    if dialect != "sqlite":
        parts = [about.startswith(f"{subject}{mark}", autoescape=True) for mark in "/@"]
    else:  # whose LIKE does not look at case, and so not at the index; the characters after these end the range
        parts = [(about >= f"{subject}{mark}") & (about < f"{subject}{chr(ord(mark) + 1)}") for mark in "/@"]
    return or_(about == subject, *parts)


def _row(fields: Mapping[str, object] | RowMapping) -> AuditRow:
    try:
        return AuditRow(
            id=int(str(fields["id"])),
            at=datetime.fromisoformat(str(fields["at"])),
            actor=str(fields["actor"]),
            action=str(fields["action"]),
            subject=str(fields["subject"]),
            detail=dict(json.loads(str(fields["detail"]))),
            digest=str(fields["digest"]),
        )
    except (ValueError, TypeError) as error:
        raise CorruptError(
            f"Row {fields['id']} of the audit log cannot be read.",
            "Run mlnb audit verify, and put a backup of the ledger in its place.",
            digest=str(fields["digest"]),
        ) from error
