"""One stage becomes its record: rendered, handed its inputs, executed, and its outputs and faults read.

What engine and kernel tell each other lies in ``runs/<id>/handoff/``, so that a stage can be run again by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from mlnb.notebook.place import located
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.pipeline.render import render_stage
from mlnb.run.fault import case_cells, cases_of, fault_of, fault_of_cases
from mlnb.run.kernels.job import Execution, Job, OnCell
from mlnb.run.notebooks import executed_cells
from mlnb.run.record import StageRecord
from mlnb.run.spec import FORMAT, Result, Spec
from mlnb.settings import Settings
from mlnb.store.artifact import Artifact
from mlnb.store.disk import make_folder
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import read_json, timestamp, write_json
from mlnb.store.redaction import KNOWN

OnPosition = Callable[[int, int, int], None]


@dataclass(frozen=True, slots=True)
class StageTask:
    """One stage to execute.

    Attributes
    ----------
    key : str
        Its cache key.
    inputs : tuple of Artifact
        What earlier stages gave.
    folder : Path
        The run's folder.
    parts : Mapping[str, str]
        What the key is made of.
    verify : bool
        Whether all bytes of the inputs are read before they are trusted.
    seed, observe : int, bool
        See `RunOptions`.
    more : bool
        Other stages are likely to follow.
    """

    pipeline: Pipeline
    stage: Stage
    key: str
    inputs: tuple[Artifact, ...]
    values: Mapping[str, Json]
    folder: Path
    parts: Mapping[str, str] = field(default_factory=dict)
    verify: bool = False
    seed: int = 0
    observe: bool = False
    more: bool = False


class Notebooks(Protocol):
    """Whatever executes a notebook in a fresh kernel."""

    def execute(self, job: Job, on_cell: OnCell) -> Execution:
        """Execute it; before each of the user's cells `on_cell` is told its number (``metadata.mlnb.cell``)."""


def execute_stage(
    task: StageTask, kernels: Notebooks, state: StateFolder, settings: Settings, on_cell: OnPosition
) -> tuple[StageRecord, Mapping[str, object]]:
    """Execute one stage in a fresh kernel.

    Parameters
    ----------
    kernels : Notebooks
        Where.
    on_cell : callable
        Is told number, position and total before each of the stage's cells.

    Returns
    -------
    StageRecord
        ``done`` or ``failed``.
    Mapping
        The executed notebook, which is in the run's folder as well.

    Raises
    ------
    StorageError
        If ``.mlnb`` cannot be written.
    """
    started, begun = timestamp(datetime.now(UTC)), time.monotonic()
    told_in = make_folder(task.folder / "handoff" / task.stage.name)
    spec_path, result_path = told_in / "spec.json", told_in / "result.json"
    rendered = render_stage(task.pipeline, task.stage, spec_path)
    write_json(spec_path, _spec(task, rendered, state, result_path).to_json())
    job = _job(task, rendered, settings)
    numbers = [cell.cell for cell in executed_cells(rendered) if cell.cell]

    def told(number: int) -> None:
        on_cell(number, numbers.index(number) + 1 if number in numbers else 0, len(numbers))

    execution = kernels.execute(job, told)
    record = _judged(task, execution, _result(result_path))
    record = replace(
        record,
        seconds=round(time.monotonic() - begun, 3),
        started_at=started,
        notebook=str(job.notebook.relative_to(state.root)),
    )
    return record, execution.notebook


def notebook_path(folder: Path, pipeline: Pipeline, stage: str) -> Path:
    """Return where a stage's executed notebook lies in a run's folder, beside the source and the assembled one."""
    taken = stage in ("source", pipeline.document.path.stem)
    return folder / f"{stage}{'.stage' if taken else ''}.ipynb"


def takers(pipeline: Pipeline, stage: Stage) -> dict[str, tuple[str, ...]]:
    """Return who takes each output of a stage, in words."""
    found: dict[str, list[str]] = {name: [] for name in stage.outputs}
    for node in pipeline.stages:
        for taken in node.inputs:
            if taken.giver == stage.name and taken.name in found:
                found[taken.name].append(f"{node.kind} {node.name!r}")
    for deploy in pipeline.deploys:
        for taken in (deploy.model, deploy.sample):
            if taken.giver == stage.name and taken.name in found:
                found[taken.name].append(f"deploy {deploy.name!r}")
    return {name: tuple(dict.fromkeys(nodes)) for name, nodes in found.items()}


def _spec(task: StageTask, rendered: Mapping[str, object], state: StateFolder, result_path: Path) -> Spec:
    return Spec(
        artifacts=str(state.artifacts),
        stage=task.stage.name,
        key=task.key,
        inputs=task.inputs,
        takers=takers(task.pipeline, task.stage),
        tests=case_cells(rendered) if task.stage.kind == "test" else (),
        result=str(result_path),
        verify=task.verify,
        observe=task.observe,
        slices=task.stage.slices,
    )


def _job(task: StageTask, rendered: Mapping[str, object], settings: Settings) -> Job:
    notebook = notebook_path(task.folder, task.pipeline, task.stage.name)
    write_json(notebook, rendered)
    return Job(
        notebook=notebook,
        folder=task.pipeline.document.path.parent,
        parameters={name: task.values[name] for name in task.stage.parameters},
        timeout_s=settings.stage_timeout_s,
        seed=task.seed,
        more=task.more,
    )


def _result(path: Path) -> Result | None:
    try:
        return Result.from_json(read_json(path, FORMAT))
    except FileNotFoundError:
        return None  # the kernel did not come that far


def _judged(task: StageTask, execution: Execution, result: Result | None) -> StageRecord:
    stage = task.stage
    test = stage.kind == "test"
    fault = fault_of(stage.name, execution, result, test=test)
    cases = cases_of(execution, result) if test else ()
    fault = fault or fault_of_cases(stage.name, cases)
    if fault is not None:
        problem = located(fault.problem, task.pipeline.document, most=1)
        fault = replace(fault, problem=KNOWN.text(problem), evalue=KNOWN.text(fault.evalue))
    return StageRecord(
        name=stage.name,
        kind=stage.kind,
        state="failed" if fault else "done",
        key=task.key,
        artifacts=result.artifacts if result is not None else (),
        cases=cases,
        error=fault,
        warnings=result.warnings if result is not None else (),
        cpu_s=result.cpu_s if result is not None else 0.0,
        peak_bytes=result.peak_bytes if result is not None else 0,
    )
