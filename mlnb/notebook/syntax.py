"""The source of a cell becomes a Python syntax tree, with IPython's own syntax understood.

``%time x = 1`` and the body of ``%%time`` are code; ``%%capture out`` binds ``out``; ``%%bash``, ``%%html`` and every
other cell magic are opaque. Line numbers are those of the cell. IPython (0.3 s of import) is loaded only for cells that
are not plain Python.

References
----------
https://ipython.readthedocs.io/en/stable/interactive/magics.html
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import TypeGuard

MAYBE = "_mlnb_maybe"
"""Keyword under which a call of a magic carries names that it reads if they exist (``!echo {path}``)."""

_RUNS_ITS_BODY = frozenset({"time", "capture", "prun", "memit", "mprun", "lprun", "pyinstrument", "scalene"})
_TIMES_ITS_BODY = frozenset({"timeit"})
_RUNS_ITS_LINE = frozenset({"time", "prun", "memit", "lprun", "mprun"})
_OPTIONS = re.compile(r"(?:-[nrp]\s*\d+\s+|-[lsTDfm]\s+\S+\s+|--?[A-Za-z][\w-]*(?:\s+|$))*")
_EXPANDED = re.compile(r"\{([^{}]+)\}|(?<!\$)\$([A-Za-z_]\w*)")
_SQL_NAMES = re.compile(r"\{\{\s*([A-Za-z_]\w*)|(?<![:\w]):([A-Za-z_]\w*)")
_SCRIPT_RESULT = re.compile(r"--(?:out|err|proc)[ =]+([A-Za-z_]\w*)")
_COMPILE = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


@dataclass(frozen=True, slots=True)
class CellMagic:
    """The first line of a cell that starts with ``%%``.

    Attributes
    ----------
    name : str
        ``time`` of ``%%time -q``.
    line : str
        What follows the name on that line.
    number : int
        1-based number of the line.
    body : str
        What is below it.
    """

    name: str
    line: str
    number: int
    body: str


def cell_magic(source: str) -> CellMagic | None:
    """Return the cell magic that `source` begins with, comments and empty lines above it apart."""
    lines = source.split("\n")
    for number, line in enumerate(lines, 1):
        if re.match(r"%%[A-Za-z_!]", line):
            name, _, rest = line[2:].partition(" ")
            return CellMagic(name.strip(), rest.strip(), number, "\n".join(lines[number:]))
        if line.strip() and not line.lstrip().startswith("#"):
            return None
    return None


def parse_cell(source: str) -> ast.Module:
    """Return the tree of what running the cell executes.

    Raises
    ------
    SyntaxError
        If the cell is neither Python nor IPython; `lineno` is the line in the cell.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning; DeprecationWarning before Python 3.12
        tree = _parse(source)
        compile(tree, "<cell>", "exec", flags=_COMPILE, dont_inherit=True)
    return tree


def is_magic_call(node: ast.AST | None) -> TypeGuard[ast.Call]:
    """Say whether `node` is a call that IPython's syntax stands for, such as ``get_ipython().system('ls')``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "get_ipython"
    )


def _parse(source: str) -> ast.Module:
    magic = cell_magic(source)
    if magic is None:
        return _parse_lines(source)
    body = "#\n" * magic.number + dedent(magic.body)
    if magic.name in _RUNS_ITS_BODY:
        tree = _parse(body)
        target = re.sub(r"(^|\s)--?\S+", "", magic.line).strip() if magic.name == "capture" else ""
        return _module([*tree.body, *_bind(target, magic.number)])
    if magic.name in _TIMES_ITS_BODY:
        before = _statements(_OPTIONS.sub("", magic.line, count=1), magic.number)  # runs once, in the same scope
        return _module(_in_a_scope([*before, *_parse(body).body], magic.number))
    call = _statements(f"get_ipython().run_cell_magic({magic.name!r}, {magic.line!r}, {magic.body!r})", magic.number)
    names = _expanded(magic.line)
    results = _SCRIPT_RESULT.findall(magic.line)
    if magic.name == "sql":
        names += [one or other for one, other in _SQL_NAMES.findall(magic.body)]
        results += re.findall(r"^\s*([A-Za-z_]\w*)\s*<<", f"{magic.line}\n{magic.body}")
    _may_read(call, names, magic.number)
    return _module([*call, *(node for name in results for node in _bind(name, magic.number))])


def _expanded(text: str) -> list[str]:
    """Return the names that IPython looks up in the text of a magic or a shell line: ``{len(x)}`` and ``$x``."""
    found: list[str] = []
    for braced, name in _EXPANDED.findall(text):
        if name:
            found.append(name)
        for expression in (braced, *re.split(r"[!:]", braced, maxsplit=1)[:1]):
            try:
                tree = ast.parse(expression.strip(), mode="eval")
            except SyntaxError:
                continue
            found.extend(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
            break
    return list(dict.fromkeys(found))


def _may_read(call: Sequence[ast.AST], names: Sequence[str], line: int) -> None:
    """Note in the call of a magic which names it reads if they exist."""
    for node in (part for root in call for part in ast.walk(root)):
        if names and is_magic_call(node):
            read: list[ast.expr] = [ast.Name(name, ast.Load()) for name in dict.fromkeys(names)]
            node.keywords.append(ast.keyword(MAYBE, ast.Tuple(read, ast.Load())))
            _at(node.keywords, line)


def _parse_lines(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as plain:
        if not re.search(r"^\s*[%!?,;/]|\?\s*$|=\s*[%!]|^\s*(>>>|In \[)", source, re.MULTILINE) and source == dedent(
            source
        ):
            raise
        try:
            return _module(_Magics().visit(ast.parse(_transformed(source))).body)
        except SyntaxError as error:
            error.text = None
            raise error from plain


def _transformed(source: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager

    text: str = TransformerManager().transform_cell("#" + source if source.startswith("\n") else source)
    return text


class _Magics(ast.NodeTransformer):
    """Put the code that a line magic runs in the magic's place."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        """``%time x = 1`` becomes ``x = 1``."""
        return self._code(node.value, node.lineno) or _stored(node) or self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        """``x = %time 3`` becomes ``x = 3``."""
        code = self._code(node.value, node.lineno)
        if code and len(code) == 1 and isinstance(code[0], ast.Expr):
            node.value = code[0].value
            return node
        return [*code, node] if code else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``!echo {path}`` may read ``path``."""
        if is_magic_call(node):
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            _may_read(
                [node], [name for text in texts if isinstance(text, str) for name in _expanded(text)], node.lineno
            )
        return node

    @staticmethod
    def _code(value: ast.expr, line: int) -> list[ast.stmt]:
        match value:
            case ast.Call(
                func=ast.Attribute(attr="run_line_magic"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(text))],
            ) if is_magic_call(value) and name in _RUNS_ITS_LINE | _TIMES_ITS_BODY:
                body = _statements(_OPTIONS.sub("", text, count=1), line)
                return _in_a_scope(body, line) if name in _TIMES_ITS_BODY else body
        return []


def _stored(node: ast.Expr) -> list[ast.stmt]:
    """``%store -r x`` brings ``x`` back."""
    match node.value:
        case ast.Call(
            func=ast.Attribute(attr="run_line_magic"),
            args=[ast.Constant(value="store"), ast.Constant(value=str(text))],
        ) if text.startswith("-r ") and is_magic_call(node.value):
            bound = [part for name in text.split()[1:] for part in _bind(name, node.lineno)]
            return [node, *bound]
    return []


def _module(body: Sequence[ast.stmt]) -> ast.Module:
    return ast.Module(list(body), [])


def _statements(code: str, line: int) -> list[ast.stmt]:
    body = _parse_lines(code).body
    _at(body, line)
    return body


def _at(nodes: Sequence[ast.AST], line: int) -> None:
    for root in nodes:
        for node in ast.walk(root):
            if isinstance(node, (ast.expr, ast.stmt, ast.keyword, ast.arg, ast.alias, ast.excepthandler)):
                node.lineno = node.end_lineno = line
                node.col_offset = node.end_col_offset = 0


def _bind(name: str, line: int) -> list[ast.stmt]:
    return _statements(f"{name} = get_ipython()", line) if name.isidentifier() else []


def _in_a_scope(body: list[ast.stmt], line: int) -> list[ast.stmt]:
    """Put timed code into a function of its own: it reads the cell's names and leaves none behind."""
    timed = _statements("def _mlnb_timed(): pass\n_mlnb_timed()\ndel _mlnb_timed", line)
    for node in timed:
        if isinstance(node, ast.FunctionDef) and body:
            node.body = body
    return timed
