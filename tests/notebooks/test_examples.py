"""The tutorials and the starter are documentation that runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.notebooks.reported import reported

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [*sorted(ROOT.glob("example_notebooks/*.ipynb")), ROOT / "templates/starter/starter.ipynb"]
# The first tutorial is run from end to end in a browser: tests/e2e/first_pipeline.py, called by tests/road/test_wheel.py.
# Of the fifth all cells are played: test_live_traffic.py; of the sixth, too, by make bench: test_who_decides.py.
ELSEWHERE = ("01_first_pipeline", "05_live_traffic")
UNSEEN = [path for path in NOTEBOOKS if path.stem not in ELSEWHERE]


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
    assert reported(notebook, tmp_path) == {"done"}
