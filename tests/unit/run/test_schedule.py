"""What runs when: with an executor that runs stages in this process, because kernels are not the point here."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mlnb.errors import CancelledError, StorageError, UsageError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.parameters import read_values
from mlnb.pipeline.render import render_stage
from mlnb.run.engine import run_pipeline
from mlnb.run.events import Event, StageFinished, StageStarted
from mlnb.run.history import list_runs, read_run
from mlnb.run.launch import Launch, launch, relaunch
from mlnb.run.memory import Room
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord, StageFault, StageRecord
from mlnb.run.stage import StageTask, notebook_path
from mlnb.settings import Settings
from mlnb.store.codec import decode, encode
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import write_json

Write = Callable[..., Path]
Hook = Callable[[], object]


class InProcess:
    """An executor that runs a stage's cells in this process; `hooks` are called before, by the stage's name."""

    def __init__(self, state: StateFolder, hooks: Mapping[str, Hook] | None = None) -> None:
        self.state = state
        self.hooks = hooks or {}
        self.executed: list[str] = []
        self.cancelled = threading.Event()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def prepare(self, modules: object) -> None:
        return None

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        return None

    def execute(self, task: StageTask, on_cell: Callable[[int, int, int], None]):
        stage = task.stage
        self.executed.append(stage.name)
        path = notebook_path(task.folder, task.pipeline, stage.name)
        notebook = render_stage(task.pipeline, stage, task.folder / "spec")
        write_json(path, notebook)
        on_cell(stage.cells[0].number, 1, 1)
        self.hooks.get(stage.name, lambda: None)()
        space: dict[str, object] = {}
        for cell in task.pipeline.setup:
            exec(cell.source, space)
        space |= task.values
        space |= {artifact.name: decode(artifact, self.state.files) for artifact in task.inputs}
        fault, artifacts = None, ()
        try:
            for cell in stage.cells:
                exec("\n".join(line for line in cell.source.split("\n") if not line.startswith("%%")), space)
            artifacts = tuple(encode(name, space[name], self.state.files, task.key) for name in stage.outputs)
        except ZeroDivisionError as error:
            fault = StageFault(1, 1, "ZeroDivisionError", str(error), f"Stage {stage.name!r} failed.", "Repair it.")
        if self.cancelled.is_set():
            fault = StageFault(1, 0, "KernelDied", "it was cancelled", "It was cancelled.", "Run again.")
        record = StageRecord(
            stage.name,
            stage.kind,
            "failed" if fault else "done",
            task.key,
            artifacts=artifacts,
            error=fault,
            notebook=str(path.relative_to(self.state.root)),
        )
        return record, notebook


class Runner:
    """Runs notebooks of one project in this process."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder.open(folder)
        self.events: list[Event] = []
        self.executed: list[str] = []

    def __call__(self, path: Path, options: RunOptions | None = None, *values: str, **hooks: Hook) -> RunRecord:
        pipeline = build_pipeline(read_document(path))
        self.executor = executor = InProcess(self.state, hooks)
        self.events.clear()
        try:
            return run_pipeline(
                pipeline,
                read_values(pipeline.parameters, values),
                self.state,
                Settings(),
                self.events.append,
                options or RunOptions(),
                executor=executor,
            )
        finally:
            self.executed = sorted(executor.executed)


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


DIAMOND = (
    "# parameters\nlimit = 3",
    "%%stage source\nrows = list(range(limit))",
    "%%stage left\na = sum(rows)",
    "%%stage right\nb = max(rows)",
    "%%stage join\nc = a + b",
    "%%stage apart\nd = 1",
    "%%stage last\ne = d + 1",
)


def states(record: RunRecord) -> dict[str, str]:
    return {stage.name: stage.state for stage in record.stages}


def meeting(count: int) -> Callable[[], object]:
    """Return a hook that ends only when `count` stages are in it at the same time."""
    barrier = threading.Barrier(count, timeout=30)
    return barrier.wait


def test_branches_run_side_by_side_and_are_recorded_in_the_pipelines_order(run: Runner, user_notebook: Write) -> None:
    together = meeting(2)
    left_is_done = threading.Event()
    record = run(
        user_notebook(*DIAMOND[:5]),
        RunOptions(jobs=2),
        left=lambda: (together(), left_is_done.wait(30)),
        right=lambda: (together(), left_is_done.set()),
    )
    assert list(states(record)) == ["source", "left", "right", "join"]
    assert set(states(record).values()) == {"done"}
    told = [type(event) for event in run.events]
    assert told.count(StageStarted) == told.count(StageFinished) == 4
    assert read_run(run.state, record.id) == record
    assert record.executor == "local"


def test_no_more_stages_run_at_once_than_asked_for(run: Runner, user_notebook: Write) -> None:
    inside: list[str] = []
    most: list[int] = []

    def seen(name: str) -> Hook:
        def hook() -> None:
            inside.append(name)
            most.append(len(inside))
            threading.Event().wait(0.01)
            inside.remove(name)

        return hook

    names = [f"s{number}" for number in range(6)]
    path = user_notebook(
        *(f"%%stage {name}\nx{name} = 1" for name in names), "%%stage all\ny = " + " + ".join(f"x{n}" for n in names)
    )
    assert run(path, RunOptions(jobs=1), **{name: seen(name) for name in names}).state == "done"
    assert max(most) == 1


def test_a_failure_stops_only_what_needs_it_and_all_failures_are_told(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*DIAMOND[:2], "%%stage left\na = 1 / 0", "%%stage right\nb = 1 / 0", *DIAMOND[4:])
    record = run(path)
    assert record.state == "failed"
    assert states(record) == {
        "source": "done", "left": "failed", "right": "failed", "join": "skipped", "apart": "done", "last": "done"
    }  # fmt: skip
    assert [stage.name for stage in record.stages if stage.error] == ["left", "right"]


def test_what_is_executed_can_be_chosen(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*DIAMOND)
    with pytest.raises(UsageError, match=r"Stage 'join' takes what stage 'left' gives, and that is not in the cache"):
        run(path, RunOptions(until=("source",)))
        run(path, RunOptions(only=("join",)))
    assert len(list_runs(run.state)) == 1
    assert states(run(path)) == {
        "source": "cached", "left": "done", "right": "done", "join": "done", "apart": "done", "last": "done"
    }  # fmt: skip

    def executed(**options: tuple[str, ...] | bool) -> list[str]:
        run(path, RunOptions(**options))  # type: ignore[arg-type]
        return run.executed

    assert executed() == []
    assert executed(start=("left",)) == ["join", "left"]
    assert list(states(run(path, RunOptions(start=("left",))))) == ["source", "left", "right", "join"]
    assert executed(start=("source",), until=("left",)) == ["left", "source"]
    assert executed(only=("join",)) == []
    assert executed(only=("join",), force=True) == ["join"]
    assert states(run(path, RunOptions(only=("join",)))) == dict.fromkeys(("source", "left", "right", "join"), "cached")
    assert executed(force=True, until=("last",)) == ["apart", "last"]
    changed = user_notebook(*DIAMOND[:3], "%%stage right\nb = max(rows) + 0", *DIAMOND[4:])
    run(changed, RunOptions(only=("right",)))
    assert run.executed == ["right"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RunOptions(until=("jion",)), r"There is no stage 'jion'\. Did you mean 'join'\?"),
        (RunOptions(start=("nowhere",)), r"There is no stage 'nowhere'\. Stages: source, left"),
        (RunOptions(only=("lefd",)), r"There is no stage 'lefd'\. Did you mean 'left'\?"),
        (RunOptions(start=("join",), until=("left",)), r"Stage 'join' is not needed for 'left'\."),
        (RunOptions(only=("join",), until=("join",)), r"--only names all stages that are to run"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(
    run: Runner, user_notebook: Write, options: RunOptions, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(user_notebook(*DIAMOND), options)
    assert list_runs(run.state) == ()


def test_another_seed_executes_everything_and_leaves_the_cache_alone(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*DIAMOND)
    run(path, RunOptions(seed=1))
    assert len(run.executed) == 6
    assert list(run.state.cache.iterdir()) == []


def test_an_error_of_the_executor_ends_the_run_and_waits_for_the_others(run: Runner, user_notebook: Write) -> None:
    def full() -> None:
        raise StorageError("The disk is full.", "Free space.")

    together = meeting(2)
    with pytest.raises(StorageError, match="The disk is full"):
        run(user_notebook(*DIAMOND), RunOptions(jobs=2), left=lambda: (together(), full()), right=together)
    (record,) = list_runs(run.state)
    assert record.state == "failed"
    assert states(record)["source"] == "done"


def test_ctrl_c_ends_what_is_executing_and_keeps_what_has_ended(run: Runner, user_notebook: Write) -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert run.executor.cancelled.wait(30)

    path = user_notebook(*DIAMOND)
    with pytest.raises(CancelledError) as stopped:
        run(path, RunOptions(jobs=1), left=interrupted)
    record = read_run(run.state, stopped.value.run)
    assert (record.state, states(record)) == ("cancelled", {"source": "done", "left": "cancelled"})
    assert "mlnb run --resume" in stopped.value.remedy
    run(path)
    assert run.executed == ["apart", "join", "last", "left", "right"]


def test_resuming_takes_parameters_and_options_and_executes_only_the_rest(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*DIAMOND[:3], "%%stage right\nb = 1 // (limit - 5)", *DIAMOND[4:])
    failed = run(path, RunOptions(force=True, until=("join",)), "limit=5")
    assert states(failed) == {"source": "done", "left": "done", "right": "failed", "join": "skipped"}
    user_notebook(*DIAMOND)
    first = relaunch_with(run, Launch(None, options=RunOptions(resume="last", jobs=1)))
    assert first.resumed == failed.id
    assert states(first) == {"source": "cached", "left": "cached", "right": "done", "join": "done"}
    assert first.parameters == {"limit": 5}
    assert first.options == RunOptions(force=True, until=("join",), jobs=1)


def relaunch_with(run: Runner, asked: Launch) -> RunRecord:
    return launch(asked, run.state, Settings(kernel="spawn"), run.events.append)


def test_what_cannot_be_resumed_is_refused_with_the_reason(run: Runner, user_notebook: Write, tmp_path: Path) -> None:
    def refused(asked: Launch) -> str:
        with pytest.raises(UsageError) as told:
            relaunch_with(run, asked)
        return str(told.value)

    last = RunOptions(resume="last")
    assert "There is no run in " in refused(Launch(None, options=last))
    path = user_notebook("# parameters\nlimit = 3", "%%stage one\na = 1 // limit")
    done = run(path)
    assert f"Run {done.id} of nb.ipynb is done: there is nothing to resume." in refused(Launch(path, options=last))
    failed = run(path, None, "limit=0")
    assert failed.state == "failed"
    assert "--resume takes the parameters of run" in refused(Launch(path, ["limit=1"], options=last))
    assert "--resume goes on with the stages" in refused(Launch(path, options=RunOptions(resume="last", force=True)))
    other = user_notebook("%%stage one\na = 1", name="other.ipynb")
    assert f"There is no run of {other}" in refused(Launch(other, options=last))
    assert f"is of nb.ipynb, not of {other}" in refused(Launch(other, options=RunOptions(resume=failed.id)))
    assert "There is no run 'nothing'" in refused(Launch(None, options=RunOptions(resume="nothing")))
    path.unlink()
    assert f"The notebook nb.ipynb of run {failed.id} is gone." in refused(Launch(None, options=last))


def test_a_run_that_would_have_to_execute_is_not_begun_in_place(run: Runner, user_notebook: Write) -> None:
    path = user_notebook(*DIAMOND)

    def again(*values: str, options: RunOptions | None = None) -> RunRecord | None:
        asked = Launch(path, values, options=options or RunOptions())
        return relaunch(asked, run.state, Settings(), run.events.append)

    assert again() is None
    assert list_runs(run.state) == ()
    run(path)
    record = again()
    assert record is not None
    assert set(states(record).values()) == {"cached"}
    assert again("limit=4") is None
    assert again(options=RunOptions(force=True)) is None
    assert len(list_runs(run.state)) == 2


def test_a_second_run_waits_for_the_first_ones_result(run: Runner, user_notebook: Write, tmp_path: Path) -> None:
    path = user_notebook("%%stage one\na = 1", "%%stage two\nb = a")
    begun, go_on = threading.Event(), threading.Event()
    records: list[RunRecord] = []
    first = threading.Thread(
        target=lambda: records.append(Runner(tmp_path)(path, None, one=lambda: (begun.set(), go_on.wait(30))))
    )
    first.start()
    begun.wait(30)
    second_executed: list[str] = []

    def second() -> None:
        runner = Runner(tmp_path)
        records.append(runner(path, None, one=lambda: second_executed.append("one")))

    other = threading.Thread(target=second)
    other.start()
    while not any(record.state == "running" and record.id for record in list_runs(run.state)[:-1]):
        threading.Event().wait(0.01)
    go_on.set()
    first.join()
    other.join()
    assert second_executed == []
    assert sorted(states(record)["one"] for record in records) == ["cached", "done"]
    assert not list(run.state.cache.glob("*.lock"))


def test_memory_keeps_a_stage_waiting_that_would_not_fit_beside_others() -> None:
    free = [1000]
    room = Room(4, {"large": 600, "small": 100}, lambda: free[0])
    assert room.fits("large", [])
    assert room.fits("small", ["large"])
    assert not room.fits("large", ["large"])
    assert not room.fits("new", ["large"])  # as large as the largest that is known
    room.learn("new", 200)
    assert room.fits("new", ["large"])
    free[0] = 150
    assert not room.fits("new", ["small"])
    assert room.fits("large", [])  # one alone always runs
    assert not Room(2, {}, lambda: 0).fits("third", ["one", "two"])


def test_a_cached_notebook_that_was_damaged_only_costs_a_new_run(run: Runner, user_notebook: Write) -> None:
    path = user_notebook("%%stage one\na = 1")
    first = run(path)
    manifest = json.loads(next(run.state.cache.glob("*.json")).read_text())
    stored = run.state.files.path(manifest["notebook"])
    stored.chmod(0o644)
    stored.write_bytes(b"x" * stored.stat().st_size)
    assert states(run(path)) == {"one": "done"}
    assert first.state == "done"
