"""What people say of a version after it was registered becomes rows: tags, which change, approvals, which do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Integer, String, and_, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from mlnb.registry.audit import append
from mlnb.registry.canonical import storable, time_text
from mlnb.registry.rows import version_of
from mlnb.registry.signed import record_of
from mlnb.registry.version import Approval, Version
from mlnb.store.tables import APPROVAL, TAG

Key = tuple[str, int]
"""Model and number of a version."""
_TAGS = select(TAG).order_by(TAG.c.name)
_OF_MODEL = _TAGS.where(TAG.c.model == bindparam("of_model", type_=String))
_OF_VERSION = _OF_MODEL.where(TAG.c.number == bindparam("of_number", type_=Integer))


def key_of(row: RowMapping | Mapping[str, object]) -> Key:
    """Return which version a row is of."""
    return str(row["model"]), int(str(row["number"]))


def with_tags(connection: Connection, row: RowMapping | Mapping[str, object]) -> Version:
    """Return the version that a row of ``version`` holds, and the tags that were written on it."""
    key = key_of(row)
    return version_of(row, tags_of(connection, *key).get(key))


def tags_of(connection: Connection, model: str = "", number: int = 0) -> dict[Key, dict[str, str]]:
    """Return the tags, by name, of each version that has some: of all, of a model's, or of one."""
    query = _OF_VERSION if number else _OF_MODEL if model else _TAGS
    found: dict[Key, dict[str, str]] = {}
    for row in connection.execute(query, {"of_model": model, "of_number": number}).mappings():
        found.setdefault((row["model"], row["number"]), {})[row["name"]] = row["value"]
    return found


def set_tag(connection: Connection, at: datetime, by: str, version: Key, name: str, value: str) -> bool:
    """Write a tag and the audit row that says so; False where it says that already."""
    model, number = version
    text = storable(value)
    before = tags_of(connection, model, number).get(version, {}).get(name)
    if before == text:
        return False
    if before is None:
        connection.execute(insert(TAG), {"model": model, "number": number, "name": name, "value": text})
    else:
        connection.execute(update(TAG).where(_tag(version, name)), {"value": text})
    append(connection, at, by, "tag", f"{model}/{number}", {"name": name, "value": text})
    return True


def drop_tag(connection: Connection, at: datetime, by: str, version: Key, name: str) -> bool:
    """Take a tag away and write the audit row that says so; False where there is none."""
    if not connection.execute(delete(TAG).where(_tag(version, name))).rowcount:
        return False
    append(connection, at, by, "untag", f"{version[0]}/{version[1]}", {"name": name})
    return True


def add_approval(connection: Connection, at: datetime, version: Key, alias: str, by: str, reason: str) -> RowMapping:
    """Add an approval; the audit row is the caller's to write, with `record_of` what is returned."""
    row = {
        "model": version[0],
        "number": version[1],
        "alias": alias,
        "by": storable(by),
        "at": time_text(at),
        "reason": storable(reason.strip()),
    }
    return connection.execute(insert(APPROVAL).returning(*APPROVAL.c), row).mappings().one()


def approval_detail(row: RowMapping, policy: str) -> Mapping[str, object]:
    """Return what the audit log keeps of an approval."""
    detail = {"approval": row["id"], "alias": row["alias"], "reason": row["reason"], "record": record_of(row)}
    return detail | ({"policy": policy} if policy else {})


def approvals_of(connection: Connection, version: Key, alias: str) -> tuple[Approval, ...]:
    """Return the approvals of a version for an alias, the oldest first."""
    query = select(APPROVAL).where(APPROVAL.c.model == version[0], APPROVAL.c.number == version[1])
    rows: Iterable[RowMapping] = connection.execute(
        query.where(APPROVAL.c.alias == alias).order_by(APPROVAL.c.id)
    ).mappings()
    return tuple(approval_of(row) for row in rows)


def approval_of(row: RowMapping) -> Approval:
    """Return the approval that a row holds."""
    return Approval(
        model=row["model"],
        number=row["number"],
        alias=row["alias"],
        by=row["by"],
        at=datetime.fromisoformat(row["at"]),
        reason=row["reason"],
    )


def _tag(version: Key, name: str) -> ColumnElement[bool]:
    return and_(TAG.c.model == version[0], TAG.c.number == version[1], TAG.c.name == name)
