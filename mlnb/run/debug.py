"""A stage of a run becomes a `Standpoint`: all that it saw before its first cell, and where and with what it failed.

Nothing is executed and no value is loaded here: whoever stands there does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import UsageError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Pipeline, Stage
from mlnb.pipeline.render import render_stage
from mlnb.run.cells import code_name
from mlnb.run.frames import KeptFrame, read_frames
from mlnb.run.notebooks import ExecutedCell, executed_cells, source_path
from mlnb.run.record import RunRecord, StageFault
from mlnb.store.artifact import Artifact
from mlnb.store.folder import StateFolder

_AROUND = 4


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """A kept frame with its place in the notebook: `cell` is 0 and `file` a path where it is of a module."""

    function: str
    file: str
    cell: int
    line: int
    artifacts: tuple[Artifact, ...]
    left_out: Mapping[str, str]

    @property
    def title(self) -> str:
        """Say where it is: ``cell 4, line 2`` or ``features.py, line 9, in scale``."""
        if not self.cell and self.file.startswith("<"):
            return "the end of the stage"
        place = f"cell {self.cell}" if self.cell else self.file
        return f"{place}, line {self.line}" + ("" if self.function == "<module>" else f", in {self.function}")


@dataclass(frozen=True, slots=True)
class Standpoint:
    """What a stage of a run saw.

    Attributes
    ----------
    run, stage, state : str
        Which, and what became of it.
    folder : str
        The working directory of its cells, absolute.
    parameters : Mapping[str, object]
        The run's parameters.
    before : tuple of ExecutedCell
        Parameters and setup cells and repeated imports, in running order; `role` tells which.
    inputs : tuple of (str, Artifact)
        What it took, each behind the stage that gave it.
    cells : tuple of ExecutedCell
        Its own cells.
    fault : StageFault or None
        Why it failed.
    frames : tuple of FailedFrame
        The frames that were kept when it failed, outermost first.
    """

    run: str
    stage: str
    state: str
    folder: str
    parameters: Mapping[str, object]
    before: tuple[ExecutedCell, ...]
    inputs: tuple[tuple[str, Artifact], ...]
    cells: tuple[ExecutedCell, ...]
    fault: StageFault | None
    frames: tuple[FailedFrame, ...]

    def code(self) -> Iterator[str]:
        """Yield the lines around those that failed, numbered and marked; all of the stage where nothing failed."""
        failed = {(frame.cell, frame.line) for frame in self.frames if frame.cell}
        if self.fault is not None and self.fault.cell:
            failed.add((self.fault.cell, self.fault.line))
        for cell in (*self.cells, *self.before):
            at = {line for number, line in failed if number == cell.cell}
            if not at and (failed or cell not in self.cells):
                continue
            yield f"cell {cell.cell}:"
            for number, line in enumerate(cell.source.split("\n"), cell.first_line):
                if not any(at) or any(abs(number - place) <= _AROUND for place in at):
                    yield f"{'-->' if number in at else '   '} {number:>3}  {line}".rstrip()


def standpoint(state: StateFolder, record: RunRecord, stage: str) -> Standpoint:
    """Return what a stage of a run saw.

    Raises
    ------
    UsageError
        If the run has no such stage, or what the stage takes was never given.
    NotebookError, PlanError
        If the run's copy of the notebook is gone or can no longer be planned.
    """
    part = record.stage(stage)
    pipeline = source_pipeline(state, record)
    node = pipeline.stage(stage)
    handoff = state.runs / record.id / "handoff" / stage
    rendered = executed_cells(render_stage(pipeline, node, handoff / "spec.json"))
    return Standpoint(
        run=record.id,
        stage=stage,
        state=part.state,
        folder=str((state.project / record.notebook).parent.resolve()),
        parameters=record.parameters,
        before=tuple(cell for cell in rendered if cell.role in ("parameters", "setup", "imports")),
        inputs=tuple(_inputs(record, node)),
        cells=tuple(cell for cell in rendered if cell.role == "cells"),
        fault=part.error,
        frames=tuple(_placed(frame, rendered) for frame in read_frames(handoff)),
    )


def source_pipeline(state: StateFolder, record: RunRecord) -> Pipeline:
    """Return the pipeline of a run, planned from the run's own copy of the notebook."""
    return build_pipeline(read_document(source_of_run(state, record)))


def source_of_run(state: StateFolder, record: RunRecord) -> Path:
    """Return the run's copy of the notebook. Raises `UsageError` if it is gone."""
    found = source_path(state.runs / record.id, Path(record.notebook))
    if not found.is_file():
        raise UsageError(f"The copy of the notebook is gone from {found.parent}.", "Run the notebook again.")
    return found


def _inputs(record: RunRecord, node: Stage) -> Iterator[tuple[str, Artifact]]:
    for taken in node.inputs:
        giver = next((stage for stage in record.stages if stage.name == taken.giver), None)
        artifact = next((one for one in giver.artifacts if one.name == taken.name), None) if giver else None
        if artifact is None:
            became = giver.state if giver else "not run"
            raise UsageError(
                f"Stage {node.name!r} of run {record.id} takes {taken.name!r} of {taken.giver!r}, which was {became}.",
                f"Stand where it went wrong: mlnb runs debug {record.id} {taken.giver}.",
            )
        yield taken.giver, artifact


def _placed(frame: KeptFrame, rendered: list[ExecutedCell]) -> FailedFrame:
    """Find the cell of a frame by the digest of its text, and the line in that cell."""
    for cell in rendered:
        if cell.cell and frame.file == code_name(cell.source):
            line = frame.line + cell.first_line - 1
            return FailedFrame(frame.function, "", cell.cell, line, frame.artifacts, frame.left_out)
    return FailedFrame(frame.function, frame.file, 0, frame.line, frame.artifacts, frame.left_out)
