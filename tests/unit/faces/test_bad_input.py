"""Every bad input that a person can give to the command line: two sentences, an exit code, nothing half-written."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

DEPLOY = "%%deploy delays --model model --sample X"
FITTED = (
    "%%stage train\n"
    "import pandas as pd\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "X = pd.DataFrame({'distance': [float(n) for n in range(40)]})\n"
    "model = LogisticRegression().fit(X, X['distance'] > 20)"
)


def _document(**changes: object) -> str:
    content: dict[str, object] = {
        "cells": [],
        "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content | changes)


FILES = {
    "not JSON": ("{not json", "JSON"),
    "an empty file": ("", "JSON"),
    "JSON, but no notebook": ("[1, 2]", "nb.ipynb"),
    "nbformat 3": (json.dumps({"worksheets": [], "nbformat": 3, "nbformat_minor": 0, "metadata": {}}), "3"),
    "another language": (
        _document(metadata={"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}}),
        "R",
    ),
    "no stage": (_document(), "stage"),
}


@pytest.mark.parametrize("verb", ["plan", "run", "test", "deploy"])
@pytest.mark.parametrize(("content", "named"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_annotated_notebook_is_refused(mlnb, tmp_path, content, named, verb):
    (tmp_path / "nb.ipynb").write_text(content)
    ran = mlnb(verb, "nb.ipynb")
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err and "nb.ipynb" in ran.err
    assert len(ran.err.strip().splitlines()) == 2
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("verb", ["plan", "run", "test", "deploy"])
def test_a_missing_notebook_is_refused_and_no_project_is_made(mlnb, tmp_path, verb):
    ran = mlnb(verb, "no-such.ipynb")
    assert ran.code == 2 and "no-such.ipynb" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_notebook(mlnb, tmp_path):
    (tmp_path / "nb.ipynb").mkdir()
    ran = mlnb("plan", "nb.ipynb")
    assert ran.code == 2 and "nb.ipynb" in ran.err


def test_a_syntax_error_names_cell_and_line(mlnb, write_notebook):
    write_notebook("import os", "%%stage train\nx = 1\ny = = 2")
    ran = mlnb("run", "nb.ipynb", "--json")
    error = ran.json()["error"]
    assert ran.code == 2
    assert (error["type"], error["cell"], error["line"]) == ("NotebookError", 2, 3)


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (("%%stage train\nmodel = fit(rows)",), ("rows", "fit", "train")),
        (("rows = open('x').read()", "%%stage train\nn = len(rows)"), ("rows", "cell 1", "train")),
        (("%%stage train\nfrom os.path import *",), ("import *",)),
        (("%%stage train --metric auc\nauc = 1",), ("--metric", "--metrics")),
        (("%%stgae train\nx = 1",), ("%%stgae", "%%stage")),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_names(mlnb, write_notebook, cells, named):
    write_notebook(*cells)
    ran = mlnb("plan", "nb.ipynb")
    assert (ran.code, ran.out) == (2, "")
    assert any(name in ran.err for name in named[:2])
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("-p", "tree=5"), "trees"),
        (("-p", "trees=many"), "trees"),
        (("-p", "trees"), "trees"),
        (("-f", "no-such.yaml"), "no-such.yaml"),
        (("-f", "bad.yaml"), "bad.yaml"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_runs(mlnb, write_notebook, tmp_path, words, named):
    write_notebook(("trees: int = 3", "parameters"), "%%stage train\nn = trees")
    (tmp_path / "bad.yaml").write_text("trees: [1")
    ran = mlnb("run", "nb.ipynb", *words)
    assert ran.code == 2 and named in ran.err
    assert not list(tmp_path.rglob("run.json"))


def test_a_value_that_cannot_be_handed_over_names_variable_giver_and_taker(mlnb, write_notebook):
    write_notebook(
        "%%stage one\nimport threading\nlock = threading.Lock()", "%%stage two\nbusy = lock.locked()\nprint(busy)"
    )
    ran = mlnb("run", "nb.ipynb")
    assert ran.code == 1
    for name in ("lock", "one", "two"):
        assert name in ran.out
    assert "Traceback" not in ran.err
    record = mlnb("runs", "list", "--json").json()[0]
    assert [stage["state"] for stage in record["stages"]] == ["failed", "skipped"]


def test_a_deploy_of_something_that_is_no_model_is_refused(mlnb, spawn, write_notebook):
    write_notebook("%%stage train\nimport pandas as pd\nmodel = 5\nX = pd.DataFrame({'a': [1.0]})", DEPLOY)
    ran = spawn("deploy", "nb.ipynb", "--json")
    assert ran.code == 2
    assert "model" in ran.json()["error"]["problem"]
    assert ran.json()["error"]["type"] == "ModelError"
    assert mlnb("models", "list", "--json").json() == []
    assert mlnb("services", "list", "--json").json() == []


def test_a_sample_with_other_columns_than_the_models_names_them(mlnb, spawn, write_notebook):
    write_notebook(FITTED + "\nX = X.rename(columns={'distance': 'miles'})", DEPLOY)
    ran = spawn("deploy", "nb.ipynb")
    assert ran.code == 2
    assert "distance" in ran.err and "miles" in ran.err
    assert mlnb("models", "list", "--json").json() == []


def test_a_port_in_use_is_named_and_nothing_is_left_running(mlnb, spawn, write_notebook):
    write_notebook(FITTED, DEPLOY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = spawn("deploy", "nb.ipynb", "--port", str(port), "--json", env={"MLNB_ENVIRONMENT": "installed"})
    assert ran.code == 2
    error = ran.json()["error"]
    assert (error["type"], error["port"]) == ("PortError", port)
    assert all(one["state"] != "running" for one in mlnb("services", "list", "--json").json())


_LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
_AS_NOBODY = "import os; os.getuid() or os.setuid(65534)\n"
_RUN = "import sys; from mlnb.faces.cli import main; sys.exit(main(sys.argv[1:]))"
_PRELOADED = (
    "import mlnb.run.engine, mlnb.pipeline.parameters, mlnb.faces.progress, yaml\n"
    "from mlnb.faces.cli import main\n"
    "main(['plan', 'nb.ipynb', '-q'])\n"
)


def test_a_full_disk_is_named_and_the_next_run_succeeds(mlnb, write_notebook, tmp_path):
    write_notebook("%%stage one\na = list(range(100_000))", "%%stage two\nb = len(a)")
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LIMITED + _RUN, "run", "nb.ipynb"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "larger than the system allows" in done.stdout and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".tmp-*"))
    assert mlnb("run", "nb.ipynb").code == 0


def test_a_folder_that_may_not_be_written_is_named(write_notebook, tmp_path):
    write_notebook("%%stage one\na = 1")
    above = [folder for folder in (tmp_path, *tmp_path.parents) if len(folder.parts) > 2]
    modes = [(folder, folder.stat().st_mode) for folder in above]
    for folder, mode in modes:
        folder.chmod(mode | 0o055)
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PRELOADED + _AS_NOBODY + _RUN, "run", "nb.ipynb"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    finally:
        for folder, mode in modes:
            folder.chmod(mode)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr and "permission" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["nb.ipynb"]


def test_a_report_that_cannot_be_written_is_named(mlnb, write_notebook, tmp_path):
    write_notebook("%%stage one\na = 1")
    ran = mlnb("plan", "nb.ipynb", "--svg", str(tmp_path / "no" / "such" / "folder" / "plan.svg"))
    assert ran.code == 2 and "plan.svg" in ran.err


def test_two_runs_at_once_in_one_project_both_succeed(mlnb, spawn, write_notebook):
    write_notebook("%%stage one\na = 1", "%%stage two\nb = a + 1")
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(spawn("run", "nb.ipynb").code)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0, 0]
    records = mlnb("runs", "list", "--json").json()
    assert [record["state"] for record in records] == ["done", "done"]
    assert len({record["id"] for record in records}) == 2


@pytest.mark.parametrize(
    "words", [("run", "nb.ipynb"), ("deploy", "nb.ipynb"), ("runs", "list"), ("models", "list"), ("doctor",)]
)
def test_a_state_folder_of_a_newer_mlnb_is_refused_and_left_alone(mlnb, write_notebook, tmp_path, words):
    write_notebook("%%stage one\na = 1", "%%deploy delays --model a --sample a")
    (tmp_path / ".mlnb").mkdir()
    (tmp_path / ".mlnb" / "format.json").write_text('{"format": 99, "mlnb": "9.0.0"}')
    ran = mlnb(*words)
    assert ran.code == (1 if words == ("doctor",) else 2)
    assert "newer" in ran.out + ran.err and "Traceback" not in ran.err
    assert [entry.name for entry in (tmp_path / ".mlnb").iterdir()] == ["format.json"]


def test_an_unknown_setting_is_named(mlnb, write_notebook, tmp_path):
    write_notebook("%%stage one\na = 1")
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\nprot = 80\n")
    ran = mlnb("run", "nb.ipynb")
    assert ran.code == 2 and "'prot'" in ran.err and "'port'" in ran.err


def test_a_project_folder_that_is_not_there_is_named(mlnb):
    ran = mlnb("runs", "list", "--project", "no-such-folder")
    assert ran.code == 2 and "no-such-folder" in ran.err


def test_nothing_was_written_beside_the_notebooks(mlnb, write_notebook, tmp_path: Path):
    path = write_notebook("%%stage one\na = 1")
    before = path.read_bytes()
    mlnb("plan", "nb.ipynb")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["nb.ipynb"]
