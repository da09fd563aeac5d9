"""A notebook and a wish become a finished study: planned once, its trials run by one executor that stays warm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Json
from mlnb.pipeline.parameters import read_values
from mlnb.run.engine import cores, run_pipeline
from mlnb.run.executor import Deferred, session_of
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from mlnb.tune.asked import Wish, search_of
from mlnb.tune.trial import TrialEvent, Tuning


def tune_notebook(
    notebook: Path,
    wish: Wish,
    parameters: tuple[Sequence[str], Path | None],
    state: StateFolder,
    settings: Settings,
    notify: Callable[[TrialEvent], None],
) -> Tuning:
    """Search better parameters of a notebook.

    Parameters
    ----------
    parameters : (sequence of str, Path or None)
        Values of what is not searched, as `mlnb.pipeline.parameters.read_values` takes them.

    Raises
    ------
    NotebookError, PlanError, ParameterError, UsageError
        Before any trial.
    PluginError
        If Optuna is not installed.
    CancelledError
        If the user stopped it.
    """
    from mlnb.tune.study import tune

    document = read_document(notebook)
    pipeline = build_pipeline(document)
    values = read_values(pipeline.parameters, *parameters)
    search, stages = search_of(pipeline, wish, values)
    options = RunOptions(until=stages, jobs=max(1, cores() // wish.jobs))
    with state.in_use(), Deferred(session_of(state, settings, options), document) as executor:
        executor.begin()

        def run(chosen: Mapping[str, Json], heard: Callable[[object], None]) -> RunRecord:
            return run_pipeline(pipeline, {**values, **chosen}, state, settings, heard, options, executor=executor)

        return tune(search, run, state, notify, executor.cancel)
