"""A pipeline becomes a `RunRecord`: each stage taken from the cache or executed, side by side where nothing forbids it.

One thread decides: it looks stages up as soon as all before them have ended, starts those that must be executed as long
as cores and memory allow, and tells every event. The stages themselves are executed by threads that only wait for
kernels. A stage that fails stops what needs it and nothing else. The source notebook is never written.
"""

from __future__ import annotations

import heapq
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TypeAlias

from mlnb.errors import CancelledError, CorruptError, MlnbError, UsageError
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.run import cache
from mlnb.run.choice import Choice, choose
from mlnb.run.claim import claimed
from mlnb.run.events import CellStarted, Event, Notify, RunFinished, RunStarted, StageFinished, StageStarted
from mlnb.run.executor import Deferred, Executor, Session, session_of
from mlnb.run.history import runs_of
from mlnb.run.journal import Journal
from mlnb.run.lookup import Found, Lookup
from mlnb.run.memory import Room, available_bytes
from mlnb.run.options import DEFAULTS, RunOptions
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.stage import StageTask
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

Notebook: TypeAlias = Mapping[str, object]
_BROKEN = ("failed", "skipped", "cancelled")
_RECENT = 5
_TICK_S = 1.0


def run_pipeline(
    pipeline: Pipeline,
    values: Mapping[str, Json],
    state: StateFolder,
    settings: Settings,
    notify: Notify,
    options: RunOptions = DEFAULTS,
    *,
    executor: Executor | None = None,
    lookup: Lookup | None = None,
    finished: frozenset[str] = frozenset(),
) -> RunRecord:
    """Execute a pipeline, reusing every result whose key has not changed.

    Parameters
    ----------
    values : Mapping[str, Json]
        A value for every parameter.
    notify : callable
        Is told every event, always in the thread that has called.
    options : RunOptions
        What was asked for.
    executor : Executor, optional
        What executes the stages; stays open. Default: made from settings and options where it is needed, and closed.
    lookup : Lookup, optional
        What is known of the stages already.
    finished : frozenset of str
        Keys that are not executed again although the options say so: the run that is resumed has computed them.

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
        If there is no stage of a name in `options`, or what ``--only`` takes is not in the cache.
    """
    choice = choose(pipeline, options)
    lookup = lookup or Lookup(pipeline, values, state, options.verify)
    _check_given(choice, lookup)
    session = session_of(state, settings, options)
    journal = Journal(pipeline, values, options, session)
    if executor is not None:
        return _Run(_Asked(pipeline, values, options, choice, finished), session, executor, journal, lookup).go(notify)
    with Deferred(session, pipeline.document) as executor:
        return _Run(_Asked(pipeline, values, options, choice, finished), session, executor, journal, lookup).go(notify)


@dataclass(frozen=True, slots=True)
class _Asked:
    pipeline: Pipeline
    values: Mapping[str, Json]
    options: RunOptions
    choice: Choice
    finished: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Ended:
    """A stage has ended in its thread, one way or the other."""

    stage: Stage
    record: StageRecord | None = None
    notebook: Notebook | None = None
    error: BaseException | None = None


class _Run:
    """One execution: what has ended, what is executing, what waits."""

    def __init__(self, asked: _Asked, session: Session, executor: Executor, journal: Journal, lookup: Lookup) -> None:
        self._asked = asked
        self._session = session
        self._executor = executor
        self._journal = journal
        self._lookup = lookup
        nodes = asked.choice.nodes
        names = {node.name for node in nodes}
        self._nodes = {node.name: node for node in nodes}
        self._order = {node.name: place for place, node in enumerate(nodes)}
        self._needs = {node.name: names.intersection(node.upstream) for node in nodes}
        self._behind: dict[str, list[str]] = {name: [] for name in names}
        for name, needs in self._needs.items():
            for need in needs:
                self._behind[need].append(name)
        self._ready = [self._order[name] for name, needs in self._needs.items() if not needs]
        heapq.heapify(self._ready)
        self._ended: dict[str, StageRecord] = {}
        self._notices: dict[str, tuple[str, ...]] = {}
        self._queued: list[tuple[int, Stage, Found]] = []
        self._running: dict[str, threading.Thread] = {}
        self._told: SimpleQueue[Event | _Ended] = SimpleQueue()
        self._stop = threading.Event()
        self._room: Room | None = None

    def go(self, notify: Notify) -> RunRecord:
        """Execute and return the final record."""
        self._notify = notify
        self._journal.begin()
        try:
            names = tuple(self._nodes)
            notify(RunStarted(self._journal.id, self._notebook(), names))
            self._work()
        except KeyboardInterrupt:
            self._cancel()
            self._finish("cancelled")
            raise CancelledError(
                f"Run {self._journal.id} was cancelled.",
                "Go on with `mlnb run --resume`: the stages that it finished are reused.",
                run=self._journal.id,
            ) from None
        except BaseException:
            self._cancel()
            with suppress(MlnbError):  # the disk may be what failed
                self._finish("failed")
            raise
        return self._finish("failed" if any(one.state in _BROKEN for one in self._ended.values()) else "done")

    def _work(self) -> None:
        nodes = self._asked.choice.nodes
        while self._ready or self._queued or self._running:
            while self._ready:
                self._look_at(nodes[heapq.heappop(self._ready)])
                self._start()
                self._take_all()
            self._start()
            if self._running:
                with suppress(Empty):
                    self._take(self._told.get(timeout=min(self._journal.save() or _TICK_S, _TICK_S)))

    def _look_at(self, stage: Stage) -> None:
        """Settle a stage whose upstream has ended, or put it into the queue of those to execute."""
        if any(self._ended[name].state in _BROKEN for name in stage.upstream if name in self._ended):
            self._settle(StageRecord(stage.name, stage.kind, "skipped"))
            return
        forced = stage.name in self._asked.choice.forced
        found = self._lookup.find(stage, reuse=not forced)
        if self._asked.options.snapshot:
            self._keep(stage, found)
        if forced and found.key.digest in self._asked.finished:
            found = replace(found, hit=self._lookup.hit(found.key.digest))
        if found.hit is not None:
            with suppress(CorruptError):  # of the notebook: the stage runs again
                self._settle(*self._journal.reuse(found.hit), found)
                return
        heapq.heappush(self._queued, (self._order[stage.name], stage, found))

    def _keep(self, stage: Stage, found: Found) -> None:
        """Copy the data that a stage reads, as they are before it runs."""
        from mlnb.run.snapshot import keep

        folder = self._asked.pipeline.document.path.parent
        files = json.loads(found.key.parts["files"])
        self._notices[stage.name] = keep(self._session.state, self._journal.folder, stage.name, folder, files)

    def _start(self) -> None:
        """Start queued stages, in the pipeline's order, as long as there is room."""
        while self._queued:
            _, stage, found = self._queued[0]
            self._room = self._room or self._measured()
            if not self._room.fits(stage.name, self._running):
                return
            heapq.heappop(self._queued)
            self._notify(StageStarted(self._journal.id, stage.name))
            more = len(self._ended) + len(self._running) + 1 < len(self._nodes)
            thread = threading.Thread(
                target=self._execute, args=(stage, found, more), name=f"mlnb {stage.name}", daemon=True
            )
            self._running[stage.name] = thread
            thread.start()

    def _execute(self, stage: Stage, found: Found, more: bool) -> None:
        """Execute a stage, in a thread of its own, and tell the result."""
        try:
            ended = self._executed(stage, found, more)
        except BaseException as error:  # noqa: BLE001  # raised where the run is decided
            ended = _Ended(stage, error=error)
        self._told.put(ended)

    def _executed(self, stage: Stage, found: Found, more: bool) -> _Ended:
        asked, state, key = self._asked, self._session.state, found.key

        def on_cell(cell: int, position: int, total: int) -> None:
            self._told.put(CellStarted(self._journal.id, stage.name, cell, position, total))

        task = StageTask(
            asked.pipeline,
            stage,
            key.digest,
            found.inputs,
            asked.values,
            self._journal.folder,
            parts=key.parts,
            verify=asked.options.verify,
            seed=asked.options.seed,
            observe=asked.options.observe,
            more=more,
        )
        if asked.options.seed:
            return _Ended(stage, *self._executor.execute(task, on_cell))
        with claimed(state, key.digest, self._stop):
            hit = self._lookup.hit(key.digest) if stage.name not in asked.choice.forced else None
            if hit is not None:  # another run has computed it meanwhile
                with suppress(CorruptError):
                    return _Ended(stage, *self._journal.reuse(hit))
            record, notebook = self._executor.execute(task, on_cell)
            if record.state == "done":
                digest, size = state.files.put(state.root / record.notebook)
                cache.commit(state, cache.cached(record, self._journal.id, key.parts, digest, size))
        return _Ended(stage, record, notebook)

    def _take_all(self) -> None:
        with suppress(Empty):
            while True:
                self._take(self._told.get_nowait())

    def _take(self, told: Event | _Ended) -> None:
        if not isinstance(told, _Ended):
            self._notify(told)
            return
        self._running.pop(told.stage.name).join()
        if told.error is not None:
            raise told.error
        if told.record is not None:
            if self._room is not None:
                self._room.learn(told.stage.name, told.record.peak_bytes)
            self._settle(told.record, told.notebook, self._lookup.find(told.stage))

    def _settle(self, record: StageRecord, notebook: Notebook | None = None, found: Found | None = None) -> None:
        """Note a stage's end and let go of those behind it."""
        said = (*(found.key.notices if found is not None else ()), *cache.said(self._session.state))
        said = (*self._notices.pop(record.name, ()), *said)
        record = replace(record, warnings=(*record.warnings, *said)) if said else record
        self._ended[record.name] = record
        self._lookup.give(record.name, record.artifacts)
        self._journal.add(record, notebook, json.loads(found.key.parts["files"]) if found is not None else {})
        for name in self._behind[record.name]:
            self._needs[name].discard(record.name)
            if not self._needs[name]:
                heapq.heappush(self._ready, self._order[name])
        message = record.error.problem if record.error else "something before it failed" * (record.state == "skipped")
        self._notify(StageFinished(self._journal.id, record.name, record.state, record.seconds, message))

    def _cancel(self) -> None:
        """End what is executing, wait until it has, and note it as cancelled."""
        self._stop.set()
        self._executor.cancel()
        while self._running:
            told = self._told.get()
            if isinstance(told, _Ended):
                self._running.pop(told.stage.name).join()
                record = told.record or StageRecord(told.stage.name, told.stage.kind, "cancelled")
                if record.state == "failed":
                    record = replace(record, state="cancelled", error=None)
                self._settle(record, told.notebook, self._lookup.find(told.stage))

    def _finish(self, how: str) -> RunRecord:
        record = self._journal.finish(how)
        self._notify(RunFinished(record.id, how, record.seconds))
        return record

    def _measured(self) -> Room:
        peaks: dict[str, int] = {}
        for record in islice(runs_of(self._session.state, self._notebook()), 1, _RECENT + 1):
            for stage in record.stages:
                peaks[stage.name] = max(stage.peak_bytes, peaks.get(stage.name, 0))
        jobs = self._asked.options.jobs or self._session.settings.jobs or cores()
        return Room(jobs, peaks, available_bytes)

    def _notebook(self) -> str:
        return os.path.relpath(self._asked.pipeline.document.path, self._session.state.project)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_given(choice: Choice, lookup: Lookup) -> None:
    """Refuse ``--only`` where something that the stages take was never computed."""
    needed: Sequence[Stage] = [stage for stage in choice.nodes if stage.name in choice.given]
    missing = lookup.missing(Choice(tuple(needed), frozenset()))
    if missing:
        takers = [stage.name for stage in choice.nodes if missing in {taken.giver for taken in stage.inputs}]
        raise UsageError(
            f"Stage {takers[0]!r} takes what stage {missing!r} gives, and that is not in the cache.",
            f"Compute it first with --until {missing}, or run without --only.",
        )
