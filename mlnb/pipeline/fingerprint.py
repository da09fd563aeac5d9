"""A stage becomes the key of its result: whoever has the same key need not run it again.

Format 1. The key covers the stage's code and the setup it uses, both as syntax trees (comments, blank lines and the
spelling of marks do not count), the parameters it reads, what it takes, the project's own modules and the versions of
the distributions it imports, the files it reads, and what is demanded of it. Raise `FORMAT` when the meaning of a part
changes: old results are then not found, which is safe.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlnb.pipeline.files_read import digests_of_files
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.pipeline.ground import prologue
from mlnb.pipeline.modules import module_folders, trace_imports, tree_digest
from mlnb.pipeline.setup import names_in, needed, pieces, tree_of

FORMAT = 1
_ROOT_SIGNS = (".mlnb", ".git", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Key:
    """What a result depends on.

    Attributes
    ----------
    digest : str
        ``sha256:<hex>`` of the parts.
    parts : mapping of str to str
        ``code`` and ``setup`` as digests; ``parameters``, ``inputs``, ``modules``, ``distributions``, ``files`` and
        ``outputs`` as JSON, so that a change can be told in words.
    """

    digest: str
    parts: Mapping[str, str]


def fingerprint(
    pipeline: Pipeline,
    stage: Stage,
    values: Mapping[str, Json],
    inputs: Mapping[str, str],
    *,
    root: Path | None = None,
) -> Key:
    """Return the key of a stage.

    Parameters
    ----------
    pipeline : Pipeline
        Gives setup.
    stage : Stage
        One of its nodes.
    values : mapping of str to JSON value
        Values of the run's parameters; those that the stage reads count.
    inputs : mapping of str to str
        Identities of what the stage takes, by name.
    root : Path, optional
        The project, up to which modules are looked for. Default: the nearest folder above the notebook that holds
        ``.mlnb``, ``.git`` or ``pyproject.toml``, else the notebook's own.
    """
    notebook = pipeline.document.path
    root = root or project_root(notebook)
    code: list[ast.AST] = [tree_of(cell) for cell in stage.cells]
    before = pieces(prologue(pipeline.parameter_cells, pipeline.setup))
    setup: list[ast.AST] = [piece.node for piece in needed(before, names_in(code))]
    borrowed: list[ast.AST] = [ast.parse(line) for line in stage.imports]
    everything = [*setup, *borrowed, *code]
    imports = trace_imports(everything, module_folders(notebook, root), root)
    known = {**{parameter.name: parameter.default for parameter in pipeline.parameters}, **values}
    read = {name: known[name] for name in stage.parameters}
    parts = {
        "code": tree_digest([ast.Expr(ast.Constant(stage.kind)), *code]),
        "setup": tree_digest([*(node for node in setup if not _declares(node, pipeline)), *borrowed]),
        "parameters": _json(read),
        "inputs": _json({taken.name: inputs[taken.name] for taken in stage.inputs}),
        "modules": _json(imports.sources),
        "distributions": _json(imports.distributions),
        "files": _json(digests_of_files(everything, read, notebook.parent)),
        "outputs": _json(sorted(stage.outputs)),
    }
    content = _json({"format": FORMAT, "parts": parts})
    return Key(f"sha256:{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()}", parts)


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the parts in which two keys differ, in the order of a key."""
    return tuple(name for name in dict.fromkeys([*after, *before]) if before.get(name) != after.get(name))


def project_root(notebook: Path) -> Path:
    """Return the nearest folder above a notebook that looks like a project, else the notebook's own folder."""
    for folder in notebook.parents:
        if any((folder / sign).exists() for sign in _ROOT_SIGNS):
            return folder
    return notebook.parent


def _declares(node: ast.AST, pipeline: Pipeline) -> bool:
    """Say whether a statement is a parameter's default: its value in this run is what counts."""
    names = {parameter.name for parameter in pipeline.parameters}
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in names
    return False


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
