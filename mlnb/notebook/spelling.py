"""A misspelt word and the known ones become the sentence that helps."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CLOSENESS = 0.6


def closest(word: str, known: Iterable[str], closeness: float = _CLOSENESS) -> str:
    """Return the known word that `word` was probably meant to be, ``""`` if none is near.

    Parameters
    ----------
    word : str
        What somebody wrote.
    known : iterable of str
        What could have been meant.
    closeness : float, default 0.6
        Similarity ratio in [0, 1] from which a word counts as near.

    Examples
    --------
    >>> closest("metric", ["metrics", "slices"])
    'metrics'
    """
    words = list(known)
    lowered = {candidate.lower(): candidate for candidate in words}
    found = get_close_matches(word.lower(), lowered, n=1, cutoff=closeness)
    return lowered[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str, *, shape: str = "{}") -> str:
    """Return "Did you mean `x`?", or `otherwise` where nothing is near; `shape` dresses the suggestion."""
    found = closest(word, known)
    return f"Did you mean `{shape.format(found)}`?" if found else otherwise


def listed(words: Iterable[str]) -> str:
    """Return the words in code quotes, parted by commas: "`a`, `b`"."""
    return ", ".join(f"`{word}`" for word in words)


def numbered(cells: Iterable[int]) -> str:
    """Return "cell 4" or "cells 4, 9"."""
    numbers = list(dict.fromkeys(cells))
    return f"cell{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers))}"
