"""Notebooks for the tests of runs, as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Notebook = dict[str, object]


def rendered_cell(source: str, number: int, role: str = "cells", first_line: int = 1, *tags: str) -> Notebook:
    """Return a code cell as the renderer of stages makes it."""
    return {
        "cell_type": "code",
        "id": f"{role}-{number}",
        "execution_count": None,
        "metadata": {"tags": list(tags), "mlnb": {"cell": number, "first_line": first_line, "role": role}},
        "outputs": [],
        "source": source,
    }


def notebook_of(cells: list[Notebook]) -> Notebook:
    """Return a notebook of these cells."""
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture(scope="session")
def cell() -> Callable[..., Notebook]:
    return rendered_cell


@pytest.fixture(scope="session")
def notebook() -> Callable[..., Notebook]:
    return notebook_of


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a notebook of rendered cells and returns its path."""

    def write(*cells: Notebook, name: str = "stage.ipynb") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(notebook_of(list(cells))))
        return path

    return write


@pytest.fixture
def user_notebook(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a user's notebook, one code cell for each source, and returns its path."""

    def write(*sources: str, name: str = "nb.ipynb", folder: Path = tmp_path) -> Path:
        cells: list[Notebook] = [
            {
                "cell_type": "code",
                "id": f"user-{number}",
                "execution_count": None,
                "metadata": {"tags": ["parameters"]} if source.startswith("# parameters") else {},
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(sources, 1)
        ]
        path = folder / name
        path.write_text(json.dumps(notebook_of(cells)))
        return path

    return write
