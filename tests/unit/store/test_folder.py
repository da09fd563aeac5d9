from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mlnb.errors import CorruptError, NewerFormatError, StorageError
from mlnb.store.folder import StateFolder

OPEN = "import sys; from pathlib import Path; from mlnb.store.folder import StateFolder as S; S.open(Path(sys.argv[1]))"


def test_a_project_gets_its_folder_once_and_git_ignores_it(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in state.root.rglob("*")}
    assert StateFolder.open(tmp_path) == state
    assert {path: path.stat().st_mtime_ns for path in state.root.rglob("*")} == before
    assert (state.root / ".gitignore").read_text() == "*\n"
    assert json.loads((state.root / "format.json").read_text()) == {"format": 1, "mlnb": "0.1.0"}
    assert state.project == tmp_path
    for folder in (state.artifacts, state.runs, state.cache, state.services, state.predictions):
        assert folder.is_dir()
        assert folder.parent == state.root
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def test_a_folder_of_a_newer_mlnb_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".mlnb").mkdir()
    (tmp_path / ".mlnb" / "format.json").write_text('{"format": 2, "mlnb": "9.0"}')
    with pytest.raises(NewerFormatError, match="Upgrade mlnb"):
        StateFolder.open(tmp_path)
    assert [path.name for path in (tmp_path / ".mlnb").iterdir()] == ["format.json"]


def test_a_damaged_format_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".mlnb").mkdir()
    (tmp_path / ".mlnb" / "format.json").write_text('{"format": ')
    with pytest.raises(CorruptError, match=r"format\.json is damaged"):
        StateFolder.open(tmp_path)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ".mlnb").write_text("not a folder")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        StateFolder.open(tmp_path)


def test_a_project_folder_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    code = f"""
from mlnb.errors import StorageError
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (0, {resource.RLIM_INFINITY}))
try:
    exec({OPEN!r})
except StorageError as error:
    print(error.problem)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("cannot be written: the file is larger than the system allows here.")
    assert not [path for path in (tmp_path / ".mlnb").rglob("*") if path.is_file()]


def test_processes_that_open_it_at_once_all_succeed(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)]) for _ in range(6)]
    assert [worker.wait() for worker in workers] == [0] * 6
    assert sorted(path.name for path in (tmp_path / ".mlnb").iterdir()) == [
        ".gitignore",
        "artifacts",
        "cache",
        "format.json",
        "predictions",
        "runs",
        "services",
    ]


def test_a_shared_cache_is_an_address_or_a_folder_from_the_root(tmp_path: Path) -> None:
    assert StateFolder.open(tmp_path).shared == ""
    assert StateFolder.open(tmp_path, "s3://team/cache").shared == "s3://team/cache"
    assert StateFolder.open(tmp_path, "../share").shared == f"file://{tmp_path}/../share"
    assert StateFolder.open(tmp_path, "/mnt/share").shared == "file:///mnt/share"
