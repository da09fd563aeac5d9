"""What is known at one point of a cell's flow (`State`), and what was seen of a whole cell (`CellRecord`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from mlnb.notebook.scopes import Body


@dataclass(slots=True)
class State:
    """What is bound at one point of the flow: for certain, or perhaps.

    `alive` is false behind ``raise``, ``return``, ``break`` and ``continue``.
    """

    surely: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    alive: bool = True

    def copy(self) -> State:
        """Return a state that can go another way."""
        return State(set(self.surely), set(self.perhaps), self.alive)

    def bind(self, name: str) -> None:
        """Bind for certain."""
        self.surely.add(name)
        self.perhaps.add(name)

    def unbind(self, name: str) -> None:
        """Unbind for certain."""
        self.surely.discard(name)
        self.perhaps.discard(name)

    @classmethod
    def join(cls, states: Iterable[State]) -> Self:
        """Return what holds where several branches meet; dead branches do not count unless all are."""
        every = list(states)
        living = [state for state in every if state.alive] or every
        return cls(
            set.intersection(*(state.surely for state in living)),
            set.union(*(state.perhaps for state in living)),
            any(state.alive for state in every),
        )


@dataclass(frozen=True, slots=True)
class Read:
    """A name that is needed from elsewhere: at which line, and whether for certain."""

    line: int
    certain: bool


@dataclass(slots=True)
class CellRecord:
    """What was seen of one cell; dicts serve as ordered sets. `waiting` are reads through functions not yet called."""

    reads: dict[str, Read] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)
    bound: dict[str, None] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Body] = field(default_factory=dict)
    stars: list[int] = field(default_factory=list)
    at_end: frozenset[str] = frozenset()

    def need(self, name: str, line: int, *, certain: bool) -> None:
        """Note that a name is needed from elsewhere; once for certain, always for certain."""
        before = self.reads.get(name)
        if before is None or (certain and not before.certain):
            self.reads[name] = Read(before.line if before and before.line else line, certain)

    def bind(self, name: str) -> None:
        """Note a new binding, which undoes an import or a definition of that name."""
        self.bound[name] = None
        self.imports.pop(name, None)
        self.functions.pop(name, None)
