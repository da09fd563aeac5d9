"""A draft, what `ship` has made of a run, becomes a `Version`: numbered, immutable, with its lineage.

What was measured of it later, and what the gates found, are rows of the audit log. JSON values inside (signature,
parity, parameters) are kept as they were given, opaque to the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlnb.registry.canonical import digest_of, time_text
from mlnb.registry.gates import Verdict
from mlnb.registry.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to become a version.

    Attributes
    ----------
    model : str
        Name of the model.
    by : str
        Who registers it.
    exporter : str
        Name of the exporter that made the package.
    files : mapping of str to str
        The package: plain file names and digests of bytes that are in the store.
    metrics : mapping of str to float
        Numbers that the stages measured; may be NaN.
    lineage : Lineage
        Where it comes from.
    signature, parity : mapping
        JSON of the model's signature and of the export's parity.
    content : str
        What makes two drafts the same version. Give it where equal models have unequal bytes (skops, pickle); empty
        takes the digest of exporter, files, signature and metrics.
    """

    model: str
    by: str
    exporter: str
    files: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    signature: Mapping[str, object] = field(default_factory=dict)
    parity: Mapping[str, object] = field(default_factory=dict)
    content: str = ""

    def identity(self) -> str:
        """Return `content`, computed where it was not given. Run, time and commit do not count."""
        return self.content or digest_of(
            {
                "exporter": self.exporter,
                "files": self.files,
                "signature": self.signature,
                "metrics": {name: float(number) for name, number in self.metrics.items()},
            }
        )


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model: never changed, never renumbered.

    Attributes
    ----------
    number : int
        1 for the model's first version, without gaps.
    created_at : datetime.datetime
        Aware UTC.
    created_by : str
        Who registered it.
    content : str
        What makes two drafts the same version.
    tags : mapping of str to str
        What people have written on it since, by name; the only part that changes.
    seal, key : str
        The signature of everything else, and the id of the key that made it; empty for a version of mlnb 0.1.

    The other attributes are those of its `Draft`.
    """

    model: str
    number: int
    created_at: datetime
    created_by: str
    content: str
    exporter: str
    files: Mapping[str, str]
    metrics: Mapping[str, float]
    lineage: Lineage
    signature: Mapping[str, object]
    parity: Mapping[str, object]
    tags: Mapping[str, str] = field(default_factory=dict)
    seal: str = ""
    key: str = ""

    @property
    def ref(self) -> str:
        """Return how people write it: ``delays/7``."""
        return f"{self.model}/{self.number}"

    def to_json(self) -> dict[str, object]:
        """Return a mapping for ``--json``; metrics may hold NaN, which `canonical` can spell."""
        return {
            "ref": self.ref,
            "model": self.model,
            "number": self.number,
            "created_at": time_text(self.created_at),
            "created_by": self.created_by,
            "content": self.content,
            "exporter": self.exporter,
            "files": dict(self.files),
            "metrics": dict(self.metrics),
            "lineage": self.lineage.to_json(),
            "signature": dict(self.signature),
            "parity": dict(self.parity),
            "tags": dict(self.tags),
            "key": self.key,
        }


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word that a version may hold an alias.

    Attributes
    ----------
    model, number, alias
        What was approved.
    by, reason : str
        Who, and why.
    at : datetime.datetime
        Aware UTC.
    """

    model: str
    number: int
    alias: str
    by: str
    at: datetime
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "version": f"{self.model}/{self.number}",
            "alias": self.alias,
            "by": self.by,
            "at": time_text(self.at),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of an alias: who moved it when, from where to where, why, and on what evidence.

    Attributes
    ----------
    model, alias : str
        What moved.
    kind : str
        ``"promote"`` or ``"rollback"``.
    from_number, to_number : int
        The version before, 0 for none, and after.
    at : datetime.datetime
        Aware UTC.
    by, reason : str
        Who, and why; the reason may be empty unless the gates were overridden.
    verdicts : tuple of Verdict
        What the gates found.
    forced : bool
        Whether it was asked to go ahead whatever the gates say.
    changed : bool
        False where nothing moved, because the alias was there already; the rest then tells of the move that had put it
        there.
    """

    model: str
    alias: str
    kind: str
    from_number: int
    to_number: int
    at: datetime
    by: str
    reason: str
    verdicts: tuple[Verdict, ...]
    forced: bool
    changed: bool = True

    @property
    def from_ref(self) -> str:
        """Return the version before as ``delays/6``, empty for none."""
        return f"{self.model}/{self.from_number}" if self.from_number else ""

    @property
    def to_ref(self) -> str:
        """Return the version after as ``delays/7``."""
        return f"{self.model}/{self.to_number}"

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.model,
            "alias": self.alias,
            "kind": self.kind,
            "from": self.from_ref,
            "to": self.to_ref,
            "at": time_text(self.at),
            "by": self.by,
            "reason": self.reason,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "forced": self.forced,
            "changed": self.changed,
        }
