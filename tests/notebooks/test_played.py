"""The tutorials that ask a service and a registry between their cells are played from the first cell to the last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mlnb.project import Project
from tests.notebooks.reported import reported

EXAMPLES = Path(__file__).parents[2] / "example_notebooks"
SOONER = {"--every 5s": "--every 1s", "monotonic() + 12": "monotonic() + 3"}  # the canary's two steps, and their end

pytestmark = pytest.mark.timeout(900)


def play(notebook: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Execute all cells of a copy in a kernel, and return what each has left, by its first line."""
    (folder / "pyproject.toml").write_text("[tool.mlnb]\nenvironment = 'installed'\nlatency_requests = 50\n")
    copy = Path(shutil.copy(notebook, folder))
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    played = nbformat.read(copy, 4)
    for cell in played.cells:
        if cell.source.startswith("%%deploy"):  # a live cell offers a button, which nobody can click here
            cell.source = f"%mlnb deploy {copy.name}"
        for written, sooner in SOONER.items():
            cell.source = cell.source.replace(written, sooner)
    services = Project(folder).services
    try:
        NotebookClient(played, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        for service in services.list():
            services.stop(service.name)
    return {
        cell.source.splitlines()[0].strip(): json.dumps(cell.outputs)
        for cell in played.cells
        if cell.cell_type == "code"
    }


def first_run(folder: Path) -> dict[str, str]:
    """Return the states of the stages of the oldest run."""
    record = json.loads(min((folder / ".mlnb" / "runs").glob("*/run.json")).read_text("utf-8"))
    return {stage["name"]: stage["state"] for stage in record["stages"]}


def test_live_traffic_is_played_from_the_first_cell_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = play(EXAMPLES / "05_live_traffic.ipynb", tmp_path, monkeypatch)
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


def test_who_decides_is_played_from_the_first_cell_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = EXAMPLES / "06_who_decides.ipynb"
    said = play(notebook, tmp_path, monkeypatch)
    assert set(first_run(tmp_path).values()) == {"done"}
    assert "late/2 is better than late/1: roc_auc" in said["%mlnb models compare late/1 late/2"]
    assert "measured on 10,000 rows that both have scored" in said["%mlnb models judge late/2 production"]
    moved = [told for line, told in said.items() if line.startswith(("%mlnb promote", "%mlnb rollback"))]
    assert ["late/1 -> late/2" in told for told in moved] == [True, False, True]
    assert ["late/2 -> late/1" in told for told in moved] == [False, True, False]
    assert "reason: the drill is over" in said["%mlnb models at late@production now"]
    assert "learner='trees'" in said["%mlnb models lineage late/2"]
    found = said['%mlnb models search "auc >= 0.6" tag:owner=ada']
    assert "late/2" in found
    assert "late/1" not in found
    history = [row.action for row in Project(tmp_path).audit.log()]
    assert [history.count(act) for act in ("register", "judge", "promote", "rollback", "tag")] == [2, 2, 4, 1, 2]
    assert f"The audit log is intact: {len(history)} rows" in said["%mlnb audit verify"]
    assert reported(notebook, tmp_path) == {"cached"}
