"""A study through the command line: real runs, real kernels, Optuna's own journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PARAMETERS = "C = 1.0  # how much\nkind = 'a'\nother = 0"
TRAIN = """%%stage train --metrics score
for step in range(3):
    report(-(C - 2) ** 2 + step, step)
score = -(C - 2) ** 2 + 2 + (kind == 'b') + rows + other"""


def write(path: Path, train: str = TRAIN) -> Path:
    cells = [
        (PARAMETERS, ["parameters"]),
        ("from mlnb import report", []),
        ("%%stage prepare\nrows = 0", []),
        (train, []),
    ]
    listed = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {"tags": tags},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for n, (text, tags) in enumerate(cells)
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": listed}, indent=1))
    return path


def mlnb(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlnb", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def runs_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((folder / ".mlnb/runs").glob("*/run.json"))]


GRID = ("kind=[a,b]", "--maximize", "train.score", "--sampler", "grid", "--pruner", "none")
SEARCH = ("tune", "nb.ipynb", "C=[0.0,1.5,3.0]", *GRID)
SMALL = ("tune", "nb.ipynb", "C=[0.0,1.5]", *GRID)


def test_a_study_finds_the_best_runs_only_what_changes_and_goes_on_where_it_was(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb")
    done = mlnb(*SEARCH, "--trials", "4", "-p", "other=5", "--jobs", "2", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["trials"]) == 4
    prepared = [stage["state"] for run in runs_of(tmp_path) for stage in run["stages"] if stage["name"] == "prepare"]  # type: ignore[attr-defined]
    assert sorted(prepared) == ["cached"] * 3 + ["done"]  # the searched parameters do not reach it

    written = mlnb(
        *SEARCH, "--trials", "50", "-p", "other=5", "--write", "--html", "study.html", "--json", folder=tmp_path
    )
    told = json.loads(written.stdout)
    tried = {(trial["values"]["C"], trial["values"]["kind"]): trial["score"] for trial in told["trials"]}
    assert tried == {
        (c, k): -((c - 2) ** 2) + 7 + (k == "b") for c in (0.0, 1.5, 3.0) for k in "ab"
    }  # the whole grid, once
    assert told["best"]["values"] == {"C": 1.5, "kind": "b"}
    assert len(runs_of(tmp_path)) == 6
    source = json.loads((tmp_path / "nb.ipynb").read_text())["cells"][0]["source"]
    assert "".join(source) == 'C = 1.5  # how much\nkind = "b"\nother = 0'
    assert "plotly" in (tmp_path / "study.html").read_text()

    again = mlnb(*SEARCH, "--trials", "6", "-p", "other=5", "--json", folder=tmp_path)
    assert json.loads(again.stdout)["study"] == told["study"]  # other defaults of what is searched: the same study
    assert len(runs_of(tmp_path)) == 6


def test_a_hopeless_trial_ends_early(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb")
    words = ("tune", "nb.ipynb", "C=uniform(-3,3)", "--maximize", "score", "--trials", "6", "--seed", "1", "--json")
    done = mlnb(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    first = sorted(-((trial["values"]["C"] - 2) ** 2) for trial in trials[:4])
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    for trial in pruned:  # the median rule (Golovin et al. 2017): below the median of the others at the same step
        assert -((trial["values"]["C"] - 2) ** 2) <= max(first)
    records = {run["id"]: run for run in runs_of(tmp_path)}
    fault = next(stage["error"] for stage in records[pruned[0]["run"]]["stages"] if stage["error"])  # type: ignore[attr-defined]
    assert fault["ename"] == "PrunedError"


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_study_that_was_stopped_goes_on_and_no_trial_is_lost_or_counted_twice(tmp_path: Path, number: int) -> None:
    write(tmp_path / "nb.ipynb")
    command = [sys.executable, "-m", "mlnb", *SMALL, "--trials", "4", "--events"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        for line in process.stdout or ():
            event = json.loads(line)
            if event["event"] == "trial-started" and event["trial"]["number"] == 1:
                process.send_signal(number)
                break
    assert process.returncode != 0
    done = mlnb(*SMALL, "--trials", "4", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    finished = [trial["values"] for trial in json.loads(done.stdout)["trials"] if trial["state"] == "done"]
    assert {(values["C"], values["kind"]) for values in finished} == {(c, k) for c in (0.0, 1.5) for k in "ab"}


def test_a_number_that_nobody_gives_is_said_with_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb")
    refused = mlnb("tune", "nb.ipynb", "C=[1,2]", "--maximize", "train.scor", folder=tmp_path)
    assert refused.returncode == 2
    assert "gives no number 'train.scor'" in refused.stderr
    assert "Did you mean 'train.score'?" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_notebook_that_always_fails_ends_the_study_with_its_own_fault(tmp_path: Path) -> None:
    write(tmp_path / "nb.ipynb", "%%stage train --metrics score\nscore = C / (rows * 0)")
    refused = mlnb("tune", "nb.ipynb", "C=uniform(1,2)", "--minimize", "score", folder=tmp_path)
    assert refused.returncode == 2
    assert "ZeroDivisionError" in refused.stderr
    assert len(runs_of(tmp_path)) == 3


def test_report_does_nothing_outside_a_study_and_refuses_what_is_no_number() -> None:
    from mlnb import report
    from mlnb.errors import UsageError

    report(0.5, 1)
    with pytest.raises(UsageError, match="not a number"):
        report("high", 1)  # type: ignore[arg-type]
