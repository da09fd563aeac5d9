"""An expression becomes the names whose values, or parts of them, it may be: what is changed through it changes those.

``d["k"]`` and ``cfg.model`` are parts, ``a if c else b`` is one of two; slices, masks and calls count as new objects,
because frames give copies for them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

_INNER = frozenset({"get", "setdefault", "values", "items", "keys", "view", "reshape", "ravel", "squeeze"})
"""Methods that hand out what their object holds: ``d.setdefault(k, []).append(1)`` changes ``d``."""

_SAME = frozenset({"vars", "getattr", "iter", "memoryview", "asarray"})
"""Functions that hand out their first argument, or what it holds."""

_ITEMS = frozenset({"zip", "enumerate", "reversed", "sorted", "list", "tuple", "iter", "set", "filter", "chain"})
"""Functions whose items are those of their arguments."""


def roots(node: ast.expr) -> tuple[str, ...]:
    """Return the names at the root of what is changed through ``a.b[c].d``; () for a literal or a new object."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
            return roots(value)
        case ast.NamedExpr(target=target, value=value):
            return (*roots(target), *roots(value))
        case ast.IfExp(body=body, orelse=orelse):
            return (*roots(body), *roots(orelse))
        case ast.BoolOp(values=values):
            return tuple(name for value in values for name in roots(value))
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _INNER:
            return roots(value)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in _SAME:
            return roots(first)
    return ()


def alias_of(node: ast.expr) -> tuple[str, ...]:
    """Return the names that a new name for this value may change."""
    match node:
        case ast.Subscript(slice=ast.Constant(), value=value) | ast.Attribute(value=value):
            return alias_of(value)
        case ast.Subscript() | ast.Starred():
            return ()
        case ast.IfExp(body=body, orelse=orelse):
            return (*alias_of(body), *alias_of(orelse))
        case ast.BoolOp(values=values):
            return tuple(name for value in values for name in alias_of(value))
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _INNER:
            return alias_of(value)
    return roots(node)


def items_of(node: ast.expr) -> tuple[str, ...]:
    """Return the names whose values, or whose items, the items of this collection are."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return tuple(name for part in parts for name in (items_of if _is_display(part) else alias_of)(part))
        case ast.Dict(values=parts):
            return tuple(name for part in parts for name in (items_of if _is_display(part) else alias_of)(part))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=parts) if name in _ITEMS:
            return tuple(name for part in parts for name in items_of(part))
        case ast.ListComp(elt=part, generators=loops) | ast.SetComp(elt=part, generators=loops):
            return _through(alias_of(part), loops)
        case ast.GeneratorExp(elt=part, generators=loops) | ast.DictComp(value=part, generators=loops):
            return _through(alias_of(part), loops)
    return alias_of(node)


def loop_pairs(target: ast.expr, source: ast.expr) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each name that a loop binds with the names whose items, or parts of them, it holds in turn."""
    ways = [(target, source)]
    match target, source:
        case ast.Tuple(elts=parts), ast.Call(func=ast.Name(id="zip"), args=sources) if len(parts) == len(sources):
            ways = list(zip(parts, sources, strict=True))
        case ast.Tuple(elts=[_, part]), ast.Call(func=ast.Name(id="enumerate"), args=[of, *_]):
            ways = [(part, of)]
    for part, of in ways:
        for name in names_in(part):
            yield name, items_of(of)


def _through(names: Iterable[str], loops: Sequence[ast.comprehension]) -> tuple[str, ...]:
    """Return the names with a comprehension's own ones replaced by what they loop over."""
    inner = {name: items for loop in loops for name, items in loop_pairs(loop.target, loop.iter)}
    return tuple(other for name in names for other in inner.get(name, (name,)))


def _is_display(node: ast.expr) -> bool:
    return isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.Dict))


def pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield each name of an assignment's target with the expression that it is bound to, where that can be said."""
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case ((ast.Tuple(elts=left) | ast.List(elts=left)), (ast.Tuple(elts=right) | ast.List(elts=right))):
            if len(left) == len(right) and not any(isinstance(part, ast.Starred) for part in (*left, *right)):
                for one, other in zip(left, right, strict=True):
                    yield from pairs(one, other)


def discarded(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions whose results nobody uses where `node` stands as a statement."""
    match node:
        case ast.Await(value=value):
            yield from discarded(value)
        case ast.BoolOp(values=values):
            yield from discarded(values[-1])
        case ast.IfExp(body=body, orelse=orelse):
            yield from discarded(body)
            yield from discarded(orelse)
        case ast.ListComp(elt=part) | ast.SetComp(elt=part):
            yield from discarded(part)
        case _:
            yield node


def links(nodes: Iterable[ast.AST]) -> Mapping[str, frozenset[str]]:
    """Return, for each name that one of `nodes` binds, the names that changing it may change; order is ignored."""
    found: dict[str, frozenset[str]] = {}
    for node in nodes:
        made: list[tuple[str, Sequence[str]]] = []
        match node:
            case ast.Assign(targets=targets, value=value):
                made = [(name, alias_of(part)) for target in targets for name, part in pairs(target, value)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                made = [(name, alias_of(value))]
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                made = [(name, alias_of(value))]
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source):
                made = list(loop_pairs(target, source))
            case ast.withitem(context_expr=source, optional_vars=ast.Name(id=name)):
                made = [(name, alias_of(source))]
        for name, others in made:
            found[name] = found.get(name, frozenset()) | frozenset(others)
    return found


def names_in(target: ast.expr) -> tuple[str, ...]:
    """Return the names that a target binds."""
    return tuple(n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def closed(names: Iterable[str], linked: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the names and all that they are linked to."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(linked.get(name, ()))
    return frozenset(found)
