"""What a kernel has executed, in order, becomes what is stale by now, what ran out of order, and what the file lacks.

Each execution has a *version*: its code and the versions of the executions that gave it the names it reads. A cell is
stale when a name that it read would come in another version now, or from a cell that is stale itself. So running an
unchanged cell again makes nothing stale, and changing one makes stale all that follows from it.

Names are read from the code (`mlnb.notebook.names`), functions' own names included; nothing is executed, and a cell
that cannot be parsed gives and takes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mlnb.errors import MlnbError
from mlnb.notebook.document import Cell, Document
from mlnb.notebook.names import analyse_cells, definitions
from mlnb.notebook.scopes import Body
from mlnb.pipeline.setup import tree_of


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a cell.

    Attributes
    ----------
    key : str
        What stands for the cell: its id, or its text where the front end tells none.
    source : str
        Its text then.
    count : int
        The number in its prompt.
    node : str
        Its stage or ``test-`` of one; ``""`` for none.
    version : str
        Digest of its code and of what it read.
    reads : mapping of str to str
        For each name it read, the key of the cell that gave it.
    gives : tuple of str
        Names that it bound or changed.
    """

    key: str
    source: str
    count: int
    node: str
    version: str
    reads: Mapping[str, str]
    versions: Mapping[str, str] = field(repr=False)
    gives: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How a person recognises the cell: its prompt and its first line."""
        first = next((line for line in self.source.splitlines() if line.strip()), "")
        return f"[{self.count}] {first[:60]}"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something about an executed cell that a clean run will not share; `problem` is one sentence."""

    cell: str
    problem: str


class Trail:
    """The executions of a kernel, cell by cell: of each, the newest."""

    def __init__(self) -> None:
        self.cells: dict[str, Execution] = {}
        self._givers: dict[str, str] = {}
        self._known: dict[str, Body] = {}

    def add(self, key: str, source: str, count: int, node: str = "") -> tuple[str, ...]:
        """Note an execution that has ended, and return the stages that it has made stale."""
        before = self._stale_nodes()
        tree = _tree(source)
        names = analyse_cells([tree], self._known)[0]
        reads = {name: self._givers[name] for name in (*names.inputs, *names.optional) if name in self._givers}
        mine = self.cells.get(key)
        versions = {}
        for name, giver in reads.items():
            own = giver == key and mine is not None and name not in names.outputs
            versions[name] = mine.versions.get(name, "") if own and mine else self.cells[giver].version
        version = _digest([ast.dump(tree), *(f"{name} {versions[name]}" for name in sorted(versions))])
        gives = tuple(dict.fromkeys([*names.outputs, *names.mutates]))
        self.cells.pop(key, None)  # so that the newest comes last
        self.cells[key] = Execution(key, source, count, node, version, reads, versions, gives)
        self._givers.update(dict.fromkeys(gives, key))
        self._known.update(definitions([tree]))
        return tuple(name for name in self._stale_nodes() if name not in before and name != node)

    def stale(self) -> dict[str, str]:
        """Return, for the key of each cell that is stale, the name by which it is."""
        found: dict[str, str] = {}
        for key, cell in self.cells.items():
            for name, giver in cell.reads.items():
                if giver != key and giver in self.cells and self.cells[giver].version != cell.versions[name]:
                    found[key] = name
        grown = True
        while grown:
            grown = False
            for key, cell in self.cells.items():
                by = next((name for name, giver in cell.reads.items() if giver != key and giver in found), "")
                if by and key not in found:
                    found[key], grown = by, True
        return found

    def doubts(self, document: Document) -> Iterator[Doubt]:
        """Yield what a clean run of the saved notebook will not share with this kernel."""
        places = {cell.id: cell for cell in document.cells} | {cell.source.strip(): cell for cell in document.cells}
        at = {key: places.get(key) or places.get(cell.source.strip()) for key, cell in self.cells.items()}
        stale = self.stale()
        for key, cell in self.cells.items():
            place = at[key]
            if place is None:
                gave = f"; it gave {', '.join(cell.gives)}" if cell.gives else ""
                yield Doubt(cell.title, f"{cell.title} was executed and is no longer in the file{gave}.")
            elif _changed(cell, place):
                yield Doubt(
                    cell.title,
                    f"Cell {place.number} is not what ran as [{cell.count}]: it was edited since, or is not saved.",
                )
            if key in stale:
                giver = self.cells[cell.reads[stale[key]]]
                yield Doubt(
                    cell.title, f"{_named(cell, place)} is stale: it used `{stale[key]}` from before [{giver.count}]."
                )
            if place is not None:
                yield from self._out_of_order(cell, place, at)

    def _out_of_order(self, cell: Execution, place: Cell, at: Mapping[str, Cell | None]) -> Iterator[Doubt]:
        for name, giver in cell.reads.items():
            other = at.get(giver)
            if other is not None and other.number > place.number:
                yield Doubt(
                    cell.title,
                    f"{_named(cell, place)} used `{name}` from cell {other.number}, which stands below it in the file.",
                )

    def _stale_nodes(self) -> list[str]:
        stale = self.stale()
        return list(dict.fromkeys(cell.node for key, cell in self.cells.items() if key in stale and cell.node))


def _named(cell: Execution, place: Cell | None) -> str:
    number = f"Cell {place.number}" if place else cell.title
    return f"{number} ({cell.node})" if cell.node else number


def _changed(cell: Execution, place: Cell) -> bool:
    return cell.source.strip() != place.source.strip() and ast.dump(_tree(cell.source)) != ast.dump(_tree(place.source))


def _tree(source: str) -> ast.Module:
    """Return the tree of a cell without its mark, an empty one where it cannot be parsed."""
    try:
        return tree_of(Cell(number=0, id="", kind="code", source=source))
    except (SyntaxError, ValueError, MlnbError):
        return ast.Module([], [])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
