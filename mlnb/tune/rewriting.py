"""Better values become a changed parameters cell: only the literals change, comments and layout stay."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from mlnb.notebook.document import Cell
from mlnb.pipeline.graph import Json, Pipeline


def rewritten(pipeline: Pipeline, values: Mapping[str, Json]) -> dict[int, tuple[str, str]]:
    """Return old and new text of every cell, by number, in which a parameter's default differs from `values`.

    Parameters
    ----------
    values : mapping of str to JSON value
        New defaults by parameter.
    """
    places = {parameter.name: parameter.cell for parameter in pipeline.parameters}
    found: dict[int, tuple[str, str]] = {}
    for cell in pipeline.parameter_cells:
        here = {name: value for name, value in values.items() if places.get(name) == cell.number}
        text = _replaced(cell, here)
        if text != cell.source:
            found[cell.number] = (cell.source, text)
    return found


def _replaced(cell: Cell, values: Mapping[str, Json]) -> str:
    """Replace from the end, so that earlier places stay what they are; columns count bytes."""
    lines = cell.source.encode("utf-8", "surrogatepass").split(b"\n")
    last: dict[str, ast.expr] = {}
    for statement in ast.parse(_without_magics(cell.source)).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                last[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                last[name] = value
    for name, node in sorted(last.items(), key=lambda item: (-item[1].lineno, -item[1].col_offset)):
        if name not in values or node.end_lineno is None or node.end_col_offset is None:
            continue
        if _means(node, values[name]):
            continue
        before = lines[node.lineno - 1][: node.col_offset]
        after = lines[node.end_lineno - 1][node.end_col_offset :]
        lines[node.lineno - 1 : node.end_lineno] = [before + _literal(values[name]).encode() + after]
    return b"\n".join(lines).decode("utf-8", "surrogatepass")


def _literal(value: Json) -> str:
    """Return Python for a value, with the double quotes that formatters prefer."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _means(node: ast.expr, value: Json) -> bool:
    """Say whether the literal is this value already: 200 or 2e2, it is the user's spelling that stays."""
    try:
        known = ast.literal_eval(node)
    except ValueError:
        return False
    return bool(known == value) and isinstance(known, bool) == isinstance(value, bool)


def _without_magics(source: str) -> str:
    """Blank the lines that only IPython reads; places of the others stay."""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))
