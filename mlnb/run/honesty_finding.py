"""Something that makes a result look better or firmer than it is becomes a `Finding`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, where, and what to do.

    Attributes
    ----------
    check : str
        ``shared rows``, ``target among features``, ``fitted before the split``, ``chance`` or ``unseeded``.
    stage : str
        The stage, ``""`` for none.
    cell, line : int
        1-based place in the notebook; 0 where there is none.
    problem, remedy : str
        A sentence each.
    amount : float
        How much: a share of rows, the strength of an association, a relative change; 0 where nothing was measured.
    """

    check: str
    stage: str
    cell: int
    problem: str
    remedy: str
    amount: float = 0.0
    line: int = 0


class Place(Protocol):
    """What knows where in the notebook it is."""

    @property
    def stage(self) -> str:
        """Name the stage."""

    @property
    def cell(self) -> int:
        """Count the cell, from 1."""

    @property
    def line(self) -> int:
        """Count the line, from 1."""


def found_at(place: Place, check: str, problem: str, remedy: str, amount: float = 0.0) -> Finding:
    """Return what was found at a place."""
    return Finding(check, place.stage, place.cell, problem, remedy, amount, place.line)


def fitted_before_split(place: Place, problem: str, amount: float = 0.0) -> Finding:
    """Return that something was fitted at a place on rows that are parted later."""
    remedy = "Split first and fit it on the training rows only, best inside a Pipeline with the estimator."
    return found_at(place, "fitted before the split", problem, remedy, amount)


def rows(count: int) -> str:
    """Return ``1 row`` or ``1,234 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"
