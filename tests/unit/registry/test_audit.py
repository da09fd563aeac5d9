"""The chain, checked by a second implementation, and every kind of tampering that SQLite's shell allows."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.errors import CorruptError
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.lineage import Lineage
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.signing import own_id, own_public_key
from mlnb.store.tables import SCHEMA

Raw = Callable[..., list[tuple[object, ...]]]
COLUMNS = ("at", "actor", "action", "subject", "detail", "previous", "digest")


@pytest.fixture
def lived(registry: Registry, draft: Callable[..., Draft]) -> Registry:
    """Rows 1-3 register, 4-6 promote, 7 rollback, 8 promote to staging."""
    verdicts = judge([parse_gate("auc >= 0.5")], {"auc": 0.8})
    for content in "abc":
        registry.register(draft(content))
    for number in (1, 2, 3):
        registry.promote(f"delays/{number}", "production", by="anna", verdicts=verdicts)
    registry.rollback("delays", "production", by="ben", reason="slow")
    registry.promote("delays/3", "staging", by="ben")
    return registry


def test_an_untouched_ledger_verifies(lived: Registry, audit: Audit) -> None:
    report = audit.verify()
    assert (report.ok, report.rows, report.first_bad) == (True, 8, 0)
    assert report.sentence == f"The audit log is intact: 8 rows, head {audit.log()[-1].digest}."


def test_an_empty_log_verifies(audit: Audit) -> None:
    assert audit.verify().sentence.startswith("The audit log is intact: 0 rows")


def test_the_chain_is_what_the_format_says(lived: Registry, raw: Raw) -> None:
    previous = "sha256:" + 64 * "0"
    rows = raw("SELECT id, at, actor, action, subject, detail, previous, digest FROM audit ORDER BY id")
    for row in rows:
        fields = dict(zip(("id", *COLUMNS), row, strict=True))
        digest = fields.pop("digest")
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        assert digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
        assert fields["previous"] == previous
        previous = str(digest)
    assert raw("SELECT id, rows, digest FROM audit_head") == [(1, len(rows), previous)]


def test_acts_without_a_row_of_their_own_are_recorded_too(lived: Registry, audit: Audit) -> None:
    row = audit.record("anna", "deploy", "delays/3", {"url": "http://127.0.0.1:1", "seconds": float("inf")})
    assert audit.log(last=1) == (row,)
    assert row.detail == {"url": "http://127.0.0.1:1", "seconds": "Infinity"}
    assert row.to_json()["id"] == 9
    assert audit.verify().ok


def test_the_log_can_be_asked_about_one_subject(lived: Registry, audit: Audit, draft: Callable[..., Draft]) -> None:
    lived.register(draft("a", model="delays_2"))
    lived.register(draft("a", model="delaysX2"))
    assert [row.id for row in audit.log("delays/2")] == [2]
    assert [row.id for row in audit.log("delays@staging")] == [8]
    assert [row.id for row in audit.log("delays")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row.id for row in audit.log("delays_2")] == [9]
    assert [row.id for row in audit.log("delays", last=2)] == [7, 8]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", [1, 5, 8])
def test_an_altered_row_is_found(column: str, row: int, lived: Registry, audit: Audit, raw: Raw) -> None:
    raw(f"UPDATE audit SET {column} = '?' || substr({column}, 2) WHERE id = {row}")
    report = audit.verify()
    assert (report.ok, report.first_bad) == (False, row)
    assert report.sentence == f"Row {row} of the audit log was altered."


def test_a_row_made_of_other_bytes_is_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("UPDATE audit SET detail = x'00ff00' WHERE id = 3")
    assert audit.verify().first_bad == 3


def test_a_removed_row_is_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("DELETE FROM audit WHERE id = 4")
    report = audit.verify()
    assert (report.ok, report.rows, report.first_bad) == (False, 7, 4)
    assert report.sentence == "Row 4 of the audit log was removed or moved."


def test_a_removed_row_is_found_though_the_others_are_renumbered(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("DELETE FROM audit WHERE id = 4", "UPDATE audit SET id = id - 1 WHERE id > 4")
    assert audit.verify().first_bad == 4


def test_the_last_row_removed_is_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("DELETE FROM audit WHERE id = 8")
    report = audit.verify()
    assert (report.first_bad, report.sentence) == (8, "The audit log ends too early: row 8 was removed.")


def test_everything_removed_is_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("DELETE FROM audit")
    assert audit.verify().sentence == "The audit log ends too early: rows 1 to 8 were removed."


def test_reordered_rows_are_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw(
        "UPDATE audit SET id = 100 WHERE id = 2",
        "UPDATE audit SET id = 2 WHERE id = 3",
        "UPDATE audit SET id = 3 WHERE id = 100",
    )
    assert audit.verify().first_bad == 2


def resealed(raw: Raw, row: int, **changes: object) -> None:
    """Alter a row and give it the digest that fits: what somebody does who has read our source, half of it."""
    names = ("id", *COLUMNS)
    fields = dict(zip(names, raw(f"SELECT {', '.join(names)} FROM audit WHERE id = {row}")[0], strict=True))
    fields.update(changes)
    fields.pop("digest")
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assignments = ", ".join(f"{name} = '{value}'" for name, value in {**changes, "digest": digest}.items())
    raw(f"UPDATE audit SET {assignments} WHERE id = {row}")


def test_a_row_altered_together_with_its_digest_is_found_at_the_next(lived: Registry, audit: Audit, raw: Raw) -> None:
    resealed(raw, 4, actor="mallory")
    report = audit.verify()
    assert report.first_bad == 5
    assert report.sentence == "Row 5 of the audit log does not follow row 4: one was replaced."


def test_the_last_row_altered_together_with_its_digest_is_found_at_the_head(
    lived: Registry, audit: Audit, raw: Raw
) -> None:
    resealed(raw, 8, actor="mallory")
    report = audit.verify()
    assert (report.ok, report.first_bad) == (False, 8)
    assert "head of the audit log was altered" in report.sentence


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_head",
        "UPDATE audit_head SET rows = 7",
        "UPDATE audit_head SET digest = 'sha256:0'",
        "UPDATE audit_head SET rows = x'00'",
        "INSERT INTO audit_head SELECT 2, rows, digest FROM audit_head",
    ],
)
def test_a_head_that_was_touched_is_found(statement: str, lived: Registry, audit: Audit, raw: Raw) -> None:
    raw(statement)
    report = audit.verify()
    assert not report.ok
    assert "head" in report.sentence


def test_a_forged_row_at_the_end_is_found(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("INSERT INTO audit SELECT 9, at, 'mallory', action, subject, detail, digest, digest FROM audit WHERE id = 8")
    assert audit.verify().first_bad == 9
    resealed(raw, 9, actor="mallory")
    assert "added past it" in audit.verify().sentence


@pytest.mark.parametrize(
    ("statement", "row", "sentence"),
    [
        ("UPDATE version SET metrics = '{}' WHERE number = 2", 2, "Version delays/2 was altered after row 2"),
        ("UPDATE version SET created_by = 'mallory' WHERE number = 3", 3, "Version delays/3 was altered"),
        ("UPDATE version SET number = 9 WHERE number = 3", 0, "Version delays/9 is in the ledger, but no row"),
        ("DELETE FROM version WHERE number = 2", 2, "Version delays/2 was removed after row 2"),
        ("INSERT INTO version SELECT model, 4, 'x', created_at, created_by, exporter, metrics, lineage, signature,"
         " parity, files, seal, key FROM version WHERE number = 1", 0, "Version delays/4 is in the ledger, but no row"),
        ("UPDATE promotion SET by = 'mallory' WHERE id = 2", 5, "Promotion 2 was altered after row 5"),
        ("UPDATE promotion SET verdicts = '[]' WHERE id = 1", 4, "Promotion 1 was altered after row 4"),
        ("DELETE FROM promotion WHERE id = 4", 7, "Promotion 4 was removed after row 7"),
        ("UPDATE alias SET number = 3 WHERE name = 'production'", 0, "delays@production was moved to 3 without"),
        ("UPDATE alias SET promotion = 1 WHERE name = 'production'", 0, "without a promotion"),
        ("DELETE FROM alias WHERE name = 'staging'", 0, "The alias delays@staging was removed without"),
        ("INSERT INTO alias VALUES ('delays', 'evil', 1, 1)", 0, "delays@evil was moved to 1 without"),
        ("UPDATE model SET last_number = 7", 0, "The model delays counts 7 versions, but has 3"),
        ("UPDATE model SET created_at = 'x'", 0, "The time of the model delays is not that of its first version"),
        ("UPDATE version SET seal = '', key = '' WHERE number = 1", 1, "Version delays/1 was altered after row 1"),
        ("UPDATE audit_signature SET at = 'x' WHERE rows = 5", 5, "The signature of row 5 of the audit log is wrong"),
        ("UPDATE audit_signature SET signature = 'AAAA' WHERE rows = 5", 5, "signature of row 5 of the audit log is wrong"),
        ("UPDATE audit_signature SET key = '00' WHERE rows = 5", 5, "signed by the key 00, which you do not trust"),
        ("UPDATE audit_signature SET rows = 1 WHERE rows = 5", 1, "altered or added: it names row 1"),
        ("DELETE FROM audit_signature WHERE rows = 7", 7, "The signature of row 7 of the audit log was removed"),
        ("INSERT INTO tag VALUES ('delays', 1, 'evil', 'x')", 0, "The tag evil of delays/1 is in the ledger, but no row"),
        ("INSERT INTO approval (model, number, alias, by, at, reason) SELECT model, 1, 'production', 'ben', at, ''"
         " FROM promotion WHERE id = 1", 0, "Approval 1 is in the ledger, but no row"),
        ("INSERT INTO outbox (model, kind, payload, created_at, attempts, not_before, problem)"
         " VALUES ('delays', 'notify', '{}', 'x', 0, '', '')", 0, "Effect 1 is in the ledger, but no row"),
    ],
)  # fmt: skip
def test_tables_that_contradict_the_log_are_found(
    statement: str, row: int, sentence: str, lived: Registry, audit: Audit, raw: Raw
) -> None:
    raw(statement)
    report = audit.verify()
    assert (report.ok, report.first_bad) == (False, row)
    assert sentence in report.sentence


def test_what_people_say_of_a_version_is_in_the_log_and_found_where_it_is_altered(
    lived: Registry, audit: Audit, raw: Raw
) -> None:
    lived.tag("delays/1", "team", "night", by="anna")
    lived.tag("delays/1", "team", "day", by="ben")
    lived.approve("delays/3", "production", by="ben", reason="seen")
    said = [(row.actor, row.action, row.subject, row.detail.get("value")) for row in audit.log(last=3)]
    assert said[:2] == [("anna", "tag", "delays/1", "night"), ("ben", "tag", "delays/1", "day")]
    assert said[2][:3] == ("ben", "approve", "delays/3")
    assert audit.verify().ok
    raw("UPDATE tag SET value = 'night'")
    assert (
        audit.verify().sentence == "The tag team of delays/1 was altered after row 10 of the audit log had recorded it."
    )
    raw("DELETE FROM tag")
    assert "was removed after row 10" in audit.verify().sentence
    raw("INSERT INTO tag VALUES ('delays', 1, 'team', 'day')", "UPDATE approval SET by = 'mallory'")
    assert audit.verify().sentence == "Approval 1 was altered after row 11 of the audit log had recorded it."


def test_an_artifact_that_is_not_what_was_registered_is_found(lived: Registry, audit: Audit, store: FileStore) -> None:
    assert audit.verify(store).ok
    path = store.path(lived.get("delays/2").files["model.onnx"])
    path.chmod(0o644)
    path.write_bytes(b"B")
    assert audit.verify().ok
    report = audit.verify(store)
    assert (report.ok, report.first_bad) == (False, 2)
    assert report.sentence.startswith("The file model.onnx of delays/2 is not what was registered: ")
    path.unlink()
    assert "is missing" in audit.verify(store).sentence


def test_what_is_signed_by_whom_is_told(lived: Registry, audit: Audit) -> None:
    assert audit.verify().notes == (
        f"Signed up to row 8. Signatures by key: {own_id()} (yours) 5.",
        "The bytes of the artifacts were not looked at.",
    )
    audit.record("anna", "deploy", "delays/3", {})
    assert audit.verify().notes[0].startswith("Signed up to row 8; 1 after the last signature.")


def test_an_export_can_be_checked_elsewhere_and_shows_what_was_rewritten(
    lived: Registry, audit: Audit, raw: Raw
) -> None:
    lines = [json.dumps(row) for row in audit.export()]
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows if "id" in row] == list(range(1, 9))
    assert [row["signs"] for row in rows if "signs" in row] == [4, 5, 6, 7, 8]
    public = load_pem_public_key(own_public_key().read_bytes())
    for row in rows:
        if "signs" in row:
            head = {"rows": row["signs"], "digest": row["digest"], "at": row["at"]}
            text = json.dumps(head, sort_keys=True, separators=(",", ":"))
            signed = b"mlnb audit head 1\nsha256:" + hashlib.sha256(text.encode()).hexdigest().encode()
            public.verify(base64.b64decode(row["signature"]), signed)
    lived.promote("delays/1", "staging", by="ben")
    assert audit.differs_from(lines) == ""
    resealed(raw, 8, actor="mallory")
    assert audit.differs_from(lines) == "Row 8 of the audit log is not the one that was exported, or is gone."
    assert audit.differs_from(["{"]) == "Line 1 of the export is no row of an audit log."


def test_a_ledger_of_the_schema_before_is_led_to_the_present_one(
    lived: Registry, audit: Audit, raw: Raw, ledger: Ledger, where: Path | str
) -> None:
    later = ("alarm", "retrain_trigger", "retrain_seen", "retraining")
    tables = ("audit_signature", "tag", "approval", "outbox", *later)
    raw(
        *(f"DROP TABLE {table}" for table in tables),
        "DROP INDEX audit_of_subject",
        "ALTER TABLE version DROP COLUMN seal",
        "ALTER TABLE version DROP COLUMN key",
        "UPDATE ledger_schema SET number = 1",
    )
    for _ in range(2):
        with Ledger(where) as opened:
            assert [row.id for row in Audit(opened).log("delays@staging")] == [8]
    assert raw("SELECT number FROM ledger_schema") == [(SCHEMA,)]
    assert raw("SELECT DISTINCT seal, key FROM version") == [("", "")]
    assert raw("SELECT count(*) FROM outbox") == [(0,)]
    assert [version.number for version in lived.list("delays")] == [1, 2, 3]


def test_a_ledger_of_schema_2_gets_the_tables_of_retraining(raw: Raw, ledger: Ledger, where: Path | str) -> None:
    tables = ("alarm", "retrain_trigger", "retrain_seen", "retraining")
    raw(*(f"DROP TABLE {table}" for table in tables), "UPDATE ledger_schema SET number = 2")
    for _ in range(2):
        Ledger(where).close()
    assert raw("SELECT number FROM ledger_schema") == [(SCHEMA,)]
    assert [raw(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 4


def test_a_row_that_cannot_be_read_is_said_to_be_corrupt(lived: Registry, audit: Audit, raw: Raw) -> None:
    raw("UPDATE audit SET detail = '{' WHERE id = 4")
    with pytest.raises(CorruptError, match="Row 4 of the audit log cannot be read"):
        audit.log()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3),
    max_leaves=6,
)
ACTS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=8), st.text(max_size=8), st.dictionaries(st.text(max_size=4), JSON, max_size=3)
    ),
    min_size=2,
    max_size=6,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    Ledger(path).close()
    return path


@pytest.fixture
def fresh(empty: Path) -> Iterator[Path]:
    path = empty.with_name("copy.db")
    yield path
    path.unlink(missing_ok=True)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, choice=st.data())
def test_whatever_was_recorded_verifies_until_it_is_touched(
    acts: list[tuple[str, str, dict[str, object]]], choice: st.DataObject, empty: Path, fresh: Path
) -> None:
    shutil.copyfile(empty, fresh)
    with Ledger(fresh) as ledger:
        audit = Audit(ledger)
        for actor, subject, detail in acts:
            audit.record(actor, "note", subject, detail)
        assert audit.verify().ok
        assert [row.id for row in audit.log()] == list(range(1, len(acts) + 1))
        ledger.close()
        row = choice.draw(st.integers(1, len(acts)))
        _tamper(fresh, choice, row, len(acts))
        report = audit.verify()
    assert not report.ok
    assert 1 <= report.first_bad <= len(acts) + 1
    for leftover in fresh.parent.glob("copy.db-*"):
        leftover.unlink()


def _tamper(path: Path, choice: st.DataObject, row: int, rows: int) -> None:
    connection = sqlite3.connect(path)
    kind = choice.draw(st.sampled_from(["alter", "remove", "swap", "cut"]))
    with connection:
        if kind == "alter":
            column = choice.draw(st.sampled_from(COLUMNS))
            connection.execute(f"UPDATE audit SET {column} = {column} || 'x' WHERE id = ?", (row,))
        elif kind == "remove":
            connection.execute("DELETE FROM audit WHERE id = ?", (row,))
        elif kind == "cut":
            connection.execute("DELETE FROM audit WHERE id >= ?", (row,))
        else:
            other = row % rows + 1
            connection.execute("UPDATE audit SET id = 0 WHERE id = ?", (row,))
            connection.execute("UPDATE audit SET id = ? WHERE id = ?", (row, other))
            connection.execute("UPDATE audit SET id = ? WHERE id = 0", (other,))
    connection.close()


def test_a_source_of_a_version_that_was_altered_is_found_and_one_that_is_gone_is_not_missed(
    registry: Registry, audit: Audit, draft: Callable[..., Draft], store: FileStore
) -> None:
    made = draft("a")
    source, removed = store.put(b'{"cells": []}')[0], store.put(b"x = 1")[0]
    registry.register(replace(made, lineage=Lineage(run="r1", notebook_source=source, modules=(("steps", removed),))))
    assert audit.verify(store).ok
    store.path(removed).unlink()
    assert audit.verify(store).ok
    place = store.path(source)
    place.chmod(0o644)
    place.write_bytes(b'{"cells": [0]}')
    assert audit.verify(store).sentence.startswith("A source of delays/1 is not what was registered: ")
