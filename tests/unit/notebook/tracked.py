"""A program that is really run tells which names it read before they were bound, and which it left bound.

The second source for the analysis of names: CPython itself, with a namespace that notes every look-up. A missing name
is answered with an object that can be anything, once true with two elements, once false and empty.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass


class Anything:
    """Answers everything: calls, attributes, items, loops, comparisons, arithmetic, ``with`` and ``await``."""

    def __init__(self, true: bool) -> None:
        self._true = true

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(self._true)

    def __call__(self, *args: object, **kwargs: object) -> Anything:
        for argument in (*args, *kwargs.values()):
            if inspect.isfunction(argument):
                run_with_anything(argument, self._true)
        return Anything(self._true)

    def __iter__(self) -> Iterator[Anything]:
        return iter([Anything(self._true)] * (2 if self._true else 0))

    def __bool__(self) -> bool:
        return self._true

    def __len__(self) -> int:
        return 2 if self._true else 0

    def __getitem__(self, key: object) -> Anything:
        return Anything(self._true)

    def __setitem__(self, key: object, value: object) -> None: ...

    def __delitem__(self, key: object) -> None: ...

    def __contains__(self, item: object) -> bool:
        return self._true

    def __enter__(self) -> Anything:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def __await__(self) -> Iterator[Anything]:
        yield from ()
        return self

    async def __aiter__(self) -> AsyncIterator[Anything]:
        for each in self:
            yield each

    async def __aenter__(self) -> Anything:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return self._true

    def __lt__(self, other: object) -> bool:
        return self._true

    __gt__ = __le__ = __ge__ = __lt__

    def __add__(self, other: object) -> Anything:
        return self

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = __add__
    __and__ = __or__ = __iadd__ = __pow__ = __add__

    def __index__(self) -> int:
        return 1

    def __format__(self, spec: str) -> str:
        return "x"


def run_with_anything(function: object, true: bool) -> None:
    """Call a function with as many arguments as it needs."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]  # type: ignore[arg-type]
    function(*(Anything(true) for p in needed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)))  # type: ignore[operator]


class _Namespace(dict[str, object]):
    def __init__(self, true: bool) -> None:
        super().__init__(__name__="cell", __builtins__=builtins)
        self.true = true
        self.missed: dict[str, None] = {}
        self.given: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if dict.__contains__(self, name):
            return super().__getitem__(name)
        if hasattr(builtins, name):
            raise KeyError(name)
        self.missed[name] = None
        return self.given.setdefault(name, Anything(self.true))

    def __delitem__(self, name: str) -> None:
        if dict.__contains__(self, name):
            super().__delitem__(name)
        else:
            self.missed[name] = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a program was seen to do: names read before they were bound, and names left bound if it came to its end."""

    reads: frozenset[str]
    bound: frozenset[str]


def observe(source: str, *, true: bool) -> Observed:
    """Run a program among things that are all true or all false; what it read before it failed counts."""
    namespace = _Namespace(true)
    code = compile(source, "<program>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    try:
        result = eval(code, namespace)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exception:
        return Observed(frozenset(namespace.missed), frozenset())
    bound = frozenset(namespace) - {"__name__", "__builtins__", "__annotations__", "annotations"}
    return Observed(frozenset(namespace.missed), bound)
