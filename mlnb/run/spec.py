"""What the engine asks of a kernel becomes a `Spec`, and the kernel's answer a `Result`: two JSON files, format 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

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
    """

    artifacts: str
    stage: str
    key: str
    inputs: tuple[Artifact, ...]
    takers: Mapping[str, tuple[str, ...]]
    tests: tuple[CaseCell, ...]
    result: str

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
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What the kernel answers; `problem` and `remedy` are of the error that stopped a hand-over, else empty."""

    artifacts: tuple[Artifact, ...] = ()
    cases: tuple[CaseRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    ename: str = ""
    problem: str = ""
    remedy: str = ""

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
        )
