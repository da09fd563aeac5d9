"""The modules that code imports become digests of the project's own sources, and versions of installed distributions.

The project's own modules change from run to run and are followed transitively; a distribution is known by its version.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

_KNOWN = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "PyYAML", "cv2": "opencv-python", "bs4": "beautifulsoup4"}
"""Distributions by import name, to spare the look through everything installed (0.3 s)."""


@dataclass(frozen=True, slots=True)
class Imports:
    """What some code imports, directly or through the project's own modules.

    Attributes
    ----------
    sources : mapping of str to str
        Path relative to the project root, and digest of the module's normalised tree.
    distributions : mapping of str to str
        Distribution and version; Python itself is among them.
    """

    sources: Mapping[str, str]
    distributions: Mapping[str, str]


def trace_imports(nodes: Iterable[ast.AST], folders: Sequence[Path], root: Path) -> Imports:
    """Follow the imports of some code.

    Parameters
    ----------
    nodes : iterable of ast.AST
        The code.
    folders : sequence of Path
        Where the project's own modules are looked for, nearest first.
    root : Path
        The project, to which paths are relative.
    """
    sources: dict[Path, str] = {}
    outside: set[str] = set()
    left = list(_imported(nodes, None, None))
    seen: set[tuple[str, Path | None]] = set()
    while left:
        name, home = left.pop()
        if (name, home) in seen:
            continue
        seen.add((name, home))
        found = _files(name, [home] if home else folders)
        if not found and home is None:
            outside.add(name.partition(".")[0])
        for path, base in found:
            if path not in sources:
                tree, sources[path] = _read(path)
                left.extend(_imported([tree] if tree else [], path, base))
    return Imports(
        sources={_relative(path, root): sources[path] for path in sorted(sources)},
        distributions=dict(sorted(_distributions(outside))),
    )


def module_folders(notebook: Path, root: Path) -> tuple[Path, ...]:
    """Return where a notebook's own modules may be: its folder and those above up to `root`, each with its ``src``."""
    found: list[Path] = []
    for folder in (notebook.parent, *notebook.parent.parents):
        found.extend([folder, folder / "src"])
        if folder == root or root not in folder.parents:
            break
    return tuple(found)


def tree_digest(nodes: Iterable[ast.AST]) -> str:
    """Return ``sha256:<hex>`` of trees without positions: comments, blank lines and quotes do not count."""
    digest = hashlib.sha256()
    for node in nodes:
        digest.update(ast.dump(node).encode("utf-8", "surrogatepass") + b"\0")
    return f"sha256:{digest.hexdigest()}"


def _imported(nodes: Iterable[ast.AST], path: Path | None, base: Path | None) -> Iterator[tuple[str, Path | None]]:
    """Yield each imported module as a dotted name and the folder it is relative to (None: to the search path)."""
    for node in (part for root in nodes for part in ast.walk(root)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = None
            if node.level:
                if path is None or base is None:
                    continue
                home = path.parent
                for _ in range(node.level - 1):
                    home = home.parent
            module = node.module or ""
            if module:
                yield module, home
            if home is not None or module:  # each name may be a module itself
                yield from ((f"{module}.{a.name}".strip("."), home) for a in node.names if a.name != "*")


def _files(name: str, folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return the files that importing a dotted name executes, packages included, and the folder they were found in."""
    parts = name.split(".")
    for folder in folders:
        found: list[tuple[Path, Path]] = []
        place = folder
        for part in parts:
            module, package = place / f"{part}.py", place / part / "__init__.py"
            if package.is_file():
                found.append((package, folder))
            elif module.is_file():
                found.append((module, folder))
                break
            elif not (place / part).is_dir():
                break
            place = place / part
        if found:
            return found
    return []


@cache
def _normalised(path: Path, _modified_ns: int, _size: int) -> tuple[ast.Module | None, str]:
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return None, f"sha256:{hashlib.sha256(content).hexdigest()}"
    return tree, tree_digest([tree])


def _read(path: Path) -> tuple[ast.Module | None, str]:
    stamp = path.stat()
    return _normalised(path, stamp.st_mtime_ns, stamp.st_size)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _distributions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield "python", f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in sorted(set(names) - sys.stdlib_module_names):
        yield _distribution(name)


@cache
def _distribution(name: str) -> tuple[str, str]:
    guess = _KNOWN.get(name, name)
    found = _version(guess)
    if found:
        return guess, found
    for guess in _all().get(name, ()):
        if found := _version(guess):
            return guess, found
    return name, "not installed"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


@cache
def _all() -> Mapping[str, Sequence[str]]:
    return packages_distributions()
