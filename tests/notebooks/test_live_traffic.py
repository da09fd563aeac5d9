"""The tutorial of live traffic says what its text promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks.played import EXAMPLES, play

pytestmark = pytest.mark.timeout(900)


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
