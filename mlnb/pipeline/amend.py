"""A notebook's file and suggestions become the file's new content: marks and tags put in, every other byte as it was.

In an ``.ipynb``, text is inserted where a cell's ``source`` and ``metadata.tags`` stand, in the style of the file
(lists or one text, its indent), so that outputs, ids, foreign metadata, key order and the last newline stay. In a text
notebook, lines are inserted above a cell's text, and tags into the line that begins the cell. The result is read again:
what is not exactly the proposed notebook is never returned.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlnb.errors import UsageError
from mlnb.notebook.document import Cell, Document, cells_of
from mlnb.notebook.json_text import JsonNode, node_at, skipped
from mlnb.notebook.suffixes import is_text_notebook
from mlnb.pipeline.annotate import Suggestion, amended
from mlnb.store.disk import write_bytes

_MARKER = re.compile(r"^\s*#\s*(%%|\+|<codecell>|In\[)")
_FENCE = re.compile(r"^\s*(```+|~~~+)\s*\{(code-cell|python)")


def amend(document: Document, suggestions: Sequence[Suggestion]) -> bytes:
    """Return the bytes of the notebook's file with the suggestions put in.

    Raises
    ------
    UsageError
        If the file changed, or it is of a kind in which they cannot be written.
    """
    content = document.path.read_bytes()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != document.digest:
        raise UsageError(f"{document.path} changed while it was being read.", "Save it, then try again.")
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    text = content.removeprefix(mark).decode("utf-8")
    put = _into_text if is_text_notebook(document.path) else _into_json
    return mark + put(text, document, suggestions).encode("utf-8")


def write_amended(document: Document, suggestions: Sequence[Suggestion], target: Path) -> None:
    """Write the notebook with the suggestions to `target`, wholly or not at all; a link's target, not the link.

    Raises
    ------
    UsageError
        If they cannot be written into a file of this kind: then nothing is.
    StorageError
        If the disk refuses.
    """
    content = amend(document, suggestions)
    wanted = [(cell.source, cell.tags) for cell in amended(document, suggestions).cells]
    target = target.resolve()
    found = cells_of(target.with_suffix(document.path.suffix), content)
    if [(cell.source, frozenset(cell.tags)) for cell in found] != [
        (source, frozenset(tags)) for source, tags in wanted
    ]:
        raise UsageError(
            f"The marks cannot be written into {document.path.name} without changing something else.",
            "Write them by hand, as the diff shows.",
        )
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    write_bytes(target, content, mode=mode)


def unified(document: Document, suggestions: Sequence[Suggestion]) -> Iterator[str]:
    """Yield the suggestions as a unified diff of the texts of cells; added tags stand in a hunk ``@@ tags @@``."""
    after = {cell.number: cell for cell in amended(document, suggestions).cells}
    for suggestion in suggestions:
        before, cell = document.cells[suggestion.cell - 1], after[suggestion.cell]
        title = f"{document.path.name}: cell {cell.number}"
        yield from (f"--- {title}", f"+++ {title}")
        if suggestion.tags:
            yield "@@ tags @@"
            yield from (f" {tag}" for tag in before.tags)
            yield from (f"+{tag}" for tag in suggestion.tags)
        lines = difflib.unified_diff(before.source.split("\n"), cell.source.split("\n"), n=1, lineterm="")
        yield from (line for place, line in enumerate(lines) if place > 1)


# an .ipynb


def _into_json(text: str, document: Document, suggestions: Sequence[Suggestion]) -> str:
    cells = node_at(text, skipped(text, 0)).members["cells"].items
    edits: list[tuple[int, int, str]] = []
    for suggestion in suggestions:
        members = cells[suggestion.cell - 1].members
        if suggestion.lines:
            edits.append(_lines_edit(text, members["source"], suggestion.lines))
        if suggestion.tags:
            edits.append(_tags_edit(text, cells[suggestion.cell - 1], suggestion.tags))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _lines_edit(text: str, source: JsonNode, lines: Sequence[str]) -> tuple[int, int, str]:
    spelled = [json.dumps(f"{line}\n") for line in lines]
    if text[source.start] == '"':
        return source.start + 1, source.start + 1, "".join(line[1:-1] for line in spelled)
    first = source.items[0].start
    gap = text[source.start + 1 : first]
    return first, first, "".join(f"{line},{gap or ' '}" for line in spelled)


def _tags_edit(text: str, cell: JsonNode, tags: Sequence[str]) -> tuple[int, int, str]:
    metadata = cell.members.get("metadata")
    if metadata is None:
        raise UsageError("A cell has no metadata.", "Open the notebook in Jupyter and save it again.")
    old = metadata.members.get("tags")
    if old is not None and old.items:
        last = old.items[-1]
        gap = text[old.start + 1 : old.items[0].start]
        return last.end, last.end, "".join(f",{gap or ' '}{json.dumps(tag)}" for tag in tags)
    outer = _indent(text, metadata.start)
    unit = " " * max(1, len(outer) - len(_indent(text, cell.start))) if "\n" in text[cell.start : cell.end] else ""
    inner = f"\n{outer}{unit}" if unit else ""
    listed = ",".join(f"{inner}{unit}{json.dumps(tag)}" for tag in tags)
    value = f"[{listed}{inner}]"
    if old is not None:
        return old.start, old.end, value
    colon = ": " if ": " in text[cell.start : cell.end] else ":"
    member = f'"tags"{colon}{value}'
    if not metadata.members:
        return metadata.start, metadata.end, f"{{{inner}{member}{f'{chr(10)}{outer}' if unit else ''}}}"
    last = list(metadata.members.values())[-1]
    return last.end, last.end, f",{inner or ' '}{member}"


def _indent(text: str, place: int) -> str:
    line = text.rfind("\n", 0, place) + 1
    found = re.match(r"[ \t]*", text[line:])
    return found[0] if found else ""


# a text notebook


def _into_text(text: str, document: Document, suggestions: Sequence[Suggestion]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    for suggestion in sorted(suggestions, key=lambda one: -one.cell):
        cell = document.cells[suggestion.cell - 1]
        if not cell.line:
            raise _cannot(document.path, cell)
        lines[cell.line - 1 : cell.line - 1] = suggestion.lines
        if suggestion.tags:
            _tag(lines, cell, suggestion.tags, document.path)
    return newline.join(lines)


def _tag(lines: list[str], cell: Cell, tags: Sequence[str], path: Path) -> None:
    """Put tags into the line above the cell's text that begins the cell."""
    spelled = ", ".join(json.dumps(tag) for tag in tags)
    for place in range(cell.line - 2, -1, -1):
        if _FENCE.match(lines[place]):
            if cell.tags or lines[place + 1].strip() == "---":
                break
            lines.insert(place + 1, f":tags: [{', '.join(tags)}]")
            return
        if _MARKER.match(lines[place]):
            if cell.tags:
                lines[place] = re.sub(r"(tags\s*=\s*\[)", rf"\g<1>{spelled}, ", lines[place], count=1)
            else:
                lines[place] = f"{lines[place].rstrip()} tags=[{spelled}]"
            return
        if lines[place].strip() and not cell.tags:
            break
    raise _cannot(path, cell)


def _cannot(path: Path, cell: Cell) -> UsageError:
    return UsageError(
        f"The mark of cell {cell.number} cannot be written into {path.name}.",
        "Write it by hand as the diff shows, or convert the file to percent cells (`jupytext --to py:percent`).",
    )
