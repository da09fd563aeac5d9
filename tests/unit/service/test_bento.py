from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path

import psutil
import pytest

import mlnb.service.bento as bento_module
from mlnb.errors import ServiceError
from mlnb.run.events import RunStarted, StageFinished, StageStarted
from mlnb.service.bento import Bento, bento_name, build_bento, carried
from mlnb.service.builder import Builder
from mlnb.service.client import Client
from mlnb.service.log_reader import read_predictions
from mlnb.service.needs import requirements
from mlnb.service.skew import read_sample, replay
from mlnb.store.folder import StateFolder


def test_the_bento_holds_what_answers_and_says_what_it_needs(bento: Bento) -> None:
    source = bento.source
    assert json.loads((source / "aliases.json").read_text())["aliases"] == {"staging": 1}
    assert (source / "versions" / "1" / "package.json").is_file()
    assert all((source / "mlnb" / module).is_file() for module in carried())
    needed = (bento.path / "env" / "python" / "requirements.txt").read_text().split()
    assert f"onnxruntime=={metadata.version('onnxruntime')}" in needed
    assert not [line for line in needed if line.startswith(("scikit-learn", "pandas", "mlnb", "jupyter"))]
    assert "FROM" in (bento.path / "env" / "docker" / "Dockerfile").read_text()


def test_carried_modules_import_only_each_other_and_what_the_image_installs() -> None:
    package = Path(bento_module.__file__).parents[1]
    modules = {"mlnb." + module.removesuffix(".py").replace("/", ".") for module in carried()}
    foreign: set[str] = set()
    for module in carried():
        for node in ast.walk(ast.parse((package / module).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlnb"):
                assert node.module in modules, f"{module} imports {node.module}"
            elif isinstance(node, ast.ImportFrom):
                foreign.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                foreign |= {alias.name.partition(".")[0] for alias in node.names}
    lazily = {"opentelemetry", "pandas", "skops", "cloudpickle", "onnxruntime", "torch", "grpc", "google"}
    assert foreign - set(sys.stdlib_module_names) - lazily == {"msgspec", "numpy", "uvicorn"}


def test_the_same_content_is_the_same_bento_and_other_content_another(
    bento: Bento, packages: dict[int, Path], tmp_path: Path
) -> None:
    state = StateFolder(bento.path.parents[3])
    stamp = (bento.path / "bento.yaml").stat().st_mtime_ns
    assert build_bento("delays", {1: packages[1]}, {"staging": 1}, state) == bento
    assert (bento.path / "bento.yaml").stat().st_mtime_ns == stamp
    other = build_bento("delays", packages, {"staging": 2}, state)
    assert other.tag != bento.tag
    assert not list((state.root / "bentoml").glob(".build-*"))


def test_a_failing_build_tells_what_bentoml_said_and_leaves_nothing(
    packages: dict[int, Path], state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_CONFIG", "/nothing/there.yaml")
    with pytest.raises(ServiceError, match=r"could not build delays.*there\.yaml"):
        build_bento("delays", {1: packages[1]}, {"staging": 1}, state)
    assert not list((state.root / "bentoml").glob(".build-*"))
    assert not list((state.root / "bentoml").glob("bentos/*/*"))


def test_a_hook_adds_the_distributions_that_it_imports(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"exporter": "onnx"}')
    (tmp_path / "hooks.py").write_text("import json\nfrom pandas import DataFrame\nimport nothing_of_the_kind\n")
    needed = requirements([tmp_path])
    assert f"pandas=={metadata.version('pandas')}" in needed
    assert not [line for line in needed if line.startswith(("json", "nothing"))]


@pytest.mark.parametrize(("model", "name"), [("Delays", "delays"), ("a.b-", "a.b"), ("___", "model")])
def test_a_model_name_becomes_one_that_bentoml_takes(model: str, name: str) -> None:
    assert bento_name(model) == name


def test_bentoml_serve_by_hand_answers_from_the_carried_copy(
    marked_bento: Path, packages: dict[int, Path], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = os.environ | {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "MLNB_PREDICTIONS": str(tmp_path / "predictions"),
    }
    command = [sys.executable, "-m", "bentoml", "serve", str(marked_bento), "--host", "127.0.0.1", "--port", str(port)]
    served = subprocess.Popen(
        command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert served.stdout is not None
    said: list[str] = []
    try:
        for line in served.stdout:
            said.append(line)
            if "Service delays initialized" in line:
                break
        reader = threading.Thread(target=lambda: said.extend(served.stdout or []))
        reader.start()
        url = f"http://127.0.0.1:{port}"
        assert replay(url, packages[1], 1e-4).passed, said
        with Client(url) as client:
            row = read_sample(packages[1])[0]
            assert client.post("/aliases/staging/predict", json.dumps({"rows": [row]}).encode()).status == 200
            refused = client.post("/predict", b'{"rows": [{"age": 1}]}')
            assert refused.status == 422
            told = client.get("/nothing").body["error"]
            assert "carried copy" in str(told)
    finally:
        family = psutil.Process(served.pid).children(recursive=True)
        served.send_signal(signal.SIGINT)
        served.wait(60)
        _, alive = psutil.wait_procs(family, timeout=30)
    reader.join()
    served.stdout.close()
    assert alive == []
    logged = [status for batch in read_predictions(tmp_path / "predictions") for status in batch.status]
    assert sorted(logged) == [200] * 61 + [422]


def test_what_builds_loads_as_soon_as_a_stage_executes_and_ends_with_the_run(tmp_path: Path) -> None:
    before, told = set(psutil.Process().children()), list[object]()
    events = [RunStarted("r", "nb.ipynb", ("fit", "late")), StageFinished("r", "fit", "cached", 0.0)]
    with Builder(tmp_path / "bentoml") as builder:
        notify = builder.following(told.append)
        for event in events:
            notify(event)
        assert set(psutil.Process().children()) == before  # where all is reused there may be nothing to build
        notify(StageStarted("r", "late"))
        notify(StageStarted("r", "other"))
        [loading] = set(psutil.Process().children()) - before
    assert not loading.is_running()
    assert told == [*events, StageStarted("r", "late"), StageStarted("r", "other")]
