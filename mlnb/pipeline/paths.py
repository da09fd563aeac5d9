"""An expression becomes the paths that it can only be, known without running it.

``DATA / f"{year}.csv"`` is known where ``DATA`` is bound once to a constant and ``year`` is a parameter, or runs
through the constants of a ``for``. An expression that only running can tell has no path.
"""

from __future__ import annotations

import ast
import itertools
import os.path
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

Known: TypeAlias = "str | int | float | bool"

MOST = 500
"""As many paths as one expression may be; beyond, it counts as unknown."""

_JOINING = frozenset({"Path", "PurePath", "PosixPath", "join", "joinpath", "str", "fspath", "normpath"})
_SAME = frozenset({"resolve", "absolute", "expanduser", "as_posix", "abspath", "realpath", "__fspath__"})
_CHANGING: Mapping[str, Callable[[PurePosixPath, str], PurePosixPath]] = {
    "with_suffix": PurePosixPath.with_suffix,
    "with_name": PurePosixPath.with_name,
    "with_stem": PurePosixPath.with_stem,
}


class Paths:
    """What expressions of some code can be.

    Parameters
    ----------
    nodes : sequence of ast.AST
        Every node of the code; names that they bind once are known.
    values : mapping of str to object
        Known values of names, such as parameters and ``__file__``.
    """

    def __init__(self, nodes: Sequence[ast.AST], values: Mapping[str, object]) -> None:
        self._names: dict[str, object] = {**_bound_once(nodes), **values}

    def of(self, node: ast.expr) -> tuple[str, ...]:
        """Return the texts that an expression can be, () for any other; of a list, those of its items."""
        if isinstance(node, (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp)):
            return tuple(value for value in self._items(node) if isinstance(value, str))
        return tuple(value for value in self._values(node) if isinstance(value, str))

    def bound_to(self, name: str) -> ast.expr | None:
        """Return the expression that a name is bound to, once; None where that is not known."""
        value = self._names.get(name)
        return value if isinstance(value, ast.expr) else None

    def _values(self, node: ast.expr) -> tuple[Known, ...]:
        match node:
            case ast.Constant(value=str() | int() | float() as value):
                return (value,)
            case ast.Name(id=name):
                return self._named(name, self._values)
            case ast.BinOp(left=left, op=op, right=right):
                pairs = self._product([self._values(left), self._values(right)])
                return _present(_operated(op, *pair) for pair in pairs)
            case ast.JoinedStr(values=parts):
                return tuple("".join(map(str, texts)) for texts in self._product([self._formatted(p) for p in parts]))
            case ast.Attribute(value=value, attr="parent"):
                return tuple(str(PurePosixPath(text).parent) for text in self.of(value))
            case ast.Subscript(value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int(up))):
                return _present(_parent(text, up) for text in self.of(value))
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key)):
                return self._entry(name, key)
            case ast.Call():
                return self._called(node)
            case ast.IfExp(body=body, orelse=orelse):
                return (*self._values(body), *self._values(orelse))
        return ()

    def _called(self, call: ast.Call) -> tuple[Known, ...]:
        name, given = callee(call.func), [self._values(part) for part in call.args]
        own = self._values(call.func.value) if isinstance(call.func, ast.Attribute) else ()
        if name in {"cwd", "getcwd"} and not given:
            return (".",)
        if name in _SAME:
            return own or (given[0] if given else ())
        if name == "dirname" and given:
            return tuple(os.path.dirname(str(text)) or "." for text in given[0])  # noqa: PTH120  # as the code has it
        if name in _CHANGING and own and given:
            return _present(_changed(name, str(text), str(with_)) for text, with_ in self._product([own, given[0]]))
        if name == "format" and own and not call.keywords:
            return _present(_filled(str(texts[0]), texts[1:]) for texts in self._product([own, *given]))
        if name in _JOINING and (given or own):
            parts = [own, *given] if name == "joinpath" else given
            return tuple(str(PurePosixPath(*map(str, texts))) for texts in self._product(parts))
        return ()

    def _items(self, node: object) -> tuple[Known, ...]:
        """Return what iterating an expression gives."""
        match node:
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                found = [self._values(part) for part in parts]
                return tuple(itertools.chain.from_iterable(found)) if all(found) else ()
            case ast.Dict(keys=keys):
                return self._items(ast.List([key for key in keys if key is not None]))
            case ast.Name(id=name):
                return self._named(name, self._items)
            case ast.Call(func=ast.Name(id="range"), args=args):
                bounds = [self._values(part) for part in args]
                if all(len(bound) == 1 and type(bound[0]) is int for bound in bounds) and bounds:
                    return tuple(range(*(int(bound[0]) for bound in bounds)))[: MOST + 1]
            case ast.Call(func=ast.Name(id="sorted" | "list" | "tuple" | "set"), args=[first]):
                return self._items(first)
            case ast.ListComp(elt=part) | ast.GeneratorExp(elt=part):
                return self._values(part)
            case list() | tuple():
                return tuple(value for value in node if isinstance(value, (str, int, float)))
        return ()

    def _named(self, name: str, read: Callable[[ast.expr], tuple[Known, ...]]) -> tuple[Known, ...]:
        value = self._names.pop(name, None)  # out of reach meanwhile: a name may be bound in terms of itself
        try:
            if isinstance(value, _Each):
                return self._items(value.of)
            if isinstance(value, ast.expr):
                return read(value)
            if isinstance(value, (list, tuple)):
                return self._items(value)
            return (value,) if isinstance(value, (str, int, float)) else ()
        finally:
            self._names[name] = value

    def _entry(self, name: str, key: object) -> tuple[Known, ...]:
        value = self._names.get(name)
        if isinstance(value, ast.Dict):
            for known, part in zip(value.keys, value.values, strict=True):
                if isinstance(known, ast.Constant) and known.value == key:
                    return self._values(part)
        if isinstance(value, dict):
            found = value.get(key)
            return (found,) if isinstance(found, (str, int, float)) else ()
        return ()

    def _formatted(self, node: ast.expr) -> tuple[Known, ...]:
        if isinstance(node, ast.FormattedValue):
            plain = node.format_spec is None and node.conversion == -1
            return tuple(v for v in self._values(node.value) if not isinstance(v, (bool, float))) if plain else ()
        return self._values(node)

    @staticmethod
    def _product(parts: Sequence[tuple[Known, ...]]) -> list[tuple[Known, ...]]:
        count = 1
        for part in parts:
            count *= len(part)
        return list(itertools.product(*parts)) if count <= MOST else []


class _Each:
    """The items of an expression, one after the other."""

    def __init__(self, of: ast.expr) -> None:
        self.of = of


def callee(function: ast.expr) -> str:
    """Return the last name of what is called: ``read_csv`` of ``pd.read_csv``."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _bound_once(nodes: Sequence[ast.AST]) -> dict[str, object]:
    """Return the expressions of names that the code binds exactly once."""
    values: dict[str, object] = {}
    times: Counter[str] = Counter()
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                values[name] = value
            case ast.For(target=ast.Name(id=name), iter=value):
                values[name] = _Each(value)
            case ast.comprehension(target=ast.Name(id=name), iter=value):
                values[name] = _Each(value)
            case ast.Name(id=name, ctx=ast.Store()):
                times[name] += 1
    return {name: value for name, value in values.items() if times[name] == 1}


def _operated(op: ast.operator, left: Known, right: Known) -> Known | None:
    match op, left, right:
        case ast.Div(), str(), str():
            return f"{left}/{right}"
        case ast.Add(), str(), str():
            return left + right
        case (ast.Add(), int(), int()) if not isinstance(left, bool):
            return left + right
        case (ast.Sub(), int(), int()) if not isinstance(left, bool):
            return left - right
        case ast.Mod(), str(), str() | int():
            try:
                return left % right
            except (ValueError, TypeError):
                return None
    return None


def _present(values: Iterable[Known | None]) -> tuple[Known, ...]:
    found = list(values)
    return tuple(value for value in found if value is not None) if None not in found else ()


def _parent(text: str, up: int) -> str | None:
    parents = PurePosixPath(text).parents
    return str(parents[up]) if 0 <= up < len(parents) else None


def _changed(name: str, text: str, other: str) -> str | None:
    try:
        return str(_CHANGING[name](PurePosixPath(text), other))
    except ValueError:
        return None


def _filled(text: str, values: Sequence[Known]) -> str | None:
    try:
        return text.format(*values) if text.count("{}") == len(values) == text.count("{") else None
    except (IndexError, KeyError, ValueError):
        return None
