"""The tutorial of the registry says what its text promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlnb.project import Project
from tests.notebooks.played import EXAMPLES, play
from tests.notebooks.reported import reported

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


def first_run(folder: Path) -> dict[str, str]:
    """Return the states of the stages of the oldest run."""
    record = json.loads(min((folder / ".mlnb" / "runs").glob("*/run.json")).read_text("utf-8"))
    return {stage["name"]: stage["state"] for stage in record["stages"]}


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
