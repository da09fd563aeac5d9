"""The names of all stages become `Givers`: who binds or changes which name, in which cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlnb.notebook.names import Names
from mlnb.pipeline.graph import Input
from mlnb.pipeline.outline import Draft


@dataclass(frozen=True, slots=True)
class Write:
    """A cell of a stage that leaves a name behind, bound anew or changed in place.

    Attributes
    ----------
    text : str
        The import statement, where that is what binds the name.
    """

    name: str
    stage: str
    cell: int
    text: str = ""


@dataclass(slots=True)
class Node:
    """A stage, or the tests of one, while its names are being resolved; dicts serve as ordered sets."""

    draft: Draft
    names: tuple[Names, ...]
    inputs: dict[str, Input] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    imports: dict[str, str] = field(default_factory=dict)
    upstream: dict[str, str] = field(default_factory=dict)
    """Giver, and why: the first name that is taken from it, ``""`` for an order that a mark asks for."""

    @property
    def name(self) -> str:
        """The draft's name."""
        return self.draft.name

    @property
    def first_cell(self) -> int:
        """Number of its first cell."""
        return self.draft.cells[0].number

    @property
    def last_cell(self) -> int:
        """Number of its last cell."""
        return self.draft.cells[-1].number

    @property
    def declared(self) -> tuple[str, ...]:
        """What ``--outputs`` says, () where the outputs are inferred."""
        return self.draft.options.get("outputs", ())


class Givers:
    """Who gives a name, in notebook order.

    Parameters
    ----------
    nodes : iterable of Node
        Tests among them are ignored: they give nothing.
    fixed : collection of str
        Names that are not given by changing them in place, such as modules.
    """

    def __init__(self, nodes: Iterable[Node], fixed: frozenset[str]) -> None:
        self._writes: dict[str, list[Write]] = {}
        self.hidden: dict[str, Write] = {}
        stages = [node for node in nodes if not node.draft.tested]
        for node in stages:
            for cell, names in zip(node.draft.cells, node.names, strict=True):
                for name in names.deletes:
                    self._writes[name] = self.all(name, but=node.name)
                for name in names.outputs:
                    self._add(node, Write(name, node.name, cell.number, names.imports.get(name, "")))
        self._writes = {name: writes for name, writes in self._writes.items() if writes}
        modules = {name for name, writes in self._writes.items() if all(write.text for write in writes)}
        for node in stages:
            for cell, names in zip(node.draft.cells, node.names, strict=True):
                for name in names.mutates:
                    if name not in fixed and name not in modules:
                        self._add(node, Write(name, node.name, cell.number))
        for writes in self._writes.values():
            writes.sort(key=lambda write: write.cell)

    def _add(self, node: Node, write: Write) -> None:
        if node.declared and write.name not in node.declared and not write.text:
            self.hidden[write.name] = write
        else:
            self._writes.setdefault(write.name, []).append(write)

    @property
    def names(self) -> Mapping[str, Sequence[Write]]:
        """Every name that a stage gives, with its writes in notebook order."""
        return self._writes

    def all(self, name: str, *, but: str = "") -> list[Write]:
        """Return the writes of a name in notebook order, those of the stage `but` left out."""
        return [write for write in self._writes.get(name, ()) if write.stage != but]

    def by(self, stage: str) -> tuple[str, ...]:
        """Return the names that a stage gives, in order of binding."""
        found = [
            (write.cell, name) for name, writes in self._writes.items() for write in writes if write.stage == stage
        ]
        cells = dict.fromkeys(name for _, name in sorted(found, key=lambda pair: pair[0]))
        return tuple(cells)
