"""A finished run becomes the values that it gave: artifacts by name, and every number for the gates."""

from __future__ import annotations

from collections.abc import Mapping

from mlnb.errors import UsageError
from mlnb.model.evaluation import Evaluation
from mlnb.model.evaluation_codec import EvaluationCodec
from mlnb.run.record import RunRecord, StageRecord
from mlnb.store.artifact import Artifact
from mlnb.store.codec import decode
from mlnb.store.files import FileStore

_LARGEST_SCALAR_BYTES = 4096


def artifact_of(record: RunRecord, name: str, stage: str = "") -> Artifact:
    """Return the artifact of a variable.

    Parameters
    ----------
    stage : str, optional
        The stage that gave it. Without one, the last stage that gave the name.

    Raises
    ------
    UsageError
        If no such stage gave it; it names what was given.
    """
    given = [
        (node.name, artifact)
        for node in record.stages
        for artifact in node.artifacts
        if not stage or node.name == stage
    ]
    for _, artifact in reversed(given):
        if artifact.name == name:
            return artifact
    known = ", ".join(sorted(f"{giver}.{artifact.name}" for giver, artifact in given)) or "nothing"
    raise UsageError(
        f"Run {record.id} gave no {f'{stage}.' if stage else ''}{name}.",
        f"It gave: {known}; name the variable with --outputs to keep it.",
    )


def numbers(record: RunRecord, store: FileStore) -> dict[str, float]:
    """Return all scalar numbers that stages gave, and the metrics of their evaluations.

    Returns
    -------
    dict[str, float]
        Under ``stage.name``, and under ``name`` alone where only one stage gave it. Booleans are no numbers; NaN stays.
        Where the marks of a stage name some of its metrics, those are its numbers; else all of them are. A stage with
        several evaluations has theirs under ``stage.variable.name``.
    """
    return _with_short_names({stage.name: _of_stage(stage, store) for stage in record.stages})


def every_number(record: RunRecord, store: FileStore) -> dict[str, float]:
    """Return `numbers`, and all else that evaluations know: ``auc_low``, ``auc[origin=JFK]``, and other names of both.

    It is what a gate may name.
    """
    found: dict[str, dict[str, float]] = {}
    for stage in record.stages:
        evaluations = _evaluations_of(stage, store)
        named = {
            f"{prefix}{name}": number
            for prefix, evaluation in _prefixed(evaluations)
            for name, number in evaluation.named().items()
        }
        found[stage.name] = {**named, **_of_stage(stage, store)}
    return _with_short_names(found)


def evaluations(record: RunRecord, store: FileStore) -> dict[str, Evaluation]:
    """Return the evaluations that stages have bound and whose bytes are there, under ``stage.variable``."""
    return {
        f"{stage.name}.{variable}": evaluation
        for stage in record.stages
        for variable, evaluation in _evaluations_of(stage, store).items()
    }


def _of_stage(stage: StageRecord, store: FileStore) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for artifact in stage.artifacts:
        if _may_be_number(artifact):
            value = decode(artifact, store)
            if isinstance(value, (int, float)) or (hasattr(value, "dtype") and value.dtype.kind in "iuf"):
                scalars[artifact.name] = float(value)  # type: ignore[arg-type]
    measured: dict[str, float] = {}
    for prefix, evaluation in _prefixed(_evaluations_of(stage, store)):
        if not any(name in evaluation for name in scalars):
            measured |= {f"{prefix}{one.name}": one.value for one in evaluation.metrics}
    return {**measured, **scalars}


def _evaluations_of(stage: StageRecord, store: FileStore) -> dict[str, Evaluation]:
    there = [
        one for one in stage.artifacts if one.codec == EvaluationCodec.name and store.has(one.digest, one.size_bytes)
    ]
    found = {one.name: decode(one, store) for one in there}
    return {name: value for name, value in found.items() if isinstance(value, Evaluation)}


def _prefixed(found: Mapping[str, Evaluation]) -> list[tuple[str, Evaluation]]:
    return [(f"{name}." if len(found) > 1 else "", evaluation) for name, evaluation in found.items()]


def _with_short_names(by_stage: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    givers: dict[str, list[str]] = {}
    for stage, found in by_stage.items():
        for name in found:
            givers.setdefault(name, []).append(stage)
    long = {f"{stage}.{name}": number for stage, found in by_stage.items() for name, number in found.items()}
    return long | {name: by_stage[stages[0]][name] for name, stages in givers.items() if len(stages) == 1}


def _may_be_number(artifact: Artifact) -> bool:
    if artifact.codec == "json":
        return artifact.type_name in ("int", "float")
    return (
        artifact.codec == "npy"
        and artifact.type_name.startswith("numpy.")
        and artifact.type_name != "numpy.ndarray"
        and artifact.size_bytes <= _LARGEST_SCALAR_BYTES
    )
