"""A finished run becomes the values that it gave: artifacts by name, and every number for the gates."""

from __future__ import annotations

from mlnb.errors import UsageError
from mlnb.run.record import RunRecord
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
    """Return all scalar numbers that stages gave.

    Returns
    -------
    dict[str, float]
        Under ``stage.name``, and under ``name`` alone where only one stage gave it. Booleans are no numbers; NaN stays.
    """
    found: dict[str, float] = {}
    givers: dict[str, list[str]] = {}
    for stage in record.stages:
        for artifact in stage.artifacts:
            if not _may_be_number(artifact):
                continue
            value = decode(artifact, store)
            if isinstance(value, (int, float)) or (hasattr(value, "dtype") and value.dtype.kind in "iuf"):
                found[f"{stage.name}.{artifact.name}"] = float(value)  # type: ignore[arg-type]
                givers.setdefault(artifact.name, []).append(stage.name)
    alone = {name: found[f"{stages[0]}.{name}"] for name, stages in givers.items() if len(stages) == 1}
    return found | alone


def _may_be_number(artifact: Artifact) -> bool:
    if artifact.codec == "json":
        return artifact.type_name in ("int", "float")
    return (
        artifact.codec == "npy"
        and artifact.type_name.startswith("numpy.")
        and artifact.type_name != "numpy.ndarray"
        and artifact.size_bytes <= _LARGEST_SCALAR_BYTES
    )
