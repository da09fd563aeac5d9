"""A pipeline becomes a `RunRecord`: each stage taken from the cache or executed, in order, whatever becomes of others.

Layout of ``runs/<id>/``: ``run.json`` (written anew after each stage), ``source.ipynb``, one executed notebook for each
stage, the assembled notebook under the source's name, and ``handoff/`` with what engine and kernels told each other.
The source itself is never written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TypeAlias

from mlnb.errors import CancelledError, MlnbError, NotebookError, UsageError
from mlnb.pipeline.fingerprint import Key, fingerprint
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.run import cache
from mlnb.run.events import CellStarted, Notify, RunFinished, RunStarted, StageFinished, StageStarted
from mlnb.run.notebooks import assemble, renumber
from mlnb.run.record import CaseRecord, RunRecord, StageRecord, with_stage
from mlnb.run.stage import StageTask, execute_stage, notebook_path
from mlnb.run.surroundings import environment_lock, git_state, this_process
from mlnb.settings import Settings
from mlnb.store.artifact import Artifact
from mlnb.store.disk import storing, write_bytes
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import timestamp, write_json

Notebook: TypeAlias = Mapping[str, object]


def run_pipeline(
    pipeline: Pipeline,
    values: Mapping[str, Json],
    state: StateFolder,
    settings: Settings,
    notify: Notify,
    *,
    force: bool = False,
    until: Sequence[str] = (),
) -> RunRecord:
    """Execute a pipeline, reusing every result whose key has not changed.

    Parameters
    ----------
    values : Mapping[str, Json]
        A value for every parameter.
    notify : callable
        Is told every event.
    force : bool
        Execute every stage, whatever is cached.
    until : sequence of str
        Only these nodes and what they need; all where it is empty.

    Returns
    -------
    RunRecord
        ``done``, or ``failed`` if a stage or test failed; the record names cell and line.

    Raises
    ------
    CancelledError
        If the user pressed Ctrl-C; what was finished is kept and recorded.
    StorageError
        If ``.mlnb`` cannot be written.
    UsageError
        If there is no stage of a name in `until`.
    NotebookError
        If the notebook file changed after it was planned.
    """
    nodes = _wanted(pipeline, until)
    run = _Run(pipeline, values, state, settings, notify, force)
    return run.execute(nodes)


class _Run:
    """One execution: the record as far as it is, and where things are."""

    def __init__(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Json],
        state: StateFolder,
        settings: Settings,
        notify: Notify,
        force: bool,
    ) -> None:
        self._pipeline = pipeline
        self._values = values
        self._state = state
        self._settings = settings
        self._notify = notify
        self._force = force
        self._source = _source_bytes(pipeline)
        self._begun = time.monotonic()
        self._record = self._first_record()
        self._folder = state.runs / self._record.id
        self._notebooks: list[Notebook] = []
        self._data: dict[str, str] = {}

    def execute(self, nodes: Sequence[Stage]) -> RunRecord:
        """Execute `nodes` in their order and return the final record."""
        with storing(self._folder, "made"):
            self._folder.mkdir(parents=True)
        write_bytes(self._folder / "source.ipynb", self._source)
        self._save()
        self._notify(RunStarted(self._record.id, self._record.notebook, tuple(node.name for node in nodes)))
        try:
            for node in nodes:
                self._add(*self._one(node))
        except KeyboardInterrupt:
            self._finish("cancelled")
            raise CancelledError(
                f"Run {self._record.id} was cancelled.",
                "Run again: the stages that it finished are reused.",
                run=self._record.id,
            ) from None
        except MlnbError:
            with suppress(MlnbError):  # the disk may be what failed
                self._finish("failed")
            raise
        failed = any(stage.state in ("failed", "skipped") for stage in self._record.stages)
        self._finish("failed" if failed else "done")
        return self._record

    def _first_record(self) -> RunRecord:
        path = self._pipeline.document.path
        now = datetime.now(UTC)
        commit, dirty = git_state(path.parent)
        lock, _ = self._state.files.put(environment_lock())
        return RunRecord(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            notebook=os.path.relpath(path, self._state.project),
            notebook_digest=self._pipeline.document.digest,
            git_commit=commit,
            git_dirty=dirty,
            parameters=dict(self._values),
            environment=lock,
            started_at=timestamp(now),
            state="running",
            process=this_process(),
        )

    def _one(self, stage: Stage) -> tuple[StageRecord, Notebook | None]:
        states = {record.name: record.state for record in self._record.stages}
        broken = [name for name in stage.upstream if states.get(name) in ("failed", "skipped")]
        if broken:
            return StageRecord(stage.name, stage.kind, "skipped"), None
        inputs = self._inputs(stage)
        identities = {artifact.name: artifact.identity for artifact in inputs}
        key = fingerprint(self._pipeline, stage, self._values, identities, root=self._state.project)
        self._data.update(json.loads(key.parts["files"]))
        hit = None if self._force else cache.look_up(self._state, key.digest)
        return self._reused(hit) if hit is not None else self._executed(stage, key, inputs)

    def _inputs(self, stage: Stage) -> tuple[Artifact, ...]:
        given = {
            (record.name, artifact.name): artifact for record in self._record.stages for artifact in record.artifacts
        }
        return tuple(given[taken.giver, taken.name] for taken in stage.inputs)

    def _reused(self, hit: cache.CachedStage) -> tuple[StageRecord, Notebook]:
        numbers = {cell.id: cell.number for cell in self._pipeline.document.cells if cell.id}
        notebook, moved = renumber(json.loads(self._state.files.read(hit.notebook)), numbers)
        path = notebook_path(self._folder, self._pipeline, hit.stage)
        write_json(path, notebook)
        record = StageRecord(
            name=hit.stage,
            kind=hit.kind,
            state="cached",
            key=hit.key,
            seconds=hit.seconds,
            started_at=hit.started_at,
            artifacts=hit.artifacts,
            cases=tuple(_moved_case(case, moved.get(case.cell, case.cell)) for case in hit.cases),
            notebook=str(path.relative_to(self._state.root)),
            warnings=hit.warnings,
        )
        return record, notebook

    def _executed(self, stage: Stage, key: Key, inputs: tuple[Artifact, ...]) -> tuple[StageRecord, Notebook]:
        run = self._record.id
        self._notify(StageStarted(run, stage.name))
        task = StageTask(self._pipeline, stage, key.digest, inputs, self._values, self._folder)

        def on_cell(cell: int, position: int, total: int) -> None:
            self._notify(CellStarted(run, stage.name, cell, position, total))

        record, notebook = execute_stage(task, self._state, self._settings, on_cell)
        if record.state == "done":
            digest, size = self._state.files.put(self._state.root / record.notebook)
            cache.commit(self._state, cache.cached(record, run, key.parts, digest, size))
        return record, notebook

    def _add(self, stage: StageRecord, notebook: Notebook | None) -> None:
        self._record = replace(with_stage(self._record, stage), data=tuple(sorted(self._data.items())))
        if notebook is not None:
            self._notebooks.append(notebook)
        self._save()
        message = stage.error.problem if stage.error else "something before it failed" * (stage.state == "skipped")
        self._notify(StageFinished(self._record.id, stage.name, stage.state, stage.seconds, message))

    def _finish(self, how: str) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        self._record = replace(self._record, state=how, seconds=seconds)
        assembled = assemble(json.loads(self._source), self._notebooks, self._record.id)
        write_json(self._folder / self._pipeline.document.path.name, assembled)
        self._save()
        self._notify(RunFinished(self._record.id, how, seconds))

    def _save(self) -> None:
        write_json(self._folder / "run.json", self._record.to_json())


def _moved_case(case: CaseRecord, cell: int) -> CaseRecord:
    name = f"cell {cell}" if case.name == f"cell {case.cell}" else case.name
    return replace(case, cell=cell, name=name)


def _wanted(pipeline: Pipeline, until: Sequence[str]) -> Sequence[Stage]:
    known = [stage.name for stage in pipeline.stages]
    for name in until:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Stages: {', '.join(known)}."
            raise UsageError(f"There is no stage {name!r}.", hint)
    return pipeline.upstream_of(until) if until else pipeline.stages


def _source_bytes(pipeline: Pipeline) -> bytes:
    """Return the notebook file as it was planned."""
    document = pipeline.document
    try:
        content = document.path.read_bytes()
    except OSError:
        content = b""
    if "sha256:" + hashlib.sha256(content).hexdigest() != document.digest:
        raise NotebookError(
            f"{document.path} changed while its run was being planned.",
            "Save it, then run again.",
            path=str(document.path),
        )
    return content
