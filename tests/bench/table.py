"""Rows of figures become a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """What one bench found.

    Attributes
    ----------
    title : str
        What was measured, and how often.
    columns : sequence of str
        The first one names the contestants.
    rows : sequence of sequence of str
        As many cells as columns.
    notes : sequence of str
        What holds, and what to know before quoting.
    held : bool
        Whether every limit of this bench holds.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    held: bool = True

    def text(self, again: str) -> str:
        """Return the table, its notes, and the command that measures it again."""
        lines = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(cells[at]) for cells in lines) for at in range(len(self.columns))]
        drawn = ["  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]) for cells in lines]
        drawn.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(["", self.title, "", *drawn, "", *self.notes, f"Again: {again}"])


def ratio(value: float, ours: float) -> str:
    """Return how many times ours a value is."""
    return f"{value / ours:.2f}x" if ours else "-"
