"""The chain, checked by a second implementation, and every kind of tampering that SQLite's shell allows."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlnb.errors import CorruptError
from mlnb.registry.audit import Audit
from mlnb.registry.gates import judge, parse_gate
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.ledger import Ledger

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
    raw(f"UPDATE audit SET {column} = {column} || ' ' WHERE id = {row}")
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
         " parity, files FROM version WHERE number = 1", 0, "Version delays/4 is in the ledger, but no row"),
        ("UPDATE promotion SET by = 'mallory' WHERE id = 2", 5, "Promotion 2 was altered after row 5"),
        ("UPDATE promotion SET verdicts = '[]' WHERE id = 1", 4, "Promotion 1 was altered after row 4"),
        ("DELETE FROM promotion WHERE id = 4", 7, "Promotion 4 was removed after row 7"),
        ("UPDATE alias SET number = 3 WHERE name = 'production'", 0, "delays@production was moved to 3 without"),
        ("UPDATE alias SET promotion = 1 WHERE name = 'production'", 0, "without a promotion"),
        ("DELETE FROM alias WHERE name = 'staging'", 0, "The alias delays@staging was removed without"),
        ("INSERT INTO alias VALUES ('delays', 'evil', 1, 1)", 0, "delays@evil was moved to 1 without"),
        ("UPDATE model SET last_number = 7", 0, "The model delays counts 7 versions, but has 3"),
    ],
)  # fmt: skip
def test_tables_that_contradict_the_log_are_found(
    statement: str, row: int, sentence: str, lived: Registry, audit: Audit, raw: Raw
) -> None:
    raw(statement)
    report = audit.verify()
    assert (report.ok, report.first_bad) == (False, row)
    assert sentence in report.sentence


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
