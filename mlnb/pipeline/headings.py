"""The Markdown headings above a cell become the name of a stage."""

from __future__ import annotations

import re
import unicodedata

from mlnb.notebook.document import Document

_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$", re.M)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_FILLERS = frozenset(
    {"a", "an", "and", "the", "of", "on", "in", "into", "to", "for", "from", "with", "by"}
    | {"our", "my", "your", "we", "us", "let", "lets", "now", "some", "it", "its", "this", "that"}
    | {"at", "is", "are", "be", "then", "first", "next", "finally", "step", "part", "section", "using", "use"}
    | {"via", "data", "dataset", "model", "models", "here", "do"}
)
_VERBS = {
    "training": "train",
    "fitting": "fit",
    "evaluation": "evaluate",
    "evaluating": "evaluate",
    "loading": "load",
    "reading": "read",
    "preparation": "prepare",
    "preparing": "prepare",
    "preprocessing": "preprocess",
    "cleaning": "clean",
    "splitting": "split",
    "scoring": "score",
    "saving": "save",
}
_LONGEST = 3


def headings_above(document: Document) -> dict[int, tuple[int, str]]:
    """Return for each cell the number of the Markdown cell with the nearest heading above it, and the heading.

    A title, the only heading of the first level and the notebook's first, is not counted.
    """
    found: dict[int, tuple[int, str]] = {}
    levels = [level for cell in document.cells if cell.kind == "markdown" for level, _ in _headings(cell.source)]
    current, titled = (0, ""), False
    for cell in document.cells:
        if cell.kind == "markdown":
            for level, text in _headings(cell.source):
                title = not titled and level == 1 and levels.count(1) == 1 and levels[0] == 1
                current, titled = ((0, "") if title else (cell.number, text)), True
        found[cell.number] = current
    return found


def name_of(heading: str) -> str:
    """Return the name that a heading gives a stage, ``""`` for none.

    Examples
    --------
    >>> name_of("## 2. Load & preprocess the data"), name_of("Define and **train** the model"), name_of("Résumé 📈")
    ('load_preprocess', 'define_train', 'resume')
    """
    plain = unicodedata.normalize("NFKD", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
    letters = plain.encode("ascii", "ignore").decode().lower().replace("'", "")
    words = [_VERBS.get(word, word) for word in re.findall(r"[a-z0-9]+", letters)]
    while words and words[0].isdigit():
        words.pop(0)
    told = [word for word in words if word not in _FILLERS] or words
    name = "_".join(told[:_LONGEST])
    return name if re.match(r"[a-z]", name) else ""


def _headings(source: str) -> list[tuple[int, str]]:
    return [(len(marks), text) for marks, text in _HEADING.findall(_FENCE.sub("", source))]
