"""A store whose artifacts lie elsewhere as well: fetched where they are missing, never believed, never lost silently."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, RemoteError, SettingsError, StorageError
from mlnb.settings import Settings, read_settings
from mlnb.store.depot import Depot
from mlnb.store.files import FileStore
from mlnb.store.folder import StateFolder
from mlnb.store.ledger import Ledger
from mlnb.store.remote import put_whole
from mlnb.store.vault import Vault

CONTENT = b"weights" * 1000


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(f"file://{tmp_path}/team/models")


def places(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_one_machine_keeps_another_reads(depot: Depot, tmp_path: Path) -> None:
    here, there = FileStore(tmp_path / "here", depot), FileStore(tmp_path / "there", depot)
    kept, _ = here.put(CONTENT)
    own, _ = here.put(b"a value of a stage")
    here.keep([kept])
    assert places(tmp_path / "team/models") == [f"sha256/{kept[7:9]}/{kept[7:]}"]
    assert there.read(kept) == CONTENT
    assert there.has(kept, len(CONTENT))
    with pytest.raises(CorruptError, match=r"is missing from .*there and from file://"):
        there.read(own)
    third = FileStore(tmp_path / "third", depot)
    third.bring([kept, own])
    assert [third.stored(one) is not None for one in (kept, own)] == [True, False]


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT[:-1] + b"!"])
def test_bytes_that_somebody_changed_elsewhere_are_refused(damage: bytes, depot: Depot, tmp_path: Path) -> None:
    here, there = FileStore(tmp_path / "here", depot), FileStore(tmp_path / "there", depot)
    kept, _ = here.put(CONTENT)
    here.keep([kept])
    (tmp_path / "team/models" / places(tmp_path / "team/models")[0]).write_bytes(damage)
    with pytest.raises(CorruptError, match="is damaged"):
        there.read(kept)
    assert places(tmp_path / "there") == []


def test_a_depot_that_cannot_be_written_is_an_error_that_holds_no_credentials(tmp_path: Path) -> None:
    (tmp_path / "team").write_text("a file is where a folder should be")
    store = FileStore(tmp_path / "here", Depot(f"file://{tmp_path}/team/models"))
    kept, _ = store.put(CONTENT)
    with pytest.raises(RemoteError, match="cannot be reached or read"):
        store.keep([kept])
    assert Depot("s3://anna:secret@team/models").name == "s3://team/models"


def test_what_is_put_again_is_young_again_and_no_collector_takes_it(depot: Depot, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "here", depot)
    kept, _ = store.put(CONTENT)
    store.keep([kept])
    (name,) = places(tmp_path / "team/models")
    yesterday = datetime.now(UTC) - timedelta(days=2)
    os.utime(tmp_path / "team/models" / name, (yesterday.timestamp(), yesterday.timestamp()))
    limit = datetime.now(UTC) - timedelta(days=1)
    (found,) = depot.objects("sha256")
    assert (found.name, found.size_bytes, found.older(limit)) == (name, len(CONTENT), True)
    store.keep([kept])
    assert not depot.remove_older(name, limit)
    os.utime(tmp_path / "team/models" / name, (yesterday.timestamp(), yesterday.timestamp()))
    assert depot.remove_older(name, limit)
    assert list(depot.objects("sha256")) == []


def test_the_settings_say_where_ledger_and_packages_are(tmp_path: Path) -> None:
    settings = Settings(ledger="postgresql://team/registry", artifacts="team/models")
    state = StateFolder.open(tmp_path, "", settings)
    assert state.ledger == "postgresql://team/registry"
    assert state.files.depot is not None
    assert state.files.depot.name == f"file://{tmp_path}/team/models"
    plain = StateFolder.open(tmp_path)
    assert (plain.ledger, plain.files.depot) == (tmp_path / ".mlnb/ledger.db", None)
    assert StateFolder.open(tmp_path, "", Settings(ledger="team.db")).ledger == tmp_path / "team.db"


@pytest.mark.parametrize("address", ["postgresql://anna:pw1234@db/team", "postgresql://db/team?user=a&password=pw1234"])
def test_a_password_in_pyproject_is_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.mlnb]\nledger = "{address}"\n')
    with pytest.raises(SettingsError, match=r"holds a password.*MLNB_LEDGER") as caught:
        read_settings(tmp_path, {})
    assert "pw1234" not in str(caught.value)
    (tmp_path / "pyproject.toml").unlink()
    assert read_settings(tmp_path, {"MLNB_LEDGER": address}).ledger == address


def test_a_server_that_does_not_answer_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be used: connection failed") as caught:
        Ledger("postgresql://anna:pw1234@127.0.0.1:1/team")
    assert "pw1234" not in str(caught.value)
    assert "127.0.0.1" in caught.value.path


def test_encrypted_bytes_that_were_cut_off_elsewhere_do_not_take_the_place_of_the_whole(
    depot: Depot, tmp_path: Path
) -> None:
    vault = Vault([bytes(range(32))])
    here, there = (FileStore(tmp_path / name, depot, vault) for name in ("here", "there"))
    kept, _ = here.put(CONTENT)
    here.keep([kept])
    [sealed] = (tmp_path / "team/models").rglob("??/*")
    whole = sealed.read_bytes()
    sealed.chmod(0o644)
    sealed.write_bytes(whole[:-1])
    with pytest.raises(CorruptError):
        there.read(kept)
    assert places(tmp_path / "there") == []
    sealed.write_bytes(whole)
    assert there.read(kept) == CONTENT


def test_what_was_half_put_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "team/models/sha256/00"

    def put(part: str) -> None:
        Path(part.removeprefix("file://")).write_bytes(b"half")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        put_whole(f"file://{folder}/{64 * '0'}", put)
    assert places(folder) == []
