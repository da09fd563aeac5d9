"""Versions are signed when they are registered, and looked at before they are used; other people's keys are others'."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from mlnb.errors import CorruptError, RegistryError, UntrustedError, UsageError
from mlnb.registry.audit import Audit
from mlnb.registry.registry import Registry
from mlnb.registry.signed import seal_of
from mlnb.registry.version import Draft
from mlnb.store.files import FileStore
from mlnb.store.ledger import Ledger
from mlnb.store.signing import keys_folder, own_id, own_public_key, trust
from tests.unit.registry.tampering import COLUMNS, digest, forge, rechain

DraftMaker = Callable[..., Draft]
OLD = Path(__file__).parents[1] / "store" / "data" / "ledger_1.sql"


@pytest.fixture
def two(registry: Registry, draft: DraftMaker) -> Registry:
    for content in "ab":
        registry.register(draft(content))
    registry.promote("delays/1", "production", by="anna")
    return registry


@pytest.fixture
def shell(tmp_path: Path, ledger: Ledger) -> Callable[[], sqlite3.Connection]:
    def opened() -> sqlite3.Connection:
        ledger.close()
        return sqlite3.connect(tmp_path / "ledger.db")

    return opened


def test_a_version_is_signed_over_every_column_with_this_user_s_key(
    two: Registry, shell: Callable[[], sqlite3.Connection]
) -> None:
    connection = shell()
    names = COLUMNS["version"]
    row = dict(zip(names, connection.execute(f"SELECT {', '.join(names)} FROM version").fetchone(), strict=True))
    connection.close()
    seal, key = row.pop("seal"), row.pop("key")
    assert key == own_id() == two.get("delays/1").key
    public = load_pem_public_key(own_public_key().read_bytes())
    public.verify(base64.b64decode(seal), b"mlnb version 1\n" + digest(row).encode())


def test_an_altered_version_is_neither_promoted_nor_unpacked_nor_rolled_back_to(
    two: Registry, shell: Callable[[], sqlite3.Connection], tmp_path: Path
) -> None:
    two.promote("delays/2", "production", by="anna")
    connection = shell()
    with connection:
        connection.execute("UPDATE version SET exporter = 'native' WHERE number = 1")
    connection.close()
    for act in (
        lambda: two.promote("delays/1", "staging", by="anna"),
        lambda: two.rollback("delays", "production", by="anna"),
        lambda: two.rollback("delays", "production", by="anna", to=1),
        lambda: two.unpack(two.get("delays/1"), tmp_path / "package"),
        lambda: two.verify(two.get("delays/1")),
    ):
        with pytest.raises(UntrustedError, match="The signature of delays/1 is wrong"):
            act()
    assert two.aliases("delays") == {"production": 2}


def test_bytes_that_are_not_what_was_registered_are_not_promoted(two: Registry, store: FileStore) -> None:
    place = store.path(two.get("delays/2").files["model.onnx"])
    place.chmod(0o644)
    place.write_bytes(b"c")
    with pytest.raises(CorruptError, match="is damaged"):
        two.promote("delays/2", "production", by="anna")
    assert two.aliases("delays") == {"production": 1}


def test_a_stranger_s_version_can_be_read_but_not_promoted_until_the_key_is_trusted_or_somebody_vouches(
    two: Registry, audit: Audit, shell: Callable[[], sqlite3.Connection], tmp_path: Path
) -> None:
    connection = shell()
    with connection:
        forge(connection)
    connection.close()
    stranger = two.get("delays/2").key
    two.unpack(two.get("delays/2"), tmp_path / "package")
    assert (tmp_path / "package" / "model.onnx").read_bytes() == b"b"
    with pytest.raises(UntrustedError, match=f"delays/2 is signed by the key {stranger}, which you do not trust"):
        two.promote("delays/2", "production", by="anna")
    report = audit.verify()
    assert not report.ok
    assert f"signed by the key {stranger}, which you do not trust" in report.sentence
    with pytest.raises(UsageError, match="needs a reason"):
        two.vouch("delays/2", by="anna", reason=" ")
    assert two.vouch("delays/2", by="anna", reason="I made it on another machine").key == own_id()
    assert two.promote("delays/2", "production", by="anna").to_ref == "delays/2"
    assert (audit.log("delays/2")[-1].action, audit.log("delays/2")[-1].actor) == ("vouch", "anna")


@pytest.fixture
def colleague() -> Iterator[Ed25519PrivateKey]:
    """Trust somebody's key for the time of the test."""
    secret = Ed25519PrivateKey.generate()
    file = keys_folder() / "colleague.pub"
    file.write_bytes(secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    trusted = keys_folder() / "trusted" / f"{trust(file)}.pub"
    yield secret
    trusted.unlink()
    file.unlink()


def test_a_colleague_s_version_is_promoted_once_their_key_is_trusted(
    two: Registry, audit: Audit, colleague: Ed25519PrivateKey, shell: Callable[[], sqlite3.Connection]
) -> None:
    connection = shell()
    with connection:
        forge(connection, colleague)
    connection.close()
    key = hashlib.sha256(colleague.public_key().public_bytes_raw()).hexdigest()[:16]
    assert two.promote("delays/2", "production", by="anna").changed
    report = audit.verify()
    assert report.ok, report.sentence
    assert f"{key} 1" in report.notes[0]
    assert f"{own_id()} (yours) 1" in report.notes[0]


def test_an_older_ledger_is_read_whole_and_its_versions_are_signed_before_they_move(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.executescript(OLD.read_text())
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    store = FileStore(tmp_path / "artifacts")
    for content in (b"{}", b"a", b"b", b"c"):
        store.put(content)
    with Ledger(tmp_path / "ledger.db") as ledger:
        registry, audit = Registry(ledger, store), Audit(ledger)
        report = audit.verify(store)
        assert (report.ok, report.rows) == (True, 8)
        assert report.notes == (
            "4 moves of aliases are not signed: an mlnb before 0.2 made them.",
            "Not signed, because an mlnb before 0.2 registered them: delays/1, delays/2, delays/3.",
        )
        assert registry.aliases("delays") == {"production": 2}
        assert registry.get("delays/1").lineage.parameters == {"depth": 3}
        with pytest.raises(UntrustedError, match=r"delays/1 is not signed: an mlnb before 0.2 registered it"):
            registry.rollback("delays", "production", by="anna")
        registry.vouch("delays/1", by="anna", reason="in production since March")
        assert registry.rollback("delays", "production", by="anna").to_ref == "delays/1"
        assert registry.history("delays")[-1].from_ref == "delays/2"
        with pytest.raises(RegistryError, match="nothing held it before"):
            registry.rollback("delays", "production", by="anna")
        report = audit.verify(store)
        assert report.ok, report.sentence
        # Whoever takes the new signature away says that an old mlnb did it; but a signed act came before it.
        registry.vouch("delays/3", by="anna", reason="as well")
        registry.promote("delays/3", "production", by="anna")
        ledger.close()
        shell = sqlite3.connect(tmp_path / "ledger.db")
        (last,) = shell.execute("SELECT max(rows) FROM audit_signature").fetchone()
        (text,) = shell.execute("SELECT detail FROM audit WHERE id = ?", (last,)).fetchone()
        detail = {name: value for name, value in json.loads(text).items() if name != "signed"}
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
        with shell:
            shell.execute("UPDATE audit SET detail = ? WHERE id = ?", (text, last))
            shell.execute("DELETE FROM audit_signature WHERE rows = ?", (last,))
            rechain(shell)
        shell.close()
        assert audit.verify().sentence == f"Row {last} of the audit log moves an alias and is not signed."


def test_a_version_that_was_altered_and_has_lost_its_signature_is_neither_vouched_for_nor_used(
    two: Registry, audit: Audit, shell: Callable[[], sqlite3.Connection], tmp_path: Path
) -> None:
    connection = shell()
    with connection:
        connection.execute("UPDATE version SET exporter = 'native', seal = '', key = '' WHERE number = 2")
        connection.execute("UPDATE version SET seal = '', key = '' WHERE number = 1")
    connection.close()
    for number in (1, 2):
        ref = f"delays/{number}"
        for act in (
            lambda ref=ref: two.unpack(two.get(ref), tmp_path / "package"),
            lambda ref=ref: two.verify(two.get(ref)),
            lambda ref=ref: two.promote(ref, "staging", by="anna"),
        ):
            with pytest.raises(
                UntrustedError, match=f"{ref} is not what the audit log tells of: its row in the ledger"
            ):
                act()
    for ref in ("delays/1", "delays/2"):
        with pytest.raises(UntrustedError, match=f"{ref} is not what the audit log tells of"):
            two.vouch(ref, by="anna", reason="as the message says")
    assert not audit.verify().ok


def test_a_row_that_vouches_for_something_else_than_what_was_registered_is_a_fault(
    two: Registry, audit: Audit, shell: Callable[[], sqlite3.Connection]
) -> None:
    connection = shell()
    with connection:
        connection.execute("UPDATE version SET exporter = 'native' WHERE number = 2")
        names = COLUMNS["version"]
        query = f"SELECT {', '.join(names)} FROM version WHERE number = 2"
        row = dict(zip(names, connection.execute(query).fetchone(), strict=True))
        seal, key = seal_of(row)
        connection.execute("UPDATE version SET seal = ?, key = ? WHERE number = 2", (seal, key))
    connection.close()
    del row["seal"], row["key"]
    audit.record(
        "mallory", "vouch", "delays/2", {"record": digest(row), "seal": seal, "key": key, "reason": "trust me"}
    )
    assert audit.verify().sentence == (
        "Row 4 of the audit log vouches for delays/2, which is not what was registered under that name."
    )
