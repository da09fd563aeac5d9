"""The tables of the ledger, and how those of an older mlnb become these.

The schema carries a number, `SCHEMA`, in the table ``ledger_schema``. To raise it: add one, write the statements that
lead from the tables before to the new ones into `migrate`, and keep a test that opens a ledger of the old number.
Schema 1 had no signatures, tags, approvals and outbox; schema 2 no alarms and retrainings.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

SCHEMA = 3
NO_DIGEST = "sha256:" + "0" * 64
"""What the first audit row follows, and the head of an empty log."""

_metadata = MetaData()
_schema = Table("ledger_schema", _metadata, Column("number", Integer, primary_key=True, autoincrement=False))

MODEL = Table(
    "model",
    _metadata,
    Column("name", String(64), primary_key=True),
    Column("last_number", Integer, nullable=False),
    Column("created_at", String(27), nullable=False),
)
VERSION = Table(
    "version",
    _metadata,
    Column("model", ForeignKey("model.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("exporter", Text, nullable=False),
    # Canonical JSON from here on, as text: the same bytes on every database, and NaN has a spelling.
    Column("metrics", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("parity", Text, nullable=False),
    Column("files", Text, nullable=False),
    # Since schema 2: the signature of the columns above and the key that made it; empty for older versions.
    Column("seal", Text, nullable=False, server_default=""),
    Column("key", String(16), nullable=False, server_default=""),
    UniqueConstraint("model", "content"),
)
PROMOTION = Table(
    "promotion",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", ForeignKey("model.name"), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # "promote" or "rollback"
    Column("from_number", Integer, nullable=False),  # 0: the alias pointed to nothing
    Column("to_number", Integer, nullable=False),
    Column("at", String(27), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("verdicts", Text, nullable=False),
    Column("forced", Boolean, nullable=False),
    # A promotion lies on the one that held the alias before it; a rollback says which one it took away, and, since
    # schema 2, which one lies on top after it.
    Column("beneath", ForeignKey("promotion.id")),
    Column("undoes", ForeignKey("promotion.id")),
    ForeignKeyConstraint(["model", "to_number"], ["version.model", "version.number"]),
    Index("promotion_of_alias", "model", "alias", "id"),
)
ALIAS = Table(
    "alias",
    _metadata,
    Column("model", ForeignKey("model.name"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("promotion", ForeignKey("promotion.id"), nullable=False),  # the one that lies on top
    ForeignKeyConstraint(["model", "number"], ["version.model", "version.number"]),
)
AUDIT = Table(
    "audit",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 without gaps
    Column("at", String(27), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(71), nullable=False),
    Column("digest", String(71), nullable=False),
    Index("audit_of_subject", "subject", "id", postgresql_ops={"subject": "text_pattern_ops"}),
)
AUDIT_HEAD = Table(
    "audit_head",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("rows", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
)
AUDIT_SIGNATURE = Table(
    "audit_signature",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("rows", Integer, nullable=False),  # so many rows the log had, the last of this digest
    Column("digest", String(71), nullable=False),
    Column("at", String(27), nullable=False),
    Column("key", String(16), nullable=False),
    Column("signature", Text, nullable=False),
)
TAG = Table(
    "tag",
    _metadata,
    Column("model", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["version.model", "version.number"]),
)
APPROVAL = Table(
    "approval",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("alias", String(64), nullable=False),
    Column("by", Text, nullable=False),
    Column("at", String(27), nullable=False),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["version.model", "version.number"]),
    Index("approval_of_version", "model", "number", "alias"),
)
OUTBOX = Table(
    "outbox",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", String(27), nullable=False),
    Column("done_at", String(27), nullable=False, server_default=""),  # empty: not done yet
    Column("problem", Text, nullable=False),
    Index("outbox_by_state", "done_at", "not_before"),
)
ALARM = Table(
    "alarm",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("what", Text, nullable=False),  # a column's name may be of any length
    Column("kind", String(32), nullable=False),
    Column("raised_at", String(27), nullable=False),
    Column("window", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # canonical JSON
    Column("acknowledged_at", String(27), nullable=False, server_default=""),  # empty: it stands
    Column("acknowledged_by", Text, nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(["model", "number"], ["version.model", "version.number"]),
)
Index(
    "alarm_that_stands",
    *(ALARM.c.model, ALARM.c.alias, ALARM.c.number, ALARM.c.what, ALARM.c.kind),
    unique=True,
    sqlite_where=ALARM.c.acknowledged_at == "",
    postgresql_where=ALARM.c.acknowledged_at == "",
)
RETRAIN_TRIGGER = Table(
    "retrain_trigger",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # "schedule", "data", "alarm", "performance" or "hand"
    Column("key", String(160), nullable=False),  # what fired it: it fires once for that
    Column("at", String(27), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("retraining", Integer, nullable=False, server_default="0"),  # the one that serves it; 0: it waits
    UniqueConstraint("model", "kind", "key"),
    Index("retrain_trigger_waiting", "model", "retraining"),
)
RETRAIN_SEEN = Table(
    "retrain_seen",
    _metadata,
    Column("model", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("value", Text, nullable=False),  # the last instant of the schedule; the digests of the data
)
RETRAINING = Table(
    "retraining",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("begun_at", String(27), nullable=False),
    Column("ended_at", String(27), nullable=False, server_default=""),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("process", Text, nullable=False),  # the one that does it, or has done it
    Column("parameters", Text, nullable=False),
    Column("run", String(64), nullable=False, server_default=""),
    Column("number", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Index("retraining_of_model", "model", "state"),
)


def create(connection: Connection) -> None:
    """Make all tables of an empty database."""
    _metadata.create_all(connection)
    connection.execute(insert(_schema), {"number": SCHEMA})
    connection.execute(insert(AUDIT_HEAD), {"id": 1, "rows": 0, "digest": NO_DIGEST})


def schema_of(connection: Connection) -> int:
    """Return the number of the schema; 0 where the database is no ledger, or its number cannot be read."""
    if not inspect(connection).has_table(_schema.name):
        return 0
    found = connection.scalar(select(_schema.c.number))
    return found if isinstance(found, int) and found > 0 else 0


def migrate(connection: Connection) -> None:
    """Lead the tables of an older schema to the present one, in the caller's writing transaction."""
    before = schema_of(connection)
    if before < 2:
        for name, kind in (("seal", "TEXT"), ("key", "VARCHAR(16)")):
            connection.execute(text(f"ALTER TABLE version ADD COLUMN {name} {kind} DEFAULT '' NOT NULL"))
        for index in AUDIT.indexes:
            index.create(connection)
    _metadata.create_all(connection)  # the new tables; those that are there stay as they are
    connection.execute(update(_schema), {"number": SCHEMA})
