from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mlnb.run.executor import Execution, Job
from mlnb.run.fault import fault_of
from mlnb.run.local import LocalExecutor

EXECUTE = """
import sys
from pathlib import Path
from mlnb.run.executor import Job
from mlnb.run.local import LocalExecutor
path = Path(sys.argv[1])
LocalExecutor().execute(Job(path, path.parent, {}), lambda number: None)
"""


def stdout_of(execution: Execution) -> str:
    outputs = [output for cell in execution.notebook["cells"] for output in cell.get("outputs", [])]  # type: ignore
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


@pytest.fixture(autouse=True)
def no_private_folder_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Let kernels' folders be made below the test's own, and find none there afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    tempfile.tempdir = None
    folder.rmdir()


def test_a_notebook_runs_in_a_fresh_python_of_its_own(
    tmp_path: Path, write_notebook: Callable[..., Path], cell
) -> None:
    braces = tmp_path / "with {braces}"
    braces.mkdir()
    path = write_notebook(
        cell("month = 1", 1, "parameters", 1, "parameters"),
        cell("import os, sys, hashlib", 2, "setup"),
        cell("print(month, os.getcwd(), sys.executable, os.environ['PYTHONHASHSEED'])", 0, "take"),
        cell("def f():\n    return 1\nprint(f.__code__.co_filename, os.getpid(), os.getpgid(0) == os.getpid())", 4),
        name="with {braces}/stage.ipynb",
    )
    told: list[int] = []
    execution = LocalExecutor().execute(Job(path, braces, {"month": {"a": [None, True, 1.5]}}), told.append)
    assert told == [1, 2, 4]
    assert execution.crash == ""
    words = stdout_of(execution).splitlines()
    assert words[0] == f"{{'a': [None, True, 1.5]}} {braces} {sys.executable} 0"
    name, pid, leader = words[1].split()
    assert name.startswith("<mlnb-cell-")
    assert pid not in name
    assert leader == "True"
    assert not psutil.pid_exists(int(pid))
    assert json.loads(path.read_text()) == execution.notebook


def test_a_kernel_that_is_killed_is_told_with_the_signal_and_leaves_nothing(
    tmp_path: Path, write_notebook: Callable[..., Path], cell
) -> None:
    path = write_notebook(
        cell("import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)", 3),
        cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 7),
    )
    execution = LocalExecutor().execute(Job(path, tmp_path, {}), lambda number: None)
    child = int(stdout_of(execution))
    if psutil.pid_exists(child):
        assert psutil.wait_procs([psutil.Process(child)], timeout=10)[1] == []
    assert execution.crash == "its kernel died (SIGKILL)"
    fault = fault_of("train", execution, None)
    assert fault is not None
    assert fault.problem == "Stage 'train' was ended in cell 7: its kernel died (SIGKILL)."
    assert fault.cell == 7


def test_a_cell_that_runs_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, write_notebook: Callable[..., Path], cell
) -> None:
    path = write_notebook(
        cell(
            "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen('pid', 'w').write(str(child.pid))", 1
        ),
        cell("import time\ntime.sleep(600)", 2),
    )
    execution = LocalExecutor().execute(Job(path, tmp_path, {}, timeout_s=1), lambda number: None)
    assert execution.crash == "it ran longer than 1 s (the setting stage_timeout_s)"
    child = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_the_kernel_goes_with_who_started_it(
    tmp_path: Path, write_notebook: Callable[..., Path], cell, how: signal.Signals, no_private_folder_remains: Path
) -> None:
    os.mkfifo(tmp_path / "pid")
    path = write_notebook(
        cell("import os, time\nwith open('pid', 'w') as file:\n    file.write(str(os.getpid()))\ntime.sleep(600)", 1)
    )
    runner = subprocess.Popen([sys.executable, "-c", EXECUTE, str(path)], stderr=subprocess.PIPE, text=True)
    kernel = psutil.Process(int((tmp_path / "pid").read_text()))
    runner.send_signal(how)
    said = runner.communicate()[1]
    assert psutil.wait_procs([kernel], timeout=20)[1] == []
    if how == signal.SIGKILL:
        for path in sorted(no_private_folder_remains.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    else:
        assert said.strip().endswith("KeyboardInterrupt")


def test_a_long_temporary_path_does_not_break_the_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_notebook: Callable[..., Path], cell
) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    path = write_notebook(cell("print('ran')", 1))
    assert stdout_of(LocalExecutor().execute(Job(path, tmp_path, {}), lambda number: None)) == "ran\n"
    assert list(deep.iterdir()) == []
