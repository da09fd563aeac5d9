"""The ``runs/`` folder becomes run records again, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches

from mlnb.errors import CorruptError, UsageError
from mlnb.run.record import FORMAT, RunRecord
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import read_json
from mlnb.store.process import alive


def list_runs(state: StateFolder) -> tuple[RunRecord, ...]:
    """Return all runs, newest first. A folder whose record is missing or damaged is passed over.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote one of them.
    """
    runs = []
    for folder in sorted((path for path in state.runs.iterdir() if path.is_dir()), reverse=True):
        try:
            runs.append(_read(state, folder.name))
        except (FileNotFoundError, CorruptError):
            continue
    return tuple(runs)


def runs_of(state: StateFolder, notebook: str) -> Iterator[RunRecord]:
    """Yield the runs of a notebook (its path as records have it), newest first; only what is asked for is read."""
    for folder in sorted((path for path in state.runs.iterdir() if path.is_dir()), reverse=True):
        with suppress(FileNotFoundError, CorruptError):
            record = _read(state, folder.name)
            if record.notebook == notebook:
                yield record


def read_run(state: StateFolder, run: str) -> RunRecord:
    """Return one run; ``last`` is the newest. One that says it is running but whose process is gone is cancelled.

    Raises
    ------
    UsageError
        If there is no such run.
    CorruptError
        If its record is damaged.
    """
    known = sorted(folder.name for folder in state.runs.iterdir() if (folder / "run.json").is_file())
    name = known[-1] if run == "last" and known else run
    if name not in known:
        close = get_close_matches(run, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else "List them with `mlnb runs list`."
        raise UsageError(f"There is no run {run!r} in {state.runs}.", hint)
    return _read(state, name)


def _read(state: StateFolder, name: str) -> RunRecord:
    record = RunRecord.from_json(read_json(state.runs / name / "run.json", FORMAT))
    if record.state == "running" and not alive(record.process):
        return replace(record, state="cancelled")
    return record
