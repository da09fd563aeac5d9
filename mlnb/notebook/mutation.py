"""An expression becomes the name whose value it changes in place: ``df["c"] = 1``, ``cfg.lr = 2``, ``items.append(3)``.

A judgement by spelling, since nothing is executed: methods known to change their object, ``inplace=True``, ``out=``,
and functions known to change their first argument. What it misses is found after a run, by the digests of what was
taken.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

_OF_COLLECTIONS = ("append", "extend", "insert", "add", "update", "remove", "discard", "clear", "sort", "reverse")
_OF_DEQUES = ("appendleft", "extendleft", "rotate")
_OF_SETS = ("intersection_update", "difference_update", "symmetric_difference_update")
_OF_ARRAYS = ("fill", "put", "itemset", "resize", "setflags")
_CHANGE_AND_RETURN_NOTHING = frozenset({*_OF_COLLECTIONS, *_OF_DEQUES, *_OF_SETS, *_OF_ARRAYS})
"""Methods that count only as a statement: ``seen.add(x)`` changes, ``y = df.add(x)`` does not."""

_OF_ESTIMATORS = ("fit", "partial_fit", "fit_transform", "fit_predict")
_CHANGE_AND_RETURN = frozenset({"pop", "popitem", "popleft", "setdefault", *_OF_ESTIMATORS})

_BY_ONE = ("shuffle", "heappop", "heapify")
_HEAPS = ("heappush", "heapreplace", "heappushpop", "insort", "insort_left", "insort_right")
_ARRAYS = ("copyto", "fill_diagonal", "put", "place", "putmask")
_CHANGE_THEIR_ARGUMENT = frozenset({*_BY_ONE, *_HEAPS, *_ARRAYS, "setattr", "delattr", "setitem", "delitem"})

_INNER = frozenset({"get", "setdefault"})
"""Methods that hand out what their object holds: ``d.setdefault(k, []).append(1)`` changes ``d``."""


def root(node: ast.expr) -> str:
    """Return the name at the root of ``a.b[c].d``, ``""`` where a call's result or a literal is at the root."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
                node = value
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _INNER:
                node = value
            case _:
                return ""


def changed_by_call(call: ast.Call, *, statement: bool) -> tuple[str, ...]:
    """Return the names that a call changes in place.

    Parameters
    ----------
    call : ast.Call
        The call.
    statement : bool
        Whether it stands as a statement, its result unused.
    """
    changed: list[str] = []
    name = ""
    if isinstance(call.func, ast.Attribute):
        name = call.func.attr
        in_place = any(
            k.arg == "inplace" and isinstance(k.value, ast.Constant) and k.value.value for k in call.keywords
        )
        statement = statement and not any(k.arg == "out" for k in call.keywords)
        if in_place or name in _CHANGE_AND_RETURN or (statement and name in _CHANGE_AND_RETURN_NOTHING):
            changed.append(root(call.func.value))
    elif isinstance(call.func, ast.Name):
        name = call.func.id
    if name in _CHANGE_THEIR_ARGUMENT and call.args and (len(call.args) > 1 or name in _BY_ONE):
        changed.append(root(call.args[0]))
    changed.extend(root(keyword.value) for keyword in call.keywords if keyword.arg == "out")
    return tuple(dict.fromkeys(found for found in changed if found))


def changed_in(nodes: Sequence[ast.AST]) -> frozenset[str]:
    """Return the roots of everything that is changed in place anywhere below `nodes`."""
    changed: set[str] = set()
    statements: set[int] = set()
    for node in _walk(nodes):
        match node:
            case ast.Expr(value=ast.Call() as call) | ast.Expr(value=ast.Await(value=ast.Call() as call)):
                statements.add(id(call))
            case ast.Call():
                changed.update(changed_by_call(node, statement=id(node) in statements))
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                changed.add(root(node))
            case ast.For(target=target, iter=source, body=body):
                if changed_in(body) & {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}:
                    changed.add(root(source))
    return frozenset(changed - {""})


def _walk(nodes: Sequence[ast.AST]) -> Iterable[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)
