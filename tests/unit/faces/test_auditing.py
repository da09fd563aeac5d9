"""What an auditor types: verify, compare with an export, see what waits, go back to any version that was there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlnb.project import Project
from mlnb.registry.version import Draft
from tests.unit.faces.conftest import Mlnb


@pytest.fixture
def moved(tmp_path: Path, package: Path) -> Project:
    project = Project(tmp_path)
    for content in (b"a", b"b", b"c"):
        store = project.state.files
        files = {path.name: store.put(path)[0] for path in package.iterdir()} | {"words.txt": store.put(content)[0]}
        project.models.register(Draft("delays", "anna", "onnx", files))
    for number in (1, 2, 3):
        project.promote(f"delays/{number}", "production")
    return project


def test_a_rollback_leads_to_any_version_that_was_there(mlnb: Mlnb, moved: Project) -> None:
    assert mlnb("rollback", "delays", "production", "--to", "1").out == "production: delays/3 -> delays/1\n"
    assert mlnb("rollback", "delays", "production", "--to", "1").out == "production is delays/1 already\n"
    assert mlnb("rollback", "delays", "production", "--to", "3", "--json").json()["kind"] == "rollback"
    assert mlnb("rollback", "delays", "production").out == "production: delays/3 -> delays/2\n"
    refused = mlnb("rollback", "delays", "staging", "--to", "1")
    assert (refused.code, refused.err) == (2, "delays has no alias 'staging'.\nKnown: production.\n")
    assert mlnb("rollback", "delays", "production", "--to", "9").err == (
        "delays/9 has never held production, so there is no way back to it.\n"
        "Promote it, through the gates: mlnb promote delays/9 production.\n"
    )
    assert mlnb("audit", "verify").code == 0


def test_an_export_is_written_and_compared(mlnb: Mlnb, moved: Project, tmp_path: Path) -> None:
    printed = mlnb("audit", "export").out.splitlines()
    assert len(printed) == 9  # three versions, three promotions, three signatures
    assert mlnb("audit", "export", "log.jsonl").out == "9 lines in log.jsonl\n"
    assert (tmp_path / "log.jsonl").read_text().splitlines() == printed
    moved.rollback("delays", "production")
    ran = mlnb("audit", "verify", "--against", "log.jsonl")
    assert ran.code == 0
    assert "Everything that log.jsonl holds is in the log.\n" in ran.out
    row = {**json.loads(printed[-2]), "digest": "sha256:0"}
    (tmp_path / "log.jsonl").write_text(json.dumps(row))
    ran = mlnb("audit", "verify", "--against", "log.jsonl")
    assert (ran.code, ran.out.splitlines()[0]) == (
        1, "Row 6 of the audit log is not the one that was exported, or is gone.",
    )  # fmt: skip
    assert "cannot be read" in mlnb("audit", "verify", "--against", "nothing").err


def test_changed_bytes_of_a_version_are_told_by_name(mlnb: Mlnb, moved: Project) -> None:
    place = moved.state.files.path(moved.models.get("delays/2").files["words.txt"])
    place.chmod(0o644)
    place.write_bytes(b"B")
    ran = mlnb("audit", "verify", "--json")
    assert ran.code == 1
    assert ran.json()["faults"][0].startswith("The file words.txt of delays/2 is not what was registered")
    assert mlnb("promote", "delays/2", "production").code == 2


def test_what_waits_is_told_and_a_version_is_vouched_for(mlnb: Mlnb, moved: Project) -> None:
    assert mlnb("audit", "effects").out == "Everything is done.\n"
    ran = mlnb("models", "vouch", "delays/1", "--reason", "mine")
    assert ran.out.startswith("delays/1 is signed by the key ")
    assert "needs a reason" in mlnb("models", "vouch", "delays/1").err
    gone = mlnb("promote", "delays/1", "production", env={"MLNB_NOTIFY_URL": "http://127.0.0.1:9/"})
    assert gone.code == 0
    waits = mlnb("audit", "effects", env={"MLNB_NOTIFY_URL": "http://127.0.0.1:9/"})
    assert waits.code == 1
    assert waits.out.startswith("notify of delays waits after 1 tries: http://127.0.0.1 cannot be told")
    assert "notify of delays still waits: http://127.0.0.1 cannot be told" in mlnb("models", "list").err
