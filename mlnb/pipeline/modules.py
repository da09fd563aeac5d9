"""The modules that code imports become digests of the project's own sources, and versions of installed distributions.

The project's own modules, and those of working copies that are installed editable, change from run to run and are
followed transitively; any other distribution is known by its version.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from mlnb.pipeline.distributions import distributions_of
from mlnb.pipeline.paths import Paths, callee
from mlnb.store.digests import Stamp

_OWN = "mlnb"
"""What runs the stage is no part of it: its version counts, not its sources."""


_Module = tuple[str, Path | None]
"""A dotted name, and the folder that it is relative to; None: to the search path."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The modules that some code asks for, and where to look for them, nearest first."""

    modules: tuple[_Module, ...]
    folders: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Imports:
    """What some code imports, directly or through the project's own modules.

    Attributes
    ----------
    sources : mapping of str to str
        Path relative to the project root, and digest of the module's normalised tree.
    distributions : mapping of str to str
        Distribution and version; Python itself is among them.
    trees : mapping of Path to ast.Module
        The modules' own code, by file.
    """

    sources: Mapping[str, str]
    distributions: Mapping[str, str]
    trees: Mapping[Path, ast.Module] = field(default_factory=dict, compare=False)


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
    return follow_imports(imports_in(nodes, folders), root)


def imports_in(nodes: Iterable[ast.AST], folders: Sequence[Path]) -> Wanted:
    """Return what some code asks for by itself: the part of `trace_imports` that needs no look at any file."""
    code = [part for root in nodes for part in ast.walk(root)]
    return Wanted(tuple(_imported(code, None, None)), (*folders, *_added_folders(code, folders)))


def follow_imports(wanted: Wanted, root: Path) -> Imports:
    """Return what code imports that wants this: the rest of `trace_imports`."""
    trace = _Trace(wanted.folders, root)
    trace.follow(wanted.modules)
    return Imports(
        sources={_relative(path, root): trace.sources[path] for path in sorted(trace.sources)},
        distributions=dict(sorted({"python": _python(), **trace.distributions}.items())),
        trees=dict(sorted(trace.trees.items())),
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


class _Trace:
    """Modules as they are found."""

    def __init__(self, folders: Sequence[Path], root: Path) -> None:
        self._folders = folders
        self._root = root
        self.sources: dict[Path, str] = {}
        self.trees: dict[Path, ast.Module] = {}
        self.distributions: dict[str, str] = {}

    def follow(self, first: Iterable[_Module]) -> None:
        left, seen = list(first), set[_Module]()
        while left:
            name, home = left.pop()
            if (name, home) in seen:
                continue
            seen.add((name, home))
            found = _files(name, [home] if home else self._folders)
            if not found and home is None:
                found = self._outside(name)
            for path, base in found:
                if path not in self.sources:
                    tree, self.sources[path] = _read(path)
                    if tree is not None:
                        self.trees[path] = tree
                        left.extend(_imported(ast.walk(tree), path, base))

    def _outside(self, name: str) -> list[tuple[Path, Path]]:
        """Note the distributions of a module; return its files where it is a working copy."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            return []
        known = distributions_of(top)
        self.distributions.update({one.name: one.version for one in known} or {top: "not installed"})
        folder = _working_copy(top) if top != _OWN and any(one.editable for one in known) else None
        return _files(name, [folder]) if folder else []


def _imported(nodes: Iterable[ast.AST], path: Path | None, base: Path | None) -> Iterator[_Module]:
    """Yield each module that one of `nodes` imports; what is below a node must be among them itself."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.Call) and callee(node.func) in {"import_module", "__import__"}:
            yield from _imported_by_name(node, path)
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


def _imported_by_name(call: ast.Call, path: Path | None) -> Iterator[_Module]:
    """``importlib.import_module("models.tree")``, and ``import_module(".tree", __package__)`` in a package."""
    match call.args:
        case [ast.Constant(value=str(name)), *_]:
            if not name.startswith("."):
                yield name, None
            elif path is not None:
                levels = len(name) - len(name.lstrip("."))
                yield name.lstrip("."), list(path.parents)[levels - 1]


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


def _added_folders(code: Sequence[ast.AST], folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders of ``sys.path.append("../lib")`` and its like."""
    adding = [
        call
        for call in code
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in {"append", "insert"}
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "path"
        and call.args
    ]
    if adding and folders:
        paths = Paths(code, {})
        for call in adding:
            yield from ((folders[0] / text).resolve() for text in paths.of(call.args[-1]))


@lru_cache(maxsize=4096)
def _normalised(path: Path, _stamp: Stamp) -> tuple[ast.Module | None, str]:
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return None, f"sha256:{hashlib.sha256(content).hexdigest()}"
    return tree, tree_digest([tree])


def _read(path: Path) -> tuple[ast.Module | None, str]:
    return _normalised(path, Stamp.of(path))


@lru_cache(maxsize=256)
def _working_copy(top: str) -> Path | None:
    """Return the folder that an editable distribution is imported from; nothing is imported to find it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    place = Path(spec.origin)
    return place.parent.parent if place.name == "__init__.py" else place.parent


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
