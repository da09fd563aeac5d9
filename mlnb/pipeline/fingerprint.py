"""A stage becomes the key of its result: whoever has the same key need not run it again.

Format 2. The key covers the stage's code and the setup it uses, both as syntax trees (comments, blank lines and the
spelling of marks do not count), the parameters it reads, what it takes, the project's own modules and the versions of
the distributions it imports, the data it reads (by literal paths and ``--reads``), the environment variables that
``--env`` names, the files it writes, and what is demanded of it. Raise `FORMAT` when the meaning of a part changes: old
results are then not found, which is safe. Format 1 (mlnb 0.1) knew neither ``env`` nor ``writes``, nor data in helpers.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from mlnb.pipeline.files_read import Touched, told, touched
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.pipeline.ground import prologue
from mlnb.pipeline.modules import Imports, Wanted, follow_imports, imports_in, module_folders
from mlnb.pipeline.order import code_of, dumped, related, touches_of
from mlnb.pipeline.sources import identities
from mlnb.store.digests import FileDigests, digests_in
from mlnb.store.keyed import keyed_digest

FORMAT = 3
_ROOT_SIGNS = (".mlnb", ".git", "pyproject.toml")
_UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Key:
    """What a result depends on.

    Attributes
    ----------
    digest : str
        ``sha256:<hex>`` of the parts.
    parts : mapping of str to str
        ``code`` and ``setup`` as digests; ``parameters``, ``inputs``, ``modules``, ``distributions``, ``files``,
        ``env`` (values as keyed digests), ``writes`` and ``outputs`` as JSON, so that a change can be told in words.
        ``writes`` holds paths relative to the project, with ``read`` where another stage reads them, else ``kept``.
    notices : tuple of str
        What cannot be known of the data, as sentences.
    """

    digest: str
    parts: Mapping[str, str]
    notices: tuple[str, ...] = field(default=(), compare=False)


def fingerprint(
    pipeline: Pipeline,
    stage: Stage,
    values: Mapping[str, Json],
    inputs: Mapping[str, str],
    *,
    root: Path | None = None,
) -> Key:
    """Return the key of one stage; `Fingerprints` gives those of many for less.

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
    return Fingerprints(pipeline, values, root=root).key(stage, inputs)


class Fingerprints:
    """The keys of a pipeline's stages under some parameters.

    What the notebook says is worked out once; modules, data and variables are looked at anew for each key, because they
    may change while a pipeline runs. What a look costs is kept small by stamps (`mlnb.store.digests`).

    Parameters
    ----------
    pipeline, values, root
        As in `fingerprint`.
    environ : mapping of str to str, optional
        The variables that ``--env`` may name. Default: this process's own.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Json],
        *,
        root: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._notebook = pipeline.document.path
        self._root = root or project_root(self._notebook)
        self._values = {**{parameter.name: parameter.default for parameter in pipeline.parameters}, **values}
        self._environ = os.environ if environ is None else environ
        self._folders = module_folders(self._notebook, self._root)
        state = self._root / ".mlnb"
        self._digests = digests_in(state) if state.is_dir() else FileDigests()
        self._codes = {stage.name: self._code_of(stage) for stage in pipeline.stages}

    def key(self, stage: Stage, inputs: Mapping[str, str]) -> Key:
        """Return the key of a stage that takes values with these identities.

        Raises
        ------
        StorageError
            If a file that it reads is there and cannot be read.
        """
        code = self._codes[stage.name]
        imports = follow_imports(code.wanted, self._root)
        reads = (*code.touched.reads, *self._read_in_modules(imports, code))
        found = identities(reads, self._notebook.parent, self._digests, declared=stage.reads, stage=stage.name)
        parts = {
            "code": code.code,
            "setup": code.setup,
            "parameters": _json({name: self._values[name] for name in stage.parameters}),
            "inputs": _json({taken.name: inputs[taken.name] for taken in stage.inputs}),
            "modules": _json(imports.sources),
            "distributions": _json(imports.distributions),
            "files": _json(found.files),
            "env": _json({name: self._variable(name) for name in stage.env}),
            "writes": _json(self._written(code)),
            "outputs": _json([*sorted(stage.outputs), *(f"sliced by {column}" for column in stage.slices)]),
        }
        content = _json({"format": FORMAT, "parts": parts})
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        return Key(f"sha256:{digest}", parts, found.notices)

    def _code_of(self, stage: Stage) -> _Code:
        code = code_of(stage, prologue(self._pipeline.parameter_cells, self._pipeline.setup))
        names = {parameter.name for parameter in self._pipeline.parameters}
        kept = [node for node in code.setup if not _declares(node, names)]
        raising = [str(place) for place, cell in enumerate(stage.cells) if "raises-exception" in cell.tags]
        kind = ast.dump(ast.Expr(ast.Constant(" ".join([stage.kind, *raising]))))
        return _Code(
            nodes=code.nodes,
            code=_digest_of([kind, *dumped(code.cells)]),
            setup=_digest_of(dumped([*kept, *code.borrowed])),
            wanted=imports_in(code.nodes, self._folders),
            touched=told(touches_of(code, {name: self._values[name] for name in stage.parameters})),
        )

    def _read_in_modules(self, imports: Imports, code: _Code) -> Iterator[str]:
        """Yield what the functions of helper modules read that the stage's code can reach, by their names."""
        if not imports.trees:
            return
        reached = _reached(code.nodes, imports.trees)
        for path, nodes in reached.items():
            yield from touched(nodes, {"__file__": str(path)}).reads

    def _variable(self, name: str) -> str:
        value = self._environ.get(name)
        return _UNSET if value is None else keyed_digest(f"{name}={value}")

    def _written(self, code: _Code) -> dict[str, str]:
        found = {}
        for text in code.touched.writes:
            if "://" not in text:
                path = os.path.relpath(self._notebook.parent / os.path.expanduser(text), self._root)  # noqa: PTH111
                found[Path(path).as_posix()] = "read" if self._read_by_others(text, code) else "kept"
        return found

    def _read_by_others(self, text: str, code: _Code) -> bool:
        """Say whether what a stage writes is read by others, and nobody else writes it."""
        others = [other for other in self._codes.values() if other is not code]
        rivals = any(related(text, path) for other in others for path in other.touched.writes)
        return not rivals and any(related(text, path) for other in others for path in other.touched.reads)


@dataclass(frozen=True, slots=True)
class _Code:
    """What the notebook alone says of a stage."""

    nodes: tuple[ast.AST, ...]
    code: str
    setup: str
    wanted: Wanted
    touched: Touched


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the parts in which two keys differ, in the order of a key."""
    return tuple(name for name in dict.fromkeys([*after, *before]) if before.get(name) != after.get(name))


def project_root(notebook: Path) -> Path:
    """Return the nearest folder above a notebook that looks like a project, else the notebook's own folder."""
    for folder in notebook.parents:
        if any((folder / sign).exists() for sign in _ROOT_SIGNS):
            return folder
    return notebook.parent


def _reached(code: Sequence[ast.AST], trees: Mapping[Path, ast.Module]) -> dict[Path, list[ast.AST]]:
    """Return the statements of modules that run, or may run, when `code` does.

    Functions and classes count where something that counts mentions their name: over-wide, never too narrow but for
    names that are put together while running.
    """
    wanted = {name for node in code for name in _mentioned_in(node)}
    left = [(path, statement) for path, tree in trees.items() for statement in tree.body]
    reached: dict[Path, list[ast.AST]] = {}
    grown = True
    while grown:
        grown = False
        waiting: list[tuple[Path, ast.stmt]] = []
        for path, statement in left:
            if _only_defines(statement, wanted):
                waiting.append((path, statement))
            else:
                reached.setdefault(path, []).append(statement)
                wanted |= _mentioned_in(statement)
                grown = True
        left = waiting
    return reached


def _only_defines(statement: ast.stmt, wanted: set[str]) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(statement, kinds) and statement.name not in wanted and not statement.decorator_list


@lru_cache(maxsize=16384)
def _mentioned_in(root: ast.AST) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(root):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
            case ast.Constant(value=str(text)) if text.isidentifier():
                found.add(text)
    return frozenset(found)


def _digest_of(dumps: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for dump in dumps:
        digest.update(dump.encode("utf-8", "surrogatepass") + b"\0")
    return f"sha256:{digest.hexdigest()}"


def _declares(node: ast.AST, parameters: set[str]) -> bool:
    """Say whether a statement is a parameter's default: its value in this run is what counts."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in parameters
    return False


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
