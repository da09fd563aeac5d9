"""The whole road through the front door: nothing is patched, nothing is faked, every process is real.

notebook -> plan -> run -> version -> Bento process -> predictions over HTTP -> alias moved -> drift report, and then a
kill -9 of the service after which no answered prediction is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = [pytest.mark.road, pytest.mark.timeout(600)]

CELLS = [
    ("", "%load_ext mlnb"),
    ("parameters", "strength: float = 1.0"),
    (
        "",
        "from sklearn.datasets import load_wine\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.metrics import accuracy_score\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler",
    ),
    ("", "%%stage prepare\nX, y = load_wine(return_X_y=True, as_frame=True)\nheld = X.index % 3 == 0"),
    ("", "X.describe()"),
    (
        "",
        "%%stage train\nmodel = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))\n"
        "model.fit(X[~held], y[~held])",
    ),
    (
        "",
        "%%stage evaluate --metrics accuracy\nsample = X[held]\naccuracy = float(accuracy_score(y[held], model.predict(sample)))",
    ),
    ("", "%%test evaluate\ndef test_it_beats_chance():\n    assert accuracy > 0.5"),
    (
        "",
        '%%deploy wine --model model --sample sample --gate "accuracy >= 0.9" --gate "latency_p99_ms <= 1000" --to staging',
    ),
]


def write_notebook(path: Path) -> None:
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {"tags": [tag]} if tag else {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, (tag, source) in enumerate(CELLS)
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}), "utf-8")


def mlnb(project: Path, *command: str, code: int = 0) -> object:
    told = subprocess.run(
        [sys.executable, "-m", "mlnb", *command, "--json"], cwd=project, capture_output=True, text=True, check=False
    )
    assert told.returncode == code, told.stdout + told.stderr
    return json.loads(told.stdout)


def post(url: str, body: object) -> dict[str, object]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


INSTALLED = "[tool.mlnb]\nenvironment = 'installed'\nlatency_requests = 20\n"
"""For what says nothing of environments: the interpreter of the tests serves."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A project whose notebook was run once, and the record of that run."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "pyproject.toml").write_text("[tool.mlnb]\n", "utf-8")
    write_notebook(folder / "wine.ipynb")
    return folder, mlnb(folder, "run", "wine.ipynb")


@pytest.fixture
def project(ran: tuple[Path, dict[str, object]], tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    shutil.copytree(ran[0], folder)
    yield folder
    subprocess.run([sys.executable, "-m", "mlnb", "services", "stop", "wine"], cwd=folder, check=False)


def expected(strength: float) -> tuple[list[dict[str, float]], list[int]]:
    """The second source: the same model, fitted here by scikit-learn."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    held = X.index % 3 == 0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(X[~held], y[~held])
    return json.loads(X.to_json(orient="records")), model.predict(X).tolist()


def logged_ids(project: Path) -> set[str]:
    found: set[str] = set()
    for path in (project / ".mlnb" / "predictions" / "wine").glob("*.db"):
        with sqlite3.connect(path) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            table = next(name for name in tables if name.startswith("prediction"))
            found |= {key for (key,) in connection.execute(f"SELECT id FROM {table}")}
        connection.close()
    return found


def test_a_notebook_becomes_a_monitored_service(ran: tuple[Path, dict[str, object]], project: Path) -> None:
    source = (project / "wine.ipynb").read_bytes()

    plan = mlnb(project, "plan", "wine.ipynb")
    assert [stage["name"] for stage in plan["stages"]] == ["prepare", "train", "evaluate", "test-evaluate"]
    assert plan["not_run"] == [5]

    _, run = ran
    assert run["state"] == "done"
    assert {stage["state"] for stage in run["stages"]} == {"done"}
    again = mlnb(project, "run", "wine.ipynb")
    assert {stage["state"] for stage in again["stages"]} == {"cached"}

    [first] = mlnb(project, "deploy", "wine.ipynb")
    assert (first["version"], first["changed"], first["exporter"]) == ("wine/1", True, "onnx")
    [same] = mlnb(project, "deploy", "wine.ipynb")
    assert (same["version"], same["changed"]) == ("wine/1", False)
    assert same["deployment"]["pid"] == first["deployment"]["pid"]

    shown = mlnb(project, "models", "show", "wine/1")
    assert shown["exporter"] == "onnx"
    assert shown["parity"]["flips"] == 0
    assert {column["name"] for column in shown["signature"]["inputs"]} == set(load_wine().feature_names)
    assert shown["lineage"]["notebook"] == "wine.ipynb"
    assert shown["lineage"]["run"] in {ran["id"] for ran in mlnb(project, "runs", "list")}

    url = first["deployment"]["url"]
    rows, wanted = expected(1.0)
    answered: list[str] = []
    for start in range(500):
        at = start % len(rows)
        answer = post(f"{url}/predict", {"rows": [rows[at]]})
        assert answer["predictions"] == [wanted[at]]
        assert answer["version"] == "wine/1"
        answered += answer["ids"]
    assert len(set(answered)) == 500
    post(f"{url}/labels", {"labels": {key: wanted[at % len(rows)] for at, key in enumerate(answered)}})

    promotion = mlnb(project, "promote", "wine/1", "production")
    assert (promotion["to"], promotion["changed"]) == ("wine/1", True)

    [second] = mlnb(project, "deploy", "wine.ipynb", "-p", "strength=0.01")
    assert second["version"] == "wine/2"
    assert second["deployment"]["aliases"] == {"production": "wine/1", "staging": "wine/2"}
    assert post(f"{url}/predict", {"rows": rows})["version"] == "wine/1"
    staged = post(f"{url}/aliases/staging/predict", {"rows": rows})
    assert (staged["version"], staged["predictions"]) == ("wine/2", expected(0.01)[1])

    mlnb(project, "promote", "wine/2", "production")
    assert post(f"{url}/predict", {"rows": rows[:1]})["version"] == "wine/2"
    mlnb(project, "rollback", "wine", "production")
    moved = post(f"{url}/predict", {"rows": rows[:1]})
    assert moved["version"] == "wine/1"
    history = [row["action"] for row in mlnb(project, "audit", "log") if row["action"] in {"promote", "rollback"}]
    assert history == ["promote", "promote", "promote", "promote", "rollback"]
    assert mlnb(project, "audit", "verify")["ok"] is True

    report = mlnb(project, "monitor", "wine", "--html", "drift.html")
    assert report["model"] == "wine"
    page = (project / "drift.html").read_text("utf-8")
    assert "plotly" in page
    assert {f["name"] for f in report["features"]} == set(load_wine().feature_names)

    [service] = mlnb(project, "services", "list")
    ports = [service["port"]]
    os.kill(service["pid"], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(service["pid"])] if psutil.pid_exists(service["pid"]) else [], timeout=10)
    assert set(answered) | set(staged["ids"]) | set(moved["ids"]) <= logged_ids(project)
    [dead] = mlnb(project, "services", "list")
    assert dead["state"] == "failed"
    [revived] = mlnb(project, "services", "start", "wine")
    assert revived["state"] == "running"
    assert post(f"{revived['url']}/predict", {"rows": rows[:1]})["version"] == "wine/1"
    mlnb(project, "services", "stop", "wine")
    acts = [row["action"] for row in mlnb(project, "audit", "log", "wine", "-n", "2")]
    assert acts == ["service-start", "service-stop"]
    listening = {c.laddr.port for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening.isdisjoint({*ports, revived["port"]})

    assert (project / "wine.ipynb").read_bytes() == source
    assert {path.name for path in project.iterdir()} == {"pyproject.toml", "wine.ipynb", ".mlnb", "drift.html"}


def test_a_gate_that_fails_leaves_the_alias_where_it_was(project: Path) -> None:
    (project / "pyproject.toml").write_text(INSTALLED)
    notebook = project / "wine.ipynb"
    notebook.write_text(notebook.read_text("utf-8").replace("accuracy >= 0.9", "accuracy >= 1.1"), "utf-8")
    told = mlnb(project, "deploy", "wine.ipynb", code=3)
    assert "accuracy" in told["error"]["problem"]
    assert "below the limit 1.1" in told["error"]["problem"]
    [version] = mlnb(project, "models", "list")
    assert version["ref"] == "wine/1"
    assert mlnb(project, "services", "list") == []
    refused = mlnb(project, "promote", "wine/1", "production", code=3)
    assert "below the limit 1.1" in refused["error"]["problem"]
    assert "gate-failed" in [row["action"] for row in mlnb(project, "audit", "log", "wine", "-n", "2")]


HOOK = """
import pandas as pd


def preprocess(rows: pd.DataFrame):
    return rows.rename(columns={"alcohol_percent": "alcohol"})
"""


def test_a_hook_prepares_raw_rows_and_a_wrong_row_is_named(project: Path) -> None:
    (project / "pyproject.toml").write_text(INSTALLED)
    document = json.loads((project / "wine.ipynb").read_text("utf-8"))
    cells = document["cells"]
    cells[6]["source"] += '\nraw = sample.rename(columns={"alcohol": "alcohol_percent"})'
    cells[8]["source"] = cells[8]["source"].replace("--sample sample", "--sample raw") + HOOK
    (project / "wine.ipynb").write_text(json.dumps(document), "utf-8")
    [shipment] = mlnb(project, "deploy", "wine.ipynb")
    assert shipment["evidence"]["skew_flips"] == 0
    rows, wanted = expected(1.0)
    raw = [{"alcohol_percent": row["alcohol"], **{k: v for k, v in row.items() if k != "alcohol"}} for row in rows]
    url = shipment["deployment"]["url"]
    assert post(f"{url}/predict", {"rows": raw})["predictions"] == wanted
    assert (
        mlnb(project, "predict", "wine@staging", "--rows", json.dumps({"rows": raw[:3]}))["predictions"] == wanted[:3]
    )
    with pytest.raises(HTTPError) as refused:
        post(f"{url}/predict", {"rows": [{**raw[0], "alcohol_percent": "strong"}]})
    with refused.value as answer:
        assert answer.code == 422
        assert "alcohol_percent" in " ".join(json.load(answer)["error"]["faults"])
