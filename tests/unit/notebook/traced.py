"""A cell that is really run, among real inputs, tells what it took, gave, deleted and changed in place.

CPython itself is the second source: a tracer sees every instruction that reads, binds or deletes a global name, in
functions, classes and comprehensions as well; the namespace notes what goes past the instructions (``globals()``,
``exec``); and pictures of the inputs from before and after tell which were changed.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import dis
import functools
import inspect
import sys
import types
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_READS = frozenset({"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_BINDS = frozenset({"STORE_NAME", "STORE_GLOBAL"})
_DELETES = frozenset({"DELETE_NAME", "DELETE_GLOBAL"})
_OWN = frozenset({"__name__", "__builtins__", "__annotations__", "__doc__"})
_CELL, _AFTER = "<cell>", "<after>"


@dataclass(slots=True)
class Seen:
    """What a cell was seen to do, given some inputs."""

    takes: set[str] = field(default_factory=set)
    gives: set[str] = field(default_factory=set)
    deletes: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    error: str = ""

    def __or__(self, other: Seen) -> Seen:
        """Return what two runs together were seen to do."""
        return Seen(
            self.takes | other.takes,
            self.gives | other.gives,
            self.deletes | other.deletes,
            self.changes | other.changes,
            self.error or other.error,
        )


class _Namespace(dict[str, object]):
    """The globals of a cell; `mine` are the names that the cell itself has bound by now."""

    def __init__(self, inputs: dict[str, object]) -> None:
        super().__init__(inputs, __name__="__main__", __builtins__=builtins)
        self.seen = Seen()
        self.mine: set[str] = set()

    def read(self, name: object) -> None:
        there = dict.__contains__(self, name) or (isinstance(name, str) and not hasattr(builtins, name))
        if isinstance(name, str) and there and name not in self.mine and name not in _OWN:
            self.seen.takes.add(name)

    def bind(self, name: str) -> None:
        self.mine.add(name)
        self.seen.deletes.discard(name)

    def delete(self, name: str) -> None:
        self.read(name)
        if name not in self.mine:
            self.seen.deletes.add(name)
        self.mine.add(name)

    def __getitem__(self, name: str) -> object:
        self.read(name)
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> object:
        self.read(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read(name)
        return super().__contains__(name)

    def __delitem__(self, name: str) -> None:
        self.delete(name)
        super().__delitem__(name)

    def __setitem__(self, name: str, value: object) -> None:
        self.bind(name)
        super().__setitem__(name, value)

    def update(self, *args: object, **named: object) -> None:
        for name, value in dict(*args, **named).items():
            self[name] = value

    def pop(self, name: str, *default: object) -> object:
        self.delete(name)
        return super().pop(name, *default)


def trace(cell: str, prepared: str, after: str = "") -> Seen:
    """Run a cell where the statements of `prepared` have made the inputs; `after` runs behind it and is not its own."""
    made: dict[str, object] = {}
    exec(compile(prepared, "<prepared>", "exec"), made)
    inputs = {name: value for name, value in made.items() if not name.startswith("__")}
    before = {name: picture(value) for name, value in inputs.items()}
    namespace = _Namespace(inputs)
    seen = namespace.seen
    known = set(namespace)
    with warnings.catch_warnings(), _tracing(namespace):
        warnings.simplefilter("ignore")  # such as of pandas' inplace
        try:
            _run(cell, _CELL, namespace)
        except Exception as error:  # what it did before it failed counts
            seen.error = f"{type(error).__name__}: {error}"
        seen.gives = {name for name in namespace if name in namespace.mine or name not in known}
        seen.gives -= {
            "__name__",
            "__builtins__",
            "__annotations__",
            "__annotate__",
            "__warningregistry__",
            "annotations",
        }
        deleted = set(seen.deletes)
        if after and not seen.error:
            _run(after, _AFTER, namespace)
        seen.deletes = deleted
    seen.changes = {name for name, value in inputs.items() if picture(value) != before[name]}
    return seen


def _run(source: str, name: str, namespace: _Namespace) -> None:
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@contextmanager
def _tracing(namespace: _Namespace) -> Iterator[None]:
    def step(frame: types.FrameType, event: str, _: object) -> object:
        if event == "opcode":
            _note(namespace, frame)
        return step

    def enter(frame: types.FrameType, event: str, _: object) -> object:
        if frame.f_globals is not namespace:
            return None
        frame.f_trace_opcodes = True
        return step

    earlier = sys.gettrace()
    sys.settrace(enter)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(earlier)


def _note(namespace: _Namespace, frame: types.FrameType) -> None:
    name, opcode = _instructions(frame.f_code).get(frame.f_lasti, ("", ""))
    if not opcode:
        return
    elsewhere = not opcode.endswith("GLOBAL") and frame.f_locals is not namespace  # a class body's own names
    if opcode in _READS and not (elsewhere and name in frame.f_locals):
        if frame.f_code.co_filename != _AFTER:
            namespace.read(name)
    elif opcode in _BINDS and not elsewhere:
        namespace.bind(name)
    elif opcode in _DELETES and not elsewhere:
        namespace.delete(name)


@functools.lru_cache(maxsize=512)
def _instructions(code: types.CodeType) -> dict[int, tuple[str, str]]:
    wanted = _READS | _BINDS | _DELETES
    return {i.offset: (str(i.argval), i.opname) for i in dis.get_instructions(code) if i.opname in wanted}


def picture(value: Any, depth: int = 6) -> object:
    """Return something that is equal before and after exactly if nobody changed the value."""
    if depth == 0 or value is None or isinstance(value, (int, float, str, bytes, types.ModuleType)):
        return repr(value)
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, [(repr(key), picture(held, depth - 1)) for key, held in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return kind, [picture(held, depth - 1) for held in value], _own(value, depth)
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(picture(held, depth - 1)) for held in value)
    if hasattr(value, "iloc"):  # a pandas frame or series
        labels = repr(getattr(value, "columns", "")), repr(getattr(value, "name", ""))
        return kind, labels, repr(value.index), repr(value.index.name), repr(value.to_numpy().tolist())
    if hasattr(value, "tobytes"):
        return kind, value.tobytes(), repr(getattr(value, "shape", "")), repr(getattr(value, "flags", ""))
    if hasattr(value, "bit_generator"):
        return kind, repr(value.bit_generator.state)
    if hasattr(value, "getstate"):
        return kind, repr(value.getstate())
    if hasattr(value, "__next__") and "generator" not in kind:
        return kind, repr(value.__reduce__())
    return kind, _own(value, depth)


def _own(value: object, depth: int) -> object:
    held = dict(vars(value)) if hasattr(value, "__dict__") else {}
    return [(name, picture(part, depth - 1)) for name, part in held.items() if not name.startswith("__")]
