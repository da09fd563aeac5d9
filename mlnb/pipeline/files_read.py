"""Code and the values of its names become the files that it reads by a path that can be known without running it.

``pd.read_csv(DATA / f"{year}.csv")`` counts, where ``DATA`` is a constant and ``year`` a parameter. A path that only
running can tell is not followed. What is opened for writing is not read.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

_ON_PATHS = frozenset({"open", "read_text", "read_bytes", "glob", "rglob", "iterdir"})
_READERS = _ON_PATHS | {"load", "loadtxt", "genfromtxt", "fromfile", "memmap", "imread", "iglob", "ZipFile"}
_READERS |= {"ParquetFile", "ParquetDataset", "dataset"}
_READER_PREFIXES = ("read_", "scan_", "load_")
_PATH_KEYWORDS = frozenset(
    {"filepath_or_buffer", "path", "path_or_buf", "io", "file", "fname", "filename", "source", "pathname"}
)


def digests_of_files(nodes: Iterable[ast.AST], values: Mapping[str, object], folder: Path) -> dict[str, str]:
    """Return ``sha256:<hex>`` of every file that the code reads, by path relative to `folder`, sorted.

    Parameters
    ----------
    nodes : iterable of ast.AST
        The code.
    values : mapping of str to object
        Known values of names, such as parameters.
    folder : Path
        Folder of the notebook, in which its code runs. A path that does not exist there does not count.
    """
    statements = list(nodes)
    reader = _PathReader({**_constants(statements), **values})
    found: dict[str, str] = {}
    for text in sorted(set(reader.paths(statements))):
        for path in _existing(text, folder):
            found[_shown(path, folder)] = _digest(path)
    return dict(sorted(found.items()))


class _PathReader:
    """Find the paths that calls read, by evaluating what is constant."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = dict(values)

    def paths(self, nodes: Iterable[ast.AST]) -> Iterator[str]:
        for node in (part for root in nodes for part in ast.walk(root)):
            if isinstance(node, ast.Call):
                yield from filter(None, self._read_by(node))

    def _read_by(self, call: ast.Call) -> Iterator[str]:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if not (name in _READERS or name.startswith(_READER_PREFIXES)) or _writes(call, name):
            return
        own = self.text(call.func.value) if isinstance(call.func, ast.Attribute) and name in _ON_PATHS else ""
        if own:
            pattern = self.text(call.args[0]) if "glob" in name and call.args else ""
            yield f"{own}/{'**/' if name == 'rglob' else ''}{pattern}" if pattern else own
            return
        given = [*call.args[:1], *(k.value for k in call.keywords if k.arg in _PATH_KEYWORDS)]
        for argument in given:
            yield self.text(argument)

    def text(self, node: ast.expr) -> str:
        """Return the path that an expression is known to be, ``""`` for any other."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._named(name)
            case ast.BinOp(left=left, op=ast.Div() | ast.Add() as op, right=right):
                first, second = self.text(left), self.text(right)
                return (f"{first}/{second}" if isinstance(op, ast.Div) else first + second) if first and second else ""
            case ast.JoinedStr(values=parts):
                texts = [self._formatted(part) for part in parts]
                return "".join(texts) if all(texts) else ""
            case ast.Call(func=function, args=[first, *rest]) if _callee(function) in {
                "Path",
                "PurePath",
                "join",
                "str",
            }:
                texts = [self.text(part) for part in (first, *rest)]
                return str(PurePosixPath(*texts)) if all(texts) else ""
        return ""

    def _named(self, name: str) -> str:
        value = self._values.pop(name, "")  # out of reach meanwhile: a name may be bound in terms of itself
        text = self.text(value) if isinstance(value, ast.expr) else value if isinstance(value, str) else ""
        self._values[name] = value
        return text

    def _formatted(self, node: ast.expr) -> str:
        if isinstance(node, ast.FormattedValue):
            if isinstance(node.value, ast.Name) and node.format_spec is None:
                value = self._values.get(node.value.id, "")
                if isinstance(value, (str, int)) and not isinstance(value, bool):
                    return str(value)
            return self.text(node.value) if node.format_spec is None else ""
        return self.text(node)


def _constants(nodes: Sequence[ast.AST]) -> dict[str, ast.expr]:
    """Return the expressions of names that the code binds exactly once."""
    values: dict[str, ast.expr] = {}
    times: Counter[str] = Counter()
    for node in (part for root in nodes for part in ast.walk(root)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                values[name] = value
            case ast.Name(id=name, ctx=ast.Store()):
                times[name] += 1
    return {name: value for name, value in values.items() if times[name] == 1}


def _callee(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _writes(call: ast.Call, name: str) -> bool:
    if name != "open":
        return False
    method = isinstance(call.func, ast.Attribute) and _callee(call.func.value) not in {
        "io",
        "gzip",
        "bz2",
        "lzma",
        "codecs",
    }
    place = 0 if method else 1
    mode = [k.value for k in call.keywords if k.arg == "mode"] or call.args[place : place + 1]
    written = mode[0].value if mode and isinstance(mode[0], ast.Constant) else "r"
    return isinstance(written, str) and bool(set("wax+") & set(written)) and len(written) <= 3


def _existing(text: str, folder: Path) -> Iterator[Path]:
    if "://" in text or "\0" in text or len(text) > 1000:
        return
    path = folder / Path(text).expanduser() if text.startswith("~") else folder / text
    try:
        if path.is_dir():
            yield from (part for part in sorted(path.rglob("*")) if part.is_file())
        elif path.is_file():
            yield path
        elif any(sign in text for sign in "*?["):
            yield from (part for part in sorted(folder.glob(text)) if part.is_file())
    except (OSError, ValueError, NotImplementedError):  # not a path on this system
        return


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
