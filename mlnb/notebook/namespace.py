"""Reads, bindings and changes, told in the order in which they would happen, become the records of a stage's cells."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping

from mlnb.notebook.mutation import root
from mlnb.notebook.scopes import Body
from mlnb.notebook.state import CellRecord, State

_PYTHON = ("__name__", "__doc__", "__builtins__", "__spec__", "__annotations__")
_IPYTHON = ("get_ipython", "display", "exit", "quit", "In", "Out", "_", "__", "___", "_dh", "_oh", "_ih")
ALWAYS_THERE = frozenset({*dir(builtins), *_PYTHON, *_IPYTHON})
"""Names that a kernel has before any cell ran."""


class Namespace:
    """The one namespace in which the cells of a stage run, while they are walked.

    Parameters
    ----------
    known : mapping of str to Body
        Functions and classes that exist beforehand.

    Attributes
    ----------
    state : State
        What is bound at this point of the flow.
    record : CellRecord
        What was seen of the cell that is being walked.
    hidden : frozenset of str
        Names of an inner scope (a comprehension's), which hide those of the namespace.
    functions : dict of str to Body
        Functions and classes at this point.
    """

    def __init__(self, known: Mapping[str, Body]) -> None:
        self.functions: dict[str, Body] = dict(known)
        self.state = State()
        self.record = CellRecord()
        self.hidden: frozenset[str] = frozenset()
        self._records: list[CellRecord] = []
        self._used: set[str] = set()
        self._aliases: dict[str, str] = {}

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
                    if free not in self.state.surely and free not in ALWAYS_THERE:
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
        elif name not in ALWAYS_THERE:
            self.record.need(name, line, certain=name not in self.state.perhaps)

    def read_if_there(self, name: str, line: int) -> None:
        """Read a name that need not exist, as ``!echo {name}`` does."""
        if name not in self.state.surely and name not in ALWAYS_THERE:
            self.record.need(name, line, certain=False)

    def wait_for(self, body: Body, line: int) -> None:
        """Note what a function will read when somebody calls it, who knows when."""
        for free in self._reach(body):
            if free not in self.state.surely | ALWAYS_THERE | self.hidden:
                self.record.waiting.setdefault(free, line)

    def bind(self, name: str) -> None:
        """Bind a name anew."""
        self.state.bind(name)
        self.functions.pop(name, None)
        self.record.bind(name)
        self._aliases = {a: b for a, b in self._aliases.items() if name not in (a, b)}

    def bind_alias(self, name: str, other: str, line: int) -> None:
        """Bind a name to what another one holds: changing the one changes the other."""
        body = self.functions.get(other)
        self.read(other, line, called=body is not None)
        self.bind(name)
        self._aliases[name] = other
        if body is not None:
            self.functions[name] = self.record.functions[name] = body

    def define(self, name: str, body: Body) -> None:
        """Bind a name to a function or class."""
        self.bind(name)
        self.functions[name] = self.record.functions[name] = body

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

    def change(self, name: str) -> None:
        """Change in place what a name holds, and so what its alias holds."""
        while name and name not in self.hidden:
            if name not in self.record.bound:
                self.record.changed[name] = None
            name = self._aliases.get(name, "")

    def call(self, body: Body, line: int, call: ast.Call | None = None) -> None:
        """Run a function: it reads its free names now, binds its globals, and changes what it is known to change."""
        for free in self._reach(body):
            self.read(free, line, called=True)
        for name in body.binds:
            self.bind(name)
        for name in body.changes:
            self.change(name)
        if call is not None:
            given = [*zip(body.arguments, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
            for argument, value in given:
                if argument in body.changed_arguments:
                    self.change(root(value))

    def adopt(self, inner: CellRecord) -> None:
        """Take over what a class body needs from outside and changes there; what it binds stays inside."""
        for name, read in inner.reads.items():
            self.record.need(name, read.line, certain=read.certain)
        self.record.carried = {**inner.carried, **self.record.carried}
        self.record.waiting = {**inner.waiting, **self.record.waiting}
        self.record.changed = {**self.record.changed, **inner.changed}

    def _reach(self, body: Body) -> tuple[str, ...]:
        """Return the names that running `body` reads, through the functions that it calls in turn."""
        found: dict[str, None] = {}
        left = list(body.reads)
        while left:
            name = left.pop(0)
            if name not in found:
                found[name] = None
                if name in self.functions:
                    self._used.add(name)
                    left.extend(self.functions[name].reads)
        return tuple(found)
