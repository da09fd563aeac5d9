"""Two runs become what differs between them: parameters, code, data, environment, metrics, stages and their outputs.

What digests say is taken from the records; values are loaded only where two artifacts are not of the same bytes. One
that may not or cannot be loaded is told so, and does not hide the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import TypeAlias

from mlnb.errors import MlnbError
from mlnb.pipeline.fingerprint import changed_parts
from mlnb.pipeline.graph import Pipeline
from mlnb.run import cache
from mlnb.run.apart import apart
from mlnb.run.debug import source_pipeline
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.values import numbers
from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder

Sources: TypeAlias = Mapping[str, Sequence[str]]
"""Lines of code by the name of their stage."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that both runs have, or one of them: `before` or `after` is None where it is missing."""

    name: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A number that stages gave; `difference` is ``after - before``, None where one is missing."""

    name: str
    before: float | None
    after: float | None
    difference: float | None


@dataclass(frozen=True, slots=True)
class CodeChange:
    """The code of a stage, or ``setup``, as the lines of a unified diff."""

    stage: str
    diff: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageChange:
    """A stage that ended otherwise, or whose key differs.

    Attributes
    ----------
    before, after : str
        Its states; ``""`` where a run has no such stage.
    because : tuple of str
        Parts of the key that differ, such as ``code``, ``parameters``, ``modules``; empty where a key's parts are not
        kept (stages that failed) or the keys are the same.
    """

    stage: str
    before: str
    after: str
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutputChange:
    """A value that stages gave and that is not the same; `how` is a clause."""

    stage: str
    name: str
    how: str


@dataclass(frozen=True, slots=True)
class RunDifference:
    """What differs between the run `before` and the run `after`."""

    before: str
    after: str
    parameters: tuple[Change, ...]
    code: tuple[CodeChange, ...]
    data: tuple[Change, ...]
    environment: tuple[Change, ...]
    metrics: tuple[MetricChange, ...]
    stages: tuple[StageChange, ...]
    outputs: tuple[OutputChange, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not any(
            (self.parameters, self.code, self.data, self.environment, self.metrics, self.stages, self.outputs)
        )


def difference(state: StateFolder, before: RunRecord, after: RunRecord) -> RunDifference:
    """Compare two runs.

    Raises
    ------
    UsageError
        If the copy of a run's notebook is gone.
    NotebookError, PlanError
        If it can no longer be planned.
    """
    locks = (read_lock(state.files.read(one.environment)) for one in (before, after))
    return RunDifference(
        before=before.id,
        after=after.id,
        parameters=value_changes(before.parameters, after.parameters),
        code=_code(state, before, after),
        data=value_changes(dict(before.data), dict(after.data)),
        environment=value_changes(*locks),
        metrics=number_changes(_numbers(state, before), _numbers(state, after)),
        stages=tuple(_stages(state, before, after)),
        outputs=tuple(_outputs(state, before, after)),
    )


def value_changes(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[Change, ...]:
    """Return what differs between two mappings, by name."""
    names = sorted({*before, *after})
    changes = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(one for one in changes if one.before != one.after or type(one.before) is not type(one.after))


def _code(state: StateFolder, before: RunRecord, after: RunRecord) -> tuple[CodeChange, ...]:
    if before.notebook_digest == after.notebook_digest:
        return ()
    ours, theirs = sources_of(source_pipeline(state, before)), sources_of(source_pipeline(state, after))
    return code_changes((before.id, ours), (after.id, theirs))


def code_changes(before: tuple[str, Sources], after: tuple[str, Sources]) -> tuple[CodeChange, ...]:
    """Return how texts differ, by name; each side is what to call it and its lines by name."""
    (old, ours), (new, theirs) = before, after
    found = []
    for name in dict.fromkeys([*theirs, *ours]):
        lines = ours.get(name, []), theirs.get(name, [])
        diff = tuple(unified_diff(*lines, f"{old}/{name}", f"{new}/{name}", lineterm=""))
        if diff:
            found.append(CodeChange(name, diff))
    return tuple(found)


def sources_of(pipeline: Pipeline) -> Sources:
    """Return the lines of each stage's cells, of the parameters, the setup and what is deployed."""
    cells = {"parameters": pipeline.parameter_cells, "setup": pipeline.setup}
    cells |= {stage.name: stage.cells for stage in pipeline.stages}
    cells |= {f"deploy {deploy.name}": (deploy.cell,) for deploy in pipeline.deploys}
    return {name: [line for cell in its for line in cell.source.split("\n")] for name, its in cells.items()}


def read_lock(content: bytes) -> dict[str, str]:
    """Return the versions of the distributions that an environment's lock names."""
    lines = content.decode().splitlines()
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def number_changes(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[MetricChange, ...]:
    """Return the numbers that differ, or that one side lacks; NaN equals NaN."""
    found = []
    for name in sorted({*ours, *theirs}):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            found.append(MetricChange(name, one, other, None))
        elif one != other and not (one != one and other != other):
            found.append(MetricChange(name, one, other, other - one))
    return tuple(found)


def _numbers(state: StateFolder, record: RunRecord) -> dict[str, float]:
    """Return the numbers of a run by their shortest names."""
    every = numbers(record, state.files)
    return {name: value for name, value in every.items() if "." not in name or name.rpartition(".")[2] not in every}


def _stages(state: StateFolder, before: RunRecord, after: RunRecord) -> Iterator[StageChange]:
    for name, ours, theirs in _pairs(before, after):
        states = _ended(ours), _ended(theirs)
        because = _because(state, ours, theirs)
        if states[0] != states[1] or because:
            yield StageChange(name, ours.state if ours else "", theirs.state if theirs else "", because)


def _ended(stage: StageRecord | None) -> str:
    """Return how a stage ended: from the cache or executed is the same result."""
    return "" if stage is None else "done" if stage.state == "cached" else stage.state


def _because(state: StateFolder, ours: StageRecord | None, theirs: StageRecord | None) -> tuple[str, ...]:
    if ours is None or theirs is None or ours.key == theirs.key or not (ours.key and theirs.key):
        return ()
    one, other = cache.peek(state, ours.key), cache.peek(state, theirs.key)
    return changed_parts(one.parts, other.parts) if one is not None and other is not None else ()


def _outputs(state: StateFolder, before: RunRecord, after: RunRecord) -> Iterator[OutputChange]:
    for stage, ours, theirs in _pairs(before, after):
        old = {artifact.name: artifact for artifact in (ours.artifacts if ours else ())}
        new = {artifact.name: artifact for artifact in (theirs.artifacts if theirs else ())}
        for name in dict.fromkeys([*new, *old]):
            if name not in old:
                yield OutputChange(stage, name, "is new")
            elif name not in new:
                yield OutputChange(stage, name, "is gone")
            elif how := _how(state, old[name], new[name]):
                yield OutputChange(stage, name, how)


def _how(state: StateFolder, before: Artifact, after: Artifact) -> str:
    if before.digest == after.digest and before.codec == after.codec:
        return ""
    try:
        return apart(decode(before, state.files), decode(after, state.files))
    except MlnbError as error:
        return f"has other bytes and cannot be compared: {error.problem}"


def _pairs(before: RunRecord, after: RunRecord) -> Sequence[tuple[str, StageRecord | None, StageRecord | None]]:
    ours = {stage.name: stage for stage in before.stages}
    theirs = {stage.name: stage for stage in after.stages}
    return [(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*theirs, *ours])]
