"""A version and the alias that will point to it become what the callers of that alias must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlnb.registry.registry import Registry
from mlnb.registry.version import Version

if TYPE_CHECKING:
    from mlnb.model.compatibility import Change

#: What a gate may ask: ``--gate "incompatible_changes <= 0"``.
EVIDENCE = "incompatible_changes"


@dataclass(frozen=True, slots=True)
class Callers:
    """What changes for who calls an alias.

    Attributes
    ----------
    ref : str
        The version that they call now; empty where nothing answers yet, or the same version does.
    changes : tuple of Change
        As `mlnb.model.compatibility.changes` gives them.
    """

    ref: str
    changes: tuple[Change, ...]

    @property
    def broken(self) -> tuple[Change, ...]:
        """The incompatible ones."""
        return tuple(change for change in self.changes if not change.compatible)

    def sentence(self) -> str:
        """Say what callers must change; "" where nothing."""
        if not self.broken:
            return ""
        more = f" There are {len(self.broken) - 1} more such changes." if self.broken[1:] else ""
        return f"Callers of {self.ref} must change: {self.broken[0].sentence}{more}"


def callers_of(registry: Registry, version: Version, alias: str) -> Callers:
    """Return what the callers of an alias notice once it points to the version."""
    from mlnb.model.compatibility import changes
    from mlnb.model.signature import Signature

    number = registry.aliases(version.model).get(alias, version.number)
    if number == version.number:
        return Callers("", ())
    before = registry.get(f"{version.model}/{number}")
    if not before.signature or not version.signature:  # registered without a package of ours
        return Callers("", ())
    return Callers(before.ref, changes(Signature.from_json(before.signature), Signature.from_json(version.signature)))
