"""A notebook file becomes a `Document`: its cells in order.

An ``.ipynb`` is read with the standard library alone: papermill and nbformat are 3 s of import that planning need not
pay. Only nbformat 4 is read. Text notebooks go through `scripts`. The file is never written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlnb.errors import NotebookError
from mlnb.notebook.scripts import first_lines, read_text_notebook
from mlnb.notebook.suffixes import NOTEBOOKS, is_text_notebook

_PYTHON = frozenset({"python", "python3", "ipython"})


@dataclass(frozen=True, slots=True)
class Cell:
    r"""One cell as it stands in the file.

    Attributes
    ----------
    number : int
        1-based position among all cells of the notebook: what people are told.
    id : str
        The file's own id, or ``cell-<number>`` where the file has none.
    kind : str
        ``code``, ``markdown`` or ``raw``.
    source : str
        The text, lines parted by ``\n``.
    tags : tuple of str
        ``metadata.tags``.
    line : int
        1-based line of a text notebook that the source begins with; 0 in an ``.ipynb``.
    """

    number: int
    id: str
    kind: str
    source: str
    tags: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A notebook file.

    Attributes
    ----------
    path : Path
        Absolute.
    digest : str
        ``sha256:<hex>`` of the file's bytes.
    kernel_name : str
        Name of the kernelspec, ``python3`` where the file says nothing.
    language : str
        Always ``python``: others are refused.
    cells : tuple of Cell
        All cells, in order.
    content : bytes
        The file's bytes: what is run is what was read, whatever becomes of the file meanwhile.
    """

    path: Path
    digest: str
    kernel_name: str
    language: str
    cells: tuple[Cell, ...]
    content: bytes = field(default=b"", repr=False, compare=False)


def read_document(path: Path) -> Document:
    """Read a notebook.

    Parameters
    ----------
    path : Path
        An ``.ipynb`` file, or a text notebook: ``train.py`` with ``# %%`` cells, MyST in ``train.md``, ...

    Raises
    ------
    NotebookError
        If it is missing, no notebook, not nbformat 4, of another language than Python, or its cells are malformed.
    """
    path = Path(path).absolute()
    content = _bytes(path)
    notebook = notebook_json(path, content)
    metadata = _mapping(notebook.get("metadata"))
    kernelspec = _mapping(metadata.get("kernelspec"))
    _check_language(path, metadata, kernelspec)
    return Document(
        path=path,
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        kernel_name=_text(kernelspec.get("name")) or "python3",
        language="python",
        cells=_cells(path, content, notebook),
        content=content,
    )


def cells_of(path: Path, content: bytes) -> tuple[Cell, ...]:
    """Return the cells of a notebook whose file holds `content`.

    Raises
    ------
    NotebookError
        If it is no notebook of nbformat 4, or its cells are malformed.
    """
    return _cells(path, content, notebook_json(path, content))


def _cells(path: Path, content: bytes, notebook: Mapping[str, object]) -> tuple[Cell, ...]:
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise _malformed(path, "has no list of cells")
    read = [_cell(path, number, cell) for number, cell in enumerate(cells, 1)]
    if is_text_notebook(path):
        lines = first_lines(content.decode("utf-8-sig"), [cell.source for cell in read])
        read = [replace(cell, line=line) for cell, line in zip(read, lines, strict=True)]
    return tuple(read)


def as_sent(cell: Cell) -> tuple[str, ...]:
    """Return the texts as which a front end may send a cell to a kernel.

    VS Code takes the line ``# %%stage train`` of a script for the beginning of a cell, and sends what is below it.
    """
    below = cell.source.partition("\n")[2] if cell.line and cell.source.startswith("%%") else ""
    return (cell.source, below) if below else (cell.source,)


def notebook_json(path: Path, content: bytes) -> Mapping[str, object]:
    """Return the JSON of a notebook whose file holds `content`, a text notebook converted.

    Raises
    ------
    NotebookError
        If it is no notebook of nbformat 4.
    """
    if is_text_notebook(path):
        return read_text_notebook(path, content)
    notebook = _json(path, content)
    _check_format(path, notebook)
    return notebook


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotebookError(
            f"There is no notebook {path}.", "Check the path, relative to the current folder.", path=str(path)
        ) from None
    except IsADirectoryError:
        raise NotebookError(
            f"{path} is a folder, not a notebook.", "Give the path of an .ipynb file.", path=str(path)
        ) from None
    except OSError as error:
        raise NotebookError(
            f"The notebook {path} cannot be read: {error.strerror}.", "Check its permissions.", path=str(path)
        ) from error


def _json(path: Path, content: bytes) -> Mapping[str, object]:
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        where = f" (line {line}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise NotebookError(
            f"{path} is not JSON{where}, so it is not a notebook.",
            f"Give an .ipynb file, or a text notebook of jupytext ({', '.join(NOTEBOOKS[1:4])}, ...).",
            path=str(path),
            line=line,
        ) from error
    if not isinstance(notebook, dict):
        raise _malformed(path, "is JSON, but not a notebook")
    return notebook


def _check_format(path: Path, notebook: Mapping[str, object]) -> None:
    number = notebook.get("nbformat")
    if number == 4:
        return
    if not isinstance(number, int):
        raise _malformed(path, "is JSON, but has no nbformat number: it is not a notebook")
    remedy = (
        f"Convert it with `jupyter nbconvert --to notebook --inplace {path.name}`."
        if number < 4
        else "Save it as nbformat 4, or update mlnb."
    )
    raise NotebookError(f"{path} is of nbformat {number}; mlnb reads nbformat 4.", remedy, path=str(path))


def _check_language(path: Path, metadata: Mapping[str, object], kernelspec: Mapping[str, object]) -> None:
    named = _text(_mapping(metadata.get("language_info")).get("name")) or _text(kernelspec.get("language"))
    named = named or _text(_mapping(metadata.get("jupytext")).get("main_language"))
    if named and named.lower() not in _PYTHON:
        raise NotebookError(
            f"{path} is a notebook in {named}; mlnb makes pipelines of Python notebooks.",
            "Give a Python notebook, or choose a Python kernel for this one.",
            path=str(path),
        )


def _cell(path: Path, number: int, cell: object) -> Cell:
    fields = _mapping(cell)
    kind = _text(fields.get("cell_type"))
    if kind not in {"code", "markdown", "raw"}:
        raise _malformed(path, f"has a cell {number} without a known cell_type", number)
    source = fields.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise _malformed(path, f"has a cell {number} whose source is not text", number)
    tags = _mapping(fields.get("metadata")).get("tags")
    return Cell(
        number=number,
        id=_text(fields.get("id")) or f"cell-{number}",
        kind=kind,
        source=source.replace("\r\n", "\n").replace("\r", "\n"),
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
    )


def _malformed(path: Path, what: str, cell: int = 0) -> NotebookError:
    return NotebookError(
        f"{path} {what}.", "Open it in Jupyter and save it again, or restore it.", path=str(path), cell=cell
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
