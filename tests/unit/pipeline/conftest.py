"""Notebooks written to disk, and the pipelines that they become."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlnb.notebook.document import read_document
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Pipeline

Source = str | tuple[str, list[str]]


def write_notebook(path: Path, *cells: Source) -> Path:
    """Write a notebook of code cells: sources, or sources with tags; a source that begins with "md:" is Markdown."""
    written = []
    for number, cell in enumerate(cells, 1):
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        kind = "markdown" if source.startswith("md:") else "code"
        code = {"outputs": [], "execution_count": None} if kind == "code" else {}
        metadata = {"tags": tags} if tags else {}
        written.append({"cell_type": kind, "id": f"id-{number}", "metadata": metadata, "source": source, **code})
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": written}
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook into a fresh folder."""
    return lambda *cells, name="nb.ipynb": write_notebook(tmp_path / name, *cells)


@pytest.fixture
def plan(write: Callable[..., Path]) -> Callable[..., Pipeline]:
    """Plan a notebook of the given cells."""
    return lambda *cells: build_pipeline(read_document(write(*cells)))
