"""One file holds all that a project's state is, made while others write to it; what is not whole is not restored."""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from mlnb.backup import Backup, back_up, opened
from mlnb.errors import CorruptError, MlnbError, NewerFormatError, SecretError, UntrustedError, UsageError
from mlnb.project import Project
from mlnb.registry.version import Draft
from mlnb.restore import restore
from mlnb.settings import Settings


def draft(project: Project, content: bytes) -> Draft:
    store = project.state.files
    return Draft("delays", "anna", "onnx", {"model.onnx": store.put(content)[0], "package.json": store.put(b"{}")[0]})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two versions, a run, a cache entry, a value of a stage, and a prediction log."""
    root = tmp_path / "delays"
    root.mkdir()
    made = Project(root)
    for content in (b"one" * 40_000, secrets.token_bytes(100_000)):
        made.models.promote(made.models.register(draft(made, content)).ref, "production", by="anna")
    made.state.files.put(b"a value of a stage")
    for name, text in (("runs/r1/run.json", "{}"), ("runs/r1/first.ipynb", "{}"), ("cache/k.json", "{}")):
        (made.state.root / name).parent.mkdir(exist_ok=True)
        (made.state.root / name).write_text(text)
    log = made.state.predictions / "delays"
    log.mkdir()
    (made.state.services / "delays").mkdir()
    (made.state.services / "delays" / "tokens.json").write_text("{}")
    (made.state.services / "delays" / "deployment.json").write_text("{}")
    (log / "worker-0.lock").touch()
    return made


def again(file: Path, root: Path, settings: Settings | None = None) -> Project:
    root.mkdir(exist_ok=True)
    restore(file, root, settings or Settings(), by="ben")
    return Project(root)


def test_everything_comes_back_on_another_machine(project: Project, tmp_path: Path) -> None:
    log = sqlite3.connect(project.state.predictions / "delays" / "worker-0.db")
    log.execute("PRAGMA journal_mode=WAL")
    log.execute("CREATE TABLE predictions (id TEXT)")
    log.execute("INSERT INTO predictions VALUES ('answered')")
    log.commit()  # it stays open, and its row lies in the write-ahead log
    made = back_up(project.state, project.ledger, tmp_path / "b.mlnb", by="anna")
    log.close()
    assert (made.rows, made.artifacts, made.project, made.made_by, made.trusted) == (4, 4, "delays", "anna", True)
    assert not made.encrypted
    assert (tmp_path / "b.mlnb").stat().st_mode & 0o077 == 0  # it holds data and tokens' digests

    other = again(tmp_path / "b.mlnb", tmp_path / "other")
    assert [row.digest for row in other.audit.log()[:-1]] == [row.digest for row in project.audit.log()]
    last = other.audit.log()[-1]
    assert (last.actor, last.action, last.detail["backup"]) == ("ben", "restore", made.digest)
    assert other.models.history("delays") == project.models.history("delays")
    assert other.audit.verify(other.state.files).ok
    for version in other.models.list():
        other.models.unpack(version, tmp_path / "unpacked" / str(version.number))
    copied = sqlite3.connect(other.state.predictions / "delays" / "worker-0.db")
    assert copied.execute("SELECT id FROM predictions").fetchall() == [("answered",)]
    copied.close()
    state = sorted(path.relative_to(other.state.root).as_posix() for path in other.state.root.rglob("*.*"))
    assert {"runs/r1/run.json", "runs/r1/first.ipynb", "cache/k.json", "services/delays/tokens.json"} <= set(state)
    assert not any(name.endswith(("deployment.json", ".lock.lock")) or "restoring" in name for name in state)
    assert (other.state.services / "delays" / "tokens.json").stat().st_mode & 0o077 == 0
    assert other.models.register(draft(other, b"three")).number == 3


def test_a_backup_that_is_made_while_others_register_is_whole(project: Project, tmp_path: Path) -> None:
    stop, busy = Event(), Project(project.root)

    def register() -> None:
        while not stop.is_set():
            version = busy.models.register(draft(busy, secrets.token_bytes(64)))
            busy.models.promote(version.ref, "production", by="cleo")

    thread = Thread(target=register)
    thread.start()
    try:
        files = [tmp_path / f"{number}.mlnb" for number in range(3)]
        made = [back_up(project.state, project.ledger, file, by="anna") for file in files]
    finally:
        stop.set()
        thread.join()
    assert made[0].rows < made[-1].rows
    for number, file in enumerate(files):
        other = again(file, tmp_path / f"other{number}")
        assert other.audit.verify(other.state.files).ok
        versions = other.models.list("delays")
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        other.models.unpack(versions[-1], tmp_path / f"unpacked{number}")


def test_no_byte_of_a_backup_can_be_changed_or_cut_off(project: Project, tmp_path: Path) -> None:
    file, broken = tmp_path / "b.mlnb", tmp_path / "broken.mlnb"
    back_up(project.state, project.ledger, file, by="anna")
    whole = file.read_bytes()
    step = len(whole) // 12
    for at in range(0, len(whole), step):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            restore(broken, tmp_path / "other", Settings(), by="ben")
        except MlnbError as error:
            assert isinstance(error, (CorruptError, UntrustedError)), error
            assert not (tmp_path / "other").exists() or not list((tmp_path / "other").iterdir())
        else:  # a byte of the ZIP file that says nothing of the content
            restored = Project(tmp_path / "other")
            assert restored.audit.verify(restored.state.files).ok
            (tmp_path / "other").rename(tmp_path / f"harmless{at}")
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:size])
        with pytest.raises(CorruptError):
            restore(broken, tmp_path / "other", Settings(), by="ben")


def rewritten(file: Path, change: Callable[[dict[str, object]], None], extra: tuple[str, bytes] | None = None) -> None:
    """Write a backup anew as somebody without the key could, or (`extra`) with a member that it does not list."""
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(content["backup.json"])
    change(told)
    content["backup.json"] = json.dumps(told).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        if extra:
            archive.writestr(*extra)


def test_what_a_stranger_has_rewritten_is_refused(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "b.mlnb"

    def backup() -> Backup:
        return back_up(project.state, project.ledger, file, by="anna")

    backup()
    rewritten(file, lambda told: told["members"].pop("state/cache/k.json"))  # type: ignore[attr-defined]
    with pytest.raises(CorruptError, match="not those that it lists"):
        restore(file, tmp_path / "other", Settings(), by="ben")
    backup()
    rewritten(file, lambda told: None, ("state/../../evil", b"x"))
    with pytest.raises(CorruptError, match="not those that it lists"):
        restore(file, tmp_path / "other", Settings(), by="ben")
    backup()
    rewritten(file, lambda told: told.update(made_by="mallory"))
    with pytest.raises(UntrustedError, match="it was changed after it was made"):
        restore(file, tmp_path / "other", Settings(), by="ben")
    backup()
    rewritten(file, lambda told: told.update(format=2))
    with pytest.raises(NewerFormatError):
        restore(file, tmp_path / "other", Settings(), by="ben")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "other" / ".mlnb").exists()


def test_a_state_that_is_there_is_not_overwritten(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "b.mlnb"
    back_up(project.state, project.ledger, file, by="anna")
    with pytest.raises(UsageError, match="has a state already"):
        restore(file, project.root, Settings(), by="ben")
    (tmp_path / "looked").mkdir()
    assert Project(tmp_path / "looked").models.models() == ()  # a look makes an empty state
    assert again(file, tmp_path / "looked").models.aliases("delays") == {"production": 2}


def test_a_project_can_move_to_another_ledger_and_depot_and_be_restored_there_twice(
    project: Project, tmp_path: Path
) -> None:
    file, settings = tmp_path / "b.mlnb", Settings(ledger=str(tmp_path / "team.db"), artifacts=str(tmp_path / "depot"))
    back_up(project.state, project.ledger, file, by="anna")
    restore(file, tmp_path / "first", settings, by="ben")
    assert len([path for path in (tmp_path / "depot").rglob("*") if path.is_file()]) == 3
    assert not (tmp_path / "first" / ".mlnb" / "ledger.db").exists()
    second = restore(file, tmp_path / "second", settings, by="cleo")  # the team's ledger begins with these rows
    assert second.intact
    assert second.ledger == str(tmp_path / "team.db")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    stranger = Project(elsewhere)
    stranger.models.register(draft(stranger, b"of another project"))
    stranger.ledger.close()
    (elsewhere / ".mlnb" / "ledger.db").rename(tmp_path / "other.db")
    with pytest.raises(UsageError, match="holds other rows than the backup"):
        restore(file, tmp_path / "third", Settings(ledger=str(tmp_path / "other.db")), by="ben")
    assert not (tmp_path / "third" / ".mlnb").exists()


def test_with_a_key_the_file_is_encrypted_and_what_is_restored_as_well(project: Project, tmp_path: Path) -> None:
    key, file = tmp_path / "team.key", tmp_path / "b.mlnb"
    key.write_text(base64.b64encode(secrets.token_bytes(32)).decode())
    key.chmod(0o600)
    (project.root / "pyproject.toml").write_text(f'[tool.mlnb]\nencryption_key = "{key}"\n')
    same = Project(project.root)
    made = back_up(same.state, same.ledger, file, by="anna")
    assert made.encrypted
    assert b"ledger/" not in file.read_bytes()
    with pytest.raises(SecretError, match="encrypted, and no key is known"):
        restore(file, tmp_path / "other", Settings(), by="ben")
    settings = Settings(encryption_key=str(key))
    restore(file, tmp_path / "other", settings, by="ben")
    assert not (tmp_path / "other" / ".mlnb" / "artifacts" / "sha256").exists()
    with opened(file, same.state.files.vault) as content:
        assert content.digest == made.digest


def test_damage_that_no_version_needs_is_told_and_other_damage_stops_it(project: Project, tmp_path: Path) -> None:
    store, file = project.state.files, tmp_path / "b.mlnb"
    value, _ = store.put(b"a value of a stage")
    needed = project.models.get("delays/1").files["model.onnx"]
    for digest in (value, needed):
        store.path(digest).chmod(0o644)
    store.path(value).write_bytes(b"A value of a stage")
    assert back_up(project.state, project.ledger, file, by="anna").missing == (value,)
    before = file.read_bytes()
    store.path(needed).write_bytes(b"other weights")
    with pytest.raises(CorruptError, match="is damaged"):
        back_up(project.state, project.ledger, file, by="anna")
    assert file.read_bytes() == before
