"""Two tiny, different models as packages, a Bento of the first, and a target whose services are stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlnb.model.export import export_model
from mlnb.service.bento import Bento, build_bento
from mlnb.service.bento_seal import seal_bento
from mlnb.service.local import LocalTarget
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

HOOKS = """
def preprocess(rows: list[dict]):
    return [{**row, "age": row["age"] / 2} for row in rows]
"""


def _fit(seed: int) -> tuple[Pipeline, pd.DataFrame]:
    """Return a model of late flights and 60 of the rows it was fitted with, one of them without its wind."""
    random = np.random.default_rng(seed)
    rows = 300
    sample = pd.DataFrame(
        {
            "age": random.normal(size=rows),
            "wind": random.normal(size=rows),
            "origin": random.choice(["JFK", "LGA"], rows),
        }
    )
    late = (sample["age"] * (1 - seed) + (sample["origin"] == "JFK") + random.normal(size=rows) > 0.3).astype(int)
    sample.loc[7, "wind"] = np.nan
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("n", numbers, ["age", "wind"]), ("c", OneHotEncoder(), ["origin"])])
    return make_pipeline(columns, LogisticRegression()).fit(sample, late), sample.head(60)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Versions 1 and 2: models that disagree about age."""
    folder = tmp_path_factory.mktemp("packages")
    for number in (1, 2):
        estimator, sample = _fit(2 * number - 2)
        export_model(estimator, sample, folder / str(number), model="delays")
    return {1: folder / "1", 2: folder / "2"}


@pytest.fixture(scope="session")
def hooked_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 behind a hook that halves the age it is sent."""
    folder = tmp_path_factory.mktemp("hooked") / "package"
    estimator, sample = _fit(0)
    export_model(estimator, sample.assign(age=sample["age"] * 2), folder, model="delays", hooks=HOOKS)
    return folder


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
    seal_bento(path)
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
