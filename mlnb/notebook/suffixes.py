"""A file's name says whether it can be a notebook."""

from __future__ import annotations

from pathlib import PurePath

NOTEBOOKS = (".ipynb", ".py", ".md", ".markdown", ".Rmd", ".qmd", ".myst", ".mystnb", ".mnb")
"""Suffixes of the files that can be notebooks: Jupyter's own, and those that jupytext reads as Python."""


def is_text_notebook(path: PurePath) -> bool:
    """Say whether the file's name is one that jupytext reads."""
    return path.suffix in NOTEBOOKS and path.suffix != ".ipynb"
