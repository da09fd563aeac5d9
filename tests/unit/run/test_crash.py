"""kill -9 in the middle of a run; `tests/bench/crash.py` does the same at many random moments."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """A temporary folder with a short path, and a mark by which the processes of one test are known."""
    folder = tempfile.mkdtemp(prefix="t-", dir="/tmp")
    yield {**os.environ, "MLNB_BENCH": uuid.uuid4().hex, "TMPDIR": folder}
    shutil.rmtree(folder)


@pytest.mark.parametrize("victim", ["engine", "kernel", "zygote"])
def test_after_a_kill_the_next_run_is_right_and_nothing_is_left(
    tmp_path: Path, environ: dict[str, str], victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    crash = importlib.import_module("tests.bench.crash").crash
    found = crash(tmp_path, victim, 0.05, environ, since="cell-started")
    assert found.killed
    assert found.well, found


def test_a_run_with_nothing_to_do_removes_what_a_killed_zygote_left(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "nb.py").write_text("# %%\n#| stage: one\nx = 1\n")
    words = [sys.executable, "-m", "mlnb", "run", str(tmp_path / "nb.py"), "-q"]
    subprocess.run(words, env=environ, cwd=tmp_path, check=True)
    shared = Path(environ["TMPDIR"]) / f"mlnb-{os.getuid()}"
    assert not shared.exists()
    shared.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(shared / "z-0123456789abcdef"))
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(shared / "z-alive"))
        alive.listen()
        subprocess.run(words, env=environ, cwd=tmp_path, check=True)
        assert [path.name for path in shared.iterdir()] == ["z-alive"]
    subprocess.run(words, env=environ, cwd=tmp_path, check=True)
    assert not shared.exists()
