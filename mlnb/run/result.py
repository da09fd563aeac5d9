"""What is kept of a finished stage: the value `CachedStage`, and its JSON.

Format 2. Format 1 (mlnb 0.1) does not know `written`; it is still read, to say what has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from mlnb.run.record import CaseRecord, StageRecord
from mlnb.store.artifact import Artifact
from mlnb.store.manifest import Fields

FORMAT = 2


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
    written : Mapping[str, str]
        Files that it has written, by path relative to the project: the digest where others read them, else ``""``.
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
    written: Mapping[str, str] = field(default_factory=dict)

    def as_record(self, state: str) -> StageRecord:
        """Return what a run writes of it that has it from elsewhere."""
        return StageRecord(
            name=self.stage,
            kind=self.kind,
            state=state,
            key=self.key,
            seconds=self.seconds,
            started_at=self.started_at,
            artifacts=self.artifacts,
            cases=self.cases,
            warnings=self.warnings,
        )

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object of format 2."""
        plain = replace(self, parts=dict(self.parts), written=dict(self.written))
        return {"format": FORMAT, **asdict(plain)}

    @classmethod
    def from_json(cls, fields: Fields) -> CachedStage:
        """Read it from a JSON object.

        Raises
        ------
        CorruptError
            If a field is missing or of another type.
        """
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
            written={path: str(digest) for path, digest in fields.values("written").items()}
            if "written" in fields.mapping
            else {},
        )
