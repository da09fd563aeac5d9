"""A syntax tree is walked in the order in which it would run, and tells a `Namespace` what happens.

Branches are joined: bound for certain is what every branch that goes on binds, perhaps bound what any of them does. A
name read when it is not even perhaps bound is certainly needed from elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from mlnb.notebook.aliasing import alias_of, discarded, loop_pairs
from mlnb.notebook.expressions import Expressions
from mlnb.notebook.scopes import IN_CLASSES
from mlnb.notebook.state import CellRecord, State

_CONTAIN_FAILURES = frozenset({"suppress", "raises", "assertRaises", "assertRaisesRegex"})


class Flow(Expressions):
    """The walk over the cells of one stage, which run one after the other in one namespace."""

    # flow

    def _on_if(self, node: ast.If | ast.IfExp) -> None:
        self._visit(node.test)
        branches = [part if isinstance(part, list) else [part] for part in (node.body, node.orelse)]
        self.names.state = State.join([self._branch(partial(self._walk, branch)) for branch in branches])

    _on_ifexp = _on_if

    def _on_for(self, node: ast.For | ast.AsyncFor) -> None:
        self._visit(node.iter)
        self._loop(node, partial(self._turn, node))

    _on_asyncfor = _on_for

    def _on_while(self, node: ast.While) -> None:
        self._visit(node.test)
        self._loop(node, partial(self._walk, node.body))

    def _turn(self, node: ast.For | ast.AsyncFor) -> None:
        held = [(name, self.names.items_behind(items)) for name, items in loop_pairs(node.target, node.iter)]
        self._visit(node.target)
        for name, items in held:
            self.names.link(name, items)
        self._walk(node.body)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, once: Callable[[], None]) -> None:
        self.names.state.surely -= _deleted(node.body)
        start = self.names.state.copy()
        start.perhaps |= _stored(node.body)  # by an earlier turn
        self.names.state.maybe(self._branch(once, start))
        self.names.state.maybe(self._branch(partial(self._walk, node.orelse)))

    def _on_try(self, node: ast.Try) -> None:
        before = self.names.state.copy()
        body = self._branch(partial(self._body_of_try, node))
        before.maybe(body)
        before.surely -= _deleted(node.body)
        ends = [self._branch(partial(self._walk, node.orelse), body)]
        ends.extend(self._branch(partial(self._handler, handler), before) for handler in node.handlers)
        self.names.state = State.join(ends)
        if self._guarded:  # somebody further out may go on although this failed
            self._branch(partial(self._walk, node.finalbody), before)
        alive = self.names.state.alive
        self._walk(node.finalbody)
        self.names.state.alive = alive and self.names.state.alive

    def _body_of_try(self, node: ast.Try) -> None:
        guarded, tolerant = self._guarded, self.names.tolerant
        self._guarded |= bool(node.handlers)
        self.names.tolerant |= any(_catches_missing_names(handler) for handler in node.handlers)
        self._walk(node.body)
        self._guarded, self.names.tolerant = guarded, tolerant

    _on_trystar = _on_try

    def _handler(self, handler: ast.ExceptHandler) -> None:
        self._walk([handler.type])
        if handler.name is not None:
            self.names.bind(handler.name)
        self._walk(handler.body)
        if handler.name is not None:
            self.names.state.unbind(handler.name)

    def _on_match(self, node: ast.Match) -> None:
        self._visit(node.subject)
        subject = self.names.behind(alias_of(node.subject))
        ends = [self._branch(partial(self._case, case, subject)) for case in node.cases]
        last = node.cases[-1]
        if last.guard is not None or not isinstance(last.pattern, ast.MatchAs) or last.pattern.pattern is not None:
            ends.append(self.names.state)
        self.names.state = State.join(ends)

    def _case(self, case: ast.match_case, subject: frozenset[str]) -> None:
        parts = list(ast.walk(case.pattern))
        self._walk(part for part in parts if isinstance(part, (ast.MatchValue, ast.MatchClass, ast.MatchMapping)))
        for part in parts:
            bound = part.rest if isinstance(part, ast.MatchMapping) else getattr(part, "name", None)
            if isinstance(bound, str):
                self.names.bind(bound)
                self.names.link(bound, subject)
        self._walk([case.guard, *case.body])

    def _on_matchvalue(self, node: ast.MatchValue) -> None:
        self._visit(node.value)

    def _on_matchclass(self, node: ast.MatchClass) -> None:
        self._visit(node.cls)

    def _on_matchmapping(self, node: ast.MatchMapping) -> None:
        self._walk(node.keys)

    def _on_with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self._visit(item.context_expr)
            if item.optional_vars is not None:
                self._bind_to([item.optional_vars], item.context_expr)
        if any(_contains_failures(item.context_expr) for item in node.items):
            self.names.state.surely -= _deleted(node.body)
            self.names.state.maybe(self._branch(partial(self._walk, node.body)))
        else:
            self._walk(node.body)

    _on_asyncwith = _on_with

    def _on_raise(self, node: ast.Raise | ast.Return | ast.Break | ast.Continue) -> None:
        self._walk(ast.iter_child_nodes(node))
        self.names.state.alive = False

    _on_return = _on_break = _on_continue = _on_raise

    # statements that bind

    def _on_assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as function):
                self._walk([*function.args.defaults, *function.args.kw_defaults])
                self.names.define(name, self._body(function))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)) if other in self.names.functions:
                body = self.names.functions[other]
                self.names.read(other, node.lineno, called=True)
                self.names.define(name, body)
            case _:
                if any(isinstance(target, ast.Name) and target.id == "_" for target in node.targets):
                    self._discarded = frozenset(discarded(node.value))
                self._lazy = node.value if all(isinstance(t, ast.Name) for t in node.targets) else None
                self._visit(node.value)
                self._bind_to(node.targets, node.value)

    def _on_annassign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self._visit(node.value)
            self._bind_to([node.target], node.value)
        elif isinstance(node.target, (ast.Attribute, ast.Subscript)):
            self._walk(ast.iter_child_nodes(node.target))

    def _on_augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.names.read(node.target.id, node.lineno)
        self._walk([node.value, node.target])

    def _on_import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names.import_as(alias.asname or alias.name.split(".")[0], ast.unparse(ast.Import([alias])))

    def _on_importfrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.names.record.stars.append(node.lineno)
            elif node.module == "__future__":
                self._annotations_run &= alias.name != "annotations"
            else:
                statement = ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
                self.names.import_as(alias.asname or alias.name, statement)

    def _on_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        self._walk([*node.decorator_list, *arguments.defaults, *arguments.kw_defaults])
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        hidden, self.names.hidden = self.names.hidden, self.names.hidden | _type_names(node)
        for argument in every:
            self._annotation(argument.annotation if argument else None)
        self._annotation(node.returns)
        self.names.hidden = hidden
        self.names.define(node.name, self._body(node))
        if node.decorator_list:  # which may call it at once, or hand it to somebody
            self.names.read(node.name, node.lineno)

    _on_asyncfunctiondef = _on_functiondef

    def _on_classdef(self, node: ast.ClassDef) -> None:
        names = self.names
        self._walk(node.decorator_list)
        hidden, around, record = names.hidden, self._around, names.record
        names.hidden = hidden | _type_names(node) | IN_CLASSES
        self._walk([*node.bases, *node.keywords])
        names.record, names.beyond = CellRecord(bound=dict(record.bound)), []
        self._around = around or names.state
        self._branch(partial(self._walk, node.body), self._around)  # it does not see what a class around it binds
        inner, names.record = names.record, record
        names.hidden, self._around = hidden, around
        names.adopt(inner)
        declared = [name for part in node.body if isinstance(part, ast.Global) for name in part.names]
        for name in (*declared, *names.beyond):
            names.bind_perhaps(name)
        names.define(node.name, self._body(node))

    def _on_typealias(self, node: ast.AST) -> None:
        name, *rest = ast.iter_child_nodes(node)  # ast.TypeAlias is of Python 3.12; its value is lazy
        self._visit(name)
        with self._later(_type_names(node)):
            self._walk(rest)

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None and self._annotations_run:
            self._visit(node)
        elif node is not None:
            with self._later():
                self._visit(node)

    @contextmanager
    def _later(self, hidden: frozenset[str] = frozenset()) -> Iterator[None]:
        """Walk inside it what runs later, if at all, and may do without the names that it reads."""
        names = self.names
        before = names.tolerant, names.hidden
        names.tolerant, names.hidden = True, names.hidden | hidden
        yield
        names.tolerant, names.hidden = before

    def _on_expr(self, node: ast.Expr) -> None:
        self._discarded = frozenset(discarded(node.value))
        self._visit(node.value)

    def _on_assert(self, node: ast.Assert) -> None:
        self._visit(node.test)
        self._perhaps([node.msg])


def _catches_missing_names(handler: ast.ExceptHandler) -> bool:
    kinds = [] if handler.type is None else list(ast.walk(handler.type))
    return any(isinstance(kind, ast.Name) and kind.id == "NameError" for kind in kinds)


def _contains_failures(node: ast.expr) -> bool:
    """Say whether ``with`` this, a failure inside does not end the cell; ``contextlib.suppress`` does that."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _CONTAIN_FAILURES
    return False


def _stored(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that the statements bind at any depth; over-wide, to be called perhaps bound in a loop."""
    found: set[str] = set()
    for node in (part for statement in body for part in ast.walk(statement)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add(asname or name.split(".")[0])
    return found


def _deleted(body: Sequence[ast.stmt]) -> set[str]:
    """Return the names that the statements may delete, ``except ... as`` included."""
    found: set[str] = set()
    for node in (part for statement in body for part in ast.walk(statement)):
        match node:
            case ast.Name(id=name, ctx=ast.Del()) | ast.ExceptHandler(name=str(name)):
                found.add(name)
    return found


def _type_names(node: ast.AST) -> frozenset[str]:
    return frozenset(parameter.name for parameter in getattr(node, "type_params", ()))
