"""A text notebook (a percent script, MyST, whatever else jupytext knows) becomes a notebook's JSON.

Importing jupytext takes seconds, so what it made is kept below ``.mlnb/converted``, under the digest of the text and
jupytext's version: a second look at an unchanged file loads neither jupytext nor nbformat. The ids of the cells come
from their text, because jupytext draws new ones each time.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from mlnb.errors import NotebookError, StorageError
from mlnb.store.disk import write_bytes

_FORMAT = 1
_KEPT = 50
_PYTHON = re.compile(
    r"^\s*#\s*%%+(\s|$)|^#\s*<codecell>|^#\s*In\[[\d ]*\]|^# \+(\s|$)"
    r"|\A(#![^\n]*\n)?(#[^\n]*\n)?# ---\n(#.*\n)*?# jupy",
    re.M,
)
_HIDDEN_MARK = re.compile(r"\A(\s*)#\s?(%%(?:setup|stage|test|deploy)\b)")
_HIDDEN_MAGIC = re.compile(r"^#\s*!\s*(%)", re.M)
_MARKDOWN = re.compile(r"^\s*(```+|~~~+)\s*\{(code-cell|python)\b|\A---\n((?!---).*\n)*?jupy(ter|text):", re.M)


def read_text_notebook(path: Path, content: bytes) -> Mapping[str, object]:
    """Return the notebook's JSON, nbformat 4.

    Raises
    ------
    NotebookError
        If the text has no cells, or jupytext cannot read it.
    """
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not text in UTF-8 (byte {error.start})", "Save it as UTF-8.") from error
    if not (_PYTHON if path.suffix == ".py" else _MARKDOWN).search(text):
        example = "begin each with a line `# %%`" if path.suffix == ".py" else "write them as ```{code-cell} blocks"
        raise _refused(path, "has no cells, so it is not a notebook", f"Part it into cells: {example}.")
    kept = _kept(path, text)
    if kept is not None and kept.is_file():
        with suppress(OSError, ValueError):
            return cast("Mapping[str, object]", json.loads(kept.read_bytes()))
    notebook = _converted(path, text)
    if kept is not None:
        with suppress(StorageError):  # a project that may only be read: the next look takes longer
            write_bytes(kept, json.dumps(notebook, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            _forget_old(kept.parent)
    return notebook


def first_lines(text: str, sources: Sequence[str]) -> tuple[int, ...]:
    """Return with which line of a text notebook each cell's source begins, 1-based; 0 where it cannot be told.

    Parameters
    ----------
    text : str
        The file.
    sources : sequence of str
        The sources of its cells, in order. In the file their lines may be commented.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    shapes = [_shapes(line) for line in lines]
    found: list[int] = []
    place = 0
    for source in sources:
        wanted = [line.strip() for line in source.split("\n")]
        start, length = _find(shapes, wanted, place), len(wanted)
        if start < 0 and wanted[0].startswith("%%"):  # `# %% language="bash"`: the magic is not in the text
            start, length = _find(shapes, wanted[1:], place) - 1, len(wanted)
        if start < 0 or not source.strip():
            found.append(0)
        else:
            found.append(start + 1)
            place = start + length
    return tuple(found)


def _find(shapes: Sequence[frozenset[str]], wanted: Sequence[str], place: int) -> int:
    """Return the first index from `place` at which the lines stand, -1 (or less) if nowhere."""
    if not wanted:
        return -1
    for start in range(place, len(shapes) - len(wanted) + 1):
        if all(line in shapes[start + offset] for offset, line in enumerate(wanted)):
            return start
    return -1


def _shapes(line: str) -> frozenset[str]:
    """Return what a line of the file may be in a cell: as it is, without one ``#`` or two, without ``#!``."""
    bare = line.strip()
    once = re.sub(r"^#\s?", "", bare)
    return frozenset((bare, once.strip(), re.sub(r"^#\s?", "", once).strip(), _HIDDEN_MAGIC.sub(r"\1", bare)))


def _converted(path: Path, text: str) -> Mapping[str, object]:
    with warnings.catch_warnings():  # of jupytext and nbformat at their import: nothing that a user could change
        warnings.simplefilter("ignore")
        import jupytext
        import nbformat
        import yaml
        from jupytext.formats import JupytextFormatError

        errors = (JupytextFormatError, nbformat.ValidationError, yaml.YAMLError, ValueError, KeyError, SyntaxError)
        read = cast("Callable[..., Any]", jupytext.reads)
        try:
            notebook = read(text, fmt={"extension": path.suffix})
        except (*errors, OSError, RuntimeError) as error:
            said = str(getattr(error, "message", "") or error).strip().split("\n")[0].rstrip(".")
            remedy = "Repair its header or its cells until `jupytext --to ipynb` reads it."
            raise _refused(path, f"cannot be read as a notebook: {said}", remedy) from error
    plain = cast("dict[str, Any]", json.loads(json.dumps(notebook)))
    seen: Counter[str] = Counter()
    for cell in plain["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = _shown(cell["source"])
        digest = hashlib.sha256(f"{cell['cell_type']}\n{cell['source']}".encode("utf-8", "surrogatepass")).hexdigest()
        seen[digest] += 1
        cell["id"] = f"{digest[:12]}-{seen[digest]}"
    return {**plain, "nbformat": 4, "nbformat_minor": 5}


def _shown(source: str) -> str:
    """Return a code cell with the magics that jupytext left commented: VS Code's ``#!%time``, and our marks.

    Jupytext takes a script with one bare magic for one whose magics are all bare; a mark is a mark all the same.
    """
    return _HIDDEN_MARK.sub(r"\1\2", _HIDDEN_MAGIC.sub(r"\1", source))


def _kept(path: Path, text: str) -> Path | None:
    """Return where the conversion is kept, None where there is no project to keep it in."""
    from importlib.metadata import version

    for folder in path.parents:
        if (folder / ".mlnb" / "format.json").is_file():
            key = json.dumps([_FORMAT, version("jupytext"), path.suffix, text])
            digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
            return folder / ".mlnb" / "converted" / f"{digest}.json"
    return None


def _forget_old(folder: Path) -> None:
    """Keep the newest conversions: each edit of a file makes one."""
    with suppress(OSError):  # another process forgets them as well
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-_KEPT]:
            path.unlink(missing_ok=True)


def _refused(path: Path, what: str, remedy: str) -> NotebookError:
    return NotebookError(f"{path} {what}.", remedy, path=str(path))
