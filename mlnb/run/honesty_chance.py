"""Two runs that differ in their seed alone become findings: what chance decides, by how much, and where it comes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlnb.errors import MlnbError
from mlnb.pipeline.graph import Pipeline, Stage
from mlnb.run.apart import apart
from mlnb.run.honesty_finding import Finding
from mlnb.run.honesty_notes import unmarked
from mlnb.run.honesty_source import Unseeded, unseeded
from mlnb.run.record import RunRecord, StageRecord
from mlnb.run.values import numbers
from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder

_ROUNDING = 1e-9
_MOST_NAMED = 4


def changes(pipeline: Pipeline, record: RunRecord, again: RunRecord, state: StateFolder) -> Iterator[Finding]:
    """Yield a finding for each stage whose outputs another seed changes, in the pipeline's order.

    Parameters
    ----------
    record, again : RunRecord
        The same pipeline and parameters, with seed 0 and with another.
    """
    before = {stage.name: stage for stage in record.stages}
    amounts = _amounts(record, again, state)
    changed: dict[str, Mapping[str, str]] = {}
    for after in again.stages:
        stage = next((node for node in pipeline.stages if node.name == after.name), None)
        known = before.get(after.name)
        if stage is None or known is None or known.state not in ("done", "cached"):
            continue
        if after.state != "done":
            if after.error is not None:
                yield _failed(stage, after)
            continue
        names = _changed(known, after, state)
        if names:
            changed[stage.name] = names
            yield _finding(stage, names, amounts, changed, unseeded(pipeline, stage))


def _changed(before: StageRecord, after: StageRecord, state: StateFolder) -> dict[str, str]:
    """Return how each output that is not the same differs."""
    earlier = {artifact.name: artifact for artifact in before.artifacts}
    said = {
        artifact.name: _apart(earlier[artifact.name], artifact, state)
        for artifact in after.artifacts
        if artifact.name in earlier and earlier[artifact.name].digest != artifact.digest
    }
    return {name: how for name, how in said.items() if how}


def _apart(before: Artifact, after: Artifact, state: StateFolder) -> str:
    try:
        return apart(decode(before, state.files), unmarked(decode(after, state.files)), _ROUNDING)
    except MlnbError as error:
        return f"could not be compared ({error.problem.rstrip('.')})"


def _amounts(record: RunRecord, again: RunRecord, state: StateFolder) -> Mapping[str, float]:
    """Return the relative change of every number under ``stage.name``."""
    before, after = numbers(record, state.files), numbers(again, state.files)
    found = {}
    for name in before.keys() & after.keys():
        largest = max(abs(before[name]), abs(after[name]))
        found[name] = abs(before[name] - after[name]) / largest if 0 < largest < float("inf") else 0.0
    return found


def _finding(
    stage: Stage,
    names: Mapping[str, str],
    amounts: Mapping[str, float],
    changed: Mapping[str, Mapping[str, str]],
    calls: tuple[Unseeded, ...],
) -> Finding:
    inherited = [taken for taken in stage.inputs if taken.name in changed.get(taken.giver, {})]
    said = "; ".join(f"{name}: {how}" for name, how in list(names.items())[:_MOST_NAMED])
    more = f"; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    remedy = "Look for what draws random numbers or depends on the order of a set in it, and give it a seed."
    cell, line = stage.cells[0].number, 0
    if calls:
        cell, line = calls[0].cell, calls[0].line
        where = ", ".join(f"`{call.what}` in cell {call.cell}, line {call.line}" for call in calls[:_MOST_NAMED])
        remedy = f"Give a seed ({calls[0].how}) to {where}; or say how far results vary, by several seeds."
    elif inherited:
        remedy = f"It takes {inherited[0].name!r} from stage {inherited[0].giver!r}, which changes: begin there."
    return Finding(
        check="chance",
        stage=stage.name,
        cell=cell,
        line=line,
        problem=f"Another seed changes what stage {stage.name!r} gives: {said}{more}.",
        remedy=remedy,
        amount=max((amounts.get(f"{stage.name}.{name}", 0.0) for name in names), default=0.0),
    )


def _failed(stage: Stage, after: StageRecord) -> Finding:
    problem = after.error.problem if after.error is not None else ""
    return Finding(
        check="chance",
        stage=stage.name,
        cell=after.error.cell if after.error is not None else 0,
        line=after.error.line if after.error is not None else 0,
        problem=f"With another seed the run fails: {problem}",
        remedy="Make the stage independent of what chance draws, or give it a seed.",
        amount=1.0,
    )
