from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlnb.errors import StorageError, UsageError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.parameters import read_values
from mlnb.run.engine import run_pipeline
from mlnb.run.events import Event, event_json
from mlnb.run.history import list_runs, read_run
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord
from mlnb.run.values import artifact_of, numbers
from mlnb.settings import Settings
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder

Write = Callable[..., Path]

RUN = """
import sys
from pathlib import Path
from mlnb.errors import MlnbError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.parameters import read_values
from mlnb.run.engine import run_pipeline
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
path = Path(sys.argv[1])
pipeline = build_pipeline(read_document(path))
values = read_values(pipeline.parameters, sys.argv[2:], None)
try:
    record = run_pipeline(pipeline, values, StateFolder.open(path.parent), Settings(), lambda event: None)
    print(record.id, record.state, *(stage.state for stage in record.stages))
except MlnbError as error:
    print(type(error).__name__, error)
"""

CHAIN = (
    "# parameters\nlimit = 3",
    "import numpy as np\n\nclass Box:\n    def __init__(self, held):\n        self.held = held",
    "%%stage prepare\nprint('prepare', limit)\nrows = np.arange(limit)\nbox = Box(limit)",
    "print('explored')",
    "%%stage train\nprint('train')\nmodel = {'mean': float(rows.mean())}\nassert type(box) is Box"
    "\nauc = np.float64(0.75)",
    "%%stage evaluate --metrics auc\nassert model['mean'] == (limit - 1) / 2\nauc = auc * 1",
    "%%test train\nassert model['mean'] > 0\n\ndef test_mean():\n    assert model['mean'] == 1.0",
)


class Runner:
    """Runs notebooks of one project and remembers the events."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder.open(folder)
        self.events: list[Event] = []

    def __call__(self, path: Path, *assignments: str, force: bool = False, until: tuple[str, ...] = ()) -> RunRecord:
        pipeline = build_pipeline(read_document(path))
        values = read_values(pipeline.parameters, assignments, None)
        self.events.clear()
        options = RunOptions(force=force, until=until)
        return run_pipeline(pipeline, values, self.state, Settings(), self.events.append, options)

    def value(self, record: RunRecord, name: str) -> object:
        return decode(artifact_of(record, name), self.state.files)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Runner]:
    yield Runner(tmp_path)


def states(record: RunRecord) -> dict[str, str]:
    return {stage.name: stage.state for stage in record.stages}


def source_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]


def printed(path: Path) -> list[str]:
    return [
        "".join("".join(output.get("text", "")) for output in cell["outputs"])
        for cell in json.loads(path.read_text())["cells"]
    ]


def test_a_notebook_runs_then_reuses_everything_then_only_what_changed(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*CHAIN)
    before = path.read_bytes(), path.stat().st_mtime_ns
    first = run(path)
    assert (first.state, set(states(first).values())) == ("done", {"done"})
    assert run.value(first, "model") == {"mean": 1.0}
    assert numbers(first, run.state.files)["evaluate.auc"] == 0.75
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    folder = run.state.runs / first.id
    assert (folder / "source.ipynb").read_bytes() == path.read_bytes()
    assert printed(folder / "nb.ipynb") == ["", "", "prepare 3\n", "", "train\n", "", ""]
    assert source_of(folder / "nb.ipynb") == list(CHAIN)
    assert read_run(run.state, first.id) == first
    cases = {case.name: case.state for case in first.stage("test-train").cases}
    assert cases == {"cell 7": "passed", "test_mean": "passed"}

    kinds = [event_json(event)["event"] for event in run.events]
    assert (kinds[0], kinds[-1]) == ("run-started", "run-finished")
    assert kinds.count("stage-started") == kinds.count("stage-finished") == 4
    told = [(e.cell, e.position, e.total) for e in run.events if hasattr(e, "position") and e.stage == "train"]
    assert told == [(1, 1, 3), (2, 2, 3), (5, 3, 3)]

    second = run(path)
    assert set(states(second).values()) == {"cached"}
    assert [stage.artifacts for stage in second.stages] == [stage.artifacts for stage in first.stages]
    assert second.stage("test-train").cases == first.stage("test-train").cases
    assert printed(run.state.runs / second.id / "nb.ipynb") == printed(folder / "nb.ipynb")

    document = json.loads(path.read_bytes())
    note = {**document["cells"][3], "id": "note"}
    path.write_text(json.dumps({**document, "cells": [note, *document["cells"]]}))
    moved = run(path)
    assert set(states(moved).values()) == {"cached"}
    assert printed(run.state.runs / moved.id / "nb.ipynb") == ["", *printed(folder / "nb.ipynb")]
    assert {(case.name, case.cell) for case in moved.stage("test-train").cases} == {("cell 8", 8), ("test_mean", 8)}

    changed = list(CHAIN)
    changed[4] += "  # a comment"
    changed[5] += "\nauc = auc + 0.0"
    third = run(user_notebook(*changed))
    assert states(third) == {"prepare": "cached", "train": "cached", "test-train": "cached", "evaluate": "done"}

    fourth = run(user_notebook(*CHAIN), "limit=5", until=("train",))
    assert states(fourth) == {"prepare": "done", "train": "done"}
    assert run.value(fourth, "model") == {"mean": 2.0}
    assert fourth.parameters == {"limit": 5}
    assert states(run(path, force=True, until=("prepare",))) == {"prepare": "done"}
    assert [record.id for record in list_runs(run.state)][-1] == first.id


def test_a_failing_stage_names_the_users_cell_and_keeps_what_came_before(run: Runner, user_notebook: Write) -> None:
    cells = [
        "%%stage one\na = 1",
        "%%stage two\nb = a + 1\nprint('kept')",
        "%%stage two\n%%time\nb = b / 0",
        "%%stage three\nc = b",
        "%%stage apart\nd = a",
        "%%stage last\ne = c + d",
    ]
    record = run(user_notebook(*cells))
    assert record.state == "failed"
    assert states(record) == {
        "one": "done", "two": "failed", "three": "skipped", "apart": "done", "last": "skipped"
    }  # fmt: skip
    fault = record.stage("two").error
    assert fault is not None
    assert (fault.cell, fault.line, fault.ename) == (3, 3, "ZeroDivisionError")
    assert fault.problem == "Stage 'two' failed in cell 3, line 3: ZeroDivisionError: division by zero."
    assert printed(run.state.runs / record.id / "nb.ipynb")[1] == "kept\n"
    assert read_run(run.state, record.id) == record

    repaired = run(user_notebook(*cells[:2], "%%stage two\n%%time\nb = b / 1", *cells[3:]))
    assert repaired.state == "done"
    assert states(repaired) == {"one": "cached", "two": "done", "three": "done", "apart": "cached", "last": "done"}


def test_a_failing_test_fails_the_run_and_is_not_reused(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage one\na = 1", "%%test one\nassert a == 2\n\ndef test_a():\n    assert a == 1")
    for _ in range(2):
        record = run(path)
        assert record.state == "failed"
        test = record.stage("test-one")
        assert test.state == "failed"
        assert [(case.name, case.state) for case in test.cases] == [("cell 2", "failed"), ("test_a", "failed")]
        assert test.error is not None
        assert "the first in cell 2: AssertionError (line 2)" in test.error.problem


def test_values_that_cannot_travel_fail_their_stage_with_both_ends_named(run: Runner, user_notebook: Write) -> None:
    record = run(
        user_notebook(
            "%%stage one\nimport threading\nguard = threading.Lock()",
            "%%stage two\nb = guard.locked()",
            "%%stage three\nif 1 > 2:\n    c = 1",
            "%%stage four\nd = c",
        )
    )
    assert states(record) == {"one": "failed", "two": "skipped", "three": "failed", "four": "skipped"}
    first, third = record.stage("one").error, record.stage("three").error
    assert first is not None and third is not None
    assert "'guard' of type _thread.lock, which stage 'one' gives and stage 'two' takes, cannot be" in first.problem
    assert "Stage 'three' ended without a variable 'c', which stage 'four' takes" in third.problem
    assert first.ename == third.ename == "HandoffError"


def test_a_lost_or_damaged_cache_entry_only_costs_a_new_run(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage one\na = [1, 2]", "%%stage two\nb = a")
    first = run(path)
    artifact = artifact_of(first, "a")
    run.state.files.path(artifact.digest).unlink()
    assert states(run(path)) == {"one": "done", "two": "cached"}
    for manifest in run.state.cache.glob("*.json"):
        manifest.write_text("{")
    assert states(run(path)) == {"one": "done", "two": "done"}


def test_a_stage_may_be_named_as_the_notebook_or_the_source(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage nb\nprint('first')\na = 1", "%%stage source\nprint('second')\nb = a")
    for state in ("done", "cached"):
        record = run(path)
        assert set(states(record).values()) == {state}
        folder = run.state.runs / record.id
        assert (folder / "source.ipynb").read_bytes() == path.read_bytes()
        assert printed(folder / "nb.ipynb") == ["first\n", "second\n"]
        assert printed(run.state.root / record.stage("source").notebook)[1] == "second\n"


def test_only_stages_that_exist_can_be_the_end(run: Runner, user_notebook: Write) -> None:
    with pytest.raises(UsageError, match=r"There is no stage 'tow'\. Did you mean 'two'\?"):
        run(user_notebook("%%stage one\na = 1", "%%stage two\nb = a"), until=("tow",))


def test_what_was_planned_is_what_runs_though_the_notebook_is_edited_meanwhile(
    run: Runner, user_notebook: Write
) -> None:
    path = user_notebook("%%stage one\na = 1\nprint('first')")
    planned = path.read_bytes()
    pipeline = build_pipeline(read_document(path))
    user_notebook("%%stage one\na = 2\nprint('second')")
    record = run_pipeline(pipeline, {}, run.state, Settings(), run.events.append)
    folder = run.state.runs / record.id
    assert printed(folder / "nb.ipynb") == ["first\n"]
    assert (folder / "source.ipynb").read_bytes() == planned
    assert record.notebook_digest == "sha256:" + hashlib.sha256(planned).hexdigest()


def test_ctrl_c_leaves_a_cancelled_run_and_what_was_finished(tmp_path: Path, run: Runner, user_notebook: Write) -> None:
    os.mkfifo(tmp_path / "pid")
    path = user_notebook(
        "%%stage one\na = 1",
        "%%stage two\nimport os, time\nb = a\nwith open('pid', 'w') as file:\n    file.write('x')\ntime.sleep(600)",
        "%%stage three\nc = b",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    (tmp_path / "pid").read_text()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert out.startswith("CancelledError Run ")
    assert err == ""
    (record,) = list_runs(run.state)
    assert (record.state, states(record)) == ("cancelled", {"one": "done", "two": "cancelled"})
    user_notebook("%%stage one\na = 1", "%%stage two\nb = a", "%%stage three\nc = b")
    assert states(run(path))["one"] == "cached"


def test_two_runs_at_once_in_one_project_both_finish(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("# parameters\nx = 1", "%%stage one\na = list(range(1000))", "%%stage two\nb = len(a) + x")
    command = [sys.executable, "-c", RUN, str(path)]
    both = [subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) for more in ([], ["x=2"])]
    said = [process.communicate()[0].split() for process in both]
    assert [words[1] for words in said] == ["done", "done"]
    assert said[0][0] != said[1][0]
    assert {record.state for record in list_runs(run.state)} == {"done"}
    assert states(run(path)) == {"one": "cached", "two": "cached"}
    assert not list(run.state.root.rglob(".tmp-*"))


def test_a_run_with_nothing_to_do_imports_nothing_heavy(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(
        "import pandas as pd", "%%stage one\nframe = pd.DataFrame({'a': [1]})", "%%stage two\nb = len(frame)"
    )
    assert run(path).state == "done"
    code = RUN + (
        "heavy = 'sqlalchemy nbformat papermill pandas numpy sklearn jupyter_client IPython nbclient pyarrow'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    states_line, loaded = done.stdout.splitlines()
    assert states_line.split()[1:] == ["done", "cached", "cached"]
    assert loaded == "[]"


def test_a_full_disk_ends_the_run_with_its_name_and_nothing_half_written(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage one\na = list(range(200_000))", "%%stage two\nb = len(a)")
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n" + RUN
    done = subprocess.run([sys.executable, "-c", limited, str(path)], capture_output=True, text=True, check=True)
    (record,) = list_runs(run.state)
    assert done.stdout.split()[1:] == ["failed", "failed", "skipped"]
    fault = record.stage("one").error
    assert fault is not None
    assert fault.ename == "StorageError"
    assert str(run.state.artifacts) in fault.problem
    assert "the file is larger than the system allows here" in fault.problem
    assert not list(run.state.root.rglob(".tmp-*"))
    assert list(run.state.cache.iterdir()) == []
    assert run(path).state == "done"


def test_a_state_folder_that_cannot_be_written_is_named_before_anything_runs(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage one\na = 1")
    run.state.runs.rmdir()
    run.state.runs.write_text("in the way")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        run(path)
    assert run.events == []


def test_a_stage_runs_in_the_notebooks_folder_and_may_import_from_it(run: Runner, user_notebook: Write) -> None:
    folder = run.state.project / "sub"
    folder.mkdir()
    (folder / "beside.py").write_text("ANSWER = 42")
    (folder / "rows.txt").write_text("one\ntwo\n")
    path = user_notebook(
        "import beside", "%%stage one\nn = beside.ANSWER + len(open('rows.txt').readlines())", folder=folder
    )
    record = run(path)
    assert record.state == "done", record
    assert record.notebook == "sub/nb.ipynb"
    assert [name for name, _ in record.data] == ["rows.txt"]
    (folder / "beside.py").write_text("ANSWER = 43")
    assert states(run(path)) == {"one": "done"}
    assert replace(run(path), id="", seconds=0.0, started_at="").data == record.data
