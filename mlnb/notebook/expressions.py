"""Expressions are walked in the order in which they are evaluated, and tell a `Namespace` what they read and change."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mlnb.notebook.aliasing import alias_of, items_of, loop_pairs, names_in, pairs, roots
from mlnb.notebook.dynamic import access, text_of, unsaid, updated
from mlnb.notebook.mutation import changed_by_call
from mlnb.notebook.namespace import Namespace
from mlnb.notebook.scopes import Body, Definition, body_of
from mlnb.notebook.state import CellRecord, State
from mlnb.notebook.syntax import MAYBE, is_magic_call, parse_cell

_QUERIED = re.compile(r"@([A-Za-z_]\w*)")


class Expressions:
    """The part of the walk that expressions need: each kind of node has a method named after its class.

    Nodes without one are walked through their fields.

    Parameters
    ----------
    known : mapping of str to Body
        Functions and classes that exist beforehand.
    """

    def __init__(self, known: Mapping[str, Body]) -> None:
        self.names = Namespace(known)
        self._annotations_run = sys.version_info < (3, 14)
        self._discarded: frozenset[ast.expr] = frozenset()
        self._lazy: ast.expr | None = None
        self._around: State | None = None
        self._guarded = False

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

    def _on_name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.names.read(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self.names.bind(node.id)
        else:
            self.names.delete(node.id, node.lineno)

    def _on_namedexpr(self, node: ast.NamedExpr) -> None:
        self._lazy = node.value
        self._visit(node.value)
        self._bind_to([node.target], node.value)

    def _on_attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        if self._reaches(node):
            return
        self._walk(ast.iter_child_nodes(node))
        if not isinstance(node.ctx, ast.Load):
            self.names.change(*roots(node.value))

    _on_subscript = _on_attribute

    def _reaches(self, node: ast.expr) -> bool:
        """Follow ``globals()["x"]`` to the name; in a class, ``locals()`` is not the cell's namespace."""
        found = access(node) if self._around is None else access(node, ("globals",))
        if found is None:
            return False
        line = node.lineno
        if found.deletes:
            self.names.read_if_there(found.name, line)
            self.names.delete(found.name, line)
        elif not found.binds or not found.certain:
            (self.names.read if found.certain else self.names.read_if_there)(found.name, line)
        if found.binds:
            self.names.beyond.append(found.name)
            self.names.bind(found.name)
        return True

    def _on_call(self, node: ast.Call) -> None:
        if what := unsaid(node):
            self.names.record.dynamic.setdefault(node.lineno, what)
        if is_magic_call(node):
            self._magic(node)
            return
        if self._runs_text(node) or self._reaches(node):
            return
        body = self.names.functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(node.func, ast.Name) and body is not None and body.called_at_once:
            self.names.read(node.func.id, node.lineno, called=True)
        else:
            self._visit(node.func)
            body = None
        unused = node in self._discarded
        self._walk([*node.args, *node.keywords])
        self.names.change(*changed_by_call(node, statement=unused))
        if isinstance(node.func, ast.Attribute) and self._is_mutator(node.func.attr):
            self.names.change(*roots(node.func.value))
        if body is not None:
            here, self.names.state = self.names.state, self._around or self.names.state
            self.names.call(body, node.lineno, node)  # a function does not see what a class around it binds
            self.names.state = here
        self._query(node)

    def _is_mutator(self, method: str) -> bool:
        """Say whether a class that is known has a method of this name which changes its object."""
        return any(method in body.mutators for body in self.names.functions.values())

    def _runs_text(self, node: ast.Call) -> bool:
        """Walk the code of ``exec("x = 1")``, and bind what ``globals().update(x=1)`` binds."""
        text, bound = text_of(node), updated(node)
        if text is not None and "exec" not in self.names.state.surely:
            try:
                tree = parse_cell(text)
            except SyntaxError:
                return False
            self._walk(tree.body)
            return True
        if bound is not None:
            self._walk([*node.args, *node.keywords])
            for name in bound:
                self.names.bind(name)
            return True
        return False

    def _on_compare(self, node: ast.Compare) -> None:
        if self._reaches(node):
            return
        self._walk([node.left, node.comparators[0]])
        self._perhaps(node.comparators[1:])

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
        self.names.wait_for(self._body(node), node.lineno)

    def _on_boolop(self, node: ast.BoolOp) -> None:
        self._visit(node.values[0])
        self._perhaps(node.values[1:])

    def _perhaps(self, nodes: Iterable[ast.AST | None]) -> None:
        self.names.state.maybe(self._branch(partial(self._walk, nodes)))

    def _on_listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        names = self.names
        lazily, inner = names.lazily, names.inner
        lazy = isinstance(node, ast.GeneratorExp) and node is self._lazy
        self._visit(node.generators[0].iter)
        hidden = names.hidden
        for generator in node.generators:
            loops = [(name, names.items_behind(items)) for name, items in loop_pairs(generator.target, generator.iter)]
            names.inner = {**names.inner, **dict(loops)}
            names.hidden |= frozenset(names_in(generator.target))
        names.lazily = lazily or lazy
        inside = [part for each in node.generators for part in (each.iter, *_places(each.target), *each.ifs)][1:]
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        here, names.state = names.state, self._around or names.state
        end = self._branch(partial(self._walk, [*inside, *results]))
        names.state = here
        names.state.maybe(end)  # by := inside
        names.hidden, names.inner, names.lazily = hidden, inner, lazily

    _on_setcomp = _on_generatorexp = _on_dictcomp = _on_listcomp

    def _bind_to(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        """Bind targets to a value that was visited, and note what changing their names changes as well."""
        bound = [pair for target in targets for pair in pairs(_named(target), value)]
        held = [
            (name, self.names.behind(alias_of(part)), self.names.items_behind(items_of(part))) for name, part in bound
        ]
        self._walk(targets)
        for name, same, items in held:
            self.names.link(name, same, items)
        first, *rest = [name for name, part in bound if part is value] or [""]
        for name in rest:
            self.names.link(name, self.names.behind([first]), self.names.state.holds[first])

    def _body(self, node: Definition) -> Body:
        """Return what running a definition does; what it binds of the cell's names, it need not find there."""
        body = body_of(node, annotated=self._annotations_run)
        if not body.binds or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return body
        inside = type(self)({})
        record = inside.run(ast.Module(node.body, []))
        needed = {*record.reads, *record.waiting}
        leaves_early = any(isinstance(part, ast.Return) for top in node.body[:-1] for part in ast.walk(top))
        return replace(
            body,
            reads=tuple(sorted((set(body.reads) - set(body.binds)) | needed.intersection(body.binds))),
            surely=frozenset() if leaves_early else frozenset(body.binds).intersection(inside.names.state.surely),
        )


def _named(target: ast.expr) -> ast.expr:
    """Return the name that ``globals()["x"]`` stands for, any other target as it is."""
    found = access(target, ("globals",))
    return target if found is None else ast.Name(found.name, ast.Store())


def _places(target: ast.expr) -> list[ast.expr]:
    """Return the attributes and items in a target, such as ``d["k"]`` in ``for d["k"] in xs``."""
    return [part for part in ast.walk(target) if isinstance(part, (ast.Attribute, ast.Subscript))]
