"""A table of any size becomes pieces of bounded size, and what is wrong with one of their rows a `Fault`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

#: An array of Arrow, or the plain values of JSON lines.
Cells: TypeAlias = "pa.Array | list[Any]"
_CELLS = 400_000
_FEWEST, _MOST = 1_000, 20_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one row cannot be scored.

    Attributes
    ----------
    file : str
        As it was named.
    row : int
        In that file, counted from 0; the first behind the header of a CSV file.
    column : str
        Empty where the whole row is meant.
    reason : str
        The end of a sentence about the column or the row.
    """

    file: str
    row: int
    column: str
    reason: str

    def sentence(self) -> str:
        """Return it as people read it, without the full stop."""
        return f"row {self.row} of {self.file}: {self.about()}"

    def about(self) -> str:
        """Return what is wrong, without where."""
        return f"column {self.column!r} {self.reason}" if self.column else self.reason

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {"file": self.file, "row": self.row, "column": self.column, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a file, one behind the other.

    Attributes
    ----------
    file : str
        As it was named.
    row : int
        The first one's number in the file.
    count : int
        How many there are.
    columns : mapping of str to array or list, each of `count` values
        What was asked for and is there.
    text : bool
        Whether everything is still text, as in CSV.
    faults : tuple of Fault
        Rows that could not even be read; their values are missing.
    """

    file: str
    row: int
    count: int
    columns: Mapping[str, Cells]
    text: bool = False
    faults: tuple[Fault, ...] = ()


def rows_of_piece(width: int) -> int:
    """Return how many rows a piece has: enough to spread the cost of a call, few enough to stay in the cache."""
    return max(_FEWEST, min(_MOST, _CELLS // max(width, 1)))
