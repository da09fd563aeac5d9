"""Something that makes a result look better or firmer than it is becomes a `Finding`."""

from __future__ import annotations

from dataclasses import dataclass


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


def rows(count: int) -> str:
    """Return ``1 row`` or ``1,234 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"
