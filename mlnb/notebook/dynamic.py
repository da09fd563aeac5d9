"""Code that goes past plain names becomes the name that it reaches: ``globals()["x"]``; or a word that nobody can say.

``exec(text)``, ``%run`` and their like run what only exists then: the analysis says so instead of guessing.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from mlnb.notebook.syntax import is_magic_call

NAMESPACES = ("globals", "locals", "vars")
"""Functions that, called without arguments at the top of a cell, give its namespace."""

_MAGICS = frozenset({"run", "load", "loadpy", "pylab", "recall", "rerun", "macro", "edit", "reset", "reset_selective"})
_CELL_MAGICS = frozenset({"cython", "cython_inline", "px", "autopx", "julia", "R", "bigquery", "spark"})


@dataclass(frozen=True, slots=True)
class Access:
    """A name that is reached through the namespace itself; `certain` is false where it need not be there."""

    name: str
    binds: bool = False
    deletes: bool = False
    certain: bool = True


def access(node: ast.AST, functions: Sequence[str] = NAMESPACES) -> Access | None:
    """Return the name that a node reaches through the namespace, None where it does not."""
    match node:
        case ast.Subscript(value=of, slice=ast.Constant(value=str(name)), ctx=context) if is_namespace(of, functions):
            return Access(name, isinstance(context, ast.Store), isinstance(context, ast.Del))
        case ast.Call(func=ast.Attribute(value=of, attr=method), args=[ast.Constant(value=str(name)), *_]):
            if is_namespace(of, functions) and method in {"get", "setdefault", "pop"}:
                return Access(name, method == "setdefault", method == "pop", certain=False)
        case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[of]):
            if is_namespace(of, (*functions, "dir")):
                return Access(name, certain=False)
    return None


def updated(node: ast.Call, functions: Sequence[str] = NAMESPACES) -> tuple[str, ...] | None:
    """Return the names that ``globals().update(a=1, b=2)`` binds, None where it cannot be said."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr="update")) if is_namespace(of, functions):
            keys = [key for part in node.args if isinstance(part, ast.Dict) for key in part.keys]
            plain = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
            named = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
            said = len(plain) == len(keys) and len(named) == len(node.keywords)
            return (*plain, *named) if said and all(isinstance(part, ast.Dict) for part in node.args) else None
    return None


def is_namespace(node: ast.AST, functions: Sequence[str] = NAMESPACES) -> bool:
    """Say whether a node is ``globals()`` or its like, or IPython's ``get_ipython().user_ns``."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
            return name in functions
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr="user_ns"):
            return True
    return False


def text_of(node: ast.Call, functions: Sequence[str] = ("exec", "eval")) -> str | None:
    """Return the code that ``exec("x = 1")`` runs in the cell's own namespace; None for anything else."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *where], keywords=[]):
            return text if name in functions and all(map(is_namespace, where)) else None
    return None


def unsaid(node: ast.Call) -> str:
    """Return what makes a call run code that only exists then (``exec``, ``%run``), ``""`` for any other call."""
    match node:
        case ast.Call(func=ast.Name(id="exec" | "eval" as name), args=[ast.Constant(), *_]):
            return ""
        case ast.Call(func=ast.Name(id="exec" | "eval" as name), args=[_, *where]):
            return name if all(map(is_namespace, where)) else ""
        case ast.Call(func=ast.Attribute(attr=kind), args=[ast.Constant(value=str(name)), *_]) if is_magic_call(node):
            if kind == "run_line_magic" and name in _MAGICS:
                return f"%{name}"
            if kind == "run_cell_magic" and name in _CELL_MAGICS:
                return f"%%{name}"
        case ast.Call(func=ast.Attribute(value=of, attr="update")) if is_namespace(of) and updated(node) is None:
            return "globals().update"
    return ""
