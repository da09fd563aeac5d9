"""A sentence about a cell of a text notebook becomes one that also names the file's own line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mlnb.errors import MlnbError
from mlnb.notebook.document import Document

_CELL = re.compile(r"\b[Cc]ell (\d+)(?:, line (\d+)|[^.]{0,40}? in line (\d+))?")


def located(text: str, document: Document, *, most: int = 0) -> str:
    """Return the sentence with ``(train.py:37)`` behind each cell that it names; unchanged for an ``.ipynb``.

    Parameters
    ----------
    most : int, default 0
        Cells to look for, from the left; 0 is all. What follows may be the user's own words.

    Examples
    --------
    A stage's cell 4 that begins in line 36 of train.py: "cell 4, line 2" becomes "cell 4, line 2 (train.py:37)".
    """
    lines = {cell.number: cell.line for cell in document.cells if cell.line}

    def place(found: re.Match[str]) -> str:
        first = lines.get(int(found[1]), 0)
        if not first:
            return found[0]
        return f"{found[0]} ({document.path.name}:{first + int(found[2] or found[3] or 1) - 1})"

    return _CELL.sub(place, text, count=most) if lines else text


@contextmanager
def placing(document: Document) -> Iterator[None]:
    """Let every refusal of the block say where in a text notebook its cell is."""
    try:
        yield
    except MlnbError as error:
        error.problem = located(error.problem, document)
        error.args = (f"{error.problem} {error.remedy}",)
        raise
