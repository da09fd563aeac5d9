"""The tutorials and the starter are documentation that runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [*sorted(ROOT.glob("example_notebooks/*.ipynb")), ROOT / "templates/starter/starter.ipynb"]
# The first tutorial is run from end to end in a browser: tests/e2e/first_pipeline.py, called by tests/road/test_wheel.py.
UNSEEN = [path for path in NOTEBOOKS if path.stem != "01_first_pipeline"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped_and_prose_comes_first(notebook: Path) -> None:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", UNSEEN, ids=lambda path: path.stem)
def test_the_pipeline_of_each_runs_with_its_tests(notebook: Path, tmp_path: Path) -> None:
    shutil.copy(notebook, tmp_path)
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "mlnb",
            "run",
            notebook.name,
            "--json",
            "--junitxml",
            "report.xml",
            "--html",
            "report.html",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    record = json.loads(told.stdout)
    assert {stage["state"] for stage in record["stages"]} == {"done"}
    cases = [case["state"] for stage in record["stages"] for case in stage["cases"]]
    assert cases
    assert set(cases) == {"passed"}
    assert (tmp_path / notebook.name).read_bytes() == notebook.read_bytes()
    assert "<testcase" in (tmp_path / "report.xml").read_text("utf-8")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""", page)
