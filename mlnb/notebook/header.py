"""The text of a cell becomes its `Header`: what its first lines say in a magic and in ``#|`` comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass

from mlnb.notebook.grammar import KINDS, Refuse, nearest_kind
from mlnb.notebook.syntax import cell_magic

_ENTRY = re.compile(r"#\|\s*([A-Za-z][\w-]*)\s*(:?)\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line ``#| key: value``."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Header:
    """What the top of a cell's text says.

    Attributes
    ----------
    magic : str
        Kind of the mark magic, ``""`` for none.
    line : str
        What follows the kind on that line.
    entries : tuple of Entry
        The ``#|`` lines among the comments on top.
    body : str
        The source with the mark magic's line turned into a comment.
    """

    magic: str
    line: str
    entries: tuple[Entry, ...]
    body: str


def read_header(source: str, refuse: Refuse) -> Header:
    """Return the header of a cell.

    Raises
    ------
    MarkError
        Through `refuse`: a mark is misspelt, or stands where nobody would see it.
    """
    lines = source.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    magic, line = _magic(lines[first], refuse)
    if magic:
        lines[first] = f"# {lines[first]}"
    entries = _entries(lines, refuse)
    body = "\n".join(lines)
    _refuse_misplaced(body, refuse)
    return Header(magic, line, entries, body)


def _magic(line: str, refuse: Refuse) -> tuple[str, str]:
    found = re.match(r"(%%?)([A-Za-z][\w-]*)(?=\s|$)(.*)$", line)
    if found is None:
        return "", ""
    percents, name, rest = found.groups()
    if name in KINDS and percents == "%":
        raise refuse(f"starts with the line magic `%{name}`", f"Did you mean `%%{name}`?")
    if name not in KINDS and percents == "%%" and (near := nearest_kind(name)):
        raise refuse(f"has an unknown mark `%%{name}`", f"Did you mean `%%{near}`?")
    return (name, rest.strip()) if name in KINDS else ("", "")


def _entries(lines: list[str], refuse: Refuse) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for text in (line.strip() for line in lines):
        if text and not text.startswith("#"):
            break
        found = _ENTRY.match(text)
        if found is None:
            continue
        key, colon, value = found.groups()
        if key in KINDS and value and not colon:
            raise refuse(f"has the mark `#| {key} {value}` without a colon", f"Write `#| {key}: {value}`.")
        if key not in KINDS and colon and (near := nearest_kind(key)):
            raise refuse(f"has an unknown mark `#| {key}:`", f"Did you mean `#| {near}:`?")
        if colon or key in KINDS:
            entries.append(Entry(key, value.strip()))
    return tuple(entries)


def _refuse_misplaced(source: str, refuse: Refuse) -> None:
    """Refuse a mark below the top: neither IPython nor anybody else would see it there, and the stage would be lost."""
    kinds = "|".join(KINDS)
    magics = re.findall(rf"^%%(?:{kinds})\b.*$", source, re.MULTILINE)
    comments = re.findall(rf"^#\|\s*(?:{kinds})\s*:.*$", source, re.MULTILINE)
    if not magics and not comments:
        return
    other = cell_magic(source)
    foreign = other if other and other.name not in KINDS else None
    if magics and (_follows(foreign.body) if foreign else not _is_python(source)):
        raise refuse(
            f"has the mark `{magics[0].strip()}` below its first line", "Move it to the first line of the cell."
        )
    below = [] if foreign else _comments_below_code(source)
    lost = next((comment for comment in comments if comment.strip() in below), "")
    if lost:
        raise refuse(f"has the mark `{lost.strip()}` below code", "Move it to the top of the cell.")


def _follows(body: str) -> bool:
    return re.match(rf"\s*%%(?:{'|'.join(KINDS)})\b", body) is not None


def _is_python(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(source)
        except (SyntaxError, ValueError):
            return False
    return True


def _comments_below_code(source: str) -> list[str]:
    found: list[str] = []
    code = False
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and code:
                found.append(token.string.strip())
            code |= token.type in {tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP}
    except (tokenize.TokenError, SyntaxError):
        return found
    return found
