"""A ledger that lives, and everything that somebody with a shell of the database and of the disk can do to it.

After every act the ledger verifies; a copy of it on which one thing was done past mlnb does not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlnb.errors import RegistryError
from mlnb.registry.audit import Audit
from mlnb.registry.outbox import Effect
from mlnb.registry.registry import Registry
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger

COLUMNS = {
    "model": ("name", "last_number", "created_at"),
    "version": ("model", "number", "content", "created_at", "created_by", "exporter", "metrics", "lineage", "signature",
                "parity", "files", "seal", "key"),
    "promotion": ("id", "model", "alias", "kind", "from_number", "to_number", "at", "by", "reason", "verdicts", "forced",
                  "beneath", "undoes"),
    "alias": ("model", "name", "number", "promotion"),
    "audit": ("id", "at", "actor", "action", "subject", "detail", "previous", "digest"),
    "audit_head": ("id", "rows", "digest"),
    "audit_signature": ("rows", "digest", "at", "key", "signature"),
    "tag": ("model", "number", "name", "value"),
    "approval": ("id", "model", "number", "alias", "by", "at", "reason"),
    "outbox": ("id", "model", "kind", "payload", "created_at"),
}  # fmt: skip
"""What must not change; the state of an effect's delivery may, and a signature's id says nothing."""
ZERO = "sha256:" + 64 * "0"
MODELS, ALIASES = st.sampled_from(["delays", "fares"]), st.sampled_from(["production", "staging"])


class Tampering(RuleBasedStateMachine):
    """Acts through mlnb, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mlnb-tampering-"))
        self.store = FileStore(self.folder / "artifacts")
        self.ledger = Ledger(self.folder / "ledger.db")
        self.registry = Registry(self.ledger, self.store)
        self.count = 0
        self.found = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        for number in range(2):
            self.register("delays", "anna", 0.5)
            self.registry.promote(f"delays/{number + 1}", "production", by="anna", effects=[Effect("route", {"a": 1})])

    @rule(
        model=MODELS, by=st.text(min_size=1, max_size=5).filter(str.strip), auc=st.floats(0, 1) | st.just(float("nan"))
    )
    def register(self, model: str, by: str, auc: float) -> None:
        self.count += 1
        files = {"model.onnx": self.store.put(f"{self.count}".encode())[0], "seal.json": self.store.put(b"{}")[0]}
        self.registry.register(Draft(model, by, "onnx", files, {"auc": auc}))

    @rule(alias=ALIASES, reason=st.text(max_size=5), data=st.data())
    def promote(self, alias: str, reason: str, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from([version.ref for version in self.registry.list()]))
        self.registry.promote(ref, alias, by="ben", reason=reason, effects=[Effect("notify", {"notifier": "x"})])

    @rule(alias=ALIASES, to=st.integers(0, 3))
    def roll_back(self, alias: str, to: int) -> None:
        try:
            self.registry.rollback("delays", alias, by="cleo", to=to)
        except RegistryError:  # nothing to go back to
            return

    @rule(name=st.sampled_from(["team", "ticket"]), value=st.text(max_size=5))
    def tag(self, name: str, value: str) -> None:
        self.registry.tag("delays/1", name, value, by="dan")

    @rule()
    def untag(self) -> None:
        self.registry.untag("delays/1", "team", by="dan")

    @rule(alias=ALIASES)
    def approve(self, alias: str) -> None:
        self.registry.approve("delays/2", alias, by="eve", reason="good")

    @rule()
    def note(self) -> None:
        Audit(self.ledger).record("anna", "judge", "delays/1", {"evidence": {"auc": 0.5}})

    @invariant()
    def what_nobody_touched_verifies(self) -> None:
        report = Audit(self.ledger).verify(self.store)
        assert report.ok, report.faults

    @rule(data=st.data())
    def edit_a_row(self, data: st.DataObject) -> None:
        with self.copy() as (path, shell):
            table, row = self.row(shell, data)
            column = data.draw(st.sampled_from(COLUMNS[table]), label="column")
            (before,) = shell.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
            values = st.one_of(st.text(max_size=4), st.integers(-3, 300), st.binary(max_size=3), st.none())
            after = data.draw(values.filter(lambda value: value != before), label="value")
            changed(shell, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", after, row)
            (now,) = shell.execute(f"SELECT {column} FROM {table} WHERE {column} IS ?", (after,)).fetchone() or (after,)
            assume(now != before)
            self.must_be_found(path, shell)

    @rule(data=st.data())
    def delete_a_row(self, data: st.DataObject) -> None:
        with self.copy() as (path, shell):
            table, row = self.row(shell, data)
            changed(shell, f"DELETE FROM {table} WHERE rowid = ?", row)
            self.must_be_found(path, shell)

    @rule(data=st.data())
    def delete_the_end(self, data: st.DataObject) -> None:
        with self.copy() as (path, shell):
            (rows,) = shell.execute("SELECT count(*) FROM audit").fetchone()
            changed(shell, "DELETE FROM audit WHERE id > ?", data.draw(st.integers(0, rows - 1)))
            self.must_be_found(path, shell)

    @rule(data=st.data())
    def exchange_two_rows(self, data: st.DataObject) -> None:
        with self.copy() as (path, shell):
            table = data.draw(st.sampled_from(["audit", "promotion", "outbox"]))
            ids = [row[0] for row in shell.execute(f"SELECT id FROM {table}")]
            one, other = data.draw(st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True))
            for old, new in ((one, -1), (other, one), (-1, other)):
                changed(shell, f"UPDATE {table} SET id = ? WHERE id = ?", new, old)
            self.must_be_found(path, shell)

    @rule(data=st.data())
    def add_a_row(self, data: st.DataObject) -> None:
        with self.copy() as (path, shell):
            table, row = self.row(shell, data)
            names = [name for name in COLUMNS[table] if name != "id"]
            values = list(shell.execute(f"SELECT {', '.join(names)} FROM {table} WHERE rowid = ?", (row,)).fetchone())
            unique = {"model": "name", "version": "number", "alias": "name", "tag": "name"}.get(table, "")
            if unique:
                values[names.index(unique)] = 77
            if table == "version":
                values[names.index("content")] = "another"
            if table in ("audit", "audit_head"):
                names, values = (
                    [*names, "id"],
                    [*values, 1 + shell.execute(f"SELECT max(id) FROM {table}").fetchone()[0]],
                )
            if table == "outbox":
                names, values = [*names, "attempts", "not_before", "problem"], [*values, 0, "", ""]
            changed(shell, f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", *values)
            self.must_be_found(path, shell)

    @rule(data=st.data(), column=st.sampled_from(["at", "actor", "action", "subject", "detail"]))
    def alter_a_row_and_make_the_chain_anew(self, data: st.DataObject, column: str) -> None:
        """What somebody does who has read our source: found by the signatures, for whose key they have not."""
        with self.copy() as (path, shell):
            (last,) = shell.execute("SELECT max(rows) FROM audit_signature").fetchone()
            row = data.draw(st.integers(1, last))
            value = f"{column} || 'x'" if column != "detail" else data.draw(st.sampled_from(["'{}'", "'['", "'null'"]))
            changed(shell, f"UPDATE audit SET {column} = {value} WHERE id = ?", row)
            rechain(shell)
            self.must_be_found(path, shell)

    @rule(data=st.data(), sign=st.booleans())
    def alter_a_version_and_make_everything_anew(self, data: st.DataObject, sign: bool) -> None:
        """The same with every digest that our format has, and with all signatures by a key of their own."""
        with self.copy() as (path, shell):
            rows = shell.execute("SELECT model, number FROM version").fetchall()
            model, number = data.draw(st.sampled_from(rows))
            changed(shell, "UPDATE version SET created_by = 'mallory' WHERE model = ? AND number = ?", model, number)
            rerecord(shell, model, number)
            rechain(shell)
            if sign:
                forge(shell)
            self.must_be_found(path, shell)

    @rule(data=st.data())
    def flip_a_bit_of_an_artifact(self, data: st.DataObject) -> None:
        with self.artifact(data) as place:
            content = bytearray(place.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            place.write_bytes(content)
            self.must_be_found(self.folder / "ledger.db")

    @rule(data=st.data(), how=st.sampled_from(["longer", "shorter", "gone"]))
    def replace_an_artifact(self, data: st.DataObject, how: str) -> None:
        with self.artifact(data) as place:
            content = place.read_bytes()
            place.unlink()
            if how != "gone":
                place.write_bytes(content + b" " if how == "longer" else content[:-1])
            self.must_be_found(self.folder / "ledger.db")

    def row(self, shell: sqlite3.Connection, data: st.DataObject) -> tuple[str, int]:
        filled = [table for table in COLUMNS if shell.execute(f"SELECT 1 FROM {table}").fetchone()]
        table = data.draw(st.sampled_from(filled), label="table")
        return table, data.draw(st.sampled_from([row[0] for row in shell.execute(f"SELECT rowid FROM {table}")]))

    @contextmanager
    def copy(self) -> Iterator[tuple[Path, sqlite3.Connection]]:
        path = self.folder / "copy.db"
        with closing(sqlite3.connect(self.folder / "ledger.db")) as source, closing(sqlite3.connect(path)) as shell:
            source.backup(shell)
            try:
                yield path, shell
            finally:
                shell.close()
                for leftover in self.folder.glob("copy.db*"):
                    leftover.unlink()

    @contextmanager
    def artifact(self, data: st.DataObject) -> Iterator[Path]:
        version = data.draw(st.sampled_from(self.registry.list()))
        place = self.store.path(data.draw(st.sampled_from(sorted(version.files.values()))))
        place.chmod(0o644)
        content = place.read_bytes()
        try:
            yield place
        finally:
            place.write_bytes(content)

    def must_be_found(self, path: Path, shell: sqlite3.Connection | None = None) -> None:
        if shell is not None:
            shell.commit()
            shell.close()
        with Ledger(path) as ledger:
            report = Audit(ledger).verify(self.store)
        assert not report.ok
        assert report.faults[0] == report.sentence
        self.found += 1


def changed(shell: sqlite3.Connection, statement: str, *values: object) -> None:
    try:
        assume(shell.execute(statement, values).rowcount > 0)
    except sqlite3.IntegrityError:  # the database itself refuses it
        assume(False)


def digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def rechain(shell: sqlite3.Connection) -> None:
    """Give every row of the log, and its head, the digests that fit."""
    names = ("id", "at", "actor", "action", "subject", "detail")
    previous, count = ZERO, 0
    for row in shell.execute(f"SELECT {', '.join(names)} FROM audit ORDER BY id").fetchall():
        fields = {**dict(zip(names, row, strict=True)), "previous": previous}
        previous, count = digest(fields), count + 1
        shell.execute("UPDATE audit SET previous = ?, digest = ? WHERE id = ?", (fields["previous"], previous, count))
        shell.execute("UPDATE audit_signature SET digest = ? WHERE rows = ?", (previous, count))
    shell.execute("UPDATE audit_head SET rows = ?, digest = ?", (count, previous))


def rerecord(shell: sqlite3.Connection, model: str, number: int) -> str:
    """Let the log say that a version was registered as it is now."""
    names = [name for name in COLUMNS["version"] if name not in ("seal", "key")]
    query = f"SELECT {', '.join(names)} FROM version WHERE model = ? AND number = ?"
    record = digest(dict(zip(names, shell.execute(query, (model, number)).fetchone(), strict=True)))
    (text,) = shell.execute("SELECT detail FROM audit WHERE subject = ?", (f"{model}/{number}",)).fetchone()
    detail = json.dumps({**json.loads(text), "record": record}, sort_keys=True, separators=(",", ":"))
    query = "UPDATE audit SET detail = ? WHERE subject = ? AND action = 'register'"
    shell.execute(query, (detail, f"{model}/{number}"))
    return record


def forge(shell: sqlite3.Connection, secret: Ed25519PrivateKey | None = None) -> None:
    """Sign everything with another key, by default with one that nobody trusts."""
    secret = secret or Ed25519PrivateKey.generate()
    key = hashlib.sha256(secret.public_key().public_bytes_raw()).hexdigest()[:16]

    def signed(purpose: bytes, text: str) -> str:
        return base64.b64encode(secret.sign(purpose + text.encode())).decode()

    for model, number in shell.execute("SELECT model, number FROM version").fetchall():
        seal = signed(b"mlnb version 1\n", rerecord(shell, model, number))
        shell.execute("UPDATE version SET seal = ?, key = ? WHERE model = ? AND number = ?", (seal, key, model, number))
        subject = f"{model}/{number}"
        query = "SELECT detail FROM audit WHERE subject = ? AND action = 'register'"
        detail = {**json.loads(shell.execute(query, (subject,)).fetchone()[0]), "seal": seal, "key": key}
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
        shell.execute("UPDATE audit SET detail = ? WHERE subject = ? AND action = 'register'", (text, subject))
    rechain(shell)
    for rows, last, at in shell.execute("SELECT rows, digest, at FROM audit_signature").fetchall():
        signature = signed(b"mlnb audit head 1\n", digest({"rows": rows, "digest": last, "at": at}))
        shell.execute("UPDATE audit_signature SET key = ?, signature = ? WHERE rows = ?", (key, signature, rows))
