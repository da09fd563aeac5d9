"""Two tiny, different models as packages, a Bento of the first, and the proof that nothing of ours is left behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlnb.model.scorer import Scores
from mlnb.model.signature import Column, Signature
from mlnb.service.bento import Bento, build_bento
from mlnb.service.local import LocalTarget
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from mlnb.store.signing import sign

SIGNATURE = Signature(
    inputs=(Column("age", "float64"), Column("wind", "float64", nullable=True), Column("origin", "string")),
    task="classifier",
    classes=(0, 1),
    probabilities=True,
    output="int64",
)
HOOKS = """
def preprocess(rows: list[dict]):
    return [{**row, "age": row["age"] / 2} for row in rows]
"""


def _fit(seed: int) -> tuple[Pipeline, pd.DataFrame]:
    random = np.random.default_rng(seed)
    rows = 300
    sample = pd.DataFrame(
        {
            "age": random.normal(size=rows).astype(np.float32).astype(float),
            "wind": random.normal(size=rows).astype(np.float32).astype(float),
            "origin": random.choice(["JFK", "LGA"], rows),
        }
    )
    late = (sample["age"] * (1 - seed) + (sample["origin"] == "JFK") + random.normal(size=rows) > 0.3).astype(int)
    columns = ColumnTransformer([("n", StandardScaler(), ["age", "wind"]), ("c", OneHotEncoder(), ["origin"])])
    return make_pipeline(columns, LogisticRegression()).fit(sample, late), sample.head(60)


def _write_package(folder: Path, seed: int, hooks: str = "") -> Path:
    estimator, sample = _fit(seed)
    types = [(name, FloatTensorType([None, 1])) for name in ("age", "wind")]
    graph = to_onnx(
        estimator,
        initial_types=[*types, ("origin", StringTensorType([None, 1]))],
        options={LogisticRegression: {"zipmap": False}},
    )
    asked = sample.assign(age=sample["age"] * 2) if hooks else sample
    signature = SIGNATURE.to_json() | ({"features": SIGNATURE.to_json()["inputs"]} if hooks else {})
    expected = Scores(estimator.predict(sample).tolist(), estimator.predict_proba(sample).tolist())
    contents = {
        "model.onnx": graph.SerializeToString(),
        "signature.json": json.dumps(signature).encode(),
        "sample.json": json.dumps({"columns": list(asked.columns), "data": asked.values.tolist()}).encode(),
        "expected.json": json.dumps(expected.to_json()).encode(),
    }
    if hooks:
        contents["hooks.py"] = hooks.encode()
    digests = {name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    signatures = {}
    if hooks:
        signature_text, key = sign(digests["hooks.py"])
        signatures["hooks.py"] = {"signature": signature_text, "key": key}
    package = {
        "format": 1,
        "model": "delays",
        "exporter": "onnx",
        "task": "classifier",
        "model_file": "model.onnx",
        "files": digests,
        "signatures": signatures,
    }
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "package.json").write_text(json.dumps(package))
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home and Jupyter data folder of the tests' own: keys are made there, not in the user's."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("JUPYTER_DATA_DIR", str(home / "jupyter"))
        yield home


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, own_home: Path) -> dict[int, Path]:
    """Versions 1 and 2: models that disagree about age."""
    folder = tmp_path_factory.mktemp("packages")
    return {1: _write_package(folder / "one", 0), 2: _write_package(folder / "two", 2)}


@pytest.fixture(scope="session")
def hooked_package(tmp_path_factory: pytest.TempPathFactory, own_home: Path) -> Path:
    """Version 1 behind a hook that halves the age it is sent."""
    return _write_package(tmp_path_factory.mktemp("hooked") / "package", 0, HOOKS)


@pytest.fixture(scope="session")
def bento(tmp_path_factory: pytest.TempPathFactory, packages: dict[int, Path]) -> Bento:
    """A genuine Bento of version 1 under the alias staging."""
    state = StateFolder.open(tmp_path_factory.mktemp("builder"))
    return build_bento("delays", {1: packages[1]}, {"staging": 1}, state)


@pytest.fixture(scope="session")
def marked_bento(tmp_path_factory: pytest.TempPathFactory, bento: Bento) -> Path:
    """The same Bento with one word changed in its own copy of mlnb: who says the word, runs that copy."""
    path = tmp_path_factory.mktemp("marked") / "delays" / "bento"
    shutil.copytree(bento.path, path)
    protocols = path / "src" / "mlnb" / "service" / "protocols.py"
    protocols.write_text(protocols.read_text().replace("There is nothing at", "The carried copy has nothing at"))
    return path


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open(tmp_path / "project")


@pytest.fixture
def target(state: StateFolder) -> Iterator[LocalTarget]:
    """A local target whose services are stopped at the end."""
    target = LocalTarget(state, Settings())
    yield target
    for deployment in target.list():
        target.stop(deployment.name)


@pytest.fixture
def answers(packages: dict[int, Path]) -> Callable[[int], list[list[float]]]:
    """What scikit-learn itself answered to the sample: the probabilities of a version."""
    return lambda number: json.loads((packages[number] / "expected.json").read_bytes())["probabilities"]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No process of ours remains, and no thread that reaps one."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    reaping = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - reaping:
        if thread.name.startswith("reaper-"):
            thread.join(timeout=10)
    after = {child.pid: child.cmdline() for child in psutil.Process().children(recursive=True)}
    assert {pid: line for pid, line in after.items() if pid not in before} == {}
