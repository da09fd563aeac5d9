"""New texts of cells become a notebook file in which no other byte has changed."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping

from mlnb.errors import NotebookError
from mlnb.notebook.document import Document, cells_of
from mlnb.notebook.json_text import JsonNode, node_at, skipped
from mlnb.notebook.suffixes import is_text_notebook
from mlnb.store.disk import storing, write_bytes


def rewrite(document: Document, texts: Mapping[int, str]) -> None:
    """Write the notebook with new texts of some cells, wholly or not at all.

    Parameters
    ----------
    texts : mapping of int to str
        New source by the cell's number.

    Raises
    ------
    NotebookError
        If it cannot be written without changing something else; the file is then as it was.
    StorageError
        If the disk refuses.
    """
    path = document.path.resolve()
    with storing(path, "read"):
        content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    put = _into_text if is_text_notebook(path) else _into_json
    changed = mark + put(content.removeprefix(mark).decode("utf-8"), document, texts).encode("utf-8")
    wanted = [texts.get(cell.number, cell.source) for cell in document.cells]
    if [cell.source for cell in cells_of(document.path, changed)] != wanted:
        raise NotebookError(
            f"{path.name} cannot be rewritten without changing something else.",
            "Change the cells by hand, as the diff shows.",
            path=str(path),
        )
    write_bytes(path, changed, mode=mode)


def _into_json(text: str, document: Document, texts: Mapping[int, str]) -> str:
    cells = node_at(text, skipped(text, 0)).members["cells"].items
    for number in sorted(texts, reverse=True):
        source = cells[number - 1].members["source"]
        text = text[: source.start] + _spelled(text, source, texts[number]) + text[source.end :]
    return text


def _spelled(text: str, old: JsonNode, source: str) -> str:
    """Spell a source as the file does: one text or a list of lines, indented alike."""
    plain = text.isascii()
    if not old.items:
        return json.dumps(source, ensure_ascii=plain)
    before, behind = text[old.start + 1 : old.items[0].start], text[old.items[-1].end : old.end - 1]
    lines = [json.dumps(line, ensure_ascii=plain) for line in source.splitlines(keepends=True)]
    return "[" + ",".join((before or " " * (place > 0)) + line for place, line in enumerate(lines)) + behind + "]"


def _into_text(text: str, document: Document, texts: Mapping[int, str]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    for cell in reversed(document.cells):
        if cell.number in texts and cell.line:
            count = len(cell.source.split("\n"))
            lines[cell.line - 1 : cell.line - 1 + count] = texts[cell.number].split("\n")
    return newline.join(lines)
