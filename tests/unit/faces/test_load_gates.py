"""A deploy is judged by what its own Bento answered under load, and tells what it measured whether it passes or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlnb.project import Project
from tests.unit.faces.conftest import Mlnb

MODEL = (
    "%%stage train\n"
    "import pandas as pd\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "X = pd.DataFrame({'distance': [float(n) for n in range(40)]})\n"
    "model = LogisticRegression().fit(X, X['distance'] > 20)\n"
    "throughput_rps = 1e12  # what a notebook says of its own service counts for nothing"
)
DEPLOY = "%%deploy delays --model model --sample X --to production"
SETTINGS = '[tool.mlnb]\nenvironment = "installed"\nlatency_requests = 40\n[tool.mlnb.gates]\nproduction = {}\n'
MODEST = ("throughput_rps >= 1", "latency_p99_ms <= 60000")
MEASURED = {"throughput_rps", "load_rps", "latency_p50_ms", "latency_p99_ms", "latency_max_ms", "start_s"}


def test_a_deploy_that_is_too_slow_under_load_is_refused_and_moves_nothing(
    registered: Path, write_notebook: Callable[..., Path], mlnb: Mlnb
) -> None:
    """`registered` has three versions, the second of which is in production."""
    notebook = str(write_notebook(MODEL, DEPLOY))
    project = Project(registered)
    aliases = {"production": 2, "staging": 3}
    for gate, name, words in (
        ("throughput_rps >= 1e9", "throughput_rps", "below the limit 1e9"),
        ("latency_p99_ms <= 0.0001", "latency_p99_ms", "above the limit 0.0001"),
    ):
        (registered / "pyproject.toml").write_text(SETTINGS.format(json.dumps([*MODEST, gate])), "utf-8")
        refused = mlnb("deploy", notebook)
        assert refused.code == 3
        assert f"A gate of production failed for delays/4: {name} is " in refused.err
        assert f"{words}; measured on its own Bento, 40 single rows at " in refused.err
        assert project.models.aliases("delays") == aliases
        [row] = project.audit.log("delays/4", last=1)
        assert (row.action, row.detail["alias"]) == ("gate-failed", "production")
        verdicts: list[dict[str, object]] = row.detail["verdicts"]  # type: ignore[assignment]
        assert [(one["gate"], one["passed"]) for one in verdicts] == [*((one, True) for one in MODEST), (gate, False)]
    assert mlnb("services", "list", "--json").json() == []

    (registered / "pyproject.toml").write_text(SETTINGS.format(json.dumps(MODEST)), "utf-8")
    [shipped] = mlnb("deploy", notebook, "--json").json()
    try:
        assert project.models.aliases("delays") == {**aliases, "production": 4}
        evidence = shipped["evidence"]
        assert set(evidence) >= MEASURED
        assert 0 < evidence["load_rps"] < evidence["throughput_rps"] < 1e9
        assert 0 < evidence["latency_p50_ms"] <= evidence["latency_p99_ms"] <= evidence["latency_max_ms"]
        rows = project.audit.log("delays/4", action="judge")
        assert rows[-1].detail["evidence"] == evidence
        assert len({json.dumps(row.detail["evidence"]) for row in rows}) == 1  # it was tried once
        told: list[dict[str, object]] = rows[-1].detail["verdicts"]  # type: ignore[assignment]
        assert [(one["measured"], one["passed"]) for one in told] == [
            (evidence["throughput_rps"], True),
            (evidence["latency_p99_ms"], True),
        ]
        assert project.audit.verify().ok
    finally:
        mlnb("services", "stop", "delays")
