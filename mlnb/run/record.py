"""An execution becomes a `RunRecord`: what ran, from what, with what result; ``runs/<id>/run.json``, format 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from mlnb.errors import UsageError
from mlnb.store.artifact import Artifact
from mlnb.store.manifest import Fields

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """One unit test: a ``test_*`` function or a cell of asserts (``cell 12``), ``passed`` or ``failed``."""

    name: str
    cell: int
    state: str
    message: str = ""
    seconds: float = 0.0

    @classmethod
    def from_json(cls, fields: Fields) -> CaseRecord:
        """Read it from a JSON object."""
        return cls(
            fields.text("name"),
            fields.integer("cell"),
            fields.text("state"),
            fields.text("message"),
            fields.number("seconds"),
        )


@dataclass(frozen=True, slots=True)
class StageFault:
    """Why a stage failed.

    Attributes
    ----------
    cell, line : int
        1-based place in the user's notebook; 0 where there is none.
    ename, evalue : str
        Class and text of the exception.
    problem, remedy : str
        What people are told.
    traceback : str
        As IPython shows it, without colours.
    """

    cell: int
    line: int
    ename: str
    evalue: str
    problem: str
    remedy: str
    traceback: str = ""

    @classmethod
    def from_json(cls, fields: Fields) -> StageFault:
        """Read it from a JSON object."""
        return cls(
            fields.integer("cell"),
            fields.integer("line"),
            fields.text("ename"),
            fields.text("evalue"),
            fields.text("problem"),
            fields.text("remedy"),
            fields.text("traceback"),
        )


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What became of one stage or test.

    Attributes
    ----------
    state : str
        ``done``, ``cached``, ``failed`` or ``skipped`` (something before it failed).
    key : str
        Digest that the result is cached under; empty if it was never computed.
    seconds : float
        What executing it took, in this run or, if cached, in the run that executed it.
    notebook : str
        Path of the executed notebook, relative to the ``.mlnb`` folder; empty if there is none.
    warnings : tuple of str
        What was noticed, such as a value that the stage changed without giving it.
    """

    name: str
    kind: str
    state: str
    key: str = ""
    seconds: float = 0.0
    started_at: str = ""
    artifacts: tuple[Artifact, ...] = ()
    cases: tuple[CaseRecord, ...] = ()
    error: StageFault | None = None
    notebook: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, fields: Fields) -> StageRecord:
        """Read it from a JSON object."""
        return cls(
            name=fields.text("name"),
            kind=fields.text("kind"),
            state=fields.text("state"),
            key=fields.text("key"),
            seconds=fields.number("seconds"),
            started_at=fields.text("started_at"),
            artifacts=tuple(Artifact.from_json(one) for one in fields.many("artifacts")),
            cases=tuple(CaseRecord.from_json(one) for one in fields.many("cases")),
            error=StageFault.from_json(fields.one("error")) if fields.mapping.get("error") else None,
            notebook=fields.text("notebook"),
            warnings=fields.texts("warnings"),
        )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What became of one execution of a pipeline.

    Attributes
    ----------
    id : str
        Like ``20261122-193000-a1b2c3`` (UTC).
    notebook : str
        Path relative to the project.
    notebook_digest : str
        Of the source as it was; ``runs/<id>/source.ipynb`` is a copy.
    git_commit, git_dirty : str, bool
        Where the notebook's folder stood; no commit where there is no git.
    environment : str
        Digest of the lock, a stored text with one ``name==version`` a line.
    data : tuple of (str, str)
        Declared files with their digests.
    state : str
        ``running``, ``done``, ``failed`` or ``cancelled``.
    process : str
        ``host/pid/start time`` of who runs it, to tell a run that goes on from one that was killed.
    """

    id: str
    notebook: str
    notebook_digest: str
    git_commit: str
    git_dirty: bool
    parameters: Mapping[str, object]
    environment: str
    started_at: str
    state: str
    seconds: float = 0.0
    stages: tuple[StageRecord, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    process: str = field(default="", compare=False)

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object of format 1."""
        return {"format": FORMAT, **asdict(self), "parameters": dict(self.parameters), "data": dict(self.data)}

    @classmethod
    def from_json(cls, fields: Fields) -> RunRecord:
        """Read it from a JSON object.

        Raises
        ------
        CorruptError
            If a field is missing or of another type.
        """
        return cls(
            id=fields.text("id"),
            notebook=fields.text("notebook"),
            notebook_digest=fields.text("notebook_digest"),
            git_commit=fields.text("git_commit"),
            git_dirty=fields.truth("git_dirty"),
            parameters=fields.values("parameters"),
            environment=fields.text("environment"),
            started_at=fields.text("started_at"),
            state=fields.text("state"),
            seconds=fields.number("seconds"),
            stages=tuple(StageRecord.from_json(one) for one in fields.many("stages")),
            data=tuple(sorted((path, str(digest)) for path, digest in fields.values("data").items())),
            process=fields.text("process"),
        )

    def stage(self, name: str) -> StageRecord:
        """Return the record of one stage or test.

        Raises
        ------
        UsageError
            If the run has none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = ", ".join(stage.name for stage in self.stages) or "none"
        raise UsageError(f"Run {self.id} has no stage {name!r}.", f"Its stages are: {known}.")


def with_stage(record: RunRecord, stage: StageRecord) -> RunRecord:
    """Return the record with one more stage."""
    return replace(record, stages=(*record.stages, stage))
