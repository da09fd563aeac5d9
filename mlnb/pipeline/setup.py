"""Setup cells become `Piece` values: which unmarked cells are setup, and which parts of setup somebody uses.

A stage's cache key holds the pieces it uses, a service's hooks carry them. Imports, definitions and literal constants
count only where used; everything else in setup (``np.random.seed(0)``) has effects and always counts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlnb.notebook.document import Cell
from mlnb.notebook.marks import mark_of
from mlnb.notebook.names import analyse_cells
from mlnb.notebook.namespace import ALWAYS_THERE
from mlnb.notebook.syntax import is_magic_call, parse_cell

_EXTENSIONS = ("load_ext", "reload_ext", "autoreload", "aimport", "dotenv")
_MAGICS = frozenset({*_EXTENSIONS, "matplotlib", "config", "env", "set_env", "precision"})
"""Line magics that set something up; ``%pip``, ``%cd`` and ``%mlnb`` do things that no stage should repeat."""

_COLLECTIONS = ("dict", "set", "frozenset", "list", "tuple", "range", "slice")
_CONSTRUCTORS = frozenset({*_COLLECTIONS, "int", "float", "str", "bool", "bytes", "len", "Path", "PurePath", "secret"})
_READING = re.compile(r"read|load(?!_dotenv)|fetch|open|get|query|download|scan|sleep|input", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One statement of setup.

    Attributes
    ----------
    cell : int
        Number of its cell.
    source : str
        Its text; of an import, one statement for each name.
    node : ast.stmt
        Its tree.
    binds : tuple of str
        Names that it binds.
    uses : frozenset of str
        Names that appear in it, over-wide.
    effect : bool
        Whether it does more than define.
    """

    cell: int
    source: str
    node: ast.stmt
    binds: tuple[str, ...]
    uses: frozenset[str]
    effect: bool


def source_of(cell: Cell) -> str:
    """Return a cell's text with a mark magic turned into a comment."""
    mark = mark_of(cell)
    return mark.body if mark is not None else cell.source


@lru_cache(maxsize=4096)
def tree_of(cell: Cell) -> ast.Module:
    """Return the tree of a cell without its mark; callers do not change it."""
    return parse_cell(source_of(cell))


@lru_cache(maxsize=64)
def pieces(cells: tuple[Cell, ...]) -> tuple[Piece, ...]:
    """Return the statements of setup and parameters cells, in order."""
    found: list[Piece] = []
    for cell in cells:
        source = source_of(cell)
        for statement in tree_of(cell).body:
            parts = _parts(statement)
            for node in parts:
                text = ast.unparse(node) if len(parts) > 1 else _text(source, node)
                binds = analyse_cells([ast.Module([node], [])])[0].outputs
                found.append(Piece(cell.number, text, node, binds, names_in([node]), not _defines(node)))
    return tuple(found)


def needed(setup: Sequence[Piece], names: Iterable[str], *, effects: bool = True) -> tuple[Piece, ...]:
    """Return, in order, the pieces that bind `names`, those they use in turn, and (`effects`) what always counts."""
    wanted = set(names)
    chosen = {id(piece) for piece in setup if piece.effect and (effects or _is_future(piece.node))}
    wanted.update(name for piece in setup if id(piece) in chosen for name in piece.uses)
    grown = True
    while grown:
        grown = False
        for piece in setup:
            if id(piece) not in chosen and wanted.intersection(piece.binds):
                chosen.add(id(piece))
                wanted |= piece.uses
                grown = True
    return tuple(piece for piece in setup if id(piece) in chosen)


def names_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return every name that appears below `nodes`, and those that a pandas query string mentions as ``@name``."""
    found: set[str] = set()
    for node in (part for root in nodes for part in ast.walk(root)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(re.findall(r"@([A-Za-z_]\w*)", node.value))
    return frozenset(found)


class SetupReader:
    """Tell setup from exploration, cell by cell in notebook order: what is known grows with each setup cell."""

    def __init__(self, parameters: Iterable[str] = ()) -> None:
        self._modules: set[str] = set()
        self._names: set[str] = {*parameters, *ALWAYS_THERE}

    def accepts(self, tree: ast.Module) -> bool:
        """Say whether a cell without a mark only imports, defines, binds literals or calls modules for effect."""
        modules, names = set(self._modules), set(self._names)
        if all(self._is_setup(statement) for statement in tree.body):
            return True
        self._modules, self._names = modules, names
        return False

    def learn(self, tree: ast.Module) -> None:
        """Take note of a cell that is setup because its mark says so."""
        names = analyse_cells([tree])[0]
        self._modules.update(names.imports)
        self._names.update(names.outputs)

    def _is_setup(self, node: ast.stmt) -> bool:
        match node:
            case ast.Import() | ast.ImportFrom():
                accepted = True
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
                accepted = all(map(self._known, defaults))
            case ast.ClassDef():
                parts = [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
                accepted = all(map(self._known, parts)) and self._known_inside(node)
            case ast.Assign(targets=targets, value=value):
                accepted = all(map(_plain_target, targets)) and self._literal(value)
            case ast.AnnAssign(target=ast.Name(), value=value):
                accepted = value is None or self._literal(value)
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                accepted = name in self._names and self._literal(value)
            case ast.If(test=test, body=body, orelse=orelse):
                accepted = self._known(test) and all(map(self._is_setup, [*body, *orelse]))
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                inside = [part for handler in handlers for part in handler.body]
                accepted = all(map(self._is_setup, [*body, *inside, *orelse, *final]))
            case ast.Expr(value=value):
                accepted = isinstance(value, ast.Constant) or self._effect(value)
            case _:
                accepted = isinstance(node, ast.Pass)
        if accepted:
            self.learn(ast.Module([node], []))
        return accepted

    def _known(self, node: ast.AST) -> bool:
        free = analyse_cells([ast.Module([ast.Expr(node)], [])])[0] if isinstance(node, ast.expr) else None
        return free is None or set(free.inputs) <= self._names

    def _known_inside(self, node: ast.ClassDef) -> bool:
        bare = ast.ClassDef(**{**dict(ast.iter_fields(node)), "lineno": node.lineno, "col_offset": 0})
        bare.body = [part for part in node.body if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))]
        bare.body = bare.body or [ast.Pass()]
        return set(analyse_cells([ast.Module([bare], [])])[0].inputs) <= self._names

    def _effect(self, node: ast.expr) -> bool:
        """``np.random.seed(0)`` and ``%matplotlib inline``, but not ``pd.read_csv("x.csv")``, which shows data."""
        if is_magic_call(node):
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            return called == "run_line_magic" and name in _MAGICS
        if not isinstance(node, ast.Call):
            return False
        path = _dotted(node.func)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        return (
            bool(path)
            and path[0] in self._modules
            and not _READING.match(path[-1])
            and all(map(self._known, arguments))
        )

    def _literal(self, node: ast.AST | None) -> bool:
        match node:
            case None | ast.Constant() | ast.Lambda():
                return True
            case ast.Name(id=name):
                return name in self._names
            case ast.Attribute():
                path = _dotted(node)
                return bool(path) and path[0] in self._modules
            case ast.Call(func=function, args=args, keywords=keywords):
                path = _dotted(function)
                constructs = bool(path) and path[-1] in _CONSTRUCTORS and path[0] in self._names
                return constructs and all(map(self._literal, [*args, *(keyword.value for keyword in keywords)]))
            case ast.Tuple() | ast.List() | ast.Set() | ast.Dict() | ast.UnaryOp() | ast.BinOp() | ast.BoolOp():
                return all(self._literal(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
            case ast.JoinedStr() | ast.FormattedValue() | ast.Starred() | ast.Subscript() | ast.Slice():
                return all(self._literal(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
        return False


def _plain_target(node: ast.expr) -> bool:
    if isinstance(node, (ast.Tuple, ast.List)):
        return all(map(_plain_target, node.elts))
    return isinstance(node, ast.Name)


def _dotted(node: ast.expr) -> list[str]:
    """Return ``["np", "random", "seed"]`` of ``np.random.seed``, ``[]`` for anything that is not a dotted name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)):
        return [*inner, node.attr]
    return []


def _defines(node: ast.stmt) -> bool:
    """Say whether a statement only defines: then it counts where one of its names is used, and nowhere else."""
    match node:
        case ast.ImportFrom():
            return not _is_future(node)
        case ast.Import() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return True
        case ast.Assign(targets=targets, value=value):
            return all(map(_plain_target, targets)) and not _calls(value)
        case ast.AnnAssign(target=ast.Name(), value=value) | ast.AugAssign(target=ast.Name(), value=value):
            return value is None or not _calls(value)
        case ast.If(test=test, body=body, orelse=orelse):
            return not _calls(test) and all(map(_defines, [*body, *orelse]))
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
            inside = [part for handler in handlers for part in handler.body]
            return all(map(_defines, [*body, *inside, *orelse, *final]))
        case ast.Expr(value=value):
            return isinstance(value, ast.Constant)
    return isinstance(node, ast.Pass)


def _is_future(node: ast.stmt) -> bool:
    """Say whether a statement changes how everything below it is compiled."""
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _calls(value: ast.expr) -> bool:
    if isinstance(value, ast.Lambda):
        return False
    calls = [node for node in ast.walk(value) if isinstance(node, (ast.Call, ast.Await, ast.NamedExpr))]
    return any(not (isinstance(c, ast.Call) and (_dotted(c.func) or [""])[-1] in _CONSTRUCTORS) for c in calls)


def _parts(statement: ast.stmt) -> list[ast.stmt]:
    """Part ``import a, b`` into one statement for each name, so that only what is used counts."""
    parts: list[ast.stmt] = [statement]
    if isinstance(statement, ast.Import):
        parts = [ast.Import([alias]) for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom):
        parts = [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [ast.fix_missing_locations(ast.copy_location(part, statement)) for part in parts]


def _text(source: str, node: ast.stmt) -> str:
    """Return the statement as it was written, decorators and comments inside included."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    lines = source.split("\n")[first - 1 : node.end_lineno]
    try:
        written = ast.parse("\n".join(lines)).body
    except SyntaxError:
        written = []
    return "\n".join(lines) if len(written) == 1 and ast.dump(written[0]) == ast.dump(node) else ast.unparse(node)
