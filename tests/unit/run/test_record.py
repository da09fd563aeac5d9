from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from mlnb.errors import NewerFormatError, UsageError
from mlnb.run.history import list_runs, read_run
from mlnb.run.junit import junit_xml
from mlnb.run.options import RunOptions
from mlnb.run.record import CaseRecord, RunRecord, StageFault, StageRecord
from mlnb.run.summary import markdown
from mlnb.run.surroundings import environment_lock, git_state
from mlnb.run.values import artifact_of, numbers
from mlnb.store.artifact import Artifact
from mlnb.store.codec import encode
from mlnb.store.files import FileStore
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import write_json
from mlnb.store.process import alive, this_process

FAULT = StageFault(7, 3, "ValueError", "bad \x00 & <value>", "Stage 'train' failed.", "Correct it.", "Traceback ...")
RECORD = RunRecord(
    id="20261122-193000-a1b2c3",
    notebook="notebooks/delays.ipynb",
    notebook_digest="sha256:0",
    git_commit="abc",
    git_dirty=True,
    parameters={"month": 3, "columns": ["a"], "share": None},
    environment="sha256:1",
    started_at="2026-11-22T19:30:00.000000Z",
    state="failed",
    seconds=12.5,
    stages=(
        StageRecord("prepare", "stage", "cached", "sha256:2", 3.0, "2026-11-22T19:30:00.000000Z"),
        StageRecord("train", "stage", "failed", "sha256:3", 4.0, error=FAULT, warnings=("changed",)),
        StageRecord("evaluate", "stage", "skipped"),
        StageRecord(
            "test-prepare",
            "test",
            "failed",
            seconds=1.0,
            cases=(CaseRecord("test_rows", 4, "passed", "", 0.25), CaseRecord("cell 5", 5, "failed", "KeyError: 'a'")),
            error=FAULT,
        ),
        StageRecord("test-evaluate", "test", "skipped"),
    ),
    data=(("flights.csv", "sha256:4"),),
    options=RunOptions(start=("train",), jobs=2, kernel="fork"),
    resumed="20261122-190000-a1b2c3",
    kernel="fork",
    executor="local",
)


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    write_json(state.runs / RECORD.id / "run.json", RECORD.to_json())
    assert read_run(state, RECORD.id) == RECORD
    assert read_run(state, "last") == RECORD
    assert list_runs(state) == (RECORD,)


# As mlnb 0.1 wrote it, before runs had options.
FORMAT_1 = """{
 "format": 1,
 "id": "20261101-080910-0a1b2c",
 "notebook": "nb.ipynb",
 "notebook_digest": "sha256:5",
 "git_commit": "",
 "git_dirty": false,
 "parameters": {"month": 3},
 "environment": "sha256:6",
 "started_at": "2026-11-01T08:09:10.000000Z",
 "state": "done",
 "seconds": 1.5,
 "stages": [
  {
   "name": "prepare", "kind": "stage", "state": "done", "key": "sha256:7", "seconds": 1.25,
   "started_at": "2026-11-01T08:09:10.100000Z",
   "artifacts": [
    {"name": "n", "codec": "json", "digest": "sha256:8", "size_bytes": 1, "identity": "sha256:8", "type_name": "int",
     "signature": "", "key": ""}
   ],
   "cases": [], "error": null, "notebook": "runs/20261101-080910-0a1b2c/prepare.ipynb", "warnings": []
  }
 ],
 "data": {"a.csv": "sha256:9"},
 "process": "host/1/2.00"
}
"""


def test_a_record_of_format_1_is_still_read(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    folder = state.runs / "20261101-080910-0a1b2c"
    folder.mkdir()
    (folder / "run.json").write_text(FORMAT_1)
    record = read_run(state, "last")
    assert (record.id, record.state, record.parameters, record.data) == (
        folder.name, "done", {"month": 3}, (("a.csv", "sha256:9"),)
    )  # fmt: skip
    assert record.stage("prepare").artifacts[0].digest == "sha256:8"
    assert (record.options, record.resumed, record.kernel) == (RunOptions(), "", "")
    assert (record.stage("prepare").cpu_s, record.stage("prepare").peak_bytes) == (0.0, 0)


def test_a_summary_for_ci_names_states_metrics_and_the_line_that_failed() -> None:
    fault = replace(
        FAULT, problem="Stage 'train' failed in cell 7, line 3: ValueError: a|b <c>.", traceback="  File x\n"
    )
    stages = (replace(RECORD.stages[1], error=fault, peak_bytes=52_000_000), RECORD.stages[2], RECORD.stages[3])
    record = replace(RECORD, stages=stages, resumed="20261122-190000-a1b2c3")
    lines = markdown(record, {"auc": 0.75, "evaluate.auc": 0.75}).split("\n")
    assert lines[0] == "### ❌ notebooks/delays.ipynb: failed in 12.5 s"
    assert lines[2].startswith("run `20261122-193000-a1b2c3`, goes on from `20261122-190000-a1b2c3`, commit `abc` with")
    assert "| ❌ | train | failed | 4.0 s | 52 MB |  |" in lines
    assert "| ⏭️ | evaluate | skipped |  |  |  |" in lines
    assert "| ❌ | test\\-prepare | failed | 1.0 s |  | 1 of 2 passed |" in lines
    assert "| evaluate.auc | 0.75 |" in lines
    assert r"**Stage 'train' failed in cell 7, line 3: ValueError: a\|b \<c\>.** Correct it." in lines
    assert "      File x" in lines
    assert r"**test\-prepare: cell 5** (cell 5): KeyError: 'a'" in lines
    assert lines[-2:] == ["", ""]


def test_runs_are_listed_newest_first_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    for name in ("20261122-000000-aaaaaa", "20261123-000000-aaaaaa"):
        write_json(state.runs / name / "run.json", replace(RECORD, id=name).to_json())
    (state.runs / "20261124-000000-aaaaaa").mkdir()
    (state.runs / "a file").write_text("not a run")
    (state.runs / "20261125-000000-aaaaaa").mkdir()
    (state.runs / "20261125-000000-aaaaaa" / "run.json").write_text("{")
    assert [run.id for run in list_runs(state)] == ["20261123-000000-aaaaaa", "20261122-000000-aaaaaa"]
    with pytest.raises(UsageError, match=r"Did you mean 20261123-000000-aaaaaa\?"):
        read_run(state, "20261123-000000-aaaaab")
    write_json(state.runs / "20261125-000000-aaaaaa" / "run.json", {**RECORD.to_json(), "format": 3})
    with pytest.raises(NewerFormatError):
        list_runs(state)


def test_a_run_whose_process_is_gone_is_cancelled(tmp_path: Path) -> None:
    state = StateFolder.open(tmp_path)
    code = "from mlnb.store.process import this_process; print(this_process())"
    gone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    path = state.runs / RECORD.id / "run.json"
    for process, shown in ((this_process(), "running"), (gone, "cancelled"), ("elsewhere/1/2.00", "running")):
        write_json(path, replace(RECORD, state="running", process=process).to_json())
        assert read_run(state, RECORD.id).state == shown
    assert not alive(f"{this_process()[:-4]}0.00")
    assert not alive(this_process().replace(str(os.getpid()), "not a number"))


def test_junit_has_a_case_for_each_stage_function_and_cell(tmp_path: Path) -> None:
    root = ET.fromstring(junit_xml(RECORD))
    assert root.tag == "testsuites"
    assert [suite.get("name") for suite in root] == ["delays", "delays.test-prepare", "delays.test-evaluate"]
    found = {
        (case.get("classname"), case.get("name")): [(part.tag, part.get("message")) for part in case]
        for case in root.iter("testcase")
    }
    assert found == {
        ("delays", "prepare"): [],
        ("delays", "train"): [("failure", "Stage 'train' failed.")],
        ("delays", "evaluate"): [("skipped", "something before it failed")],
        ("delays.test-prepare", "test_rows"): [],
        ("delays.test-prepare", "cell 5"): [("failure", "KeyError: 'a'")],
        ("delays", "test-evaluate"): [("skipped", "something before it failed")],
    }
    for suite in [root, *root]:
        cases = list(suite.iter("testcase"))
        assert int(suite.get("tests", "")) == len(cases)
        assert int(suite.get("failures", "")) == sum(case.find("failure") is not None for case in cases)
        assert int(suite.get("skipped", "")) == sum(case.find("skipped") is not None for case in cases)
        assert float(suite.get("time", "")) >= 0
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "ValueError"
    assert failure.text == "Correct it.\nTraceback ..."


def test_junit_holds_no_character_that_xml_forbids() -> None:
    fault = replace(FAULT, problem="nul \x00 escape \x1b surrogate \ud800 <&\"' smile 😀")
    record = replace(RECORD, stages=(replace(RECORD.stages[1], error=fault),))
    failure = ET.fromstring(junit_xml(record).encode()).find(".//failure")
    assert failure is not None
    assert failure.get("message") == "nul � escape � surrogate � <&\"' smile 😀"


@pytest.fixture
def scored(tmp_path: Path) -> tuple[RunRecord, FileStore]:
    store = FileStore(tmp_path / "artifacts")

    def given(**values: object) -> tuple[Artifact, ...]:
        return tuple(encode(name, value, store, "key") for name, value in values.items())

    stages = (
        StageRecord(
            "train", "stage", "done", artifacts=given(auc=0.7, rows=10, flag=True, name="x", array=np.zeros(()))
        ),
        StageRecord(
            "evaluate", "stage", "done", artifacts=given(auc=np.float64(0.8), f1=np.float32(0.5), n=np.int64(3))
        ),
    )
    return replace(RECORD, stages=stages), store


def test_every_number_that_a_stage_gave_can_be_named(scored: tuple[RunRecord, FileStore]) -> None:
    assert numbers(*scored) == {
        "train.auc": 0.7,
        "train.rows": 10.0,
        "rows": 10.0,
        "evaluate.auc": 0.8,
        "evaluate.f1": 0.5,
        "f1": 0.5,
        "evaluate.n": 3.0,
        "n": 3.0,
    }


def test_an_artifact_is_found_by_name_and_stage(scored: tuple[RunRecord, FileStore]) -> None:
    record, _ = scored
    assert artifact_of(record, "auc").type_name == "numpy.float64"
    assert artifact_of(record, "auc", "train").type_name == "float"
    with pytest.raises(UsageError, match=r"gave no train\.f1\. It gave: train\.array, train\.auc"):
        artifact_of(record, "f1", "train")


def test_a_stage_that_a_run_has_not_is_answered_with_those_it_has() -> None:
    assert RECORD.stage("train").error == FAULT
    with pytest.raises(UsageError, match="Its stages are: prepare, train"):
        RECORD.stage("trian")


def test_git_is_asked_for_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_state(tmp_path) == ("", False)

    def git(*arguments: str) -> str:
        options = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        done = subprocess.run(["git", *options, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q")
    assert git_state(tmp_path) == ("", False)
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    assert git_state(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a").write_text("2")
    assert git_state(tmp_path) == (git("rev-parse", "HEAD"), True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == ("", False)


def test_the_lock_names_what_pip_names() -> None:
    lock = environment_lock().decode().splitlines()
    assert lock == sorted(lock)
    assert f"numpy=={np.__version__}" in lock
    frozen = (
        subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format=freeze"],
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.lower()
        .replace("_", "-")
    )
    assert {line for line in frozen.split() if "mlnb" not in line} <= set(lock)
