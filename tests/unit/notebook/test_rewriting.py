"""Some cells of a notebook file get new texts; every other byte stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlnb.errors import NotebookError
from mlnb.notebook.document import read_document
from mlnb.notebook.rewriting import rewrite

CELLS = ["C = 1\nname = 'a'", "# grösse\nprint(C)\n", "%%stage use\nprint(name)"]


def notebook(cells: list[str], *, lines: bool) -> dict[str, object]:
    return {
        "metadata": {"foreign": {"b": 1, "a": [1e-7]}, "kernelspec": {"name": "python3", "display_name": "x"}},
        "nbformat_minor": 5,
        "nbformat": 4,
        "cells": [
            {
                "source": cell.splitlines(keepends=True) if lines else cell,
                "metadata": {"tags": ["parameters"] if n == 0 else [], "mine": True},
                "cell_type": "code",
                "outputs": [{"output_type": "stream", "name": "stdout", "text": ["1\n"]}],
                "id": f"c{n}",
                "execution_count": 3,
            }
            for n, cell in enumerate(cells)
        ],
    }


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
def test_the_file_is_what_its_own_writer_would_have_written(
    tmp_path: Path, lines: bool, plain: bool, indent: int | str | None
) -> None:
    def text(cells: list[str]) -> str:
        return json.dumps(notebook(cells, lines=lines), indent=indent, ensure_ascii=plain) + "\n"

    path = tmp_path / "nb.ipynb"
    path.write_text(text(CELLS), "utf-8")
    new = ['C = 0.5  # ä\nname = "b"\nmore = 1', CELLS[1], "%%stage use\npass"]
    rewrite(read_document(path), {1: new[0], 3: new[2]})
    assert path.read_text("utf-8") == text(new)


def test_a_script_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "nb.py"
    path.write_bytes(b'# %% tags=["parameters"]\r\nC = 1\r\n\r\n# %%\r\nprint(C)\r\n')
    rewrite(read_document(path), {1: "C = 0.5"})
    assert path.read_bytes() == b'# %% tags=["parameters"]\r\nC = 0.5\r\n\r\n# %%\r\nprint(C)\r\n'


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "nb.py"
    path.write_text('# %% tags=["parameters"]\nC = 1\n')
    with pytest.raises(NotebookError, match="cannot be rewritten"):
        rewrite(read_document(path), {1: "C = 1\n# %%\nD = 2"})
    assert path.read_text() == '# %% tags=["parameters"]\nC = 1\n'
