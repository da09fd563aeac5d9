"""The tables of versions, promotions and aliases are compared with what the audit log says was done.

`record_of` is what an audit row keeps of a row in another table. Lasting: it covers every column of format 1 of the
ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from sqlalchemy import Table, select
from sqlalchemy.engine import Connection, RowMapping

from mlnb.registry.canonical import digest_of
from mlnb.store.ledger import ALIAS, AUDIT, MODEL, PROMOTION, VERSION

Fault = tuple[int, str]
"""Id of the audit row that is contradicted (0 where none speaks of it), and the sentence."""


def record_of(row: Mapping[str, object] | RowMapping) -> str:
    """Return the digest of a row of ``version`` or ``promotion``."""
    return digest_of({str(name): value if _spelt(value) else repr(value) for name, value in row.items()})


def reconcile(connection: Connection) -> Fault | None:
    """Return the first contradiction between the log, whose chain was verified, and the other tables."""
    acts = connection.execute(
        select(AUDIT.c.id, AUDIT.c.action, AUDIT.c.subject, AUDIT.c.detail)
        .where(AUDIT.c.action.in_(("register", "promote", "rollback")))
        .order_by(AUDIT.c.id)
    )
    versions: dict[str, tuple[int, str]] = {}
    promotions: dict[str, tuple[int, str]] = {}
    for number, action, subject, text in acts:
        detail = json.loads(text)
        if action == "register":
            versions[subject] = (number, detail["record"])
        else:
            promotions[str(detail["promotion"])] = (number, detail["record"])
    return (
        _compare("Version", versions, _records(connection, VERSION, "{model}/{number}"))
        or _compare("Promotion", promotions, _records(connection, PROMOTION, "{id}"))
        or _fault_of_aliases(connection)
        or _fault_of_models(connection)
    )


def _records(connection: Connection, table: Table, key: str) -> Iterator[tuple[str, str]]:
    rows = connection.execute(select(table)).mappings().yield_per(1000)
    return ((key.format(**row), record_of(row)) for row in rows)


def _compare(kind: str, said: dict[str, tuple[int, str]], found: Iterator[tuple[str, str]]) -> Fault | None:
    left = dict(said)
    for key, record in found:
        act, expected = left.pop(key, (0, ""))
        if not act:
            return 0, f"{kind} {key} is in the ledger, but no row of the audit log made it."
        if record != expected:
            return act, f"{kind} {key} was altered after row {act} of the audit log had recorded it."
    if left:
        key, (act, _) = min(left.items(), key=lambda item: item[1])
        return act, f"{kind} {key} was removed after row {act} of the audit log had recorded it."
    return None


def _fault_of_aliases(connection: Connection) -> Fault | None:
    """Replay the promotions: each lies on the one that held the alias before, a rollback takes the top one away."""
    tops: dict[tuple[str, str], tuple[int, int]] = {}
    beneath: dict[int, int] = {}
    for row in connection.execute(select(PROMOTION).order_by(PROMOTION.c.id)).mappings():
        top = row["id"] if row["kind"] == "promote" else beneath.get(row["undoes"], 0)
        if row["kind"] == "promote":
            beneath[row["id"]] = row["beneath"]
        tops[row["model"], row["alias"]] = (row["to_number"], top)
    for row in connection.execute(select(ALIAS)).mappings():
        if tops.pop((row["model"], row["name"]), None) != (row["number"], row["promotion"]):
            return 0, f"The alias {row['model']}@{row['name']} was moved to {row['number']} without a promotion."
    for model, alias in tops:
        return 0, f"The alias {model}@{alias} was removed without a promotion."
    return None


def _fault_of_models(connection: Connection) -> Fault | None:
    counts: dict[str, int] = {}
    for (model,) in connection.execute(select(VERSION.c.model)):
        counts[model] = counts.get(model, 0) + 1
    for name, last_number in connection.execute(select(MODEL.c.name, MODEL.c.last_number)):
        if counts.get(name, 0) != last_number:
            return 0, f"The model {name} counts {last_number} versions, but has {counts.get(name, 0)}."
    return None


def _spelt(value: object) -> bool:
    return value is None or isinstance(value, (str, int))
