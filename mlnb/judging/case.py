"""A version, the alias that it is to hold, and who asks become a `Case`: what a measure may look at.

A measure is a function of a number's name and a case that gives a `Finding`. The built-in ones are in
`mlnb.judging.measures`; others come in by the entry point group ``mlnb.gates``: the entry point's name is the number's
name, or what stands before its first dot. So with ``carbon = "our_gates:carbon"`` a gate may say ``carbon <= 5`` or
``carbon.training_kg <= 5``, and ``our_gates.carbon("carbon.training_kg", case)`` is asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlnb.errors import MlnbError
from mlnb.model.gains import Gains
from mlnb.registry.audit import Audit
from mlnb.registry.gates import Finding
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Bench:
    """Where judging looks things up.

    Attributes
    ----------
    registry, audit, state, settings
        The project's own.
    """

    registry: Registry
    audit: Audit
    state: StateFolder
    settings: Settings


_KEPT = 64
_known: dict[tuple[str, str, str], tuple[Gains, str]] = {}
"""What this process has measured: versions do not change, so neither does by how much one is better."""


class Case:
    """What is judged.

    Parameters
    ----------
    version : Version
        The candidate.
    alias : str
        The alias that it is to hold.
    by : str
        Who asks.
    champion : Version or None
        The version that holds the alias; None where none does, or the candidate itself.
    evidence : mapping of str to float
        What was measured of the candidate by its run and when its Bento was tried.
    bench : Bench
        Where to look things up.
    """

    def __init__(
        self,
        version: Version,
        alias: str,
        by: str,
        champion: Version | None,
        evidence: Mapping[str, float],
        bench: Bench,
    ) -> None:
        self.version = version
        self.alias = alias
        self.by = by
        self.champion = champion
        self.evidence = evidence
        self.bench = bench
        self._gains: tuple[Gains, str] | str | None = None

    @contextmanager
    def package(self) -> Iterator[Path]:
        """Lend the candidate's package as a folder; its bytes and its signature were checked."""
        with tempfile.TemporaryDirectory(prefix="mlnb-judge-") as folder:
            package = Path(folder) / "package"
            self.bench.registry.unpack(self.version, package)
            yield package

    def gains(self) -> tuple[Gains, str] | str:
        """Return by how much the candidate is better than the champion and on what, or why that is not known."""
        if self._gains is None:
            self._gains = self._measured()
        return self._gains

    def unopposed(self) -> str:
        """Say why there is no champion; empty where there is one."""
        if self.champion is not None:
            return ""
        holds = self.bench.registry.aliases(self.version.model).get(self.alias) == self.version.number
        return f"{self.version.ref} holds {self.alias} itself" if holds else f"nothing holds {self.alias} yet"

    def _measured(self) -> tuple[Gains, str] | str:
        from mlnb.batch.trust import load_trusted
        from mlnb.registry.champion import gains_over

        if self.champion is None:
            return self.unopposed()
        key = str(self.bench.state.root), self.version.ref, self.champion.ref
        if key in _known:
            return _known[key]
        try:
            found = gains_over(self.champion, self.version, self.bench.registry, self.bench.state, load_trusted)
        except MlnbError as error:
            return f"{error.problem.removesuffix('.')} ({error.remedy.removesuffix('.')})"
        while len(_known) >= _KEPT:
            _known.pop(next(iter(_known)), None)
        _known[key] = found
        return found


Measure: TypeAlias = Callable[[str, Case], Finding]
"""What a plug-in of ``mlnb.gates`` is."""
