"""The code of a stage tells whether it calls ``mlnb.evaluate``, itself or through setup.

Then its ``--metrics`` may name metrics besides variables, and its ``--slices`` have something to slice.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from mlnb.errors import PlanError
from mlnb.model.metric_names import ALIASES, METRICS, is_metric
from mlnb.notebook.spelling import closest, listed
from mlnb.pipeline.givers import Node
from mlnb.pipeline.resolve import Resolver
from mlnb.pipeline.setup import names_in, needed, pieces, tree_of

_FUNCTIONS = frozenset({"evaluate"})
_MODULES = frozenset({"mlnb", "mlnb.model.evaluate"})


def evaluating(resolver: Resolver) -> frozenset[str]:
    """Return the stages whose code, or the setup that it uses, calls ``evaluate``."""
    everything = [tree_of(cell) for cell in resolver.ground.cells]
    everything += [tree_of(cell) for node in resolver.nodes.values() for cell in node.draft.cells]
    functions, modules = _imported(everything)
    if not functions and not modules:
        return frozenset()
    before = pieces(resolver.ground.cells)
    found = set()
    for node in resolver.nodes.values():
        trees: list[ast.AST] = [tree_of(cell) for cell in node.draft.cells]
        used = [piece.node for piece in needed(before, names_in(trees))]
        if not node.draft.tested and any(_calls(tree, functions, modules) for tree in (*trees, *used)):
            found.add(node.name)
    return frozenset(found)


def check_measured(node: Node, given: Iterable[str], evaluates: bool) -> tuple[str, ...]:
    """Return the metrics of a mark that are no variables, but numbers of the stage's evaluation.

    Raises
    ------
    PlanError
        If ``--metrics`` names neither a variable nor a metric, or ``--slices`` has nothing to slice.
    """
    bound = set(given)
    others = tuple(name for name in node.draft.options.get("metrics", ()) if name not in bound)
    slices = node.draft.options.get("slices", ())
    if slices and not evaluates:
        raise PlanError(
            f"{node.draft.title} slices by {listed(slices)}, but calls no `evaluate(...)`.",
            "Call it: `from mlnb import evaluate`, and `evaluation = evaluate(y_test, scores, rows=X_test)`.",
            cell=node.draft.said["slices"],
            stage=node.name,
            name=slices[0],
        )
    for name in others if evaluates else ():
        if not is_metric(name):
            near = closest(name, [*bound, *METRICS, *ALIASES])
            raise PlanError(
                f"{node.draft.title} lists `{name}` in `--metrics`, but does not bind it, and no metric has that name.",
                f"Did you mean `{near}`?" if near else f"The metrics are {listed(METRICS)}.",
                cell=node.draft.said["metrics"],
                stage=node.name,
                name=name,
            )
    return others if evaluates else ()


def _imported(trees: Iterable[ast.AST]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the function, and those of the modules that have it."""
    functions, modules = set(), set()
    for node in (part for tree in trees for part in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            functions |= {one.asname or one.name for one in node.names if one.name in _FUNCTIONS}
        elif isinstance(node, ast.Import):
            modules |= {one.asname or one.name.partition(".")[0] for one in node.names if one.name in _MODULES}
    return frozenset(functions), frozenset(modules)


def _calls(tree: ast.AST, functions: frozenset[str], modules: frozenset[str]) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in functions:
                return True
            case ast.Call(func=ast.Attribute(attr="evaluate", value=ast.Name(id=name))) if name in modules:
                return True
    return False
