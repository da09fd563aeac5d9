"""The code of an unmarked cell becomes its `Role`: what it is for in a pipeline, judged by what it calls."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from mlnb.notebook.document import Cell
from mlnb.notebook.names import Names, analyse_cells
from mlnb.pipeline.setup import tree_of

_METRIC = re.compile(
    r".*_(score|loss|error|deviance)$|^(score|accuracy|rmse|mae|evaluate|classification_report|confusion_matrix"
    r"|cross_validate|roc_curve|precision_recall_curve|calibration_curve)$"
)
_NO_NUMBER = frozenset({"classification_report", "confusion_matrix", "roc_curve", "cross_validate"})
_NO_NUMBER |= {"precision_recall_curve", "calibration_curve", "cross_val_score"}
_FITS = frozenset({"fit", "fit_predict", "partial_fit", "train"})
_WRITES = re.compile(
    r"^(to_(csv|parquet|pickle|json|excel|feather|sql|hdf)|dump|save|save_model|savez|savetxt|write_\w+)$"
)
_READS = re.compile(r"^(read_\w+|load\w*|fetch_\w+|scan_\w+|open|genfromtxt)$")
_TRANSFORMER = re.compile(r"scal|encod|imput|vectori|pca|transform|binari|normal|discreti|select|tokeni", re.I)


@dataclass(frozen=True, slots=True)
class Role:
    """What a cell is for.

    Attributes
    ----------
    phase : str
        ``prepare``, ``train``, ``evaluate`` or ``save``; ``""`` where nothing says that a pipeline needs it.
    reads : bool
        Whether it loads data.
    tests : bool
        Whether it only asserts, or defines ``test_*`` functions.
    metrics : tuple of str
        Names that it binds to a number which a metric gave.
    names : Names
        What it takes, gives and changes.
    """

    phase: str
    reads: bool
    tests: bool
    metrics: tuple[str, ...]
    names: Names

    @property
    def gives(self) -> frozenset[str]:
        """Names that it binds or changes."""
        return frozenset((*self.names.outputs, *self.names.mutates))

    @property
    def takes(self) -> frozenset[str]:
        """Names that it reads or may read."""
        return frozenset((*self.names.inputs, *self.names.optional, *self.names.mutates))


def role_of(cell: Cell) -> Role:
    """Return the role of a code cell.

    Raises
    ------
    SyntaxError
        If it is neither Python nor IPython.
    """
    tree = tree_of(cell)
    called = [name for node in ast.walk(tree) if isinstance(node, ast.Call) and (name := _callee(node.func))]
    phase = ""
    if any(_METRIC.match(name.rpartition(".")[2]) for name in called):
        phase = "evaluate"
    if any(map(_fits, called)):
        phase = "train"
    if not phase and any(_WRITES.match(name.rpartition(".")[2]) for name in called):
        phase = "save"
    return Role(
        phase=phase,
        reads=any(_READS.match(name.rpartition(".")[2]) for name in called),
        tests=_only_tests(tree),
        metrics=tuple(dict.fromkeys(name for node in tree.body for name in _numbers(node))),
        names=analyse_cells([tree], called="test_")[0],
    )


def _fits(name: str) -> bool:
    receiver, _, method = name.rpartition(".")
    return method in _FITS and bool(receiver) and not _TRANSFORMER.search(receiver)


def _callee(node: ast.expr) -> str:
    """Return ``model.fit`` of ``model.fit(X)``; the receiver of ``Model(1).fit(X)`` is ``Model``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _callee(node.value)
        return f"{inner}.{node.attr}" if inner else f"?.{node.attr}"
    return _callee(node.func) if isinstance(node, ast.Call) else ""


def _numbers(node: ast.stmt) -> list[str]:
    """Return the names that ``auc = roc_auc_score(...)`` binds, perhaps through ``float`` or ``round``."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            return []
    if isinstance(value, ast.Call) and _callee(value.func) in {"float", "round", "abs"} and value.args:
        value = value.args[0]
    if isinstance(value, ast.BinOp):
        value = value.left
    called = _callee(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    return [name] if _METRIC.match(called) and called not in _NO_NUMBER and called != "evaluate" else []


def _only_tests(tree: ast.Module) -> bool:
    """Say whether a cell asserts at its top level or defines tests, and does nothing that others could want."""
    tests = False
    for node in tree.body:
        match node:
            case ast.Assert():
                tests = True
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                tests |= name.startswith("test_")
            case ast.Import() | ast.ImportFrom() | ast.Expr() | ast.Assign():
                pass
            case _:
                return False
    return tests
