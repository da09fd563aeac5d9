"""A syntax tree is walked in the order in which it would run, and tells a `Namespace` what happens.

Branches are joined: bound for certain is what every branch that goes on binds, perhaps bound what any of them does. A
name read when it is not even perhaps bound is certainly needed from elsewhere.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from mlnb.notebook.mutation import changed_by_call, changed_in, root
from mlnb.notebook.namespace import Namespace
from mlnb.notebook.scopes import IN_CLASSES, Body, body_of
from mlnb.notebook.state import CellRecord, State
from mlnb.notebook.syntax import MAYBE, is_magic_call

_QUERIED = re.compile(r"@([A-Za-z_]\w*)")


class Flow:
    """The walk over the cells of one stage, which run one after the other in one namespace.

    Each kind of node has a method named after its class; nodes without one are walked through their fields.

    Parameters
    ----------
    known : mapping of str to Body
        Functions and classes that exist beforehand.
    """

    def __init__(self, known: Mapping[str, Body]) -> None:
        self.names = Namespace(known)
        self._annotations_run = True
        self._statement: ast.expr | None = None

    def run(self, tree: ast.Module) -> CellRecord:
        """Walk one more cell and return what was seen of it."""
        self.names.begin_cell()
        self._walk(tree.body)
        return self.names.end_cell()

    def _visit(self, node: ast.AST) -> None:
        method = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if method is not None:
            method(node)
        else:
            self._walk(ast.iter_child_nodes(node))

    def _walk(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self._visit(node)

    def _branch(self, walk: Callable[[], None], start: State | None = None) -> State:
        """Walk something from `start` (default: here) and return where that ends, staying here."""
        here = self.names.state
        self.names.state = (start or here).copy()
        walk()
        end, self.names.state = self.names.state, here
        return end

    # flow

    def _on_if(self, node: ast.If | ast.IfExp) -> None:
        self._visit(node.test)
        branches = [part if isinstance(part, list) else [part] for part in (node.body, node.orelse)]
        self.names.state = State.join([self._branch(partial(self._walk, branch)) for branch in branches])

    _on_ifexp = _on_if

    def _on_for(self, node: ast.For | ast.AsyncFor) -> None:
        self._visit(node.iter)
        self._loop(node, [node.target, *node.body])
        targets = {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        if targets & changed_in(node.body):
            self.names.change(root(node.iter))

    _on_asyncfor = _on_for

    def _on_while(self, node: ast.While) -> None:
        self._visit(node.test)
        self._loop(node, node.body)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, once: Sequence[ast.AST]) -> None:
        self.names.state.surely -= _deleted(node.body)
        start = self.names.state.copy()
        start.perhaps |= _stored(node.body)  # by an earlier turn
        end = self._branch(partial(self._walk, once), start)
        self.names.state.perhaps |= end.perhaps
        self.names.state.perhaps |= self._branch(partial(self._walk, node.orelse)).perhaps

    def _on_try(self, node: ast.Try) -> None:
        before = self.names.state.copy()
        body = self._branch(partial(self._walk, node.body))
        before.perhaps |= body.perhaps
        before.surely -= _deleted(node.body)
        ends = [self._branch(partial(self._walk, node.orelse), body)]
        ends.extend(self._branch(partial(self._handler, handler), before) for handler in node.handlers)
        self.names.state = State.join(ends)
        alive = self.names.state.alive
        self._walk(node.finalbody)
        self.names.state.alive = alive and self.names.state.alive

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
        ends = [self._branch(partial(self._case, case)) for case in node.cases]
        last = node.cases[-1]
        if last.guard is not None or not isinstance(last.pattern, ast.MatchAs) or last.pattern.pattern is not None:
            ends.append(self.names.state)
        self.names.state = State.join(ends)

    def _case(self, case: ast.match_case) -> None:
        parts = list(ast.walk(case.pattern))
        self._walk(part for part in parts if isinstance(part, (ast.MatchValue, ast.MatchClass, ast.MatchMapping)))
        for part in parts:
            bound = part.rest if isinstance(part, ast.MatchMapping) else getattr(part, "name", None)
            if isinstance(bound, str):
                self.names.bind(bound)
        self._walk([case.guard, *case.body])

    def _on_matchvalue(self, node: ast.MatchValue) -> None:
        self._visit(node.value)

    def _on_matchclass(self, node: ast.MatchClass) -> None:
        self._visit(node.cls)

    def _on_matchmapping(self, node: ast.MatchMapping) -> None:
        self._walk(node.keys)

    def _on_with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self._walk([item.context_expr, item.optional_vars])
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
                self.names.define(name, body_of(function))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)) if other != name:
                self.names.bind_alias(name, other, node.lineno)
            case _:
                self._walk([node.value, *node.targets])

    def _on_annassign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self._walk([node.value, node.target])
        elif not isinstance(node.target, ast.Name):
            self._visit(node.target)

    def _on_augassign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.names.read(node.target.id, node.lineno)
        self._walk([node.value, node.target])

    def _on_namedexpr(self, node: ast.NamedExpr) -> None:
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
        body = body_of(node)
        self.names.define(node.name, body)
        if node.decorator_list:  # which may call it at once, or hand it to somebody
            self.names.read(node.name, node.lineno)

    _on_asyncfunctiondef = _on_functiondef

    def _on_classdef(self, node: ast.ClassDef) -> None:
        names = self.names
        self._walk(node.decorator_list)
        hidden, functions, record = names.hidden, dict(names.functions), names.record
        names.hidden = hidden | _type_names(node) | IN_CLASSES
        self._walk([*node.bases, *node.keywords])
        names.record = CellRecord(bound=dict(record.bound))
        self._branch(partial(self._walk, node.body))
        inner, names.record = names.record, record
        names.functions, names.hidden = functions, hidden
        names.adopt(inner)
        names.define(node.name, body_of(node))

    def _on_typealias(self, node: ast.AST) -> None:
        name = next(ast.iter_child_nodes(node))  # ast.TypeAlias is of Python 3.12; its value is lazy
        self._visit(name)

    def _annotation(self, node: ast.expr | None) -> None:
        if node is not None and self._annotations_run:
            self._visit(node)

    # expressions

    def _on_expr(self, node: ast.Expr) -> None:
        self._statement = node.value.value if isinstance(node.value, ast.Await) else node.value
        self._visit(node.value)

    def _on_name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.names.read(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self.names.bind(node.id)
        else:
            self.names.delete(node.id, node.lineno)

    def _on_attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        self._walk(ast.iter_child_nodes(node))
        if not isinstance(node.ctx, ast.Load):
            self.names.change(root(node))

    _on_subscript = _on_attribute

    def _on_call(self, node: ast.Call) -> None:
        if is_magic_call(node):
            self._magic(node)
            return
        statement = node is self._statement
        body = self.names.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Name) and body is not None and body.called_at_once:
            self.names.read(node.func.id, node.lineno, called=True)
        else:
            self._visit(node.func)
            body = None
        self._walk([*node.args, *node.keywords])
        for name in changed_by_call(node, statement=statement):
            self.names.change(name)
        if body is not None:
            self.names.call(body, node.lineno, node)
        self._query(node)

    def _query(self, node: ast.Call) -> None:
        """Read ``limit`` for pandas' ``df.query("a > @limit")``."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"query", "eval"}:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    for name in _QUERIED.findall(argument.value):
                        self.names.read(name, node.lineno)

    def _magic(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == MAYBE and isinstance(keyword.value, ast.Tuple):
                for name in keyword.value.elts:
                    if isinstance(name, ast.Name):
                        self.names.read_if_there(name.id, node.lineno)

    def _on_lambda(self, node: ast.Lambda) -> None:
        self._walk([*node.args.defaults, *node.args.kw_defaults])
        self.names.wait_for(body_of(node), node.lineno)

    def _on_boolop(self, node: ast.BoolOp) -> None:
        self._visit(node.values[0])
        end = self._branch(partial(self._walk, node.values[1:]))
        self.names.state.perhaps |= end.perhaps

    def _on_listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self._visit(node.generators[0].iter)
        hidden = self.names.hidden
        targets = [name for generator in node.generators for name in ast.walk(generator.target)]
        self.names.hidden |= {name.id for name in targets if isinstance(name, ast.Name)}
        inside = [part for generator in node.generators for part in (generator.iter, *generator.ifs)][1:]
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        end = self._branch(partial(self._walk, [*inside, *results]))
        self.names.state.perhaps |= end.perhaps  # by := inside
        self.names.hidden = hidden

    _on_setcomp = _on_generatorexp = _on_dictcomp = _on_listcomp


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


def _type_names(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> frozenset[str]:
    return frozenset(parameter.name for parameter in getattr(node, "type_params", ()))
