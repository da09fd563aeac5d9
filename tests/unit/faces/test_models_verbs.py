"""What an auditor and a colleague ask of versions: lineage, comparison, search, and who held an alias when."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlnb.model.evaluation_codec import FILE as EVALUATIONS
from mlnb.model.evaluation_codec import write_all
from mlnb.model.export import export_model
from mlnb.pipeline.graph import Deploy
from mlnb.project import Project
from mlnb.registry.portrait import Sitter, portray
from mlnb.registry.registry import Registry
from mlnb.registry.trace import trace
from mlnb.registry.version import Draft, Version
from mlnb.run.record import RunRecord
from mlnb.run.values import artifact_of, evaluations, numbers
from mlnb.ship import freeze_reference
from mlnb.store.codec import decode

Mlnb = Callable[..., Any]
CELLS: tuple[str | tuple[str, str], ...] = (
    ("depth = 1", "parameters"),
    "import pandas as pd\nfrom late import features\nfrom mlnb import evaluate\n"
    "from sklearn.tree import DecisionTreeClassifier",
    "%%stage prepare\nflights = pd.read_csv('flights.csv')\nlate = flights.pop('late')",
    "%%stage split\nX_train, X_test = flights[::2], flights[1::2]\ny_train, y_test = late[::2], late[1::2]",
    "%%stage train\nmodel = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(features(X_train), y_train)",
    "%%stage measure --metrics auc --slices carrier\n"
    "found = evaluate(y_test, model.predict_proba(features(X_test))[:, 1], rows=X_test, resamples=0)",
    "%%test measure\ndef test_better_than_chance():\n    assert found['auc'] > 0.5",
    "%%deploy late --model model --sample X_test --gate 'auc >= 0.6' --to production",
)
MODULE = "def features(rows):\n    return rows[['distance', 'hour', 'carrier']]\n"


def flights(rows: int = 600) -> str:
    """A table in which lateness hangs on distance and hour, and in which carrier 0 is harder than carrier 1."""
    random = np.random.default_rng(7)
    distance, hour = random.integers(100, 3000, rows), random.integers(0, 24, rows)
    carrier = random.integers(0, 2, rows)
    score = distance / 1500 + np.sin(hour / 4) + random.normal(0, 1.2 - 0.9 * carrier, rows)
    lines = (f"{d},{h},{c},{int(s > 1)}" for d, h, c, s in zip(distance, hour, carrier, score, strict=True))
    return "distance,hour,carrier,late\n" + "\n".join(lines) + "\n"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=ada", "-c", "user.email=a@b.c", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def register(project: Project, record: RunRecord, deploy: Deploy, by: str, registry: Registry) -> Version:
    """Register a run's model as `mlnb.ship` does, without a service."""
    store = project.state.files
    model, sample = (decode(artifact_of(record, one.name, one.giver), store) for one in (deploy.model, deploy.sample))
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        made = export_model(model, sample, package, model=deploy.name, hooks=deploy.hooks)
        portray(
            package, Sitter(model, sample, *freeze_reference(package, sample, "X_test")), deploy, record, project.state
        )
        write_all(package / EVALUATIONS, evaluations(record, store))
        files = {path.name: store.put(path)[0] for path in package.iterdir()}
    return registry.register(
        Draft(
            deploy.name,
            by,
            made.exporter,
            files,
            numbers(record, store),
            trace(record, deploy, project.state),
            made.signature.to_json(),
            made.parity.to_json(),
        )
    )


def build(root: Path, notebook: object) -> SimpleNamespace:
    """Make a project under git with two versions: depth 1 as committed, depth 4 with a module changed since."""
    root.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text("[tool.mlnb]\n")
    (root / ".gitignore").write_text(".mlnb\n")
    (root / "late.py").write_text(MODULE)
    (root / "flights.csv").write_text(flights())
    path = notebook(*CELLS, path=root / "late.ipynb")  # type: ignore[operator]
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    project = Project(root)
    clock = iter(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=at) for at in range(60))
    registry = Registry(project.ledger, project.state.files, lambda: next(clock))
    versions, records = [], []
    for depth in (1, 4):
        if depth == 4:
            (root / "late.py").write_text(MODULE.replace("return rows", "rows = rows.copy()\n    return rows"))
        record = project.run(path, [f"depth={depth}"])
        assert record.state == "done", record
        versions.append(register(project, record, project.plan(path).deploys[0], ("ada", "ben")[depth == 4], registry))
        records.append(record)
    registry.promote("late/1", "production", by="ada", reason="the first")
    registry.promote("late/2", "staging", by="ben")
    registry.promote("late/2", "production", by="carl", reason="deeper")
    registry.tag("late/2", "owner", "ben", by="ben")
    return SimpleNamespace(
        project=project, root=root, versions=versions, records=records, commit=git(root, "rev-parse", "HEAD")
    )


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, command: SimpleNamespace) -> SimpleNamespace:
    return build(tmp_path_factory.mktemp("late") / "p", command.notebook)


def test_lineage_holds_what_ran_and_where(late: SimpleNamespace) -> None:
    first, second = (version.lineage for version in late.versions)
    files = late.project.state.files
    assert (first.git_commit, first.git_dirty, first.git_diff) == (late.commit, False, "")
    assert second.git_dirty and "+    rows = rows.copy()" in files.read(second.git_diff).decode()
    assert "late.ipynb" not in files.read(second.git_diff).decode()
    git(late.root, "stash")
    patched = subprocess.run(["git", "-C", late.root, "apply", "-"], input=files.read(second.git_diff), check=False)
    git(late.root, "checkout", "-q", "--", "late.py")
    git(late.root, "stash", "pop")
    assert patched.returncode == 0
    assert [dict(one.modules).keys() for one in (first, second)] == [{"late.py"}] * 2
    assert files.read(dict(second.modules)["late.py"]).decode() == (late.root / "late.py").read_text()
    assert files.read(second.notebook_source) == (late.root / "late.ipynb").read_bytes()
    steps = {step.name: step for step in second.steps}
    assert list(steps) == [stage.name for stage in late.records[1].stages]
    assert steps["prepare"].reads == ("flights.csv",) and steps["prepare"].run == late.records[0].id
    assert (steps["train"].parameters, steps["train"].run) == (("depth",), late.records[1].id)
    assert set(steps["train"].takes) == {("split", "X_train"), ("split", "y_train")}
    assert steps["test-measure"].cases == (("test_better_than_chance", "passed"),)
    assert json.loads(files.read(steps["train"].notebook))["nbformat"] == 4
    assert (second.model, second.sample) == ("train.model", "split.X_test")
    assert second.place["host"] and second.place["python"].count(".") == 2
    for digest in second.digests():
        files.verify(digest)


def test_lineage_is_told_drawn_and_patched(mlnb: Mlnb, late: SimpleNamespace) -> None:
    told = mlnb("models", "lineage", "late/2", cwd=late.root).out
    assert "with local changes (kept as sha256:" in told and "module: late.py" in told
    assert "depth, split.X_train, split.y_train" in told and "1 of 1" in told
    graph = mlnb("models", "lineage", "late@production", "--json", cwd=late.root).json()["graph"]
    assert {"giver": "data:flights.csv", "taker": "stage:prepare", "carries": []} in graph["edges"]
    assert [node["title"] for node in graph["nodes"] if node["kind"] == "alias"] == ["production", "staging"]
    assert mlnb("models", "lineage", "late/2", "--svg", "g.svg", cwd=late.root).code == 0
    texts = "".join(ET.parse(late.root / "g.svg").getroot().itertext())
    assert all(name in texts for name in ("late/2", "production", "flights.csv", "depth = 4", "late.py", "train"))
    patch = late.project.state.files.read(late.versions[1].lineage.git_diff).decode()
    assert mlnb("models", "lineage", "late/2", "--diff", cwd=late.root).out == patch
    refused = mlnb("models", "lineage", "late/1", "--diff", cwd=late.root)
    assert (refused.code, "nothing differed" in refused.err) == (2, True)


def test_two_versions_are_measured_on_the_same_rows(mlnb: Mlnb, late: SimpleNamespace) -> None:
    told = mlnb("models", "compare", "late/1", "late/2", "--json", cwd=late.root).json()
    measured = told["measured"]
    assert (measured["rows"], measured["same_rows"], told["notes"]) == (300, True, [])
    by_name = {(one["metric"], one["part"]): one for one in measured["gains"]}
    areas = [areas_of(late, number) for number in (0, 1)]
    for part in ("", "[carrier=0]", "[carrier=1]"):
        one = by_name["roc_auc", part]
        assert [one["first"], one["second"]] == pytest.approx([area[part] for area in areas], abs=1e-6)
        assert one["low"] < one["value"] < one["high"]
    whole = by_name["roc_auc", ""]
    assert whole["value"] == pytest.approx(whole["second"] - whole["first"]) and whole["verdict"] == "better"
    assert told["headline"].startswith("late/2 is better than late/1: roc_auc")
    assert [(one["name"], one["before"], one["after"]) for one in told["parameters"]] == [("depth", 1, 4)]
    assert [one["stage"] for one in told["code"]] == ["late.py"]
    assert "+    rows = rows.copy()" in told["code"][0]["diff"]
    assert told["data"] == [] and told["first"]["size_bytes"] > 1000
    text = mlnb("models", "compare", "late/1", "late@production", cwd=late.root).out
    assert "by slice, the intervals hold together" in text and "  depth: 1 -> 4" in text


def areas_of(late: SimpleNamespace, number: int) -> dict[str, float]:
    """The area by scikit-learn, of the estimator that the run has left, on the rows that it held out."""
    from importlib.util import module_from_spec, spec_from_file_location

    project, record = late.project, late.records[number]
    model, rows, truth = (
        decode(artifact_of(record, name), project.state.files) for name in ("model", "X_test", "y_test")
    )
    spec = spec_from_file_location("late", late.root / "late.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    scores = model.predict_proba(module.features(rows))[:, 1]  # type: ignore[attr-defined]
    parts = {"": rows["carrier"] >= 0} | {f"[carrier={one}]": rows["carrier"] == one for one in (0, 1)}  # type: ignore[index]
    return {name: float(roc_auc_score(truth[chosen], scores[chosen])) for name, chosen in parts.items()}  # type: ignore[index]


def test_a_comparison_is_a_page_that_needs_nothing(mlnb: Mlnb, late: SimpleNamespace) -> None:
    assert mlnb("models", "compare", "late/1", "late/2", "--html", "c.html", cwd=late.root).code == 0
    page = (late.root / "c.html").read_text()
    assert "<script" not in page and "src=" not in page and "rows = rows.copy()" in page
    assert page.count("<circle") >= 9 and "carrier=0" in page
    one = mlnb("models", "compare", "late/1", "late/1", cwd=late.root)
    assert (one.code, "is one version" in one.err) == (2, True)


def test_who_held_an_alias_is_told_with_the_way_back(mlnb: Mlnb, late: SimpleNamespace) -> None:
    moves = [one.at for one in late.project.models.history("late", "production")]
    held = mlnb("models", "at", "late@production", f"{moves[0]:%Y-%m-%d}", cwd=late.root).out
    assert "late@production on" in held and "promoted by ada" in held and "reason: the first" in held
    assert "no gates were judged for this move" in held and "replaced by late/2" in held
    assert "mlnb rollback late production --to 1" in held and "audit row" in held
    told = mlnb("models", "at", "late@production", "now", "--json", cwd=late.root).json()
    assert [one["version"] for one in told["held"]] == ["late/2"] and told["held"][0]["until"] is None
    early = mlnb("models", "at", "late@production", "1", "February", "2026", cwd=late.root)
    assert early.code == 0 and "held nothing" in early.out
    assert mlnb("models", "at", "late@production", "now", "--svg", "t.svg", cwd=late.root).code == 0
    texts = "".join(ET.parse(late.root / "t.svg").getroot().itertext())
    assert "production" in texts and "staging" in texts and "late/2" in texts
    wrong = mlnb("models", "at", "late/2", "now", cwd=late.root)
    assert (wrong.code, "it never moves" in wrong.err) == (2, True)


def test_versions_are_found_tagged_and_listed(mlnb: Mlnb, late: SimpleNamespace) -> None:
    assert refs_of(mlnb("models", "search", "auc > 0", "data:flights.csv", "--json", cwd=late.root)) == [
        "late/1",
        "late/2",
    ]
    assert refs_of(mlnb("models", "search", "late", "--best", "auc", "-n", "1", "--json", cwd=late.root)) == ["late/2"]
    assert refs_of(mlnb("models", "search", "tag:owner=ben", "--json", cwd=late.root)) == ["late/2"]
    assert "No version is so." in mlnb("models", "search", "tag:owner=eve", cwd=late.root).out
    assert mlnb("models", "tag", "late/1", "why=first try", "old", cwd=late.root).out == "late/1: old, why=first try\n"
    assert "tags: old, why=first try" in mlnb("models", "show", "late/1", cwd=late.root).out
    assert mlnb("models", "untag", "late/1", "old", "why", cwd=late.root).out == "late/1: no tags\n"
    assert mlnb("audit", "verify", cwd=late.root).code == 0
    assert mlnb("models", "list", "late", "--html", "l.html", cwd=late.root).code == 0
    page = (late.root / "l.html").read_text()
    assert page.index("late/2") < page.index("late/1") and "production" in page and "<script" not in page


def refs_of(ran: object) -> list[str]:
    return [one["ref"] for one in ran.json()]  # type: ignore[attr-defined]


def test_what_was_lost_is_said_and_hides_nothing_else(mlnb: Mlnb, late: SimpleNamespace, tmp_path: Path) -> None:
    """Without its run a comparison falls back to the package's own rows."""
    copy = tmp_path / "copy"
    shutil.copytree(late.root, copy, symlinks=True)
    for record in late.records:
        shutil.rmtree(copy / ".mlnb/runs" / record.id)
    told = mlnb("models", "compare", "late/1", "late/2", "--json", cwd=copy).json()
    assert told["measured"]["rows"] == 300 and told["measured"]["where"].startswith("the sample of late/2")
    assert [one["stage"] for one in told["code"]] == ["late.py"]


def test_other_data_and_another_latency_are_told_between_two_versions(
    mlnb: Mlnb, late: SimpleNamespace, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(late.root, copy, symlinks=True)
    project, second = Project(copy), late.versions[1]
    data = (("flights.csv", "sha256:" + "7" * 64), ("weather.csv", "sha256:" + "8" * 64))
    draft = Draft(
        *("late", "dan", second.exporter, second.files, {**second.metrics, "weather": 1.0}),
        replace(second.lineage, data=data),
        *(second.signature, second.parity),
    )
    project.models.register(draft)
    for ref, latency_ms in (("late/2", 3.5), ("late/3", 12.25)):
        project.audit.record("dan", "judge", ref, {"evidence": {"latency_p99_ms": latency_ms}, "verdicts": []})
    told = mlnb("models", "compare", "late/2", "late/3", "--json", cwd=copy).json()
    before = "sha256:" + hashlib.sha256((copy / "flights.csv").read_bytes()).hexdigest()
    changes = [(one["name"], one["before"], one["after"]) for one in told["data"]]
    assert changes == [("flights.csv", before, data[0][1]), ("weather.csv", None, data[1][1])]
    assert [told[side]["evidence"]["latency_p99_ms"] for side in ("first", "second")] == [3.5, 12.25]
    assert min(told["measured"]["row_ms"]) > 0 and told["parameters"] == []
    lines = [line.split() for line in mlnb("models", "compare", "late/2", "late/3", cwd=copy).out.splitlines()]
    assert ["latency_p99_ms", "3.5", "12.25"] in lines
    assert any(line[:1] == ["weather.csv:"] for line in lines)
