"""The tables beside the audit log are compared with what the log says was done.

A row of the log keeps the digest of the row that its act wrote (`mlnb.registry.signed.record_of`), or what it wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Table, select
from sqlalchemy.engine import Connection, RowMapping

from mlnb.registry.signed import effect_record, record_of
from mlnb.store.tables import ALARM, ALIAS, APPROVAL, MODEL, OUTBOX, PROMOTION, TAG, VERSION

Fault = tuple[int, str]
"""Id of the audit row that is contradicted (0 where none speaks of it), and the sentence."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the log says of a row elsewhere.

    Attributes
    ----------
    act : int
        The audit row that says it.
    record : str
        Digest of the row.
    seal, key : str
        Of a version: its signature.
    """

    act: int
    record: str
    seal: str = ""
    key: str = ""


class Acts:
    """What the rows of a log whose chain is whole say, row by row.

    Attributes
    ----------
    versions, promotions, approvals, alarms, effects : dict of str to Said
        By reference, or by id.
    tags : dict
        By reference and name: the audit row and the value.
    signed : dict of int to str
        The rows at which the head was signed, with their digests.
    unsigned : int
        Moves of aliases from the time before signatures.
    unsigned_after_signed : int
        The first move that is not signed although one before it is; 0 for none.
    renamed : tuple of int and str
        The first row that speaks of a version as something else than what was registered, and the version; 0 for none.
    unreadable : int
        The first row that does not say what a row of its action says; 0 for none.
    """

    def __init__(self) -> None:
        self.versions: dict[str, Said] = {}
        self.promotions: dict[str, Said] = {}
        self.approvals: dict[str, Said] = {}
        self.alarms: dict[str, Said] = {}
        self.effects: dict[str, Said] = {}
        self.tags: dict[tuple[str, str], tuple[int, str]] = {}
        self.signed: dict[int, str] = {}
        self.unsigned = 0
        self.unsigned_after_signed = 0
        self.renamed = (0, "")
        self.unreadable = 0

    def take(self, row: RowMapping) -> None:
        """Read the next row of ``audit``."""
        try:
            self._take(row)
        except (ValueError, TypeError, KeyError, AttributeError):  # somebody wrote it who knows the chain alone
            self.unreadable = self.unreadable or int(row["id"])

    def _take(self, row: RowMapping) -> None:
        number, action, subject = row["id"], row["action"], row["subject"]
        if action in ("register", "vouch"):
            detail = json.loads(row["detail"])
            seal, key = str(detail.get("seal", "")), str(detail.get("key", ""))
            before = self.versions.get(subject)
            if before is not None and before.record != detail["record"] and not self.renamed[0]:
                self.renamed = (number, subject)
            self.versions[subject] = Said(number, detail["record"], seal, key)
        elif action in ("promote", "rollback"):
            self._take_move(number, row["digest"], json.loads(row["detail"]))
        elif action == "retrain":
            self._take_effects(number, json.loads(row["detail"]))
        elif action == "approve":
            detail = json.loads(row["detail"])
            self.approvals[str(detail["approval"])] = Said(number, detail["record"])
        elif action in ("alarm", "acknowledge"):
            detail = json.loads(row["detail"])
            self.alarms[str(detail["alarm"])] = Said(number, detail["record"])
            self._take_effects(number, detail)
        elif action == "tag":
            detail = json.loads(row["detail"])
            self.tags[subject, detail["name"]] = (number, detail["value"])
        elif action == "untag":
            self.tags.pop((subject, json.loads(row["detail"])["name"]), None)

    def _take_move(self, number: int, digest: str, detail: dict[str, object]) -> None:
        self.promotions[str(detail["promotion"])] = Said(number, str(detail["record"]))
        self._take_effects(number, detail)
        if detail.get("signed") is True:
            self.signed[number] = digest
        elif self.signed:
            self.unsigned_after_signed = self.unsigned_after_signed or number
        else:
            self.unsigned += 1

    def _take_effects(self, number: int, detail: dict[str, object]) -> None:
        effects = detail.get("effects", {})
        if isinstance(effects, dict):
            self.effects.update({str(key): Said(number, str(record)) for key, record in effects.items()})


def reconcile(connection: Connection, acts: Acts) -> Iterator[Fault]:
    """Yield the first contradiction of each kind between the log and the other tables."""
    if acts.unreadable:
        yield acts.unreadable, f"Row {acts.unreadable} of the audit log does not say what a row of its action says."
    if acts.renamed[0]:
        act, ref = acts.renamed
        yield act, f"Row {act} of the audit log vouches for {ref}, which is not what was registered under that name."
    checks = (
        _compare("Version", acts.versions, _records(connection, VERSION, "{model}/{number}")),
        _compare("Promotion", acts.promotions, _records(connection, PROMOTION, "{id}")),
        _compare("Approval", acts.approvals, _records(connection, APPROVAL, "{id}")),
        _compare("Alarm", acts.alarms, _records(connection, ALARM, "{id}")),
        _compare("Effect", acts.effects, _effects(connection)),
        _fault_of_tags(connection, acts),
        _fault_of_aliases(connection),
        _fault_of_models(connection),
    )
    yield from (fault for fault in checks if fault is not None)


def _records(connection: Connection, table: Table, key: str) -> Iterator[tuple[str, Said]]:
    rows = connection.execute(select(table)).mappings().yield_per(1000)
    if table is VERSION:
        return ((key.format(**row), Said(0, record_of(row), row["seal"], row["key"])) for row in rows)
    return ((key.format(**row), Said(0, record_of(row))) for row in rows)


def _effects(connection: Connection) -> Iterator[tuple[str, Said]]:
    rows = connection.execute(select(OUTBOX)).mappings().yield_per(1000)
    return ((str(row["id"]), Said(0, effect_record(row))) for row in rows)


def _compare(kind: str, said: dict[str, Said], found: Iterator[tuple[str, Said]]) -> Fault | None:
    left = dict(said)
    for key, now in found:
        then = left.pop(key, None)
        if then is None:
            return 0, f"{kind} {key} is in the ledger, but no row of the audit log made it."
        if (now.record, now.seal, now.key) != (then.record, then.seal, then.key):
            return then.act, f"{kind} {key} was altered after row {then.act} of the audit log had recorded it."
    if left:
        key, then = min(left.items(), key=lambda item: item[1].act)
        return then.act, f"{kind} {key} was removed after row {then.act} of the audit log had recorded it."
    return None


def _fault_of_tags(connection: Connection, acts: Acts) -> Fault | None:
    left = dict(acts.tags)
    for row in connection.execute(select(TAG)).mappings():
        ref = f"{row['model']}/{row['number']}"
        act, value = left.pop((ref, row["name"]), (0, ""))
        if not act:
            return 0, f"The tag {row['name']} of {ref} is in the ledger, but no row of the audit log made it."
        if value != row["value"]:
            return act, f"The tag {row['name']} of {ref} was altered after row {act} of the audit log had recorded it."
    for (ref, name), (act, _) in left.items():
        return act, f"The tag {name} of {ref} was removed after row {act} of the audit log had recorded it."
    return None


def _fault_of_aliases(connection: Connection) -> Fault | None:
    """Replay the promotions: each lies on the one that held the alias before, a rollback takes some of them away."""
    tops: dict[tuple[str, str], tuple[int, int]] = {}
    beneath: dict[int, int] = {}
    for row in connection.execute(select(PROMOTION).order_by(PROMOTION.c.id)).mappings().yield_per(1000):
        if row["kind"] == "promote":
            top = row["id"]
            beneath[top] = row["beneath"]
        else:  # before schema 2 a rollback did not say where it leads to: to the one beneath
            top = row["beneath"] or beneath.get(row["undoes"], 0)
        tops[row["model"], row["alias"]] = (row["to_number"], top)
    for row in connection.execute(select(ALIAS)).mappings():
        if tops.pop((row["model"], row["name"]), None) != (row["number"], row["promotion"]):
            return 0, f"The alias {row['model']}@{row['name']} was moved to {row['number']} without a promotion."
    for model, alias in tops:
        return 0, f"The alias {model}@{alias} was removed without a promotion."
    return None


def _fault_of_models(connection: Connection) -> Fault | None:
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    columns = (VERSION.c.model, VERSION.c.number, VERSION.c.created_at)
    for model, number, created_at in connection.execute(select(*columns)).yield_per(1000):
        counts[model] = counts.get(model, 0) + 1
        if number == 1:
            first[model] = created_at
    for row in connection.execute(select(MODEL)).mappings():
        name, has = row["name"], counts.pop(row["name"], 0)
        if has != row["last_number"]:
            return 0, f"The model {name} counts {row['last_number']} versions, but has {has}."
        if row["created_at"] != first.get(name):
            return 0, f"The time of the model {name} is not that of its first version."
    for name in counts:
        return 0, f"The model {name} was removed, but has versions."
    return None
