"""Every act becomes a row that holds the digest of the row before it: what is altered afterwards, shows.

Format 1 of a row's digest: sha256 of the canonical JSON of ``{"id", "at", "actor", "action", "subject", "detail",
"previous"}``, where ``detail`` is itself the text of canonical JSON. The number and the digest of the last row are kept
in ``audit_head``, so that a row cut off at the end shows too. Rows that record an act name in ``detail.record`` the
digest of what the act wrote in the other tables; `verify` compares those as well (see `mlnb.registry.reconcile`).

Who may write to the database file can rewrite all of it, chain and head included; this finds accidents and lazy
forgers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import CorruptError
from mlnb.registry.canonical import canonical, digest_of, storable, time_text
from mlnb.registry.reconcile import reconcile
from mlnb.store.ledger import AUDIT, AUDIT_HEAD, NO_DIGEST, Ledger

_SEALED = ("id", "at", "actor", "action", "subject", "detail", "previous")


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


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


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What verification found.

    Attributes
    ----------
    ok : bool
        Whether everything is as it was written.
    rows : int
        Rows of the log that are there.
    first_bad : int
        Id of the first row that is wrong, missing, or contradicted by the other tables; 0 for none.
    sentence : str
        What was found.
    """

    ok: bool
    rows: int
    first_bad: int
    sentence: str


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
            return append(connection, self._clock(), actor, action, subject, detail)

    def log(self, subject: str = "", last: int = 0) -> tuple[AuditRow, ...]:
        """Return the rows, oldest first.

        Parameters
        ----------
        subject : str
            Only rows about this: ``delays/7``, or ``delays`` for all of the model's. Empty for all.
        last : int
            Only so many of the newest; 0 for all.
        """
        query = select(AUDIT).order_by(AUDIT.c.id.desc())
        if subject:
            about = AUDIT.c.subject
            query = query.where(
                (about == subject)
                | about.startswith(f"{subject}/", autoescape=True)
                | about.startswith(f"{subject}@", autoescape=True)
            )
        if last:
            query = query.limit(last)
        with self._ledger.read() as connection:
            return tuple(_row(fields) for fields in reversed(connection.execute(query).mappings().all()))

    def verify(self) -> AuditReport:
        """Check the chain, its head, and that versions and aliases are what the log says was done."""
        with self._ledger.read() as connection:
            chain = _Chain()
            for fields in connection.execute(select(AUDIT).order_by(AUDIT.c.id)).mappings().yield_per(1000):
                chain.take(fields)
            head = connection.execute(select(AUDIT_HEAD)).mappings().all()
            fault = chain.fault or chain.fault_of_head(head) or reconcile(connection)
        if fault:
            return AuditReport(False, chain.rows, *fault)
        count = "1 row" if chain.rows == 1 else f"{chain.rows} rows"
        return AuditReport(True, chain.rows, 0, f"The audit log is intact: {count}, head {chain.digest}.")


def append(
    connection: Connection, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, object]
) -> AuditRow:
    """Add a row in the caller's writing transaction, so that the act and its record come to be together."""
    head = connection.execute(select(AUDIT_HEAD).with_for_update()).mappings().one()
    fields: dict[str, object] = {
        "id": head["rows"] + 1,
        "at": time_text(at),
        "actor": storable(actor),
        "action": action,
        "subject": storable(subject),
        "detail": canonical(detail),
        "previous": head["digest"],
    }
    fields["digest"] = digest_of(fields)
    connection.execute(insert(AUDIT), fields)
    connection.execute(update(AUDIT_HEAD), {"rows": fields["id"], "digest": fields["digest"]})
    return _row(fields)


class _Chain:
    """Follows the rows from the first; `fault` is the first one found, as (row, sentence)."""

    def __init__(self) -> None:
        self.rows = 0
        self.digest = NO_DIGEST
        self.fault: tuple[int, str] | None = None

    def take(self, fields: RowMapping) -> None:
        self.rows += 1
        if self.fault is None:
            self.fault = self._fault_of(fields)
            self.digest = fields["digest"]

    def fault_of_head(self, head: Sequence[RowMapping]) -> tuple[int, str] | None:
        said = [(fields["id"], fields["rows"], fields["digest"]) for fields in head]
        if said == [(1, self.rows, self.digest)]:
            return None
        if len(said) == 1 and isinstance(said[0][1], int) and said[0][1] > self.rows:
            first, last = self.rows + 1, said[0][1]
            lost = f"row {last} was" if first == last else f"rows {first} to {last} were"
            return first, f"The audit log ends too early: {lost} removed."
        return self.rows, "The head of the audit log was altered, or rows were added past it."

    def _fault_of(self, fields: RowMapping) -> tuple[int, str] | None:
        expected = self.rows
        if fields["id"] != expected:
            return expected, f"Row {expected} of the audit log was removed or moved."
        sealed = {
            name: fields[name] if isinstance(fields[name], (int, str)) else repr(fields[name]) for name in _SEALED
        }
        if fields["digest"] != digest_of(sealed):
            return expected, f"Row {expected} of the audit log was altered."
        if fields["previous"] != self.digest:
            return expected, f"Row {expected} of the audit log does not follow row {expected - 1}: one was replaced."
        return None


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
