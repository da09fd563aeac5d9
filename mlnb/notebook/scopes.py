"""A function, lambda or class becomes its `Body`: what running it does to names outside itself.

The scopes are CPython's own (`symtable`), so nested functions, comprehensions, ``global`` and parameters need no second
opinion here.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

from mlnb.notebook.mutation import changed_in

IN_CLASSES = frozenset({"__class__", "__module__", "__qualname__"})
"""Names that the body of a class or its methods have of their own."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Body:
    """What running a definition does to the names around it.

    Attributes
    ----------
    reads : tuple of str
        Names it reads from the notebook's namespace, sorted; builtins are among them.
    binds : tuple of str
        Names it declares ``global`` and assigns.
    changes : tuple of str
        Names of the notebook's namespace whose values it changes in place.
    arguments : tuple of str
        Its parameters that can be given by position, in order.
    changed_arguments : frozenset of str
        Its parameters whose values it changes in place.
    called_at_once : bool
        Whether a call runs all of it: true for functions, not for the methods of a class.
    """

    reads: tuple[str, ...]
    binds: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    changed_arguments: frozenset[str] = frozenset()
    called_at_once: bool = True


def body_of(node: Definition) -> Body:
    """Return what running `node` reads, binds and changes outside itself; its defaults and decorators run before."""
    reads: set[str] = set()
    binds: set[str] = set()
    for symbol in _global_symbols(node):
        if symbol.is_referenced():
            reads.add(symbol.get_name())
        if symbol.is_assigned() or symbol.is_imported():
            binds.add(symbol.get_name())
    inside = [node.body] if isinstance(node, ast.Lambda) else node.body
    changed = changed_in(inside)
    arguments = () if isinstance(node, ast.ClassDef) else _positional(node.args)
    return Body(
        reads=tuple(sorted(reads)),
        binds=tuple(sorted(binds)),
        changes=tuple(sorted(changed & reads)),
        arguments=arguments,
        changed_arguments=frozenset(changed - reads).intersection(_all_arguments(node)),
        called_at_once=not isinstance(node, ast.ClassDef),
    )


def _global_symbols(node: Definition) -> Iterator[symtable.Symbol]:
    source = ast.unparse(_bare(node))
    tables = symtable.symtable(source, "<cell>", "exec").get_children()
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        names = (symbol for symbol in table.get_symbols() if symbol.get_name().isidentifier())
        yield from (symbol for symbol in names if symbol.is_global() and symbol.get_name() not in IN_CLASSES)


def _bare(node: Definition) -> ast.AST:
    """Return the definition without what is evaluated where it stands: decorators, defaults, annotations, bases."""
    bare = copy(node)
    if isinstance(bare, ast.ClassDef):
        bare.bases, bare.keywords, bare.decorator_list = [], [], []
        return bare
    bare.args = _plain(bare.args)
    if not isinstance(bare, ast.Lambda):
        bare.decorator_list, bare.returns = [], None
    return bare


def _plain(arguments: ast.arguments) -> ast.arguments:
    return ast.arguments(
        posonlyargs=[ast.arg(argument.arg) for argument in arguments.posonlyargs],
        args=[ast.arg(argument.arg) for argument in arguments.args],
        vararg=arguments.vararg and ast.arg(arguments.vararg.arg),
        kwonlyargs=[ast.arg(argument.arg) for argument in arguments.kwonlyargs],
        kw_defaults=[default and ast.Constant(None) for default in arguments.kw_defaults],
        kwarg=arguments.kwarg and ast.arg(arguments.kwarg.arg),
        defaults=[ast.Constant(None) for _ in arguments.defaults],
    )


def _positional(arguments: ast.arguments) -> tuple[str, ...]:
    return tuple(argument.arg for argument in [*arguments.posonlyargs, *arguments.args])


def _all_arguments(node: Definition) -> tuple[str, ...]:
    if isinstance(node, ast.ClassDef):
        return ()
    return (*_positional(node.args), *(argument.arg for argument in node.args.kwonlyargs))
