"""Versions and the head of the audit log are signed with the acting user's key, and checked with those they trust.

A version's signature, format 1, is over the digest of its row (`record_of`), which holds the digests of its files. The
head's, format 1, is over the digest of the canonical JSON of ``{"rows", "digest", "at"}``. Keys are the user's
(`mlnb.store.signing`): a project brings no trust with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import String, bindparam, insert, select
from sqlalchemy.engine import Connection, RowMapping

from mlnb.errors import UntrustedError
from mlnb.registry.canonical import digest_of, digest_of_row, time_text
from mlnb.store import signing
from mlnb.store.prepared import Prepared
from mlnb.store.signing import Finding, Ring
from mlnb.store.tables import AUDIT, AUDIT_SIGNATURE

_VERSION = b"mlnb version 1\n"
_HEAD = b"mlnb audit head 1\n"
_ADD = Prepared(insert(AUDIT_SIGNATURE))
_NOT_RECORDED = ("seal", "key")
_ACTS = ("register", "vouch")
_SAID = (
    select(AUDIT.c.detail)
    .where(AUDIT.c.subject == bindparam("ref", type_=String), AUDIT.c.action.in_(_ACTS))
    .order_by(AUDIT.c.id.desc())
    .limit(1)
)

_ALTERED = "its row in the ledger was altered after it was registered."
_DO_NOT_USE = "Do not use it: run mlnb audit verify, and deploy the model again or restore a backup."

Row = Mapping[str, object] | RowMapping


def record_of(row: Row) -> str:
    """Return the digest of a row of ``version``, ``promotion``, ``approval`` or ``alarm``, without its signature.

    Lasting: it covers every column that the table had in schema 1 of the ledger, or has had from its beginning.
    """
    return digest_of_row({name: value for name, value in row.items() if name not in _NOT_RECORDED})


def effect_record(row: Row) -> str:
    """Return the digest of what does not change in a row of ``outbox``."""
    return digest_of([str(row[name]) for name in ("model", "kind", "payload", "created_at")])


def seal_of(row: Row) -> tuple[str, str]:
    """Return this user's signature of a row of ``version``, and the id of their key."""
    return signing.sign(record_of(row), _VERSION)


def examine_version(row: Row, ring: Ring) -> Finding:
    """Say whether the signature of a row of ``version`` is its key's; ``unknown`` for an unsigned one, too."""
    return ring.examine(record_of(row), str(row["seal"]), str(row["key"]), _VERSION)


def check_version(row: Row, *, stranger: bool) -> None:
    """Refuse a version whose signature is wrong, and, unless `stranger`, one that nobody trusted has signed.

    Parameters
    ----------
    row : mapping
        Of ``version``.
    stranger : bool
        Whether a stranger's version will do: its numbers may be read, its code is refused elsewhere.

    Raises
    ------
    UntrustedError
        If it is refused.
    """
    finding = examine_version(row, signing.ring())
    if finding == "valid" or (stranger and finding == "unknown"):
        return
    ref, key = f"{row['model']}/{row['number']}", str(row["key"])
    if finding == "wrong":
        problem, remedy = f"The signature of {ref} is wrong: {_ALTERED}", _DO_NOT_USE
    elif key:
        problem = f"{ref} is signed by the key {key}, which you do not trust."
        remedy = f"If you trust its owner: mlnb doctor --trust FILE.pub, or vouch for it: mlnb models vouch {ref}."
    else:
        problem = f"{ref} is not signed: an mlnb before 0.2 registered it."
        remedy = f"If you know where it comes from, sign it: mlnb models vouch {ref} --reason TEXT."
    raise UntrustedError(problem, remedy, digest=record_of(row), key=key)


def check_recorded(connection: Connection, row: Row) -> None:
    """Refuse a version whose row is not the one that the audit log tells of, or has lost the signature told there.

    The row of a version that was never signed cannot be told from one whose signature was taken away; the log can.

    Raises
    ------
    UntrustedError
        If it is refused.
    """
    ref = f"{row['model']}/{row['number']}"
    said = _said(connection.scalar(_SAID, {"ref": ref}))
    record = record_of(row)
    if said.get("record", record) == record and (row["seal"] or not said.get("seal")):
        return
    raise UntrustedError(f"{ref} is not what the audit log tells of: {_ALTERED}", _DO_NOT_USE, digest=record)


def _said(detail: str | None) -> dict[str, object]:
    try:
        return dict(json.loads(detail or "{}"))
    except (ValueError, TypeError):  # somebody wrote it past mlnb
        return {"record": ""}


def sign_head(connection: Connection, at: datetime, rows: int, digest: str) -> None:
    """Sign that the audit log has so many rows and the last one this digest, in the caller's writing transaction."""
    head = {"rows": rows, "digest": digest, "at": time_text(at)}
    signature, key = signing.sign(digest_of_row(head), _HEAD)
    _ADD.rows(connection, {**head, "key": key, "signature": signature})


def examine_head(row: Row, ring: Ring) -> Finding:
    """Say whether a row of ``audit_signature`` is its key's."""
    head = {name: row[name] for name in ("rows", "digest", "at")}
    return ring.examine(digest_of_row(head), str(row["signature"]), str(row["key"]), _HEAD)
