"""The runs of a notebook become, for each stage, its newest result and the code as it was then."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlnb.errors import MlnbError
from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Pipeline, Stage
from mlnb.pipeline.ground import prologue
from mlnb.pipeline.modules import tree_digest
from mlnb.pipeline.setup import names_in, needed, pieces, tree_of
from mlnb.run.notebooks import source_path
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.surroundings import git_file
from mlnb.store.folder import StateFolder

_MOST = 50


@dataclass(frozen=True, slots=True)
class Sources:
    """The code of a stage, now and when its result was made, as far as both are known.

    Attributes
    ----------
    code, setup : tuple of str
        Before and now; () where the former is not known.
    project : Path
        The project's folder.
    commit : str
        Where git stood; empty where there was none.
    """

    run: str
    code: tuple[str, str] | tuple[()]
    setup: tuple[str, str] | tuple[()]
    project: Path
    commit: str

    def module(self, path: str, digest: str) -> tuple[str, str] | tuple[()]:
        """Return a module's text before and now, if git still has the text of that digest."""
        now = self.project / path
        text = git_file(self.project, self.commit, path) if self.commit else ""
        try:
            if text and now.is_file() and tree_digest([ast.parse(text)]) == digest:
                return text, now.read_text("utf-8")
        except (SyntaxError, ValueError, OSError):
            return ()
        return ()


class Past:
    """What was run, read no further back than it is asked for.

    Parameters
    ----------
    pipeline : Pipeline
        As it is now.
    runs : iterator of RunRecord
        The notebook's, newest first.
    """

    def __init__(self, pipeline: Pipeline, state: StateFolder, runs: Iterator[RunRecord]) -> None:
        self._pipeline = pipeline
        self._state = state
        self._runs = runs
        self._plans: dict[str, Pipeline | None] = {}

    def result_of(self, stage: str) -> tuple[str, StageRecord] | None:
        """Return the newest run in which a stage has a result, and its record there."""
        for record in self._records:
            for one in record.stages:
                if one.name == stage and one.state in ("done", "cached"):
                    return record.id, one
        return None

    def failure_of(self, stage: str) -> str:
        """Return the newest run that has reached a stage, if the stage failed in it; else ``""``."""
        for record in self._records:
            for one in record.stages:
                if one.name == stage and one.state in ("done", "cached", "failed"):
                    return record.id if one.state == "failed" else ""
        return ""

    def sources_of(self, run: str, stage: Stage) -> Sources:
        """Return the code of a stage in a run and now."""
        record = next(one for one in self._records if one.id == run)
        before = self._plan(record)
        code: tuple[str, str] | tuple[()] = ()
        setup: tuple[str, str] | tuple[()] = ()
        if before is not None and any(one.name == stage.name for one in before.stages):
            old = before.stage(stage.name)
            code = (_code(old), _code(stage))
            setup = (_setup(before, old), _setup(self._pipeline, stage))
        return Sources(run, code, setup, self._state.project, record.git_commit)

    @cached_property
    def _records(self) -> tuple[RunRecord, ...]:
        return tuple(record for record, _ in zip(self._runs, range(_MOST), strict=False))

    def _plan(self, record: RunRecord) -> Pipeline | None:
        """Return the pipeline as it was in a run."""
        if record.id not in self._plans:
            source = source_path(self._state.runs / record.id, self._pipeline.document.path)
            try:
                self._plans[record.id] = build_pipeline(read_document(source))
            except MlnbError:  # another mlnb could plan it
                self._plans[record.id] = None
        return self._plans[record.id]


def _code(stage: Stage) -> str:
    return "\n".join(cell.source.strip("\n") for cell in stage.cells)


def _setup(pipeline: Pipeline, stage: Stage) -> str:
    before = pieces(prologue(pipeline.parameter_cells, pipeline.setup))
    names = {parameter.name for parameter in pipeline.parameters}
    used = needed(before, names_in(tree_of(cell) for cell in stage.cells))
    return "\n".join([*(piece.source for piece in used if not names.intersection(piece.binds)), *stage.imports])
