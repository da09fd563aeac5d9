"""A ledger and its artifacts become a report: whether everything is what was written, and if not, what and where.

What is looked at: the chain of the audit log and its head; the signatures of the head; the rows of versions,
promotions, aliases, tags, approvals and effects against what the log says was done; the signatures of versions; the
bytes of their files, and of those sources in their lineage that are still here. One pass over each table: the time
grows with the rows, the memory with versions and promotions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import CorruptError, StorageError
from mlnb.registry.canonical import digest_of_row
from mlnb.registry.reconcile import Acts, Fault, reconcile
from mlnb.registry.rows import version_of
from mlnb.registry.signed import examine_head, examine_version
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.signing import Ring
from mlnb.store.tables import AUDIT, AUDIT_HEAD, AUDIT_SIGNATURE, NO_DIGEST, VERSION

_SEALED = ("id", "at", "actor", "action", "subject", "detail", "previous")
_MOST = 20
"""Artifacts that are named; of more only the number is told."""


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
        What was found, or the first of it.
    faults : tuple of str
        Everything that was found, a sentence each; after a break of the chain nothing else is looked at.
    notes : tuple of str
        What a reader must know to judge that: who signed, what is not covered.
    """

    ok: bool
    rows: int
    first_bad: int
    sentence: str
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verify_ledger(ledger: Ledger, ring: Ring, store: FileStore | None) -> AuditReport:
    """Look at all rows in one reading transaction; after it at the bytes of artifacts, where a store is given."""
    with ledger.read() as connection:
        report, versions = _read(connection, ring, store)
    if store is None or not report.ok:
        return report
    looked_at: set[str] = set()
    faults = [fault for row in versions for fault in _faults_of_files(row, store, looked_at)]
    if not faults:
        return report
    sentences = tuple(sentence for _, sentence in faults)
    return AuditReport(False, report.rows, *faults[0], faults=sentences)


def _read(connection: Connection, ring: Ring, store: FileStore | None) -> tuple[AuditReport, list[_Kept]]:
    """Return what the rows say, and which files there must be."""
    chain, acts = _Chain(), Acts()
    versions: list[_Kept] = []
    for fields in connection.execute(select(AUDIT).order_by(AUDIT.c.id)).mappings().yield_per(1000):
        if chain.take(fields):
            acts.take(fields)
    head = connection.execute(select(AUDIT_HEAD)).mappings().all()
    broken = chain.fault or chain.fault_of_head(head)
    if broken:
        return AuditReport(False, chain.rows, *broken, faults=(broken[1],)), versions
    signatures = _Signatures(connection, acts, ring)
    faults = [*signatures.faults, *reconcile(connection, acts)]
    if not faults:
        faults = list(_faults_of_versions(connection, acts, ring, versions))
    if faults:
        sentences = tuple(sentence for _, sentence in faults)
        return AuditReport(False, chain.rows, *faults[0], faults=sentences), versions
    count = "1 row" if chain.rows == 1 else f"{chain.rows} rows"
    sentence = f"The audit log is intact: {count}, head {chain.digest}."
    notes = _notes(chain.rows, acts, signatures, ring, store)
    return AuditReport(True, chain.rows, 0, sentence, notes=notes), versions


@dataclass(frozen=True, slots=True)
class _Kept:
    """A version's files by name and the sources it was made of, by digest; and the audit row that tells of it."""

    act: int
    ref: str
    files: Mapping[str, str]
    sources: tuple[str, ...]


class _Chain:
    """Follows the rows from the first; `fault` is the first one found, as (row, sentence)."""

    def __init__(self) -> None:
        self.rows = 0
        self.digest = NO_DIGEST
        self.fault: Fault | None = None

    def take(self, fields: RowMapping) -> bool:
        """Look at the next row; say whether all rows up to it are whole."""
        self.rows += 1
        if self.fault is None:
            self.fault = self._fault_of(fields)
            self.digest = fields["digest"]
        return self.fault is None

    def fault_of_head(self, head: Sequence[RowMapping]) -> Fault | None:
        said = [(fields["id"], fields["rows"], fields["digest"]) for fields in head]
        if said == [(1, self.rows, self.digest)]:
            return None
        if len(said) == 1 and isinstance(said[0][1], int) and said[0][1] > self.rows:
            first, last = self.rows + 1, said[0][1]
            lost = f"row {last} was" if first == last else f"rows {first} to {last} were"
            return first, f"The audit log ends too early: {lost} removed."
        return self.rows, "The head of the audit log was altered, or rows were added past it."

    def _fault_of(self, fields: RowMapping) -> Fault | None:
        expected = self.rows
        if fields["id"] != expected:
            return expected, f"Row {expected} of the audit log was removed or moved."
        if fields["digest"] != digest_of_row({name: fields[name] for name in _SEALED}):
            return expected, f"Row {expected} of the audit log was altered."
        if fields["previous"] != self.digest:
            return expected, f"Row {expected} of the audit log does not follow row {expected - 1}: one was replaced."
        return None


class _Signatures:
    """Compares the signatures of the head with the acts that say they are signed."""

    def __init__(self, connection: Connection, acts: Acts, ring: Ring) -> None:
        self.by_key: Counter[str] = Counter()
        self.last = 0
        self.faults: list[Fault] = []
        left = dict(acts.signed)
        rows = connection.execute(select(AUDIT_SIGNATURE).order_by(AUDIT_SIGNATURE.c.id)).mappings().yield_per(1000)
        for row in rows:
            fault = self._fault_of(row, left, ring)
            if fault:
                self.faults.append(fault)
                return
        if left:
            first = min(left)
            self.faults.append((first, f"The signature of row {first} of the audit log was removed."))
        elif acts.unsigned_after_signed:
            row_id = acts.unsigned_after_signed
            self.faults.append((row_id, f"Row {row_id} of the audit log moves an alias and is not signed."))

    def _fault_of(self, row: RowMapping, left: dict[int, str], ring: Ring) -> Fault | None:
        number = row["rows"] if isinstance(row["rows"], int) else 0
        if left.pop(number, None) != row["digest"]:
            return number, f"A signature of the audit log was altered or added: it names row {row['rows']}."
        finding = examine_head(row, ring)
        if finding == "wrong":
            return number, f"The signature of row {number} of the audit log is wrong: it was altered or forged."
        if finding == "unknown":
            return number, (
                f"Row {number} of the audit log is signed by the key {row['key']}, which you do not trust: nobody can "
                "say that it was not forged. If you trust the key's owner: mlnb doctor --trust FILE.pub."
            )
        self.by_key[row["key"]] += 1
        self.last = max(self.last, number)
        return None


def _faults_of_versions(connection: Connection, acts: Acts, ring: Ring, versions: list[_Kept]) -> Iterator[Fault]:
    """Look at the signature of each version, and write down the files that it needs."""
    for row in connection.execute(select(VERSION)).mappings().yield_per(1000):
        ref = f"{row['model']}/{row['number']}"
        act = acts.versions[ref].act
        finding = examine_version(row, ring)
        if finding == "wrong":
            yield act, f"The signature of {ref} is wrong: it was altered or forged."
        elif finding == "unknown" and row["key"]:
            yield (
                act,
                f"{ref} is signed by the key {row['key']}, which you do not trust: nobody can say that it was not "
                "forged. If you trust the key's owner: mlnb doctor --trust FILE.pub.",
            )
        try:
            version = version_of(row)
        except CorruptError as error:
            yield act, error.problem
        else:
            versions.append(_Kept(act, ref, version.files, version.lineage.digests()))


def _faults_of_files(kept: _Kept, store: FileStore, looked_at: set[str]) -> Iterator[Fault]:
    """Read what the version is made of, and what is still here of what it comes from."""
    files = [(digest, f"The file {name} of") for name, digest in sorted(kept.files.items())]
    sources = [(digest, "A source of") for digest in kept.sources if store.stored(digest)]
    for digest, what in [*files, *sources]:
        if digest in looked_at:
            continue
        try:
            store.verify(digest)
        except (CorruptError, StorageError) as error:
            yield kept.act, f"{what} {kept.ref} is not what was registered: {error.problem}"
        else:
            looked_at.add(digest)


def _notes(rows: int, acts: Acts, signatures: _Signatures, ring: Ring, store: FileStore | None) -> tuple[str, ...]:
    """Return what a reader must know to judge a log that is intact."""
    notes = []
    if signatures.by_key:
        keys = [f"{key}{' (yours)' if key == ring.own else ''} {count}" for key, count in signatures.by_key.items()]
        after = rows - signatures.last
        tail = f"; {after} after the last signature" if after else ""
        notes.append(f"Signed up to row {signatures.last}{tail}. Signatures by key: {', '.join(sorted(keys))}.")
    if acts.unsigned:
        notes.append(f"{acts.unsigned} moves of aliases are not signed: an mlnb before 0.2 made them.")
    unsigned = sorted(ref for ref, said in acts.versions.items() if not said.key)
    if unsigned:
        named = ", ".join(unsigned[:_MOST]) + (" ..." if len(unsigned) > _MOST else "")
        notes.append(f"Not signed, because an mlnb before 0.2 registered them: {named}.")
    if store is None:
        notes.append("The bytes of the artifacts were not looked at.")
    elif store.depot is not None:
        notes.append(f"Of the artifacts the copies here were read; from {store.depot.name} only what is not here.")
    return tuple(notes)
