"""The results of stages, as they come, become a run's folder that is right at every moment.

Layout of ``runs/<id>/``: ``run.json``, a copy of the source (``source.ipynb``), an executed notebook for each stage,
the assembled notebook under the source's name, and ``handoff/`` with what engine and kernels told each other.
``run.json`` is written before the engine waits, but never so often that writing takes more than a twentieth of the
time: 200 cached stages are one file, not 200.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from mlnb.notebook.document import notebook_json
from mlnb.pipeline.graph import Json, Pipeline
from mlnb.run.cache import CachedStage
from mlnb.run.executor import Session
from mlnb.run.notebooks import assemble, assembled_path, renumber, source_path
from mlnb.run.options import RunOptions
from mlnb.run.record import CaseRecord, RunRecord, StageRecord
from mlnb.run.stage import notebook_path
from mlnb.run.surroundings import environment_lock, git_state
from mlnb.store.disk import storing, write_bytes
from mlnb.store.manifest import timestamp, write_json
from mlnb.store.process import this_process

Notebook: TypeAlias = Mapping[str, object]
_SHARE = 20


class Journal:
    """One run's record, as far as it is, and its folder.

    Parameters
    ----------
    pipeline : Pipeline
        What runs.
    values : mapping of str to JSON value
        A value for every parameter.
    options : RunOptions
        What was asked for; `resume` is the id of the run that this one goes on from.
    session : Session
        Where the project keeps its state, and how stages are executed.
    """

    def __init__(self, pipeline: Pipeline, values: Mapping[str, Json], options: RunOptions, session: Session) -> None:
        self._pipeline = pipeline
        self._state = session.state
        self._source = pipeline.document.content
        self._begun = time.monotonic()
        self._first = self._first_record(values, options, session)
        self._stages: dict[str, StageRecord] = {}
        self._notebooks: dict[str, Notebook] = {}
        self._data: dict[str, str] = {}
        self._order = {stage.name: place for place, stage in enumerate(pipeline.stages)}
        self._due = 0.0
        self._saved = False
        self.id = self._first.id
        self.folder = self._state.runs / self.id

    def begin(self) -> None:
        """Make the folder.

        Raises
        ------
        StorageError
            If it cannot be made.
        """
        with storing(self.folder, "made"):
            self.folder.mkdir(parents=True)
        write_bytes(source_path(self.folder, self._pipeline.document.path), self._source)
        self._write(self._record())

    def add(self, stage: StageRecord, notebook: Notebook | None, data: Mapping[str, str]) -> None:
        """Note what became of a stage; `data` are the files that it read, with their digests."""
        self._stages[stage.name] = stage
        if notebook is not None:
            self._notebooks[stage.name] = notebook
        self._data.update(data)
        self._saved = False

    def save(self) -> float:
        """Write the record if something is new and the time has come; return the seconds until it has, or 0."""
        if self._saved:
            return 0.0
        now = time.monotonic()
        if now >= self._due:
            self._write(self._record())
            self._due = time.monotonic() + _SHARE * (time.monotonic() - now)
            return 0.0
        return self._due - now

    def finish(self, how: str) -> RunRecord:
        """Write the last record and the assembled notebook."""
        path = self._pipeline.document.path
        seconds = round(time.monotonic() - self._begun, 3)
        record = replace(self._record(), state=how, seconds=seconds)
        notebooks = [self._notebooks[stage.name] for stage in record.stages if stage.name in self._notebooks]
        assembled = assemble(notebook_json(path, self._source), notebooks, self.id)
        write_json(assembled_path(self.folder, path), assembled)
        self._write(record)
        return record

    def reuse(self, hit: CachedStage) -> tuple[StageRecord, Notebook]:
        """Return a cached stage as a stage of this run, whose notebook is put into the folder.

        Raises
        ------
        CorruptError
            If the notebook's bytes are not what was stored.
        """
        numbers = {cell.id: cell.number for cell in self._pipeline.document.cells if cell.id}
        content = self._state.files.read(hit.notebook)
        notebook, moved = renumber(json.loads(content), numbers)
        path = notebook_path(self.folder, self._pipeline, hit.stage)
        if any(was != now for was, now in moved.items()):
            write_json(path, notebook)
        else:
            _link(self._state.files.path(hit.notebook), path)
        cases = tuple(_moved_case(case, moved.get(case.cell, case.cell)) for case in hit.cases)
        known = hit.as_record("cached")
        return replace(known, cases=cases, notebook=str(path.relative_to(self._state.root))), notebook

    def _record(self) -> RunRecord:
        stages = tuple(sorted(self._stages.values(), key=lambda stage: self._order[stage.name]))
        return replace(self._first, stages=stages, data=tuple(sorted(self._data.items())))

    def _write(self, record: RunRecord) -> None:
        write_json(self.folder / "run.json", record.to_json())
        self._saved = True

    def _first_record(self, values: Mapping[str, Json], options: RunOptions, session: Session) -> RunRecord:
        path = self._pipeline.document.path
        now = datetime.now(UTC)
        commit, dirty = git_state(path.parent)
        lock, _ = self._state.files.put(environment_lock())
        return RunRecord(
            id=_new_id(now),
            notebook=os.path.relpath(path, self._state.project),
            notebook_digest=self._pipeline.document.digest,
            git_commit=commit,
            git_dirty=dirty,
            parameters=dict(values),
            environment=lock,
            started_at=timestamp(now),
            state="running",
            process=this_process(),
            options=replace(options, resume=""),
            resumed=options.resume,
            kernel=session.kernel,
            executor=session.address,
        )


def _new_id(now: datetime) -> str:
    """Return the second, 1/65536 of it, and two random digits: ids sort by time, those of quick runs too."""
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond * 65536 // 1_000_000:04x}{secrets.token_hex(1)}"


def _link(source: Path, target: Path) -> None:
    """Put a stored file under another name: the same bytes where the file system can, else a copy."""
    with storing(target):
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)


def _moved_case(case: CaseRecord, cell: int) -> CaseRecord:
    name = f"cell {cell}" if case.name == f"cell {case.cell}" else case.name
    return replace(case, cell=cell, name=name)
