"""A finished stage becomes a manifest under its key, ``cache/<digest>.json``: whoever has the same key has the result.

Format 1. A manifest is committed by rename after its artifacts, and counts only while all of them are there; one that
is damaged or incomplete counts as absent, since the stage can always be run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlnb.errors import CorruptError
from mlnb.run.record import CaseRecord, StageRecord
from mlnb.store.artifact import Artifact
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import Fields, read_json, write_json

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CachedStage:
    """The result of a stage.

    Attributes
    ----------
    key : str
        ``sha256:<hex>`` of all that the result depends on.
    parts : Mapping[str, str]
        What the key is made of, to say which part changed.
    run, started_at, seconds : str, str, float
        The run that executed it, when, and how long it took.
    notebook, notebook_bytes : str, int
        Digest and size of the executed notebook in the file store.
    """

    key: str
    stage: str
    kind: str
    parts: Mapping[str, str]
    artifacts: tuple[Artifact, ...]
    cases: tuple[CaseRecord, ...]
    warnings: tuple[str, ...]
    run: str
    started_at: str
    seconds: float
    notebook: str
    notebook_bytes: int

    @classmethod
    def from_json(cls, fields: Fields) -> CachedStage:
        """Read it from a JSON object."""
        return cls(
            key=fields.text("key"),
            stage=fields.text("stage"),
            kind=fields.text("kind"),
            parts={name: str(part) for name, part in fields.values("parts").items()},
            artifacts=tuple(Artifact.from_json(one) for one in fields.many("artifacts")),
            cases=tuple(CaseRecord.from_json(one) for one in fields.many("cases")),
            warnings=fields.texts("warnings"),
            run=fields.text("run"),
            started_at=fields.text("started_at"),
            seconds=fields.number("seconds"),
            notebook=fields.text("notebook"),
            notebook_bytes=fields.integer("notebook_bytes"),
        )


def cached(record: StageRecord, run: str, parts: Mapping[str, str], notebook: str, notebook_bytes: int) -> CachedStage:
    """Return what is kept of a stage that is done."""
    return CachedStage(
        key=record.key,
        stage=record.name,
        kind=record.kind,
        parts=parts,
        artifacts=record.artifacts,
        cases=record.cases,
        warnings=record.warnings,
        run=run,
        started_at=record.started_at,
        seconds=record.seconds,
        notebook=notebook,
        notebook_bytes=notebook_bytes,
    )


def commit(state: StateFolder, result: CachedStage) -> None:
    """Keep a result under its key.

    Raises
    ------
    StorageError
        If the disk is full, read-only or not ours.
    """
    mapping = {"format": FORMAT, **asdict(replace(result, parts=dict(result.parts)))}
    write_json(_place(state, result.key), mapping)


def look_up(state: StateFolder, key: str) -> CachedStage | None:
    """Return the result under a key if it and all its artifacts are there.

    Raises
    ------
    NewerFormatError
        If a newer mlnb wrote it.
    """
    try:
        result = CachedStage.from_json(read_json(_place(state, key), FORMAT))
    except (FileNotFoundError, CorruptError):
        return None
    store = state.files
    needed = [(one.digest, one.size_bytes) for one in result.artifacts] + [(result.notebook, result.notebook_bytes)]
    return result if result.key == key and all(store.has(*one) for one in needed) else None


def _place(state: StateFolder, key: str) -> Path:
    return state.cache / f"{key.removeprefix('sha256:')}.json"
