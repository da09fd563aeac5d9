"""Code becomes the paths and addresses that it reads and those that it writes, as far as they are known beforehand.

Reading and writing are told by the name of what is called, and by the mode of what is opened. What running alone can
tell is not followed: ``--reads`` declares it. Nothing is asked of the disk here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlnb.pipeline.paths import Paths, callee

_ON_READ = frozenset({"read_text", "read_bytes", "glob", "rglob", "iterdir", "walk"})
_ON_WRITTEN = frozenset({"write_text", "write_bytes", "touch"})
_OPENING = frozenset({"open", "File", "ZipFile", "TarFile", "OSFile", "memory_map", "memmap", "HDFStore", "fdopen"})
_MODE_PLACE = {"memmap": 2}
_READING = frozenset(
    {"load", "loadtxt", "genfromtxt", "fromfile", "imread", "iglob", "glob", "listdir", "scandir", "walk", "run_path"}
    | {
        "ParquetFile",
        "ParquetDataset",
        "ExcelFile",
        "FragmentDataset",
        "dataset",
        "from_file",
        "from_csv",
        "from_parquet",
    }
)
_READING_PREFIXES = ("read_", "scan_", "load_", "open_")
_WRITING = frozenset(
    {"save", "savez", "savez_compressed", "savetxt", "savefig", "dump", "tofile", "imsave", "imwrite", "extractall"}
)
_WRITING_PREFIXES = ("to_", "write_", "sink_", "save_")
_MOVING = frozenset({"copy", "copy2", "copyfile", "copytree", "move", "urlretrieve", "rename"})
_DATABASES = frozenset({"connect", "create_engine"})
_QUERIES = frozenset({"sql", "query", "execute", "read_sql", "read_sql_query", "read_sql_table", "read_database_uri"})
_KEYWORDS = frozenset(
    {"filepath_or_buffer", "path", "path_or_buf", "io", "file", "fname", "filename", "source", "pathname", "where"}
    | {"filepath", "paths", "sink", "dest", "root_path", "base_dir", "uri", "database", "file_name", "path_or_file"}
    | {"excel_writer", "buf", "fp", "name"}
)
_MODE = re.compile(r"[rwaxU+bt]{1,4}([:|](gz|bz2|xz|zst|\*)?)?$")
_URL_OF_FILE = re.compile(r"^(?:sqlite|duckdb)(?:\+\w+)?:///(?P<path>[^?]+)")
_QUOTED_FILE = re.compile(r"'([^'\s]+\.(?:csv|tsv|parquet|json|jsonl|ndjson|arrow|feather)(?:\.\w+)?)'")
_SQL_WRITES = re.compile(r"\b(insert|update|delete|create|drop|alter|replace)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Touched:
    """What code touches, as the code spells it: relative to the notebook's folder, or an address with ``://``.

    Attributes
    ----------
    reads : tuple of str
        Paths, folders, patterns and addresses; not those that the same code has written further up.
    writes : tuple of str
        Paths.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Touch:
    """One path that code reads or writes.

    Attributes
    ----------
    place : tuple of int
        Number of the tree, line and column there.
    """

    place: tuple[int, int, int]
    text: str
    written: bool


def touched(nodes: Iterable[ast.AST], values: Mapping[str, object]) -> Touched:
    """Return what code reads and writes.

    Parameters
    ----------
    nodes : iterable of ast.AST
        The code, in the order in which it runs.
    values : mapping of str to object
        Known values of names, such as parameters; ``__file__`` where the code has one.
    """
    return told(touches(nodes, values))


def touches(nodes: Iterable[ast.AST], values: Mapping[str, object]) -> tuple[Touch, ...]:
    """Return each path that code touches, as often as it does; parameters as in `touched`."""
    walked = [(number, node) for number, root in enumerate(nodes) for node in ast.walk(root)]
    return tuple(_Calls(walked, values).touches())


def told(found: Sequence[Touch]) -> Touched:
    """Return what the touches come to: what is written before it is read is not read."""
    first: dict[str, tuple[int, int, int]] = {}
    for touch in found:
        if touch.written:
            first[touch.text] = min(touch.place, first.get(touch.text, touch.place))
    reads = [t.text for t in found if not t.written and not (t.text in first and first[t.text] < t.place)]
    return Touched(tuple(dict.fromkeys(reads)), tuple(first))


class _Calls:
    """The calls of some code that read or write files."""

    def __init__(self, walked: Sequence[tuple[int, ast.AST]], values: Mapping[str, object]) -> None:
        nodes = [node for _, node in walked]
        self._calls = [(number, node) for number, node in walked if isinstance(node, ast.Call)]
        self._paths = Paths(nodes, values)
        self._aliases: dict[str, str] = {}
        self._sql_writes = False
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                self._aliases.update({alias.asname: alias.name for alias in node.names if alias.asname})
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._sql_writes = self._sql_writes or bool(_SQL_WRITES.search(node.value))
            elif isinstance(node, ast.Attribute):
                self._sql_writes = self._sql_writes or node.attr == "to_sql"

    def touches(self) -> Iterator[Touch]:
        for number, call in self._calls:
            place = (number, call.lineno, call.col_offset)
            for written, texts in self._touched_by(call, self._name(call.func)):
                yield from (Touch(place, _plain(text), written) for text in texts if _possible(text))

    def _name(self, function: ast.expr) -> str:
        name = callee(function)
        if isinstance(function, ast.Name):
            bound = self._paths.bound_to(name)  # rc = pd.read_csv
            name = callee(bound) if isinstance(bound, (ast.Name, ast.Attribute)) else self._aliases.get(name, name)
        return name

    def _touched_by(self, call: ast.Call, name: str) -> Iterator[tuple[bool, Iterable[str]]]:
        own = self._paths.of(call.func.value) if isinstance(call.func, ast.Attribute) else ()
        if name in _OPENING:
            yield from self._opened(call, name, own)
        elif own and name in _ON_READ:
            yield False, self._listed(call, name, own)
        elif name in _ON_WRITTEN:
            yield True, own
        elif name in _MOVING:
            yield False, own or self._argument(call, 0)
            yield True, self._argument(call, 0 if own else 1)
        elif name in _DATABASES or name in _QUERIES:
            yield from self._asked(call, name)
        elif name == "run_line_magic":
            yield False, self._run_script(call)
        elif name in _WRITING or name.startswith(_WRITING_PREFIXES):
            first = () if name == "dump" else self._argument(call, 0)
            yield True, first or (*self._argument(call, 1), *self._keywords(call))
        elif name in _READING or name.startswith(_READING_PREFIXES):
            yield False, (*self._argument(call, 0), *self._keywords(call))

    def _opened(self, call: ast.Call, name: str, own: tuple[str, ...]) -> Iterator[tuple[bool, Iterable[str]]]:
        place = 0 if own else _MODE_PLACE.get(name, 1)
        given = next((k.value for k in call.keywords if k.arg == "mode"), None)
        if given is None and len(call.args) > place:
            given = call.args[place]
        mode = given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else "r"
        mode = mode if _MODE.match(mode) else "r"
        paths = own or (*self._argument(call, 0), *self._keywords(call))
        if not set("wax+") & set(mode) or ("+" in mode and "r" in mode):
            yield False, paths
        if set("wax+") & set(mode):
            yield True, paths

    def _listed(self, call: ast.Call, name: str, own: tuple[str, ...]) -> Iterator[str]:
        patterns = self._argument(call, 0) if "glob" in name else ()
        for folder in own:
            yield from (f"{folder}/{'**/' * (name == 'rglob')}{pattern}" for pattern in patterns)
            if not patterns:
                yield folder

    def _asked(self, call: ast.Call, name: str) -> Iterator[tuple[bool, Iterable[str]]]:
        """Tell a database in a file: it is read, and written where any of the code's SQL writes."""
        texts = [text for part in (*call.args, *(k.value for k in call.keywords)) for text in self._paths.of(part)]
        files = [found["path"] for text in texts if (found := _URL_OF_FILE.match(text))]
        if name == "connect":
            files += [text for text in (*self._argument(call, 0), *self._keywords(call)) if ":" not in text]
        if name in _QUERIES:
            yield False, [path for text in texts for path in _QUOTED_FILE.findall(text)]
        yield False, [*files, *(f"{path}-wal" for path in files)]
        if self._sql_writes:
            yield True, files

    def _run_script(self, call: ast.Call) -> Iterator[str]:
        """``%run script.py``."""
        words = [part.value for part in call.args if isinstance(part, ast.Constant)]
        if len(words) == 2 and words[0] == "run":
            yield from (word for word in str(words[1]).split() if word.endswith((".py", ".ipynb")))

    def _argument(self, call: ast.Call, place: int) -> tuple[str, ...]:
        return self._paths.of(call.args[place]) if len(call.args) > place else ()

    def _keywords(self, call: ast.Call) -> tuple[str, ...]:
        return tuple(text for k in call.keywords if k.arg in _KEYWORDS for text in self._paths.of(k.value))


def _possible(text: str) -> bool:
    return bool(text) and "\0" not in text and "\n" not in text and len(text) <= 1000


def _plain(text: str) -> str:
    """Return a path without ``./``, so that two spellings of one path are one; addresses stay."""
    if "://" in text:
        return text
    return text.removeprefix("./") or text
