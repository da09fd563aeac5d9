"""Which notebook a kernel belongs to, and what it has executed that is not in the file."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlnb.errors import UsageError
from mlnb.faces.cells import ExecutedCells, refuse_unsaved
from mlnb.faces.saved import notebook_of


@pytest.fixture
def nb(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "nb.ipynb").write_text("{}")
    return tmp_path / "folder" / "nb.ipynb"


def test_vs_code_says_it_in_the_namespace(nb, tmp_path):
    assert notebook_of({"__vsc_ipynb_file__": str(nb)}, {}, tmp_path) == nb


def test_vs_codes_interactive_window_names_its_script_and_other_files_of_python_are_none(nb, tmp_path):
    script = nb.with_name("train.py")
    script.write_text("# %%\nx = 1\n")
    assert notebook_of({"__file__": str(script)}, {}, tmp_path) == script
    assert notebook_of({}, {"JPY_SESSION_NAME": "folder/train.py"}, nb.parent) == script
    assert notebook_of({"__vsc_ipynb_file__": str(nb), "__file__": str(script)}, {}, tmp_path) == nb
    with pytest.raises(UsageError):
        notebook_of({"__file__": str(tmp_path / "kernel.zip")}, {}, tmp_path)


def test_cells_of_a_script_are_known_as_vs_code_sends_them(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("# %%\nx = 1\n\n# %%\n# %%stage train\ny = x\n\n# %%\n#!%%stage use\nz = y\n")
    os.utime(script, (1, 1))
    refuse_unsaved(_executed("x = 1", "y = x", "%%stage use\nz = y"), script)
    with pytest.raises(UsageError, match=r"y = 2"):
        refuse_unsaved(_executed("x = 1", "y = 2"), script)


def test_jupyter_says_it_absolutely_or_relative_to_a_root_that_only_it_knows(nb):
    for told in (str(nb), "folder/nb.ipynb", "/folder/nb.ipynb", "nb.ipynb"):
        assert notebook_of({}, {"JPY_SESSION_NAME": told}, nb.parent) == nb


def test_a_session_named_after_no_file_is_refused_with_what_to_type(nb):
    with pytest.raises(UsageError) as caught:
        notebook_of({}, {"JPY_SESSION_NAME": "console-1"}, nb.parent)
    assert "console-1" in caught.value.problem and "%mlnb run path/to/notebook.ipynb" in caught.value.remedy


def test_a_front_end_that_says_nothing_is_refused_with_what_to_type(tmp_path):
    with pytest.raises(UsageError, match=r"%mlnb run path/to/notebook\.ipynb"):
        notebook_of({}, {}, tmp_path)


def _executed(*sources: str) -> ExecutedCells:
    cells = ExecutedCells(SimpleNamespace(user_ns={}, execution_count=7))  # type: ignore[arg-type]
    for number, source in enumerate(sources):
        cells.began(SimpleNamespace(raw_cell=source, store_history=True, cell_id=f"c{number}"))
    return cells


def _saved(path: Path, at: float) -> Path:
    os.utime(path, (at, at))
    return path


def test_what_was_executed_after_saving_and_is_not_in_the_file_is_named(write_notebook):
    path = _saved(write_notebook("x = 1", "y = 2"), at=1000.0)
    with pytest.raises(UsageError) as caught:
        refuse_unsaved(_executed("x = 1", "y = 3\nprint(y)", "%%stage new\nz = 1"), path)
    assert caught.value.problem.endswith("has executed: [7] y = 3; [7] %%stage new.")
    assert caught.value.remedy.startswith("Save the notebook first")


def test_what_was_executed_before_saving_does_not_matter(write_notebook):
    cells = _executed("old = 1")
    refuse_unsaved(cells, _saved(write_notebook("x = 1"), at=4e9))


def test_white_space_at_the_ends_and_commands_do_not_matter(write_notebook):
    path = _saved(write_notebook("x = 1\n"), at=1000.0)
    refuse_unsaved(_executed("x = 1", "%mlnb run -p x=2\n# again", "%load_ext mlnb"), path)


def test_a_cell_that_was_corrected_counts_as_it_is_now(write_notebook):
    path = _saved(write_notebook("x = 2"), at=1000.0)
    cells = _executed("x = 1")
    cells.began(SimpleNamespace(raw_cell="x = 2", store_history=True, cell_id="c0"))
    refuse_unsaved(cells, path)


def test_silent_requests_of_the_front_end_do_not_matter(write_notebook):
    path = _saved(write_notebook("x = 1"), at=1000.0)
    cells = _executed()
    cells.began(SimpleNamespace(raw_cell="inspect()", store_history=False, cell_id=None))
    refuse_unsaved(cells, path)
