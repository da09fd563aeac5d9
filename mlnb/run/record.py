"""An execution becomes a `RunRecord`: what ran, how, from what, with what result; ``runs/<id>/run.json``, format 2.

Format 1 (mlnb 0.1) knows neither options nor what a stage used; it is still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from mlnb.errors import UsageError
from mlnb.run.options import DEFAULTS, RunOptions
from mlnb.store.artifact import Artifact
from mlnb.store.manifest import Fields

FORMAT = 2


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
        ``done``, ``cached``, ``failed``, ``skipped`` (something before it failed) or ``cancelled`` (it was executing
        when the run was stopped).
    key : str
        Digest that the result is cached under; empty if it was never computed.
    seconds : float
        What executing it took, in this run or, if cached, in the run that executed it.
    notebook : str
        Path of the executed notebook, relative to the ``.mlnb`` folder; empty if there is none.
    warnings : tuple of str
        What was noticed, such as a value that the stage changed without giving it.
    cpu_s : float
        CPU seconds of its kernel and what that waited for; 0 where it was not executed in this run, or nobody knows.
    peak_bytes : int
        Largest resident memory of its kernel, what it shares with others included; 0 where it is not known.
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
    cpu_s: float = 0.0
    peak_bytes: int = 0

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
            cpu_s=fields.number("cpu_s") if "cpu_s" in fields.mapping else 0.0,
            peak_bytes=fields.integer("peak_bytes") if "peak_bytes" in fields.mapping else 0,
        )


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What became of one execution of a pipeline.

    Attributes
    ----------
    id : str
        Like ``20261122-193000-a1b2c3`` (UTC); ids sort by the time of their beginning.
    notebook : str
        Path relative to the project.
    notebook_digest : str
        Of the source as it was; ``runs/<id>/source.ipynb`` (or ``source.py``, ...) is a copy.
    git_commit, git_dirty : str, bool
        Where the notebook's folder stood; no commit where there is no git.
    environment : str
        Digest of the lock, a stored text with one ``name==version`` a line.
    data : tuple of (str, str)
        Declared files with their digests.
    stages : tuple of StageRecord
        In the pipeline's order, whatever finished first; those that were not reached are missing.
    state : str
        ``running``, ``done``, ``failed`` or ``cancelled``.
    process : str
        ``host/pid/start time`` of who runs it, to tell a run that goes on from one that was killed.
    options : RunOptions
        What was asked for; without `resume`.
    resumed : str
        Id of the run that this one went on from, empty for none.
    kernel, executor : str
        How kernels were made, and the address of what executed the stages.
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
    options: RunOptions = DEFAULTS
    resumed: str = ""
    kernel: str = ""
    executor: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object of format 2."""
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
            options=RunOptions.from_json(fields.one("options")) if "options" in fields.mapping else DEFAULTS,
            resumed=fields.text("resumed") if "resumed" in fields.mapping else "",
            kernel=fields.text("kernel") if "kernel" in fields.mapping else "",
            executor=fields.text("executor") if "executor" in fields.mapping else "",
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
