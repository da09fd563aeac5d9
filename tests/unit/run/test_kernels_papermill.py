from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import papermill
import psutil
import pytest

PAPERMILL = Path(sys.executable).parent / "papermill"
SEE = """
import json, os, sys
from ipykernel.connect import get_connection_info
info = get_connection_info(unpack=True)
print(json.dumps([os.getppid(), 'colorsys' in sys.modules, info['transport'], greeting, os.getcwd()]))
"""


@pytest.fixture
def kernelspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a kernelspec whose metadata names our provisioner; find no socket left behind at the end."""
    folder = tmp_path / "jupyter/kernels/forked"
    folder.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Forked",
        "language": "python",
        "metadata": {
            "kernel_provisioner": {
                "provisioner_name": "mlnb-fork",
                "config": {"preload": ["colorsys"], "idle_s": 60},
            }
        },
    }
    (folder / "kernel.json").write_text(json.dumps(spec))
    sockets = Path(tempfile.mkdtemp(prefix="t-"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(sockets))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    yield
    tempfile.tempdir = None
    sockets.rmdir()


def notebook(path: Path, kernel: str) -> Path:
    """Write a plain notebook: a parameter, and a look at the kernel."""
    cells = [("greeting = 'none'", ["parameters"]), (SEE, [])]
    content = {
        "cells": [
            {"cell_type": "code", "execution_count": None, "metadata": {"tags": tags}, "outputs": [], "source": source}
            for source, tags in cells
        ],
        "metadata": {"kernelspec": {"display_name": kernel, "language": "python", "name": kernel}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    path.write_text(json.dumps(content))
    return path


def seen(path: Path) -> list[object]:
    outputs = json.loads(path.read_text())["cells"][-1]["outputs"]
    found: list[object] = json.loads("".join(outputs[0]["text"]))
    return found


def test_plain_papermill_forks_kernels_of_a_kernelspec_that_asks_for_it(tmp_path: Path, kernelspec: None) -> None:
    path = notebook(tmp_path / "nb.ipynb", "forked")
    command = [str(PAPERMILL), str(path), str(tmp_path / "out.ipynb"), "-p", "greeting", "hello", "--no-progress-bar"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    zygote, preloaded, transport, greeting, folder = seen(tmp_path / "out.ipynb")
    assert (preloaded, transport, greeting, folder) == (True, "ipc", "hello", str(tmp_path))
    parent = psutil.Process(int(str(zygote)))
    assert "mlnb.run.kernels.zygote" in parent.cmdline()
    papermill.execute_notebook(path, tmp_path / "again.ipynb", engine_name="mlnb", progress_bar=False, cwd=tmp_path)
    assert seen(tmp_path / "again.ipynb")[:2] == [zygote, True]
    parent.terminate()
    assert psutil.wait_procs([parent], timeout=20)[1] == []


def test_papermills_engine_mlnb_executes_any_kernel(tmp_path: Path) -> None:
    path = notebook(tmp_path / "nb.ipynb", "python3")
    papermill.execute_notebook(path, tmp_path / "out.ipynb", {"greeting": "hi"}, engine_name="mlnb", progress_bar=False)
    assert seen(tmp_path / "out.ipynb")[0] == os.getpid()
    assert seen(tmp_path / "out.ipynb")[3] == "hi"
    metadata = json.loads((tmp_path / "out.ipynb").read_text())["metadata"]
    assert metadata["papermill"]["exception"] is None
    assert metadata["language_info"]["name"] == "python"
