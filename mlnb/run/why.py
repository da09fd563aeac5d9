"""A pipeline and what was run before become the reasons why each stage would run now, or would not.

The pipeline is walked as a run would walk it, with the identities of cached values; nothing is executed or moved. What
comes behind a stage that would run cannot be known: it runs unless what it takes comes out as it was.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlnb.notebook.spelling import listed
from mlnb.pipeline.fingerprint import Fingerprints, Key
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.run import cache
from mlnb.run.changes import Change, changes_between
from mlnb.run.choice import choose
from mlnb.run.history import runs_of
from mlnb.run.options import RunOptions
from mlnb.run.past import Past
from mlnb.run.record import StageRecord
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a stage would run, or would not.

    Attributes
    ----------
    state : str
        ``cached`` (it would not run), ``runs``, or ``waits`` (something before it runs, and what it takes may come out
        as it was).
    sentence : str
        The answer.
    run : str
        The run whose result was compared, empty for none.
    changes : tuple of Change
        What has changed since, in the order of a key.
    notices : tuple of str
        What cannot be known of its data.
    """

    stage: str
    kind: str
    state: str
    sentence: str
    run: str = ""
    changes: tuple[Change, ...] = ()
    notices: tuple[str, ...] = ()


def why(
    pipeline: Pipeline, values: Mapping[str, Json], state: StateFolder, stages: Sequence[str] = ()
) -> tuple[Reason, ...]:
    """Return the reasons of stages, in the pipeline's order.

    Parameters
    ----------
    values : mapping of str to JSON value
        A value for every parameter.
    stages : sequence of str
        Only these; all where it is empty.

    Raises
    ------
    UsageError
        If there is no stage of a name.
    """
    choice = choose(pipeline, RunOptions(until=tuple(stages)))
    walk = _Walk(pipeline, values, state)
    reasons = [walk.reason(stage) for stage in choice.nodes]
    return tuple(reason for reason in reasons if not stages or reason.stage in stages)


class _Walk:
    """One walk through a pipeline."""

    def __init__(self, pipeline: Pipeline, values: Mapping[str, Json], state: StateFolder) -> None:
        self._pipeline = pipeline
        self._state = state
        self._prints = Fingerprints(pipeline, values, root=state.project)
        notebook = os.path.relpath(pipeline.document.path, state.project)
        self._past = Past(pipeline, state, runs_of(state, notebook) if state.runs.is_dir() else iter(()))
        self._given: dict[tuple[str, str], str] = {}
        self._unsettled: dict[str, None] = {}

    def reason(self, stage: Stage) -> Reason:
        """Return the reason of a stage; those before it have been asked for."""
        before = [name for name in stage.upstream if name in self._unsettled]
        last = self._past.result_of(stage.name)
        inputs = {taken.name: self._given.get((taken.giver, taken.name), "") for taken in stage.inputs}
        key = self._prints.key(stage, inputs)
        if not before:
            hit = cache.peek(self._state, key.digest)
            fault = self._fault(hit) if hit is not None else ""
            if hit is not None and not fault:
                self._given.update({(stage.name, one.name): one.identity for one in hit.artifacts})
                return Reason(stage.name, stage.kind, "cached", _reused(stage, hit), hit.run, (), key.notices)
            self._unsettled[stage.name] = None
            return replace(self._runs(stage, key, last, fault), notices=key.notices)
        self._unsettled[stage.name] = None
        return replace(self._behind(stage, key, last, before), notices=key.notices)

    def _fault(self, hit: cache.CachedStage) -> str:
        """Say why a result does not count although it is known; ``""`` where it does, or it can be brought here."""
        gone = cache.undone(self._state, hit)
        if gone:
            return f"{listed(gone)}, which it writes, {'is' if len(gone) == 1 else 'are'} gone or changed"
        store = self._state.files
        lost = [one.name for one in hit.artifacts if not store.has(one.digest, one.size_bytes)]
        if not store.has(hit.notebook, hit.notebook_bytes):
            lost.append("its notebook")
        return f"{listed(lost)} of run {hit.run} {'is' if len(lost) == 1 else 'are'} not whole any more" * (
            bool(lost) and not self._state.shared
        )

    def _runs(self, stage: Stage, key: Key, last: tuple[str, StageRecord] | None, fault: str) -> Reason:
        name = f"`{stage.name}`"
        if fault:
            return Reason(stage.name, stage.kind, "runs", f"{name} would run: {fault}.", last[0] if last else "")
        failed = self._past.failure_of(stage.name)
        if last is None:
            because = f"it failed in run {failed}" if failed else "it has no result yet"
            return Reason(stage.name, stage.kind, "runs", f"{name} would run: {because}.")
        run, record = last
        changes = tuple(self._changes(stage, key, record, run))
        if changes:
            sentence = f"{name} would run, because of what has changed since run {run}:"
        elif cache.peek(self._state, record.key) is None:
            sentence = f"{name} would run: its result of run {run} is no longer in the cache."
        else:
            sentence = (
                f"{name} would run: this mlnb counts what a result depends on differently from that of run {run}."
            )
        if failed and changes:
            sentence = f"{name} would run: it failed in run {failed}, and since run {run} this has changed:"
        return Reason(stage.name, stage.kind, "runs", sentence, run, changes)

    def _behind(self, stage: Stage, key: Key, last: tuple[str, StageRecord] | None, before: Sequence[str]) -> Reason:
        """Return the reason of a stage behind one that would run."""
        others = f"{listed(before)} would run"
        taken = [one.name for one in stage.inputs if one.giver in before]
        changes = tuple(self._changes(stage, key, last[1], last[0])) if last is not None else ()
        run = last[0] if last is not None else ""
        own = tuple(change for change in changes if change.part not in ("inputs", "files"))
        if last is None or own:
            tail = f", and because of what has changed since run {run}:" if own else "; it has no result yet."
            return Reason(stage.name, stage.kind, "runs", f"`{stage.name}` would run because {others}{tail}", run, own)
        what = f"what it takes ({', '.join(taken)}) comes out" if taken else "what that leaves behind comes out"
        sentence = f"`{stage.name}` would run because {others}, unless {what} as it was."
        return Reason(stage.name, stage.kind, "waits", sentence, run)

    def _changes(self, stage: Stage, key: Key, record: StageRecord, run: str) -> Iterator[Change]:
        known = cache.peek(self._state, record.key)
        if known is not None:
            yield from changes_between(stage, known.parts, key.parts, self._past.sources_of(run, stage))


def _reused(stage: Stage, hit: cache.CachedStage) -> str:
    when = hit.started_at[:16].replace("T", " ")
    return (
        f"`{stage.name}` is taken from the cache: nothing that it depends on has changed since run {hit.run} ({when})."
    )


def lines(reasons: Sequence[Reason]) -> Iterator[str]:
    """Yield the reasons as text."""
    for reason in reasons:
        yield reason.sentence
        for change in reason.changes:
            yield f"  - {change.sentence}"
            yield from (f"      {line}" for line in change.diff.splitlines())
        for notice in reason.notices:
            yield f"  note: {notice}"
