"""Events of a run become stages, numbered changes, and one fault."""

from __future__ import annotations

from mlnb.faces.fold import RunFold


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fold(*events: dict[str, object], clock: Clock | None = None) -> RunFold:
    run = RunFold("0" * 16, "a.ipynb", clock or Clock())
    for event in events:
        run.take(event)
    return run


def states(run: RunFold) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in run.snapshot()["stages"]}


STARTED = {"event": "run-started", "run": "r", "notebook": "a.ipynb", "stages": ["load", "train", "test-train"]}


def begin(stage: str) -> dict[str, object]:
    return {"event": "stage-started", "run": "r", "stage": stage}


def finish(stage: str, state: str = "done", seconds: float = 1.5, message: str = "") -> dict[str, object]:
    return {
        "event": "stage-finished", "run": "r", "stage": stage, "state": state, "seconds": seconds, "message": message,
    }  # fmt: skip


def test_every_stage_waits_in_its_order_when_the_run_has_begun() -> None:
    assert states(fold(STARTED)) == {"load": "queued", "train": "queued", "test-train": "queued"}


def test_stages_are_told_as_they_start_and_finish() -> None:
    run = fold(STARTED, begin("load"), finish("load"), finish("train", "cached", 0.0))
    assert states(run) == {"load": "done", "train": "cached", "test-train": "queued"}


def test_a_running_stage_counts_its_seconds_and_cells() -> None:
    clock = Clock()
    run = fold(STARTED, begin("load"), clock=clock)
    clock.now += 2.5
    run.take({"event": "cell-started", "run": "r", "stage": "load", "cell": 4, "position": 1, "total": 3})
    clock.now += 0.5
    assert run.snapshot()["stages"][0] == {
        "name": "load", "state": "running", "seconds": 3.0, "position": 1, "total": 3,
    }  # fmt: skip


def test_changes_are_numbered_and_lead_to_the_snapshot() -> None:
    run = fold(STARTED, begin("load"), finish("load"), {"event": "result", "code": 0, "result": {"state": "done"}})
    assert [change["sequence"] for change in run.changes] == list(range(1, len(run.changes) + 1))
    stages = {}
    for change in run.changes:
        if change["stage"] is not None:
            stages[change["stage"]["name"]] = change["stage"]
    snapshot = run.snapshot()
    assert list(stages.values()) == snapshot["stages"]
    assert (run.changes[-1]["state"], run.changes[-1]["sequence"]) == (snapshot["state"], snapshot["sequence"])


def test_a_failing_stage_is_shown_at_once_with_the_cell_that_was_running() -> None:
    run = fold(
        STARTED,
        begin("load"),
        {"event": "cell-started", "run": "r", "stage": "load", "cell": 7, "position": 2, "total": 2},
        finish("load", "failed", message="ValueError: no rows"),
    )
    fault = run.snapshot()["fault"]
    assert fault is not None
    assert (fault["stage"], fault["cell"], fault["problem"]) == ("load", 7, "ValueError: no rows")
    assert run.state == "running"


def test_the_record_says_line_and_remedy_of_the_failure() -> None:
    error = {"cell": 7, "line": 3, "ename": "ValueError", "evalue": "no rows", "problem": "P.", "remedy": "R."}
    record = {"state": "failed", "stages": [{"name": "load", "error": error}, {"name": "train", "error": None}]}
    run = fold(STARTED, begin("load"), finish("load", "failed"), {"event": "result", "code": 1, "result": record})
    assert run.snapshot()["fault"] == {"problem": "P.", "remedy": "R.", "stage": "load", "cell": 7, "line": 3}
    assert run.state == "failed"
    assert states(run) == {"load": "failed", "train": "skipped", "test-train": "skipped"}


def test_a_refusal_ends_the_run_with_its_two_sentences() -> None:
    run = fold({"event": "error", "code": 2, "problem": "P.", "remedy": "R.", "cell": 2, "stage": ""})
    assert run.snapshot()["fault"] == {"problem": "P.", "remedy": "R.", "stage": "", "cell": 2, "line": 0}
    assert run.state == "failed"


def test_what_runs_when_the_user_cancels_is_cancelled_and_the_rest_skipped() -> None:
    clock = Clock()
    run = fold(STARTED, finish("load"), begin("train"), clock=clock)
    clock.now += 4
    run.end("cancelled")
    assert states(run) == {"load": "done", "train": "cancelled", "test-train": "skipped"}
    assert run.snapshot()["stages"][1]["seconds"] == 4.0


def test_a_run_ends_once() -> None:
    run = fold({"event": "result", "code": 0, "result": {"state": "done"}})
    told = len(run.changes)
    run.end("failed")
    assert (run.state, len(run.changes)) == ("done", told)


def test_what_is_not_an_event_of_stages_changes_nothing() -> None:
    run = fold(STARTED)
    told = len(run.changes)
    run.take({"event": "ship-step", "model": "delays"})
    run.take({"event": 7})
    run.take({})
    assert len(run.changes) == told
