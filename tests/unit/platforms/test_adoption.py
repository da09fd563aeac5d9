"""A model of an MLflow server becomes a version, and nothing that it brings is executed unless its digest was named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.pipeline import Pipeline

from mlnb.errors import MlnbError, PlatformError, UntrustedError, UsageError
from mlnb.platforms.mlflow_adoption import Wanted
from mlnb.project import Project
from tests.unit.platforms.mlflow_double import Double

RUN = "0" * 31 + "7"
Log = Callable[..., str]


class Bomb:
    """Leaves a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def log(mlflow: Double, flights: pd.DataFrame) -> Log:
    """Put a model into a run of the server, as MLflow's client does; return the run's id."""

    def logged(content: bytes, file: str = "model.pkl", uri: str = "", **flavor: Any) -> str:
        rows = flights.fillna(0.0)
        example = {"columns": list(rows), "data": rows.head(40).to_numpy().tolist()}
        about = {
            "flavors": {"sklearn": {"pickled_model": file, "serialization_format": "cloudpickle", **flavor}},
            "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
        }
        root = "1/models/m-7/artifacts"
        mlflow.files[f"{root}/MLmodel"] = yaml.safe_dump(about).encode()
        mlflow.files[f"{root}/{file.rpartition('/')[2]}"] = content
        mlflow.files[f"{root}/input_example.json"] = json.dumps(example).encode()
        info = {"model_id": "m-7", "name": "delays", "artifact_uri": uri or f"mlflow-artifacts:/{root}"}
        mlflow.models["m-7"] = {"info": info}
        mlflow.runs[RUN] = {
            "info": {"run_id": RUN, "start_time": 1_362_301_200_000, "artifact_uri": "mlflow-artifacts:/1/r"},
            "data": {
                "metrics": [{"key": "auc", "value": 0.75}],
                "params": [{"key": "depth", "value": "3"}],
                "tags": [{"key": "mlflow.source.git.commit", "value": "c0ffee"}],
            },
            "outputs": {"model_outputs": [{"model_id": "m-7", "step": 0}]},
        }
        return RUN

    return logged


def test_a_pickle_is_loaded_only_by_its_digest_and_becomes_a_version_that_answers_the_same(
    project: Project, mlflow: Double, log: Log, estimator: Pipeline, flights: pd.DataFrame
) -> None:
    content = cloudpickle.dumps(estimator)
    run = log(content, sklearn_version="1.0.2")
    with pytest.raises(UntrustedError, match="can execute code when it is loaded") as refused:
        project.mlflow.adopt(Wanted(run), mlflow.url)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert digest in refused.value.remedy and project.models.models() == ()
    told = project.mlflow.adopt(Wanted(run, trusted=digest), mlflow.url)
    assert told.added and told.version.ref == "delays/1" and told.version.exporter == "onnx"
    assert told.version.metrics == {"auc": 0.75} and told.version.lineage.parameters == {"depth": "3"}
    origin = told.version.lineage
    assert (origin.git_commit, origin.started_at) == ("c0ffee", "2013-03-03T09:00:00+00:00")
    assert origin.place == {"mlflow": mlflow.url, "mlflow_run": RUN, "mlflow_model": "m-7"}
    assert "40 rows only" in told.notes[1] and "scikit-learn 1.0.2" in told.notes[0]
    rows = flights.fillna(0.0)
    answer = project.predict("delays/1", json.loads(rows.to_json(orient="records", double_precision=15)))
    assert answer["predictions"] == estimator.predict(rows).tolist()
    again = project.mlflow.adopt(Wanted(run, trusted=digest), mlflow.url)
    assert not again.added and project.audit.verify().ok


def test_a_registered_model_is_found_by_number_and_alias_and_mirrored_back_under_its_name(
    project: Project, mlflow: Double, log: Log, estimator: Pipeline, flights: pd.DataFrame, tmp_path: Path
) -> None:
    content = cloudpickle.dumps(estimator)
    log(content)
    mlflow.post_registered_models_create({"name": "flights"})
    mlflow.post_model_versions_create({"name": "flights", "run_id": RUN, "source": "models:/m-7", "tags": []})
    mlflow.post_registered_models_alias({"name": "flights", "alias": "champion", "version": "1"})
    flights.fillna(0.0).to_csv(tmp_path / "rows.csv", index=False)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    told = project.mlflow.adopt(
        Wanted("models:/flights@champion", "ours", "", tmp_path / "rows.csv", digest), mlflow.url
    )
    assert (told.version.ref, told.rows, told.notes) == ("ours/1", 60, ())
    assert not project.mlflow.adopt(
        Wanted("models:/flights/1", "ours", "", tmp_path / "rows.csv", digest), mlflow.url
    ).added
    assert project.mlflow.mirror("ours", mlflow.url)[0].versions == {"ours/1": "1"}
    for wrong in ("models:/flights@nobody", "f" * 32):
        with pytest.raises(PlatformError, match="No such thing"):
            project.mlflow.adopt(Wanted(wrong), mlflow.url)
    with pytest.raises(UsageError, match="names no model"):
        project.mlflow.adopt(Wanted("runs:/../1"), mlflow.url)
    with pytest.raises(UsageError, match=r"0 models 'other' \(models: delays\)"):
        project.mlflow.adopt(Wanted(RUN, model="other"), mlflow.url)


def test_a_skops_file_does_not_name_the_types_that_it_is_trusted_with(
    project: Project, mlflow: Double, log: Log, estimator: Pipeline, tmp_path: Path
) -> None:
    """MLflow reads that list from the model (`skops_trusted_types`); CVE-2025-54412 and 54413 were skops's own."""
    told = project.mlflow.adopt(
        Wanted(log(skops.io.dumps(estimator), "model.skops", serialization_format="skops")), mlflow.url
    )
    assert told.version.exporter == "onnx"
    packed = io.BytesIO()
    schema = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16.0",
        "content": {"module_path": "os", "function": "mkdir"},
    }
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    named = {"serialization_format": "skops", "skops_trusted_types": ["os.mkdir", "posix.mkdir", "builtins.eval"]}
    with pytest.raises(UntrustedError, match="can execute code"):
        project.mlflow.adopt(Wanted(log(packed.getvalue(), "model.skops", **named)), mlflow.url)


def test_a_bomb_of_any_format_executes_nothing(project: Project, mlflow: Double, log: Log, tmp_path: Path) -> None:
    """CVE-2024-37052 to CVE-2024-37060: models of MLflow that execute code when they are loaded."""
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    for how in ("pickle", "cloudpickle", "skops", "joblib", "xgboost", ""):
        with pytest.raises(MlnbError):
            project.mlflow.adopt(Wanted(log(bomb, serialization_format=how)), mlflow.url)
    log(bomb, "model.ubj")
    about = {"flavors": {"xgboost": {"data": "model.ubj", "model_class": "os.system"}}}
    mlflow.files["1/models/m-7/artifacts/MLmodel"] = json.dumps(about).encode()
    with pytest.raises(MlnbError, match="which mlnb does not take"):
        project.mlflow.adopt(Wanted(RUN), mlflow.url)
    yaml_bomb = f"flavors: !!python/object/apply:os.mkdir ['{tmp_path / 'marker'}']"
    mlflow.files["1/models/m-7/artifacts/MLmodel"] = yaml_bomb.encode()
    with pytest.raises(PlatformError, match="MLmodel cannot be read"):
        project.mlflow.adopt(Wanted(RUN), mlflow.url)
    assert not (tmp_path / "marker").exists() and project.models.models() == ()


def test_names_that_a_server_lists_do_not_lead_out_of_the_folder(
    project: Project, mlflow: Double, log: Log, tmp_path: Path
) -> None:
    """CVE-2023-2356, CVE-2023-2780 (backslashes), CVE-2024-1560 (encoded twice), CVE-2024-0520 (a server's file name)."""
    encoded = ("..%2f..%2fevil", "%252e%252e/evil")
    for name in ("../../evil", "/etc/passwd", *encoded, "..\\evil", "a/../../evil", "C:evil", "a\nb", ""):
        log(b"")
        listing = {"files": [{"path": "MLmodel", "is_dir": False}, {"path": name, "is_dir": False}]}
        mlflow.answers["/api/2.0/mlflow-artifacts/artifacts"] = (200, json.dumps(listing).encode(), {})
        with pytest.raises(PlatformError, match="is no plain path below"):
            project.mlflow.adopt(Wanted(RUN), mlflow.url)
        mlflow.answers.clear()
        with pytest.raises(PlatformError, match="not among the model's files"):
            project.mlflow.adopt(Wanted(log(b"", pickled_model=name)), mlflow.url)
    for flavor in ({"pickled_model": "../MLmodel"}, {"pickled_model": ["MLmodel"]}):
        with pytest.raises(PlatformError, match="not among the model's files"):
            project.mlflow.adopt(Wanted(log(b"", **flavor)), mlflow.url)
    assert not list(tmp_path.rglob("evil"))


def test_an_address_of_a_server_does_not_become_a_path_here(project: Project, mlflow: Double, tmp_path: Path) -> None:
    """CVE-2023-1177, CVE-2025-11201: a model's source that is a path of whoever reads it."""
    far = mlflow.url.replace("127.0.0.1", "localhost.localdomain")
    from mlnb.platforms.mlflow_artifacts import artifact_place
    from mlnb.platforms.mlflow_server import MlflowServer

    with MlflowServer(far, {}) as server:
        for uri in (
            "file:///etc",
            "/etc",
            "file://localhost/etc",
            "mlflow-artifacts://other/1",
            "mlflow-artifacts:/../1",
            "local:///etc",
            "LOCAL:///etc",
            "memory://x",
            "zip::file:///etc",
            "https://elsewhere/x",
        ):
            with pytest.raises(PlatformError, match="is not touched"):
                artifact_place(uri, server)
    with MlflowServer(mlflow.url, {}) as server:
        for uri in ("file://elsewhere/etc", "local:///etc"):
            with pytest.raises(PlatformError, match="is not touched"):
                artifact_place(uri, server)
        (tmp_path / "large").touch()
        os.truncate(tmp_path / "large", 20_000_000_001)  # nothing but a hole
        with pytest.raises(PlatformError, match="20,000,000,000 bytes"):
            artifact_place(tmp_path.as_uri(), server).get("large", tmp_path / "copy")
        assert not (tmp_path / "copy").exists()


def test_a_model_without_files_is_told_with_the_place_where_they_were_looked_for(
    project: Project, mlflow: Double, log: Log
) -> None:
    run = log(b"", uri="mlflow-artifacts:/1/models/gone/artifacts")
    with pytest.raises(PlatformError, match="holds no file MLmodel at mlflow-artifacts:/1/models/gone/artifacts"):
        project.mlflow.adopt(Wanted(run), mlflow.url)


def test_a_server_that_talks_nonsense_is_told_in_a_sentence(project: Project, mlflow: Double, log: Log) -> None:
    log(b"")
    place = "/api/2.0/mlflow/runs/get"
    for said in (b"{}", b"[]", b"no", b'{"run": {"info": [], "data": 7}}', b'{"run": {"info": {}, "data": {}}}'):
        mlflow.answers[place] = (200, said, {})
        with pytest.raises(PlatformError):
            project.mlflow.adopt(Wanted(RUN), mlflow.url)
    mlflow.answers[place] = (
        200,
        json.dumps({"run": {**mlflow.runs[RUN], "outputs": {"model_outputs": [{}]}}}).encode(),
        {},
    )
    with pytest.raises(PlatformError):
        project.mlflow.adopt(Wanted(RUN), mlflow.url)
    hostile = {"run": {**mlflow.runs[RUN], "outputs": {"model_outputs": [{"model_id": "../runs/delete"}]}}}
    mlflow.answers[place] = (200, json.dumps(hostile).encode(), {})
    with pytest.raises(PlatformError, match="is no id of a model"):
        project.mlflow.adopt(Wanted(RUN), mlflow.url)
