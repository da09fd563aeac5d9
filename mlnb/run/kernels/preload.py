"""A notebook becomes the modules of distributions that its code imports: what a kernel may have loaded beforehand.

By the text alone, in milliseconds: neither IPython nor any of the modules is loaded. The project's own modules are
followed, not named, because they change; an import inside a function waits until the function is called.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlnb.notebook.document import Document
from mlnb.notebook.grammar import KINDS
from mlnb.notebook.syntax import cell_magic
from mlnb.pipeline.modules import module_folders

_RUNS_ITS_BODY = frozenset({*KINDS, "time", "timeit", "capture", "prun", "memit"})
_NOT_PYTHON = re.compile(r"^([ \t]*)(?:[%!].*|[\w., \[\]]+=[ \t]*[%!].*|.*\?{1,2}[ \t]*)$", re.MULTILINE)
_MOST_FILES = 100
_ROOTS = (".mlnb", "pyproject.toml", ".git")


def preload_of(document: Document) -> tuple[str, ...]:
    """Return the modules of distributions that the notebook imports, in the order of its cells.

    ``from package import thing`` gives ``package.thing``, which may be a module or something in one.
    """
    folders = module_folders(document.path, _root(document.path.parent))
    found: dict[str, None] = {}
    seen: set[Path] = set()
    for cell in document.cells:
        if cell.kind == "code":
            found.update(dict.fromkeys(_outside(_parsed(_code(cell.source)), "", folders, seen)))
    return tuple(found)


def _root(folder: Path) -> Path:
    candidates = (folder, *folder.parents)
    return next((one for one in candidates if any((one / mark).exists() for mark in _ROOTS)), folder)


def _code(source: str) -> str:
    """Return the Python in a cell: nothing of a foreign magic's cell."""
    magic = cell_magic(source)
    if magic is None:
        return source
    return magic.body if magic.name in _RUNS_ITS_BODY else ""


def _parsed(source: str) -> ast.Module:
    for text in (source, _NOT_PYTHON.sub(r"\1pass", source)):
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            continue
    return ast.Module([], [])


def _outside(tree: ast.Module, package: str, folders: Sequence[Path], seen: set[Path]) -> Iterator[str]:
    """Yield the modules that are not the project's own, also those that its own modules import."""
    for name in _imported(tree.body, package):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "mlnb":
            continue
        own = _own(name, folders)
        if not own:
            yield name
        for path, home in own:
            if path not in seen and len(seen) < _MOST_FILES:
                seen.add(path)
                yield from _outside(_parsed(path.read_text("utf-8", "replace")), home, folders, seen)


def _imported(statements: Sequence[ast.stmt], package: str) -> Iterator[str]:
    """Yield what is imported when these statements run: not what functions or only type checkers import."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
            module = ".".join([*parts, *([statement.module] if statement.module else [])])
            yield from (f"{module}.{alias.name}".removesuffix(".*") for alias in statement.names if module)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _imported(statement.orelse, package)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from _imported(getattr(statement, block, []), package)
            for handler in getattr(statement, "handlers", []):
                yield from _imported(handler.body, package)


def _own(name: str, folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return the project's files that importing `name` executes, each with the package it is in."""
    found: list[tuple[Path, str]] = []
    for folder in folders:
        place, package = folder, ""
        for part in name.split("."):
            module, place = place / f"{part}.py", place / part
            if (place / "__init__.py").is_file():
                package = f"{package}.{part}".lstrip(".")
                found.append((place / "__init__.py", package))
            elif module.is_file():
                return [*found, (module, package)]
            elif found or not place.is_dir():
                break
        if found:
            return found
    return []
