"""What the engine asks of a kernel becomes a `Spec`, and the kernel's answer a `Result`: two JSON files, format 1."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mlnb.run.record import CaseRecord
from mlnb.store.artifact import Artifact
from mlnb.store.manifest import Fields

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CaseCell:
    """A cell of a test: its number, the notebook's line that its rendered text begins with, its test functions."""

    cell: int
    first_line: int
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """What the engine tells the kernel.

    Attributes
    ----------
    artifacts : str
        Folder of the file store.
    stage, key : str
        The stage and its cache key.
    inputs : tuple of Artifact
        What to take.
    takers : Mapping[str, tuple of str]
        For each variable to give, who takes it.
    tests : tuple of CaseCell
        The cells of a test node.
    result : str
        Where to answer.
    verify : bool
        Whether all bytes of the inputs are read before they are trusted.
    observe : bool
        Whether estimators are observed (`mlnb.run.honesty_kernel`).
    slices : tuple of str
        Columns by which its evaluations are sliced unless they say otherwise.
    """

    artifacts: str
    stage: str
    key: str
    inputs: tuple[Artifact, ...]
    takers: Mapping[str, tuple[str, ...]]
    tests: tuple[CaseCell, ...]
    result: str
    verify: bool = False
    observe: bool = False
    slices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object of format 1."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, fields: Fields) -> Spec:
        """Read it from a JSON object."""
        takers = fields.one("takers")
        return cls(
            artifacts=fields.text("artifacts"),
            stage=fields.text("stage"),
            key=fields.text("key"),
            inputs=tuple(Artifact.from_json(one) for one in fields.many("inputs")),
            takers={name: takers.texts(name) for name in takers.mapping},
            tests=tuple(
                CaseCell(one.integer("cell"), one.integer("first_line"), one.texts("functions"))
                for one in fields.many("tests")
            ),
            result=fields.text("result"),
            verify=fields.mapping.get("verify") is True,
            observe=fields.mapping.get("observe") is True,
            slices=fields.texts("slices") if "slices" in fields.mapping else (),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What the kernel answers.

    Attributes
    ----------
    problem, remedy : str
        Of the error that stopped a hand-over, else empty.
    cpu_s, peak_bytes : float, int
        What the kernel has used, see `StageRecord`; 0 where the system does not say.
    """

    artifacts: tuple[Artifact, ...] = ()
    cases: tuple[CaseRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    ename: str = ""
    problem: str = ""
    remedy: str = ""
    cpu_s: float = 0.0
    peak_bytes: int = 0

    def measured(self) -> Result:
        """Return it with what this process and its children have used until now."""
        if sys.platform == "win32":
            return self
        import resource

        own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
        unit = 1 if sys.platform == "darwin" else 1024
        return replace(self, cpu_s=round(cpu_s, 3), peak_bytes=own.ru_maxrss * unit)

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object of format 1."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, fields: Fields) -> Result:
        """Read it from a JSON object."""
        return cls(
            artifacts=tuple(Artifact.from_json(one) for one in fields.many("artifacts")),
            cases=tuple(CaseRecord.from_json(one) for one in fields.many("cases")),
            warnings=fields.texts("warnings"),
            ename=fields.text("ename"),
            problem=fields.text("problem"),
            remedy=fields.text("remedy"),
            cpu_s=fields.number("cpu_s") if "cpu_s" in fields.mapping else 0.0,
            peak_bytes=fields.integer("peak_bytes") if "peak_bytes" in fields.mapping else 0,
        )
