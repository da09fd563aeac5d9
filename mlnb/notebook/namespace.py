"""Reads, bindings and changes, told in the order in which they would happen, become the records of a stage's cells."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping

from mlnb.notebook.aliasing import closed
from mlnb.notebook.scopes import Body, changed_arguments, handed, reached
from mlnb.notebook.state import CellRecord, State

_PYTHON = ("__name__", "__doc__", "__builtins__", "__spec__", "__annotations__")
_IPYTHON = ("get_ipython", "display", "exit", "quit", "In", "Out", "_", "__", "___", "_dh", "_oh", "_ih")
ALWAYS_THERE = frozenset({*dir(builtins), *_PYTHON, *_IPYTHON})
"""Names that a kernel has before any cell ran."""

_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))


class Namespace:
    """The one namespace in which the cells of a stage run, while they are walked.

    Parameters
    ----------
    known : mapping of str to Body
        Functions and classes that exist beforehand.

    Attributes
    ----------
    state : State
        What is known at this point of the flow.
    record : CellRecord
        What was seen of the cell that is being walked.
    hidden : frozenset of str
        Names of an inner scope (a comprehension's), which hide those of the namespace.
    inner : mapping of str to frozenset of str
        What changing one of the hidden names changes.
    beyond : list of str
        Names of the namespace that were bound from an inner scope: through ``globals()``, or by a function.
    lazily : bool
        Whether what is walked runs later, if at all: the inside of a generator.
    tolerant : bool
        Whether a name that is read here need not exist, because its absence is caught.
    """

    def __init__(self, known: Mapping[str, Body]) -> None:
        self.state = State(functions=dict(known))
        self.record = CellRecord()
        self.hidden: frozenset[str] = frozenset()
        self.inner: Mapping[str, frozenset[str]] = {}
        self.beyond: list[str] = []
        self.lazily = False
        self.tolerant = False
        self._records: list[CellRecord] = []
        self._used: set[str] = set()

    @property
    def functions(self) -> dict[str, Body]:
        """Functions and classes at this point."""
        return self.state.functions

    def begin_cell(self) -> None:
        """Begin the record of one more cell."""
        self.record = CellRecord()
        self.state.alive = True
        self._records.append(self.record)

    def end_cell(self) -> CellRecord:
        """End the cell and return what was seen; reads that wait for a call are settled by `settle`."""
        self.record.at_end = frozenset(self.state.perhaps)
        return self.record

    def settle(self, called: str = "") -> None:
        """Settle the reads of functions: those that somebody calls at the end, those passed on, and the unused."""
        for record in self._records:
            self.record = record
            for name, body in list(record.functions.items()):
                if called and name.startswith(called):
                    self._used.add(name)
                    self.call(body, 0)
        for record in self._records:
            for name, line in record.waiting.items():
                record.need(name, line, certain=name not in self.state.perhaps)
            for name, body in record.functions.items():
                for free in self._reach(body) if name not in self._used else ():
                    if free in _BUILTINS - self.state.surely:
                        record.shadows.setdefault(free, 0)
                    elif free not in self.state.surely and free not in ALWAYS_THERE:
                        record.need(free, 0, certain=False)

    def read(self, name: str, line: int, *, called: bool = False) -> None:
        """Read a name; unless it is `called`, a function's own reads wait until it is known what becomes of it."""
        if name in self.hidden:
            return
        body = self.functions.get(name)
        if body is not None:
            self._used.add(name)
            if not called:
                self.wait_for(body, line)
        if name in self.state.surely:
            if name not in self.record.bound:
                self.record.carried.setdefault(name, line)
        elif name in _BUILTINS:
            self.record.shadows.setdefault(name, line)
        elif name in ALWAYS_THERE:
            return
        elif self.lazily:
            self.record.waiting.setdefault(name, line)
        else:
            self.record.need(name, line, certain=name not in self.state.perhaps and not self.tolerant)

    def read_if_there(self, name: str, line: int) -> None:
        """Read a name that need not exist, as ``!echo {name}`` does."""
        before, self.tolerant = self.tolerant, True
        self.read(name, line)
        self.tolerant = before

    def wait_for(self, body: Body, line: int) -> None:
        """Note what a function will read, bind and change when somebody calls it, who knows when."""
        for free in self._reach(body):
            if free in _BUILTINS - self.state.surely - self.hidden:
                self.record.shadows.setdefault(free, line)
            elif free not in self.state.surely | ALWAYS_THERE | self.hidden:
                self.record.waiting.setdefault(free, line)
        for each in reached(body, self.functions):
            for name in each.binds:
                self.bind_perhaps(name)
            self._link_globals(each)
            self.change(*each.changes)

    def bind(self, name: str) -> None:
        """Bind a name anew."""
        self.state.bind(name)
        self.record.bind(name)

    def bind_perhaps(self, name: str) -> None:
        """Bind a name on some way only."""
        self.state.perhaps.add(name)
        self.record.bound[name] = None

    def link(self, name: str, others: frozenset[str], items: frozenset[str] = frozenset()) -> None:
        """Note what changing a name, or the items of what it holds, changes as well; found before it was bound."""
        self.state.aliases[name] = others - {name}
        self.state.holds[name] = items - {name}

    def _link_globals(self, body: Body) -> None:
        """Note what the globals that a function binds may hold."""
        for name, others in body.links:
            self.state.aliases[name] = self.state.aliases.get(name, frozenset()) | self.behind(others) - {name}

    def define(self, name: str, body: Body) -> None:
        """Bind a name to a function or class."""
        self.bind(name)
        self.functions[name] = body
        earlier = self.record.functions.get(name)
        self.record.functions[name] = body if earlier is None else earlier.either(body)

    def import_as(self, name: str, statement: str) -> None:
        """Bind a name by an import statement."""
        self.bind(name)
        self.record.imports[name] = statement

    def delete(self, name: str, line: int) -> None:
        """Delete a name, which must have been there."""
        self.read(name, line)
        self.bind(name)
        self.state.unbind(name)
        self.record.deleted[name] = None

    def change(self, *names: str) -> None:
        """Change in place what names hold, and so what their aliases hold."""
        for name in self.behind(names):
            if name not in self.record.bound or name not in self.state.surely:
                self.record.changed[name] = None

    def behind(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names of the namespace that are changed with what `names` hold here."""
        seen = [self.inner.get(name, frozenset()) if name in self.hidden else {name} for name in names]
        return closed((name for group in seen for name in group), self.state.aliases)

    def items_behind(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names of the namespace that are changed with the items of what `names` hold here."""
        every = self.behind(names)
        held = (name for each in every for name in self.state.holds.get(each, ()))
        return every | closed(held, self.state.aliases)

    def call(self, body: Body, line: int, call: ast.Call | None = None) -> None:
        """Run a function: it reads its free names now, binds its globals, and changes what it is known to change."""
        for free in self._reach(body):
            self.read(free, line, called=True)
        for each in reached(body, self.functions):
            self.beyond.extend(each.binds)
            for name in each.binds:
                if each is body and name in body.surely:
                    self.bind(name)
                else:
                    self.bind_perhaps(name)
            self._link_globals(each)
            self.change(*each.changes)
        if call is not None:
            changed = changed_arguments(body, self.functions)
            for argument, names in body.given(handed(call)):
                if argument in changed:
                    self.change(*names)

    def adopt(self, inner: CellRecord) -> None:
        """Take over what a class body needs from outside and changes there; what it binds stays inside."""
        for name, read in inner.reads.items():
            self.record.need(name, read.line, certain=read.certain)
        self.record.carried = {**inner.carried, **self.record.carried}
        self.record.waiting = {**inner.waiting, **self.record.waiting}
        self.record.changed = {**self.record.changed, **inner.changed}
        self.record.shadows = {**inner.shadows, **self.record.shadows}
        self.record.dynamic.update(inner.dynamic)

    def _reach(self, body: Body) -> tuple[str, ...]:
        """Return the names that running `body` reads, through the functions that it calls in turn."""
        found = dict.fromkeys(name for each in reached(body, self.functions) for name in each.reads)
        self._used.update(name for name in found if name in self.functions)
        return tuple(found)
