"""The tests of a finished run become the same tests with one value replaced: another thing stands for the variable.

Only the tests that name the variable are run, each in a fresh kernel as in a run; their executed notebooks lie in the
run's folder below ``packaged/``. Nothing is cached and the run's record stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlnb.pipeline.graph import Input, Pipeline, Stage
from mlnb.run.debug import source_pipeline
from mlnb.run.executor import Session, open_executor
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.stage import StageTask
from mlnb.run.values import artifact_of
from mlnb.settings import Settings
from mlnb.store.artifact import Artifact
from mlnb.store.codec import encode
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Retest:
    """What came of one test, with the other thing for the variable."""

    stage: Stage
    record: StageRecord


def retest(
    variable: Input, stands_for: object, record: RunRecord, state: StateFolder, settings: Settings
) -> list[Retest]:
    """Run the tests that take a variable once more.

    Parameters
    ----------
    variable : Input
        The variable, and the stage that gave it.
    stands_for : object
        What the tests get for it; a codec of the store must hold it.
    record : RunRecord
        The finished run: its notebook, parameters and all other values.

    Raises
    ------
    UsageError
        If the run's copy of the notebook is gone.
    CorruptError
        If a value is.
    """
    pipeline = source_pipeline(state, record)
    tests = [stage for stage in pipeline.stages if stage.kind == "test" and variable in stage.inputs]
    if not tests:
        return []
    artifact = encode(variable.name, stands_for, state.files, "")
    try:
        return list(_retested(pipeline, tests, artifact, record, state, settings))
    finally:
        state.files.path(artifact.digest).unlink(missing_ok=True)


def _retested(
    pipeline: Pipeline,
    tests: list[Stage],
    artifact: Artifact,
    record: RunRecord,
    state: StateFolder,
    settings: Settings,
) -> Iterator[Retest]:
    document = replace(pipeline.document, path=(state.project / record.notebook).resolve())
    with open_executor(Session(state, settings, settings.kernel, "local")) as executor:
        for stage in tests:
            inputs = tuple(
                artifact if taken.name == artifact.name else artifact_of(record, taken.name, taken.giver)
                for taken in stage.inputs
            )
            task = StageTask(
                replace(pipeline, document=document),
                stage,
                "",
                inputs,
                record.parameters,  # type: ignore[arg-type]  # JSON, as the run has written it
                state.runs / record.id / "packaged",
                seed=record.options.seed,
            )
            yield Retest(stage, executor.execute(task, lambda cell, position, total: None)[0])
