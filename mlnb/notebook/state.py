"""What is known at one point of a cell's flow (`State`), and what was seen of a whole cell (`CellRecord`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mlnb.notebook.scopes import Body


@dataclass(slots=True)
class State:
    """What is known at one point of the flow.

    Attributes
    ----------
    surely, perhaps : set of str
        Names that are bound for certain, and those that any way to here binds.
    functions : dict of str to Body
        What running the functions and classes does that names may hold here.
    aliases : dict of str to frozenset of str
        Names whose values, or parts of them, a name may hold: changing the one changes the others.
    holds : dict of str to frozenset of str
        Names whose values are items of the collection that a name holds.
    alive : bool
        False behind ``raise``, ``return``, ``break`` and ``continue``.
    """

    surely: set[str] = field(default_factory=set)
    perhaps: set[str] = field(default_factory=set)
    functions: dict[str, Body] = field(default_factory=dict)
    aliases: dict[str, frozenset[str]] = field(default_factory=dict)
    holds: dict[str, frozenset[str]] = field(default_factory=dict)
    alive: bool = True

    def copy(self) -> State:
        """Return a state that can go another way."""
        known = dict(self.functions), dict(self.aliases), dict(self.holds)
        return State(set(self.surely), set(self.perhaps), *known, self.alive)

    def bind(self, name: str) -> None:
        """Bind for certain, to something that nothing is known of."""
        self.surely.add(name)
        self.perhaps.add(name)
        self.functions.pop(name, None)
        for names in (self.aliases, self.holds):
            names.pop(name, None)
            for other in [other for other, held in names.items() if name in held]:
                names[other] -= {name}

    def unbind(self, name: str) -> None:
        """Unbind for certain."""
        self.surely.discard(name)
        self.perhaps.discard(name)

    def maybe(self, other: State) -> None:
        """Take over what another way, which need not have been gone, may have bound."""
        self.perhaps |= other.perhaps
        for name, body in other.functions.items():
            known = self.functions.get(name)
            self.functions[name] = body if known is None or known is body else known.either(body)
        for mine, others in ((self.aliases, other.aliases), (self.holds, other.holds)):
            for name, names in others.items():
                mine[name] = mine.get(name, frozenset()) | names

    @classmethod
    def join(cls, states: Iterable[State]) -> State:
        """Return what holds where several branches meet; dead branches do not count unless all are."""
        every = list(states)
        living = [state for state in every if state.alive] or every
        joined = living[0].copy()
        for state in living[1:]:
            joined.maybe(state)
            joined.surely &= state.surely
        joined.alive = any(state.alive for state in every)
        return joined


@dataclass(frozen=True, slots=True)
class Read:
    """A name that is needed from elsewhere: at which line, and whether for certain."""

    line: int
    certain: bool


@dataclass(slots=True)
class CellRecord:
    """What was seen of one cell; dicts serve as ordered sets.

    `waiting` are reads through functions not yet called, `shadows` of builtins that somebody may bind, `dynamic` lines
    that run code which only exists then.
    """

    reads: dict[str, Read] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)
    bound: dict[str, None] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Body] = field(default_factory=dict)
    stars: list[int] = field(default_factory=list)
    shadows: dict[str, int] = field(default_factory=dict)
    dynamic: dict[int, str] = field(default_factory=dict)
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
