"""Text notebooks become the same documents as the notebooks that jupytext makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mlnb.errors import NotebookError
from mlnb.notebook.document import read_document
from mlnb.notebook.marks import mark_of
from mlnb.store.folder import StateFolder

PERCENT = """\
\"\"\"A script that is a notebook.\"\"\"
# %% [markdown]
# # Prices
# They rise.

# %% tags=["parameters"]
C = 1

# %% load the data
# %%stage prepare --outputs rows
rows = [C]
# %matplotlib inline
# !echo hi

# %%
#| stage: train
#| metrics: auc
auc = len(rows)

# %% language="bash"
# echo hello
# ls

# %%
#!%%test train
text = '''
# not a magic
'''
assert auc
"""

MYST = """\
---
kernelspec:
  display_name: Python 3
  name: python3
jupytext:
  formats: md:myst
---

# Prices

```{code-cell} ipython3
:tags: [parameters]

C = 1
```

Some words.

```{code-cell} ipython3
%%stage prepare

rows = [C]
```
"""

LIGHT = """\
# # Prices

# + tags=["parameters"]
C = 1

# +
#| stage: prepare
rows = [C]

total = sum(rows)
# -

print(total)
"""


def _marks(path: Path) -> list[str]:
    marks = [mark_of(cell) for cell in read_document(path).cells]
    return [f"{mark.kind} {mark.name}".strip() for mark in marks if mark]


def test_a_percent_script_is_a_notebook_with_marks_in_every_spelling(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(PERCENT)
    assert _marks(path) == ["parameters", "stage prepare", "stage train", "test train"]
    document = read_document(path)
    assert [cell.kind for cell in document.cells] == ["code", "markdown", *["code"] * 5]
    assert document.cells[3].source == "%%stage prepare --outputs rows\nrows = [C]\n%matplotlib inline\n!echo hi"
    assert document.cells[5].source == "%%bash\necho hello\nls"


def test_each_cell_knows_the_line_of_the_script_it_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(PERCENT)
    lines = PERCENT.split("\n")
    begins = [lines[cell.line - 1] for cell in read_document(path).cells]
    assert begins == [
        '"""A script that is a notebook."""',
        "# # Prices",
        "C = 1",
        "# %%stage prepare --outputs rows",
        "#| stage: train",
        '# %% language="bash"',
        "#!%%test train",
    ]


@pytest.mark.parametrize(("name", "text"), [("train.md", MYST), ("train.py", LIGHT)])
def test_myst_and_light_scripts_are_notebooks(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert _marks(path) == ["parameters", "stage prepare"]
    starts = {cell.line: cell.source.split("\n")[0] for cell in read_document(path).cells if cell.kind == "code"}
    assert all(text.split("\n")[line - 1] == first for line, first in starts.items())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tool.py", "import os\n\n\ndef f():\n    return os\n", "has no cells"),
        ("read.md", "# Title\n\n```python\nx = 1\n```\n", "has no cells"),
        ("train.py", "# ---\n# jupyter:\n#   kernelspec: [\n# ---\n# %%\nx = 1\n", "cannot be read as a notebook"),
        (
            "stats.Rmd",
            "---\njupyter:\n  kernelspec:\n    name: ir\n    display_name: R\n    language: R\n---\n",
            "in R",
        ),
    ],
)
def test_what_is_no_python_notebook_is_refused_in_two_sentences(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(NotebookError, match=said) as refused:
        read_document(path)
    assert refused.value.remedy.endswith(".")


def test_a_converted_script_is_read_again_without_jupytext(tmp_path: Path) -> None:
    StateFolder.open(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(PERCENT)
    first = read_document(path)
    code = (
        "import sys; from pathlib import Path; from mlnb.notebook.document import read_document;"
        f"read = read_document(Path({str(path)!r}));"
        "print([c.id for c in read.cells], [m for m in ('jupytext', 'nbformat', 'yaml') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"{[cell.id for cell in first.cells]} []"
    path.write_text(PERCENT.replace("C = 1", "C = 2"))
    assert read_document(path).cells[2].source == "C = 2"


_LINES = st.sampled_from(
    [
        "x = 1",
        "y = [1,",
        "  2]",
        "%time x = 1",
        "!ls",
        "# %% not a cell",
        "# text",
        "",
        "'''",
        "def f():",
        "    return x",
    ]
)
_SOURCES = st.lists(_LINES, min_size=1, max_size=5).map("\n".join).map(str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), _SOURCES), max_size=6), st.sampled_from(["py:percent", "md:myst"]))
def test_cells_and_lines_are_those_of_jupytext(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[bool, str]], form: str
) -> None:
    notebook = new_notebook(
        cells=[new_code_cell("start = 0"), *(new_code_cell(s) if code else new_markdown_cell(s) for code, s in cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    text = jupytext.writes(notebook, fmt=form)
    path = tmp_path_factory.mktemp("text") / f"nb.{form[:2]}"
    path.write_text(text)
    expected = jupytext.reads(text, fmt={"extension": path.suffix}).cells
    found = read_document(path).cells
    assert [(cell.kind, cell.source) for cell in found] == [(cell.cell_type, cell.source) for cell in expected]
    for cell in found:
        if cell.line and cell.kind == "code" and cell.source:
            first = text.split("\n")[cell.line - 1]
            assert cell.source.split("\n")[0].strip() in first
