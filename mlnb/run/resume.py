"""An unfinished run becomes the options and the notebook of a new one that goes on from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlnb.errors import UsageError
from mlnb.run.history import list_runs, read_run
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord
from mlnb.store.folder import StateFolder

LAST = "last"


def unfinished(state: StateFolder, run: str, notebook: Path | None) -> RunRecord:
    """Return the run to go on from.

    Parameters
    ----------
    run : str
        Its id, or ``last`` for the newest one (of the notebook, where one is named).
    notebook : Path, optional
        Must be the run's.

    Raises
    ------
    UsageError
        If there is no such run, it is done or still running, it is another notebook's, or its notebook is gone.
    """
    record = _newest(state, notebook) if run == LAST else read_run(state, run)
    path = state.project / record.notebook
    if notebook is not None and notebook.resolve() != path.resolve():
        raise UsageError(
            f"Run {record.id} is of {record.notebook}, not of {notebook}.", "Name its own notebook, or none."
        )
    if record.state == "done":
        raise UsageError(
            f"Run {record.id} of {record.notebook} is done: there is nothing to resume.",
            f"Run the notebook: mlnb run {record.notebook}. What has not changed is reused.",
        )
    if record.state == "running":
        raise UsageError(f"Run {record.id} is still running.", "Wait for it, or stop it first.")
    if not path.is_file():
        raise UsageError(
            f"The notebook {record.notebook} of run {record.id} is gone.",
            f"Put it back: {state.runs / record.id} holds the source as it ran.",
        )
    return record


def resumed(record: RunRecord, options: RunOptions) -> RunOptions:
    """Return the options of the run that goes on from `record`: its own; where and how may be said anew.

    Raises
    ------
    UsageError
        If the options say which stages are executed: that is what the unfinished run knows.
    """
    if options.selects:
        raise UsageError(
            "--resume goes on with the stages that the unfinished run was asked for.",
            "Leave --force, --from, --only and --until away, or start a new run without --resume.",
        )
    old = record.options
    return replace(
        old,
        verify=options.verify or old.verify,
        snapshot=options.snapshot or old.snapshot,
        kernel=options.kernel or old.kernel,
        executor=options.executor or old.executor,
        jobs=options.jobs or old.jobs,
        resume=record.id,
    )


def finished_keys(record: RunRecord) -> frozenset[str]:
    """Return the keys that a run has computed or found, so that going on from it does not compute them again."""
    return frozenset(stage.key for stage in record.stages if stage.state in ("done", "cached"))


def _newest(state: StateFolder, notebook: Path | None) -> RunRecord:
    for record in list_runs(state):
        if notebook is None or (state.project / record.notebook).resolve() == notebook.resolve():
            return record
    where = f"of {notebook}" if notebook is not None else f"in {state.runs}"
    raise UsageError(f"There is no run {where}: there is nothing to resume.", "Start one: mlnb run NOTEBOOK.")
