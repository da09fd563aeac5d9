"""The tutorials and the starter are documentation that runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mlnb.project import Project

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [*sorted(ROOT.glob("example_notebooks/*.ipynb")), ROOT / "templates/starter/starter.ipynb"]
# The first tutorial is run from end to end in a browser: tests/e2e/first_pipeline.py, called by tests/road/test_wheel.py.
# The fifth has a service to ask between its cells, so all its cells are played.
UNSEEN = [path for path in NOTEBOOKS if path.stem not in ("01_first_pipeline", "05_live_traffic")]


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


@pytest.mark.timeout(900)
def test_live_traffic_is_played_from_the_first_cell_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.mlnb]\nenvironment = 'installed'\nlatency_requests = 50\n")
    copy = Path(shutil.copy(ROOT / "example_notebooks" / "05_live_traffic.ipynb", tmp_path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    notebook = nbformat.read(copy, 4)
    for cell in notebook.cells:
        if cell.source.startswith("%%deploy"):  # a live cell offers a button, which nobody can click here
            cell.source = f"%mlnb deploy {copy.name}"
    services = Project(tmp_path).services
    try:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    finally:
        for service in services.list():
            services.stop(service.name)
    said = {
        cell.source.splitlines()[0]: json.dumps(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"
    }
    assert "is above" in said['post("/predict", {"rows": [{**row, "carrier": "ZZ", "dep_hour": 30}]})["warnings"]']
    assert "400 labelled callers" in said["%mlnb models compare --live late/1 late/2"]
    assert "late/1 -> late/2" in said['%mlnb promote late/2 production --reason "passed its canary"']
    history = said["%mlnb audit log"]
    assert [history.count(act) for act in ("register", "promote", "traffic-off", "canary")] == [
        2,
        3,
        1,
        2,
    ]  # and the reason names it
