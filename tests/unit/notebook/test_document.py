"""A notebook file becomes a Document, or a refusal that says what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from mlnb.errors import NotebookError
from mlnb.notebook.document import read_document


def _write(folder: Path, content: object) -> Path:
    path = folder / "nb.ipynb"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_cells_are_read_as_nbformat_reads_them(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "mine", "display_name": "Mine", "language": "python"}},
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            nbformat.v4.new_code_cell("x = 1\ny = 'é'", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_raw_cell("raw"),
        ],
    )
    path = tmp_path / "nb.ipynb"
    nbformat.write(notebook, path)
    document = read_document(path)
    other = nbformat.read(path, as_version=4)
    assert [(c.kind, c.source, c.id) for c in document.cells] == [(c.cell_type, c.source, c.id) for c in other.cells]
    assert [cell.number for cell in document.cells] == [1, 2, 3]
    assert document.cells[1].tags == ("parameters",)
    assert (document.kernel_name, document.language) == ("mine", "python")
    assert document.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_source_may_be_a_list_of_lines_and_an_id_may_be_missing(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["a = 1\r\n", "b = 2"], "metadata": {}}]
    document = read_document(_write(tmp_path, {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}))
    assert document.cells[0].source == "a = 1\nb = 2"
    assert document.cells[0].id == "cell-1"
    assert document.kernel_name == "python3"


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        ("not json {", "is not JSON (line 1", "jupytext"),
        ("[1]", "is JSON, but not a notebook", "Jupyter"),
        ({"a": 1}, "has no nbformat number", "Jupyter"),
        ({"nbformat": 3, "worksheets": []}, "is of nbformat 3", "jupyter nbconvert --to notebook"),
        ({"nbformat": 5, "cells": []}, "is of nbformat 5", "update mlnb"),
        ({"nbformat": 4, "metadata": {}}, "has no list of cells", "Jupyter"),
        ({"nbformat": 4, "cells": [{"source": "x"}]}, "has a cell 1 without a known cell_type", "Jupyter"),
        ({"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}, "has a cell 1 whose source is", "Jupyter"),
        (
            {"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"name": "ir", "language": "R"}}},
            "is a notebook in R",
            "Python",
        ),
        (
            {"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "julia"}}},
            "is a notebook in julia",
            "Python",
        ),
    ],
)
def test_what_is_no_python_notebook_is_refused(tmp_path: Path, content: object, problem: str, remedy: str) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(NotebookError) as refused:
        read_document(path)
    assert problem in refused.value.problem
    assert str(path) in refused.value.problem
    assert remedy in refused.value.remedy
    assert refused.value.path == str(path)


def test_a_missing_notebook_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="There is no notebook"):
        read_document(tmp_path / "none.ipynb")
    with pytest.raises(NotebookError, match="is a folder"):
        read_document(tmp_path)
    binary = tmp_path / "x.ipynb"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotebookError, match="is not JSON"):
        read_document(binary)


def test_reading_and_planning_load_nothing_heavy() -> None:
    code = (
        "import sys, mlnb.notebook.document, mlnb.pipeline.build, mlnb.pipeline.fingerprint, mlnb.pipeline.render, "
        "mlnb.pipeline.drawing\n"
        "heavy = {'nbformat', 'pandas', 'IPython', 'papermill', 'yaml', 'numpy', 'sqlalchemy', 'jsonschema'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
