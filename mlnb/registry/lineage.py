"""A version's origin as plain values: notebook, commit, stages, data, environment and place; JSON of format 2.

Format 1 (mlnb 0.1, without a number) knows the stages by their keys alone; it is still read. To raise it:
add fields with defaults, raise `FORMAT`, and keep the test that reads the old one. How a run becomes a `Lineage` is the
matter of `mlnb.registry.trace`, how it is drawn of `mlnb.registry.lineage_graph`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FORMAT = 2
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One stage or test that a version's run went through.

    Attributes
    ----------
    name, kind : str
        Its name, and ``stage`` or ``test``.
    key : str
        Digest of all that its result depends on.
    run, started_at, seconds : str, str, float
        The run that executed it (an earlier one where the result came from the cache), when, and how long it took.
    notebook : str
        Digest of the executed notebook, outputs included; empty where it is not kept.
    parameters : tuple of str
        Names of the parameters that it reads.
    takes : tuple of (giver, variable)
        Values that it takes from other steps.
    gives : tuple of (variable, digest)
        Values that it gives.
    reads : tuple of str
        Files and addresses that it reads, as in `Lineage.data`.
    modules : tuple of str
        Paths of the project's own modules that it uses.
    cases : tuple of (name, state)
        Unit tests, each ``passed`` or ``failed``.
    """

    name: str
    kind: str = "stage"
    key: str = ""
    run: str = ""
    started_at: str = ""
    seconds: float = 0.0
    notebook: str = ""
    parameters: tuple[str, ...] = ()
    takes: Pairs = ()
    gives: Pairs = ()
    reads: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    cases: Pairs = ()

    @property
    def tested(self) -> str:
        """The stage that a test tests; empty for a stage."""
        return self.name.removeprefix("test-") if self.kind == "test" else ""

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "name": self.name,
            "kind": self.kind,
            "key": self.key,
            "run": self.run,
            "started_at": self.started_at,
            "seconds": self.seconds,
            "notebook": self.notebook,
            "parameters": list(self.parameters),
            "takes": _listed(self.takes),
            "gives": _listed(self.gives),
            "reads": list(self.reads),
            "modules": list(self.modules),
            "cases": _listed(self.cases),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Step:
        """Return the step that `to_json` wrote."""
        return cls(
            name=str(fields["name"]),
            kind=str(fields["kind"]),
            key=str(fields["key"]),
            run=str(fields["run"]),
            started_at=str(fields["started_at"]),
            seconds=float(str(fields["seconds"])),
            notebook=str(fields["notebook"]),
            parameters=_texts(fields["parameters"]),
            takes=_pairs(fields["takes"]),
            gives=_pairs(fields["gives"]),
            reads=_texts(fields["reads"]),
            modules=_texts(fields["modules"]),
            cases=_pairs(fields["cases"]),
        )


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from.

    Attributes
    ----------
    run : str
        Id of the run.
    notebook, notebook_digest : str
        Path of the notebook in the project, and the digest of the file that ran.
    git_commit : str
        Commit of the project; empty outside git.
    git_dirty : bool
        Whether the working tree differed from the commit.
    parameters : mapping of str to JSON value
        Values of the run's parameters.
    data : tuple of (path, digest)
        Declared files that stages read.
    environment : str
        Digest of the list of installed distributions.
    stages : mapping of str to str
        The cache key of each stage.
    notebook_source : str
        Digest of the stored notebook, as it ran; empty where it is not kept.
    git_diff : str
        Digest of the stored difference between the commit and the working tree; empty for none.
    modules : tuple of (path, digest)
        The project's own modules that stages use, with the digests of their stored texts; an empty digest says that
        the module was edited between the run and the registration, so that its text is not what ran.
    steps : tuple of Step
        Stages and tests, in the order of the pipeline.
    model, sample : str
        What was deployed, as ``stage.variable``.
    place : mapping of str to str
        Where it ran: ``host``, ``system``, ``python``, ``kernel``, ``executor``.
    started_at : str
        When the run began, ISO 8601 in UTC.
    """

    run: str = ""
    notebook: str = ""
    notebook_digest: str = ""
    git_commit: str = ""
    git_dirty: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)
    data: Pairs = ()
    environment: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)
    notebook_source: str = ""
    git_diff: str = ""
    modules: Pairs = ()
    steps: tuple[Step, ...] = ()
    model: str = ""
    sample: str = ""
    place: Mapping[str, str] = field(default_factory=dict)
    started_at: str = ""

    def step(self, name: str) -> Step | None:
        """Return the step of that name; None where there is none."""
        return next((one for one in self.steps if one.name == name), None)

    def digests(self) -> tuple[str, ...]:
        """Return the digests of all stored bytes that the lineage names: what must be kept as long as the version."""
        return tuple(dict.fromkeys(one for one in self._named() if one))

    def _named(self) -> Iterator[str]:
        yield from (self.environment, self.notebook_source, self.git_diff)
        yield from (digest for _, digest in self.modules)
        yield from (step.notebook for step in self.steps)

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "format": FORMAT,
            "run": self.run,
            "notebook": self.notebook,
            "notebook_digest": self.notebook_digest,
            "git_commit": self.git_commit,
            "git_dirty": self.git_dirty,
            "parameters": dict(self.parameters),
            "data": _listed(self.data),
            "environment": self.environment,
            "stages": dict(self.stages),
            "notebook_source": self.notebook_source,
            "git_diff": self.git_diff,
            "modules": _listed(self.modules),
            "steps": [step.to_json() for step in self.steps],
            "model": self.model,
            "sample": self.sample,
            "place": dict(self.place),
            "started_at": self.started_at,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Lineage:
        """Return the lineage that `to_json` wrote, now or under format 1."""
        found = int(str(fields.get("format", 1)))
        if found > FORMAT:
            raise ValueError(f"its lineage has format {found}, this mlnb knows {FORMAT}")
        return cls(
            run=str(fields["run"]),
            notebook=str(fields["notebook"]),
            notebook_digest=str(fields["notebook_digest"]),
            git_commit=str(fields["git_commit"]),
            git_dirty=fields["git_dirty"] is True,
            parameters=_mapping(fields["parameters"]),
            data=_pairs(fields["data"]),
            environment=str(fields["environment"]),
            stages={stage: str(key) for stage, key in _mapping(fields["stages"]).items()},
            **(_traced(fields) if found > 1 else {}),  # type: ignore[arg-type]  # each of its own type
        )


def _traced(fields: Mapping[str, object]) -> dict[str, object]:
    """Return what format 2 has added."""
    steps = fields["steps"]
    if not isinstance(steps, list):
        raise ValueError("its lineage is not what mlnb writes")
    return {
        "notebook_source": str(fields["notebook_source"]),
        "git_diff": str(fields["git_diff"]),
        "modules": _pairs(fields["modules"]),
        "steps": tuple(Step.from_json(_mapping(step)) for step in steps),
        "model": str(fields["model"]),
        "sample": str(fields["sample"]),
        "place": {name: str(said) for name, said in _mapping(fields["place"]).items()},
        "started_at": str(fields["started_at"]),
    }


def _listed(pairs: Pairs) -> list[list[str]]:
    return [list(pair) for pair in pairs]


def _pairs(value: object) -> Pairs:
    if not isinstance(value, list):
        raise ValueError("its lineage is not what mlnb writes")
    return tuple((str(first), str(second)) for first, second in value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("its lineage is not what mlnb writes")
    return tuple(str(one) for one in value)


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("its lineage is not what mlnb writes")
    return value
