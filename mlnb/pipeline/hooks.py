"""The body of a deploy cell becomes the source of the service's own code, with the setup that it uses."""

from __future__ import annotations

import ast

from mlnb.errors import PlanError
from mlnb.notebook.document import Cell
from mlnb.notebook.names import analyse_cells
from mlnb.notebook.spelling import closest
from mlnb.notebook.syntax import is_magic_call
from mlnb.pipeline.resolve import Demand, Resolver
from mlnb.pipeline.setup import names_in, source_of, tree_of

HOOKS = ("preprocess",)
"""Functions that a service calls."""


def hooks_source(cell: Cell, model: str, resolver: Resolver) -> str:
    """Return a module's source: setup's imports, functions and constants that the body uses, then the body.

    Parameters
    ----------
    cell : Cell
        The ``%%deploy`` cell.
    model : str
        Name of the model, for messages.
    resolver : Resolver
        Knows setup, and who gives what.

    Returns
    -------
    str
        ``""`` if the body defines no hook.

    Raises
    ------
    PlanError
        If a hook is misspelt, is not plain Python, or needs what a service does not have.
    """
    tree = tree_of(cell)
    defined = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if not any(name in HOOKS for name in defined):
        _refuse_misspelt(defined, cell, model)
        return ""
    _refuse_magics(tree, cell, model)
    ground = resolver.ground
    names = analyse_cells([tree], ground.known, called=HOOKS[0])[0]
    for line in names.stars:
        raise _error(cell, model, f"has `import *` in line {line}", "Import the names that you use.", "*")
    for name in names.inputs:
        if name in ground.parameters:
            problem = f"needs the parameter `{name}`, which differs from run to run"
            raise _error(cell, model, problem, f"Bind `{name}` in the hook, or as a constant in setup.", name)
        if name in ground.bound:
            continue
        writes = resolver.givers.all(name)
        if writes and writes[0].text:
            raise _error(
                cell, model, f"needs `{name}`, which a stage imports", "Import it in the hook or in setup.", name
            )
        if writes:
            problem = f"needs `{name}`, which stage `{writes[-1].stage}` gives; a service has no stages"
            raise _error(cell, model, problem, "Make it a part of the model, such as a step of a Pipeline.", name)
        raise resolver.missing(Demand(name, f"The hook of `{model}` (cell {cell.number})", cell.number))
    return _composed(cell, tree, resolver)


def _composed(cell: Cell, tree: ast.Module, resolver: Resolver) -> str:
    used = resolver.ground.pieces_for_hooks(names_in([tree]))
    future = [piece for piece in used if piece.source.startswith("from __future__")]
    setup = [piece.source for piece in [*future, *(piece for piece in used if piece not in future)]]
    body = source_of(cell).split("\n")
    first = min((node.lineno for node in tree.body), default=1)
    comments = [line for line in body[: first - 1] if line.startswith("#") and not line.startswith(("# %%", "#|"))]
    return "\n".join([*setup, "", *comments, *body[first - 1 :]]).strip() + "\n"


def _refuse_misspelt(defined: list[str], cell: Cell, model: str) -> None:
    for name in defined:
        near = closest(name, HOOKS, 0.8)
        if near:
            raise _error(cell, model, f"defines `{name}`, which is no hook", f"Did you mean `{near}`?", name)


def _refuse_magics(tree: ast.Module, cell: Cell, model: str) -> None:
    for node in ast.walk(tree):
        if is_magic_call(node):
            line = getattr(node, "lineno", 0)
            raise _error(cell, model, f"holds IPython syntax in line {line}", "A service runs plain Python only.", "")


def _error(cell: Cell, model: str, problem: str, remedy: str, name: str) -> PlanError:
    return PlanError(f"The hook of `{model}` (cell {cell.number}) {problem}.", remedy, cell=cell.number, name=name)
