"""A registry on an MLflow server: whole, once, repeatable, and nobody else's things touched."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlnb.errors import PlatformError, UsageError
from mlnb.faces.cli import main
from mlnb.project import Project
from mlnb.registry.version import Version
from tests.unit.platforms.mlflow_double import Double

Register = Callable[..., Version]
NO_NAME = "MLflow cannot have an alias of that name"


def test_versions_metrics_aliases_and_models_are_on_the_server_as_here_and_a_second_time_writes_nothing(
    project: Project, register: Register, mlflow: Double
) -> None:
    register(0.7), register(0.8, metrics={"loss": float("nan"), "gain": float("inf"), "α": 1.0, "a_b": 2.0, "a*b": 3.0})
    project.models.promote("delays/1", "production", by="anna", reason="the first")
    project.models.promote("delays/2", "production", by="ben")
    project.models.promote("delays/1", "v1.0", by="anna")
    told = project.mlflow.mirror(to=mlflow.url)[0]
    assert (told.added, told.moved, told.left_out) == (("delays/1", "delays/2"), ("production",), {"v1.0": NO_NAME})
    first, second = mlflow.versions["delays"]
    assert [first["version"], second["version"]] == ["1", "2"]
    run = mlflow.runs[second["run_id"]]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["run_name"] == "delays/2" and run["info"]["status"] == "FINISHED"
    assert (tags["mlflow.user"], tags["mlflow.source.name"]) == ("anna", "train.ipynb")
    assert {row["key"]: row["value"] for row in run["data"]["metrics"]}.items() >= {
        "auc": 0.8, "loss": "NaN", "gain": "Infinity", "α": 1.0, "a_b": 2.0, "a_b_2": 3.0,
    }.items()  # fmt: skip
    assert run["data"]["params"] == [{"key": "depth", "value": "3"}]
    assert mlflow.registered["delays"]["aliases"] == [{"alias": "production", "version": "2"}]
    kept = {tag["key"]: tag["value"] for tag in mlflow.registered["delays"]["tags"]}
    moves = [(move["alias"], move["to"], move["by"]) for move in json.loads(kept["mlnb.moves"])]
    assert moves == [
        ("v1.0", "delays/1", "anna"),
        ("production", "delays/2", "ben"),
        ("production", "delays/1", "anna"),
    ]
    assert kept["mlnb.audit"].split() == [str(project.audit.log()[-1].id), project.audit.log()[-1].digest]
    mlflow.writes.clear()
    again = project.mlflow.mirror(to=mlflow.url)[0]
    assert (again.added, again.moved, mlflow.writes) == ((), (), [])


def test_a_mirroring_that_breaks_off_at_any_write_is_completed_by_the_next_without_a_version_twice(
    project: Project, register: Register, mlflow: Double
) -> None:
    register(0.7), register(0.8)
    project.models.promote("delays/2", "staging", by="anna")
    broken = 0
    for at in (*range(1, 7), *range(7, 200, 6)):
        mlflow.writes.clear()
        mlflow.fails_at = at
        try:
            project.mlflow.mirror(to=mlflow.url)
        except PlatformError as error:
            assert "the disk is full" in error.problem
            broken += 1
        else:
            break
        finally:
            mlflow.fails_at = 0
    marks = [{tag["key"]: tag["value"] for tag in one["tags"]}["mlnb.version"] for one in mlflow.versions["delays"]]
    assert broken > 10 and marks == ["delays/1", "delays/2"]
    assert mlflow.registered["delays"]["aliases"] == [{"alias": "staging", "version": "2"}]
    live = [run["info"]["run_name"] for run in mlflow.runs.values() if run["info"]["lifecycle_stage"] == "active"]
    assert sorted(live) == ["delays/1", "delays/2"] and len(mlflow.models) == 2


def test_tags_follow_and_what_others_made_there_stays(project: Project, register: Register, mlflow: Double) -> None:
    register(0.7)
    project.models.tag("delays/1", "ticket", "ML-7", by="anna")
    project.models.tag("delays/1", "mlnb.content", "another", by="mallory")
    project.mlflow.mirror("delays", mlflow.url)
    there = mlflow.versions["delays"][0]["tags"]
    there.append({"key": "theirs", "value": "1"})
    mlflow.registered["delays"]["aliases"].append({"alias": "champion", "version": "1"})
    assert {"key": "ticket", "value": "ML-7"} in there
    project.models.untag("delays/1", "ticket", by="anna")
    project.mlflow.mirror("delays", mlflow.url)
    kept = {tag["key"]: tag["value"] for tag in mlflow.versions["delays"][0]["tags"]}
    assert set(kept) == {"mlnb.version", "mlnb.content", "mlnb.tags", "theirs"}
    assert kept["mlnb.content"] == project.models.get("delays/1").content
    assert mlflow.registered["delays"]["aliases"] == [{"alias": "champion", "version": "1"}]
    for edited in ("not JSON", '{"a": 1}', '["mlnb.content", 7]'):
        mlflow.post_model_versions_set_tag({"name": "delays", "version": "1", "key": "mlnb.tags", "value": edited})
        project.mlflow.mirror("delays", mlflow.url)
        assert {tag["key"] for tag in mlflow.versions["delays"][0]["tags"]} == set(kept)


def test_an_alias_that_others_point_to_a_version_of_theirs_is_not_moved(
    project: Project, register: Register, mlflow: Double
) -> None:
    register(0.7), register(0.8)
    project.mlflow.mirror(to=mlflow.url)
    theirs = mlflow.post_model_versions_create({"name": "delays", "tags": []})["model_version"]["version"]
    mlflow.registered["delays"]["aliases"] = [
        {"alias": "production", "version": theirs},
        {"alias": "staging", "version": "1"},
    ]
    for alias in ("production", "staging"):
        project.models.promote("delays/2", alias, by="anna")
    told = project.mlflow.mirror(to=mlflow.url)[0]
    assert (told.aliases, told.moved) == ({"staging": "2"}, ("staging",))
    assert told.left_out == {"production": "there it is the version 3, which mlnb has not made"}
    found = {row["alias"]: row["version"] for row in mlflow.registered["delays"]["aliases"]}
    assert found == {"production": theirs, "staging": "2"}


def test_another_projects_model_of_the_same_name_is_not_touched(
    project: Project, register: Register, mlflow: Double
) -> None:
    register(0.7)
    project.mlflow.mirror(to=mlflow.url)
    for tag in mlflow.versions["delays"][0]["tags"]:
        tag["value"] = tag["value"].replace("sha256", "sha255")
    mlflow.writes.clear()
    with pytest.raises(PlatformError, match="is another project's"):
        project.mlflow.mirror(to=mlflow.url)
    assert mlflow.writes == []


def test_the_mirrored_model_answers_as_the_service_does_without_mlnb(
    project: Project, register: Register, mlflow: Double, flights: pd.DataFrame, tmp_path: Path
) -> None:
    register(0.7)
    project.mlflow.mirror(to=mlflow.url)
    root = "1/models/m-1/artifacts"
    for name, content in mlflow.files.items():
        path = tmp_path / "there" / name.removeprefix(f"{root}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    flights.to_parquet(tmp_path / "rows.parquet")
    about = yaml.safe_load((tmp_path / "there/MLmodel").read_text())
    function = about["flavors"]["python_function"]
    script = f"""
import importlib, json, sys
sys.path.insert(0, {str(tmp_path / "there/code")!r})
import pandas as pd
model = importlib.import_module({function["loader_module"]!r})._load_pyfunc({str(tmp_path / "there/package")!r})
rows = pd.read_parquet({str(tmp_path / "rows.parquet")!r})
chances = model.predict(rows, {{"output": "probabilities"}})
print(json.dumps([model.predict(rows).tolist(), chances.to_numpy().tolist(), list(chances), "mlnb" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    labels, chances, classes, imported = json.loads(done.stdout)
    rows = json.loads(flights.to_json(orient="records", double_precision=15))
    answer = project.predict("delays/1", rows)
    assert labels == answer["predictions"] and not imported and classes == ["late", "on time"]
    np.testing.assert_allclose(np.asarray(chances), np.asarray(answer["probabilities"]), atol=1e-12)
    columns = {one["name"]: one["type"] for one in json.loads(about["signature"]["inputs"])}
    assert columns == {"hour": "long", "wind": "double", "origin": "string"}


def test_credentials_go_to_the_named_server_alone_and_into_no_message(
    project: Project, register: Register, mlflow: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(0.7)
    (project.root / "pyproject.toml").write_text(f'[tool.mlnb]\nmlflow = "{mlflow.url}"\n')
    hostile = Project(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret-token")
    with pytest.raises(UsageError, match="who wrote that file would get it"):
        hostile.mlflow.mirror()
    assert mlflow.headers == []
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    elsewhere = {"Location": "http://127.0.0.1:9/steal"}
    mlflow.answers["/version"] = (302, b"", elsewhere)
    named = mlflow.url.replace("http://", "http://an%40na:s3cret%2Fword@")
    with pytest.raises(PlatformError, match="redirects elsewhere") as refused:
        project.mlflow.mirror(to=named)
    sent = base64.b64decode(mlflow.headers[-1]["Authorization"].removeprefix("Basic ")).decode()
    assert sent == "an@na:s3cret/word" and "s3cret" not in str(refused.value)
    mlflow.answers.clear()
    project.mlflow.mirror(to=named)
    assert "s3cret" not in json.dumps([mlflow.runs, mlflow.versions, mlflow.registered])


def test_a_project_without_versions_has_nothing_to_mirror(
    project: Project, mlflow: Double, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "mirror", "--to", mlflow.url, "--project", str(project.root)]) == 0
    assert "no model is registered" in capsys.readouterr().out and mlflow.writes == []


def test_what_is_no_mlflow_3_is_told_in_a_sentence(project: Project, register: Register, mlflow: Double) -> None:
    register(0.7)
    mlflow.version = "2.22.1"
    with pytest.raises(PlatformError, match=r"is MLflow 2\.22\.1"):
        project.mlflow.mirror(to=mlflow.url)
    mlflow.answers["/version"] = (200, b"<html>3.1\nRUN evil</html>", {})
    with pytest.raises(PlatformError, match="where MLflow tells its version"):
        project.mlflow.mirror(to=mlflow.url)
    with pytest.raises(PlatformError, match="does not answer"):
        project.mlflow.mirror(to="http://127.0.0.1:9")
    for wrong in ("", "databricks", "file:///tmp/mlruns", "http://", "http://[x", "http://host:x", "http://host:99999"):
        with pytest.raises(UsageError):
            project.mlflow.mirror(to=wrong)
