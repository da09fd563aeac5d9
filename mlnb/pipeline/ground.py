"""Setup and parameters cells become the `Ground` that every stage stands on: names that are there before it begins."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from mlnb.errors import PlanError
from mlnb.notebook.document import Cell
from mlnb.notebook.names import Names, analyse_cells, definitions
from mlnb.notebook.namespace import ALWAYS_THERE
from mlnb.notebook.scopes import Body
from mlnb.pipeline.graph import Parameter
from mlnb.pipeline.setup import Piece, needed, pieces, tree_of


def prologue(parameters: Sequence[Cell], setup: Sequence[Cell]) -> tuple[Cell, ...]:
    """Return the order in which setup and parameters cells run before a stage.

    Parameters come after the setup above them (their annotations may need its imports) and before the setup below them
    (which may use them). Papermill puts a run's values behind the last parameters cell.
    """
    if not parameters:
        return tuple(setup)
    first = parameters[0].number
    above = tuple(cell for cell in setup if cell.number < first)
    below = tuple(cell for cell in setup if cell.number >= first)
    return (*above, *parameters, *below)


class Ground:
    """What setup and parameters give to every stage.

    Attributes
    ----------
    parameters : mapping of str to Parameter
        By name.
    cells : tuple of Cell
        Setup and parameters cells in running order.
    known : mapping of str to Body
        Functions and classes that setup defines.
    fixed : frozenset of str
        Names of modules, functions and classes: changing them in place does not make a stage their giver.
    """

    def __init__(self, parameters: Sequence[Parameter], cells: tuple[Cell, ...]) -> None:
        self.parameters: Mapping[str, Parameter] = {parameter.name: parameter for parameter in parameters}
        self.cells = cells
        trees = [tree_of(cell) for cell in cells]
        self.names: tuple[Names, ...] = analyse_cells(trees)
        self.known: Mapping[str, Body] = definitions(trees)
        self.fixed = frozenset(self.known) | {name for names in self.names for name in names.imports}
        self._bound: dict[str, list[int]] = {}
        for cell, names in zip(cells, self.names, strict=True):
            for name in names.outputs:
                self._bound.setdefault(name, []).append(cell.number)
        self._refuse_rebound_parameters()

    @property
    def bound(self) -> frozenset[str]:
        """Names that setup or parameters bind."""
        return frozenset(self._bound)

    def last_before(self, name: str, cell: int) -> int:
        """Return the number of the last cell above `cell` that binds `name`; 0 if only cells below do."""
        return max((number for number in self._bound.get(name, ()) if number < cell), default=0)

    def pieces_for(self, names: Iterable[str]) -> tuple[Piece, ...]:
        """Return the pieces of setup that a stage using `names` depends on."""
        return needed(pieces(self.cells), names)

    def pieces_for_hooks(self, names: Iterable[str]) -> tuple[Piece, ...]:
        """Return the pieces of setup that a service's code depends on: effects such as seeds stay behind."""
        return needed(pieces(self.cells), names, effects=False)

    def parameters_behind(self, names: Iterable[str]) -> frozenset[str]:
        """Return the parameters that the setup behind `names` reads."""
        used = {name for piece in self.pieces_for(names) for name in piece.uses - set(piece.binds)}
        return frozenset(used & self.parameters.keys())

    def missing(self) -> Iterable[tuple[Cell, str, int]]:
        """Yield the cell, name and line of everything that setup itself reads and does not have."""
        for cell, names in zip(self.cells, self.names, strict=True):
            for name in names.inputs:
                yield cell, name, names.lines.get(name, 0)

    def refuse_two_definitions(self, name: str, stage: str, title: str, cell: int) -> None:
        """Refuse a name that setup defines above a stage and differently below: a run would use the lower one."""
        found = [piece for piece in pieces(self.cells) if name in piece.binds]
        above = [piece for piece in found if piece.cell < cell]
        below = [piece for piece in found if piece.cell > cell]
        if above and below and ast.dump(above[-1].node) != ast.dump(below[-1].node):
            raise PlanError(
                f"{title} uses `{name}`, which the setup cells {above[-1].cell} and {below[-1].cell} define "
                "differently.",
                f"Keep one definition: tag cell {below[-1].cell} `skip`, or rename `{name}` in it.",
                cell=below[-1].cell,
                stage=stage,
                name=name,
            )

    def _refuse_rebound_parameters(self) -> None:
        declaring = {parameter.cell for parameter in self.parameters.values()}
        for cell, names in zip(self.cells, self.names, strict=True):
            for name in names.outputs if cell.number not in declaring else ():
                if name in self.parameters:
                    raise PlanError(
                        f"Cell {cell.number} is setup and binds the parameter `{name}` of cell "
                        f"{self.parameters[name].cell} again, so `-p {name}=...` would have no effect.",
                        f"Rename `{name}` in cell {cell.number}, or tag that cell `skip`.",
                        cell=cell.number,
                        name=name,
                    )


def is_there(name: str, ground: Ground) -> bool:
    """Say whether a stage has `name` without any other stage."""
    return name in ground.bound or name in ground.parameters or name in ALWAYS_THERE
