"""The ledger on real files: made once, refused when newer, whole after a kill."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from mlnb.errors import NewerFormatError, SettingsError, StateError, StorageError
from mlnb.store import ledger as module
from mlnb.store.ledger import Ledger
from mlnb.store.tables import ALIAS, AUDIT_HEAD, MODEL, NO_DIGEST, SCHEMA

OPEN_WHEN_TOLD = """
import sys
from pathlib import Path
from mlnb.store.ledger import Ledger
print("ready", flush=True)
sys.stdin.readline()
with Ledger(Path(sys.argv[1])):
    print("opened", flush=True)
"""
DIE_WHILE_WRITING = """
import sys
from pathlib import Path
from sqlalchemy import insert
from mlnb.store.ledger import Ledger
from mlnb.store.tables import MODEL
with Ledger(Path(sys.argv[1])) as ledger, ledger.write() as connection:
    connection.execute(insert(MODEL), {"name": "half", "last_number": 1, "created_at": "x"})
    print("written", flush=True)
    sys.stdin.readline()
"""
CREATE_ON_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mlnb.errors import StorageError
from mlnb.store.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    Ledger(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def add_model(ledger: Ledger, name: str) -> None:
    with ledger.write() as connection:
        connection.execute(insert(MODEL), {"name": name, "last_number": 0, "created_at": "x"})


def model_names(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.scalars(select(MODEL.c.name)))


def raw(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_new_ledger_is_one_finished_file_in_wal_mode(tmp_path: Path) -> None:
    Ledger(tmp_path / "deep" / "ledger.db").close()
    assert {path.name for path in (tmp_path / "deep").iterdir()} <= {"ledger.db", "ledger.db.lock"}
    connection = sqlite3.connect(tmp_path / "deep" / "ledger.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT number FROM ledger_schema").fetchall() == [(SCHEMA,)]
    connection.close()


def test_opening_it_again_finds_what_was_written(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        add_model(ledger, "delays")
    with Ledger(str(tmp_path / "ledger.db")) as ledger:
        assert model_names(ledger) == ["delays"]
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert model_names(ledger) == ["delays"]


def test_a_closed_ledger_opens_again_when_it_is_used(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.close()
    add_model(ledger, "delays")
    assert model_names(ledger) == ["delays"]
    ledger.close()


def test_eight_processes_create_one_ledger_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.db"
    processes = [started(OPEN_WHEN_TOLD, path) for _ in range(8)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate() for process in processes]
    assert outcomes == [("opened\n", "")] * 8
    with Ledger(path) as ledger, ledger.read() as connection:
        assert connection.execute(select(AUDIT_HEAD)).all() == [(1, 0, NO_DIGEST)]


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert model_names(ledger) == []


def test_what_a_killed_creator_left_is_swept_away(tmp_path: Path) -> None:
    for name in (".ledger.db.new", ".ledger.db.new-wal", ".ledger.db.new-shm"):
        (tmp_path / name).write_bytes(b"half")
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert model_names(ledger) == []
    assert not list(tmp_path.glob(".ledger*"))


def test_a_newer_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    raw(path, f"UPDATE ledger_schema SET number = {SCHEMA + 6}")
    with pytest.raises(NewerFormatError, match=f"has schema {SCHEMA + 6}; this mlnb knows {SCHEMA}") as caught:
        Ledger(path)
    assert (caught.value.found, caught.value.known, caught.value.path) == (SCHEMA + 6, SCHEMA, str(path))
    assert "pip install --upgrade mlnb" in caught.value.remedy


def test_another_database_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    raw(path, "CREATE TABLE cats (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StateError, match="not a ledger of mlnb"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="is damaged: file is not a database"):
        Ledger(path)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        Ledger(tmp_path / "file" / "ledger.db")


def test_a_full_disk_leaves_no_half_made_ledger(tmp_path: Path) -> None:
    process = started(CREATE_ON_A_FULL_DISK, tmp_path / "ledger.db")
    said, failed = process.communicate()
    assert failed == ""
    assert "cannot be used" in said
    assert {path.name for path in tmp_path.iterdir()} <= {"ledger.db.lock"}


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        add_model(ledger, "delays")
        with pytest.raises(StorageError, match="full"), ledger.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for number in range(5000):
                connection.execute(insert(MODEL), {"name": f"model-{number}", "last_number": 0, "created_at": "x"})
        assert model_names(ledger) == ["delays"]


def test_an_error_inside_takes_everything_back(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        with pytest.raises(ZeroDivisionError), ledger.write() as connection:
            connection.execute(insert(MODEL), {"name": "gone", "last_number": 0, "created_at": "x"})
            raise ZeroDivisionError
        assert model_names(ledger) == []


def test_a_writer_that_is_killed_leaves_nothing_and_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = started(DIE_WHILE_WRITING, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.communicate()
    with Ledger(path) as ledger:
        add_model(ledger, "next")
        assert model_names(ledger) == ["next"]


def test_a_reader_waits_for_no_writer_and_sees_one_state(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger, ledger.read() as reading:
        count = select(func.count()).select_from(MODEL)
        assert reading.scalar(count) == 0
        add_model(ledger, "delays")
        assert reading.scalar(count) == 0
        assert model_names(ledger) == ["delays"]


def test_a_ledger_that_another_process_holds_is_said_to_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    with Ledger(tmp_path / "ledger.db") as first, Ledger(tmp_path / "ledger.db") as second:
        with first.write(), pytest.raises(StateError, match="in use by another process"):
            add_model(second, "late")
        add_model(second, "later")
        assert model_names(first) == ["later"]


def test_a_row_that_is_there_is_not_inserted_again(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for number in (1, 2):
            with ledger.write() as connection:
                row = {"name": "delays", "last_number": number, "created_at": "x"}
                ledger.insert_missing(connection, MODEL, row)
        with ledger.read() as connection:
            assert connection.execute(select(MODEL.c.name, MODEL.c.last_number)).all() == [("delays", 1)]


def test_foreign_keys_hold(tmp_path: Path) -> None:
    row = {"model": "nobody", "name": "production", "number": 1, "promotion": 1}
    with (
        Ledger(tmp_path / "ledger.db") as ledger,
        pytest.raises(StateError, match="contradicts itself: FOREIGN KEY"),
        ledger.write() as connection,
    ):
        connection.execute(insert(ALIAS), row)


@pytest.mark.parametrize(
    "address",
    [
        "mysql://anna:secret@host/team",
        "postgresql+nosuch://anna:secret@host/team",
        "postgresql+nosuch://host/team?user=anna&password=secret&sslpassword=secret",
        "postgresql://",
        "sqlite://",
        "://",
    ],
)
def test_an_address_that_leads_nowhere_is_refused_without_showing_a_password(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Ledger(address)
    assert caught.value.key == "ledger"
    assert "secret" not in str(caught.value)


def test_a_lock_that_cannot_be_made_is_a_storage_error_and_one_that_is_held_is_not_ours(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        with ledger.alone("outbox") as first, ledger.alone("outbox") as second:
            assert (first, second) == (True, False)
        (tmp_path / "ledger.db.gate.lock").mkdir()
        with pytest.raises(StorageError, match=r"gate\.lock cannot be made"), ledger.alone("gate"):
            pass
