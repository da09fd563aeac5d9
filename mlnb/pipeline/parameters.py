"""The parameters cell becomes typed `Parameter` values; ``-p x=1`` and ``-f file.yaml`` become the values of one run.

A parameter is a name bound to a literal that JSON can say. Its type is its annotation, else that of its default.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import cast

from mlnb.errors import ParameterError, PlanError, UsageError
from mlnb.notebook.document import Cell
from mlnb.notebook.spelling import did_you_mean, listed
from mlnb.pipeline.graph import Json, Parameter
from mlnb.pipeline.setup import names_in, tree_of

_BASES: Mapping[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict}
_ALIASES = {"List": "list", "Sequence": "list", "Dict": "dict", "Mapping": "dict", "None": "None", "Any": "any"}
_TRUE, _FALSE, _NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null"}


def declared(cells: Sequence[Cell]) -> tuple[Parameter, ...]:
    """Return the parameters that the cells declare, in order; the last declaration of a name holds.

    Raises
    ------
    PlanError
        If a default contradicts its annotation, or is computed from another parameter (which ``-p`` would not reach).
    """
    found: dict[str, Parameter] = {}
    for cell in cells:
        for statement in tree_of(cell).body:
            parameter = _declaration(statement, cell)
            if parameter is not None:
                found[parameter.name] = parameter
            else:
                _refuse_derived(statement, found, cell)
    return tuple(found.values())


def read_values(
    parameters: Sequence[Parameter], assignments: Sequence[str] = (), file: Path | None = None
) -> dict[str, Json]:
    """Return the value of every parameter in a run: default, then `file`, then `assignments`.

    Parameters
    ----------
    parameters : sequence of Parameter
        What the notebook declares.
    assignments : sequence of str, default ()
        As in ``x=1``, in the order of the command line; the last one of a name holds.
    file : Path, optional
        A YAML or JSON file that holds a mapping.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value is not of its parameter's type.
    UsageError
        If an assignment has no ``=``, or the file cannot be read.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    for name, value in (_read_file(file) if file is not None else {}).items():
        values[name] = checked(_parameter(known, name), value)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"`-p {assignment}` is not an assignment.", "Write it as in `-p n_estimators=200`.")
        parameter = _parameter(known, name.strip())
        values[parameter.name] = _parsed(parameter, text)
    return values


def _declaration(statement: ast.stmt, cell: Cell) -> Parameter | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = None
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            pass
        case _:
            return None
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        return None
    if not _is_json(default):
        return None
    kind = _annotated(annotation) or _kind(default)
    if not _fits(kind, default):
        raise PlanError(
            f"Cell {cell.number} annotates the parameter `{name}` as {kind}, but its default is {default!r}.",
            "Make the default and the annotation agree.",
            cell=cell.number,
            name=name,
        )
    return Parameter(name, kind, cast(Json, default), cell.number)


def _refuse_derived(statement: ast.stmt, found: Mapping[str, Parameter], cell: Cell) -> None:
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and statement.value is not None:
        used = sorted(names_in([statement.value]) & found.keys())
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        if used:
            raise PlanError(
                f"Cell {cell.number} computes `{ast.unparse(target)}` from the parameter `{used[0]}` inside the "
                f"parameters cell, where `-p {used[0]}=...` would not reach it.",
                "Move the line to another cell, below.",
                cell=cell.number,
                name=used[0],
            )


def _annotated(node: ast.expr | None) -> str:
    """Return the type that an annotation names, ``""`` for none that we know."""
    match node:
        case ast.Constant(value=None):
            return "None"
        case ast.Constant(value=str(text)):
            try:
                return _annotated(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return ""
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name if name in _BASES else _ALIASES.get(name, "")
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            return _union([_annotated(inner), "None"])
        case ast.Subscript(value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=parts)):
            return _union([_annotated(part) for part in parts])
        case ast.Subscript(value=value):
            return _annotated(value)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([_annotated(left), _annotated(right)])
    return ""


def _union(kinds: Sequence[str]) -> str:
    bases = [kind.removesuffix(" | None") for kind in kinds if kind != "None"]
    base = bases[0] if len(bases) == 1 and bases[0] else "any"
    return f"{base} | None" if "None" in kinds and base != "any" else base


def _kind(value: object) -> str:
    return next((name for name, base in _BASES.items() if type(value) is base), "any")


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _fits(kind: str, value: object) -> bool:
    base, optional, _ = kind.partition(" | None")
    if base == "any" or (value is None and (optional or base == "None")):
        return True
    if isinstance(value, bool):
        return base == "bool"
    return isinstance(value, (int, float)) if base == "float" else isinstance(value, _BASES.get(base, type(None)))


def _parameter(known: Mapping[str, Parameter], name: str) -> Parameter:
    if name in known:
        return known[name]
    every = f"It has {listed(known)}." if known else "It has none: tag a cell `parameters`."
    raise ParameterError(f"The notebook has no parameter `{name}`.", did_you_mean(name, known, every), parameter=name)


def _wrong(parameter: Parameter, value: object) -> ParameterError:
    example = {"bool": "true", "list": "[1, 2]", "dict": '{"a": 1}', "int": "3", "float": "0.5"}
    base = parameter.type.removesuffix(" | None")
    return ParameterError(
        f"The parameter `{parameter.name}` is of type {parameter.type}; {value!r} is not.",
        f"Give it as in `-p '{parameter.name}={example.get(base, 'text')}'`.",
        parameter=parameter.name,
    )


def checked(parameter: Parameter, value: object) -> Json:
    """Return a value that has a type of its own, as a file gives it, as the parameter's.

    Raises
    ------
    ParameterError
        If it is not of the parameter's type.
    """
    base = parameter.type.removesuffix(" | None")
    if isinstance(value, date) and base == "str":
        value = value.isoformat()
    if not _is_json(value) or not _fits(parameter.type, value):
        raise _wrong(parameter, value)
    return float(value) if base == "float" and isinstance(value, int) else cast(Json, value)


def _parsed(parameter: Parameter, text: str) -> Json:
    """Return the value that a text of the command line spells, by the parameter's type."""
    base, optional, _ = parameter.type.partition(" | None")
    if (optional or base in {"any", "None"}) and text.strip().lower() in _NONE:
        return None
    readers: Mapping[str, Callable[[str], object]] = {
        "int": int,
        "float": float,
        "bool": _bool,
        "str": str,
        "any": _any,
    }
    try:
        value = readers.get(base, _literal)(text)
    except (ValueError, SyntaxError, TypeError):
        raise _wrong(parameter, text) from None
    return checked(parameter, value)


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _literal(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return ast.literal_eval(text.strip())


def _any(text: str) -> object:
    try:
        return _literal(text)
    except (ValueError, SyntaxError):
        return text


def _read_file(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The parameter file {path} cannot be read: {error}.", "Check its path.") from error
    values = _json(text, path) if path.suffix.lower() == ".json" else _yaml(text, path)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(
            f"The parameter file {path} is not a mapping of names to values.", "Write `name: value` lines."
        )
    return values


def _json(text: str, path: Path) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"The parameter file {path} is not JSON: {error}.", "Repair it.") from error


def _yaml(text: str, path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"The parameter file {path} is not YAML: {error}.", "Repair it.") from error
