"""A notebook's path, parameters and options become a run: read, planned, and executed or taken from the cache.

The executor begins to load what the stages import before the notebook is planned, unless the newest run makes it likely
that nothing is to be executed. So planner and engine are imported when they are used: the executor need not wait.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import UsageError
from mlnb.notebook.document import Document, read_document
from mlnb.run.executor import Deferred, session_of
from mlnb.run.history import runs_of
from mlnb.run.options import DEFAULTS, RunOptions
from mlnb.run.record import RunRecord
from mlnb.run.resume import finished_keys, resumed, unfinished
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.pipeline.graph import Json, Pipeline
    from mlnb.run.events import Notify


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be run.

    Attributes
    ----------
    notebook : Path or None
        None only where a run is resumed.
    assignments : sequence of str
        Parameters as ``name=value``.
    file : Path or None
        Parameters from a YAML or JSON file; `assignments` win.
    options : RunOptions
        How.
    tests : bool
        Only the tests and what they need.
    """

    notebook: Path | None
    assignments: Sequence[str] = ()
    file: Path | None = None
    options: RunOptions = DEFAULTS
    tests: bool = False


def launch(asked: Launch, state: StateFolder, settings: Settings, notify: Notify) -> RunRecord:
    """Run a notebook; a failing stage is told by the record, not raised.

    Raises
    ------
    NotebookError, PlanError, ParameterError, UsageError
        Before anything ran.
    CancelledError
        If the user stopped it.
    """
    before = unfinished(state, asked.options.resume, asked.notebook) if asked.options.resume else None
    options = resumed(before, asked.options) if before is not None else asked.options
    document = read_document(_path(asked, before, state))
    with state.in_use(), Deferred(session_of(state, settings, options), document) as executor:
        if options.selects or not _likely_done(document, asked, state):
            executor.begin()
        from mlnb.run.engine import run_pipeline

        pipeline, values = _planned(document, asked, before, state, settings)
        options = _with_tests(pipeline, options) if asked.tests else options
        finished = finished_keys(before) if before is not None else frozenset()
        return run_pipeline(pipeline, values, state, settings, notify, options, executor=executor, finished=finished)


def refuse_early(asked: Launch) -> None:
    """Raise what `launch` would refuse of notebook and parameters: a project's first run leaves nothing then.

    Raises
    ------
    NotebookError, PlanError, ParameterError, UsageError
        As `launch`.
    """
    from mlnb.pipeline.build import build_pipeline
    from mlnb.run.choice import choose

    if asked.notebook is not None:
        pipeline = build_pipeline(read_document(asked.notebook))
        _values(pipeline, asked, None)
        choose(pipeline, asked.options)


def relaunch(asked: Launch, state: StateFolder, settings: Settings, notify: Notify) -> RunRecord | None:
    """Run a notebook if every stage is in the cache; return None, and leave nothing, where one must be executed.

    No executor is loaded and no process started, so a live kernel may do this by itself.

    Raises
    ------
    NotebookError, PlanError, ParameterError, UsageError
        As `launch`.
    """
    from mlnb.run.choice import choose
    from mlnb.run.engine import run_pipeline
    from mlnb.run.lookup import Lookup

    options = asked.options
    if asked.notebook is None or options.resume:
        return None
    pipeline, values = _planned(read_document(asked.notebook), asked, None, state, settings)
    options = _with_tests(pipeline, options) if asked.tests else options
    with state.in_use():
        lookup = Lookup(pipeline, values, state, options.verify)
        if lookup.missing(choose(pipeline, options)):
            return None
        return run_pipeline(pipeline, values, state, settings, notify, options, lookup=lookup)


def _path(asked: Launch, before: RunRecord | None, state: StateFolder) -> Path:
    if before is not None:
        if asked.assignments or asked.file is not None:
            raise UsageError(
                f"--resume takes the parameters of run {before.id}.",
                "Leave -p and -f away, or start a new run without --resume.",
            )
        return state.project / before.notebook
    if asked.notebook is None:
        raise UsageError("No notebook is named.", "Write mlnb run NOTEBOOK, or mlnb run --resume.")
    return asked.notebook


def _likely_done(document: Document, asked: Launch, state: StateFolder) -> bool:
    """Say whether the newest run of the same file was finished, and was given nothing else as far as is known yet."""
    newest = next(runs_of(state, os.path.relpath(document.path, state.project)), None)
    if newest is None or newest.state != "done" or newest.notebook_digest != document.digest:
        return False
    given = dict(assignment.partition("=")[::2] for assignment in asked.assignments)
    return asked.file is None and all(str(newest.parameters.get(name)) == text for name, text in given.items())


def _planned(
    document: Document, asked: Launch, before: RunRecord | None, state: StateFolder, settings: Settings
) -> tuple[Pipeline, Mapping[str, Json]]:
    from mlnb.pipeline.build import build_pipeline
    from mlnb.run.exposed import refuse_as_parameters

    pipeline = build_pipeline(document)
    values = _values(pipeline, asked, before)
    refuse_as_parameters(document, values, settings, state.project)
    return pipeline, values


def _values(pipeline: Pipeline, asked: Launch, before: RunRecord | None) -> Mapping[str, Json]:
    from mlnb.pipeline.parameters import checked, read_values

    if before is None:
        return read_values(pipeline.parameters, asked.assignments, asked.file)
    known = {parameter.name: parameter for parameter in pipeline.parameters}
    kept = {name: checked(known[name], value) for name, value in before.parameters.items() if name in known}
    return {**{name: parameter.default for name, parameter in known.items()}, **kept}


def _with_tests(pipeline: Pipeline, options: RunOptions) -> RunOptions:
    tests = tuple(stage.name for stage in pipeline.stages if stage.kind == "test")
    if not tests:
        raise UsageError(f"{pipeline.document.path} has no tests.", "Mark a cell with %%test STAGE.")
    return options if options.until or options.only else replace(options, until=tests)
