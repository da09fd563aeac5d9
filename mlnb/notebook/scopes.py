"""A function, lambda or class becomes its `Body`: what running it does to names outside itself.

The scopes are CPython's own (`symtable`), so nested functions, comprehensions, ``global`` and parameters need no second
opinion here.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from mlnb.notebook.aliasing import closed, links, roots
from mlnb.notebook.dynamic import access
from mlnb.notebook.mutation import changed_in

IN_CLASSES = frozenset({"__class__", "__module__", "__qualname__", "__classdict__"})
"""Names that the body of a class or its methods have of their own."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Hands:
    """A call inside a body: whom it calls, and the names that it gives by position and by keyword."""

    to: str
    by_position: tuple[tuple[str, ...], ...]
    by_keyword: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What running a definition does to the names around it.

    Attributes
    ----------
    reads : tuple of str
        Names it reads from the notebook's namespace, sorted; builtins are among them.
    binds : tuple of str
        Names it declares ``global`` and assigns.
    surely : frozenset of str
        Those among `binds` that it binds whichever way it goes.
    changes : tuple of str
        Names of the notebook's namespace whose values it changes in place.
    arguments : tuple of str
        Its parameters that can be given by position, in order.
    rest : str
        The parameter that takes all further ones (``*args``), ``""`` for none.
    changed_arguments : frozenset of str
        Its parameters whose values it changes in place.
    hands : tuple of Hands
        The calls in it that hand on names: what those change, it changes.
    called_at_once : bool
        Whether a call runs all of it: true for functions, not for the methods of a class.
    mutators : frozenset of str
        Methods of a class that change the object they belong to.
    links : tuple of (str, frozenset of str)
        Names among `binds`, and what they may hold then: changing the one changes the others.
    """

    reads: tuple[str, ...]
    binds: tuple[str, ...] = ()
    surely: frozenset[str] = frozenset()
    changes: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    rest: str = ""
    changed_arguments: frozenset[str] = frozenset()
    hands: tuple[Hands, ...] = ()
    called_at_once: bool = True
    mutators: frozenset[str] = frozenset()
    links: tuple[tuple[str, frozenset[str]], ...] = ()

    def either(self, other: Body) -> Body:
        """Return what is known of a name that holds this body or the other."""
        return Body(
            reads=tuple(sorted({*self.reads, *other.reads})),
            binds=tuple(sorted({*self.binds, *other.binds})),
            surely=self.surely & other.surely,
            changes=tuple(sorted({*self.changes, *other.changes})),
            arguments=max(self.arguments, other.arguments, key=len),
            rest=self.rest or other.rest,
            changed_arguments=self.changed_arguments | other.changed_arguments,
            hands=(*self.hands, *other.hands),
            called_at_once=self.called_at_once and other.called_at_once,
            mutators=self.mutators | other.mutators,
            links=(*self.links, *other.links),
        )

    def given(self, call: Hands) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each of its parameters with the names that a call gives for it."""
        for position, names in enumerate(call.by_position):
            yield (self.arguments[position] if position < len(self.arguments) else self.rest), names
        yield from call.by_keyword


@lru_cache(maxsize=1024)  # planning looks at a tree several times, and nobody changes it
def body_of(node: Definition, *, annotated: bool = True) -> Body:
    """Return what running `node` reads, binds and changes outside itself; its defaults and decorators run before.

    Parameters
    ----------
    node : ast node
        A function, lambda or class.
    annotated : bool, default True
        Whether the annotations of functions inside it are evaluated.
    """
    bare = _bare(node, annotated=annotated)
    inside: list[ast.stmt] = [ast.Expr(bare.body)] if isinstance(bare, ast.Lambda) else bare.body
    reads: set[str] = set()
    binds: set[str] = set()
    for symbol in _global_symbols(bare):
        if symbol.is_referenced():
            reads.add(symbol.get_name())
        if symbol.is_assigned() or symbol.is_imported():
            binds.add(symbol.get_name())
    parts = [part for top in inside for part in ast.walk(top)]
    for part in parts:
        if (found := access(part, ("globals",))) is not None:
            (binds if found.binds else reads).add(found.name)
    linked = links(parts)
    changed = changed_in(parts, linked)
    arguments = () if isinstance(bare, ast.ClassDef) else _positional(bare.args)
    return Body(
        reads=tuple(sorted(reads)),
        binds=tuple(sorted(binds)),
        changes=tuple(sorted(changed & reads)),
        arguments=arguments,
        rest="" if isinstance(bare, ast.ClassDef) or bare.args.vararg is None else bare.args.vararg.arg,
        changed_arguments=frozenset(changed - reads).intersection(_all_arguments(bare)),
        hands=tuple(handed(part) for part in parts if _is_plain_call(part)),
        links=tuple((name, closed([name], linked) - {name}) for name in sorted(binds.intersection(linked))),
        called_at_once=not isinstance(node, ast.ClassDef),
        mutators=frozenset(_mutators(bare)) if isinstance(bare, ast.ClassDef) else frozenset(),
    )


def handed(call: ast.Call) -> Hands:
    """Return whom a call of a plain name calls, and what it hands on."""
    return Hands(
        to=call.func.id if isinstance(call.func, ast.Name) else "",
        by_position=tuple(roots(argument) for argument in call.args),
        by_keyword=tuple((keyword.arg or "", roots(keyword.value)) for keyword in call.keywords),
    )


def _is_plain_call(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and bool(node.args or node.keywords)


def _mutators(node: ast.ClassDef) -> Iterator[str]:
    for method in node.body:
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and not method.name.startswith("__"):
            arguments = _positional(method.args)
            parts = [part for top in method.body for part in ast.walk(top)]
            if arguments and arguments[0] in changed_in(parts, links(parts)):
                yield method.name


def _global_symbols(bare: ast.AST) -> Iterator[symtable.Symbol]:
    tables = symtable.symtable(ast.unparse(bare), "<cell>", "exec").get_children()
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        names = (symbol for symbol in table.get_symbols() if symbol.get_name().isidentifier())
        yield from (symbol for symbol in names if symbol.is_global() and symbol.get_name() not in IN_CLASSES)


def _bare(node: Definition, *, annotated: bool) -> Definition:
    """Return the definition without what is evaluated where it stands: decorators, defaults, annotations, bases."""
    bare = copy(node)
    if not isinstance(bare, ast.Lambda) and any(_is_annotated(part) for part in ast.walk(bare)):
        bare.body = [_Unannotated(annotated).visit(deepcopy(statement)) for statement in bare.body]
    if isinstance(bare, ast.ClassDef):
        bare.bases, bare.keywords, bare.decorator_list = [], [], []
        return bare
    bare.args = _plain(bare.args)
    if not isinstance(bare, ast.Lambda):
        bare.decorator_list, bare.returns = [], None
    return bare


def _is_annotated(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) or (isinstance(node, ast.arg) and node.annotation is not None)


class _Unannotated(ast.NodeTransformer):
    """Take away the annotations that are not evaluated: of a function's own variables, or all of them."""

    def __init__(self, annotated: bool) -> None:
        self._annotated = annotated

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave the annotations of an inner class's own variables: they are evaluated with it."""
        own = [isinstance(part, ast.AnnAssign) and self._annotated for part in node.body]
        node.body = [part if left else self.visit(part) for part, left in zip(node.body, own, strict=True)]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """``x: Kind = 1`` in a function never looks at ``Kind``."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Of a function inside, annotations are evaluated unless the notebook asks for text."""
        node.annotation = node.annotation if self._annotated else None
        return node


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
    more = [*node.args.kwonlyargs, *filter(None, (node.args.vararg, node.args.kwarg))]
    return (*_positional(node.args), *(argument.arg for argument in more))


def reached(body: Body, functions: Mapping[str, Body]) -> tuple[Body, ...]:
    """Return a body and all those that it may call in turn, through the names that it reads."""
    found: list[Body] = []
    names: set[str] = set()
    left = [body]
    while left:
        found.append(left.pop(0))
        for name in found[-1].reads:
            if name in functions and name not in names:
                names.add(name)
                left.append(functions[name])
    return tuple(found)


def changed_arguments(body: Body, functions: Mapping[str, Body], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names inside a body that it changes, through the functions that it hands them to as well."""
    changed = set(body.changed_arguments)
    for call in body.hands:
        callee = functions.get(call.to)
        if callee is None or call.to in seen:
            continue
        inner = changed_arguments(callee, functions, seen | {call.to})
        changed.update(name for parameter, names in callee.given(call) if parameter in inner for name in names)
    return frozenset(changed)
