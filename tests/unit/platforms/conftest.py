"""A project with registered versions, and an MLflow server beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlnb.model.export import export_model
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft, Version
from mlnb.store.seal import seal
from tests.unit.platforms.mlflow_double import Double, mlflow_double

HOOK = """
def preprocess(rows: list[dict]):
    return [{**row, "wind": row["wind"] or 0.0} for row in rows]
"""


@pytest.fixture
def flights() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    wind = rng.normal(size=60)
    wind[::7] = np.nan
    return pd.DataFrame(
        {"hour": rng.integers(0, 24, 60), "wind": wind, "origin": rng.choice(["JFK", "LGA", "EWR"], 60)}
    )


@pytest.fixture
def estimator(flights: pd.DataFrame) -> Pipeline:
    encoded = make_column_transformer((StandardScaler(), ["hour", "wind"]), (OneHotEncoder(), ["origin"]))
    late = np.where(flights.hour > 12, "late", "on time")
    return make_pipeline(encoded, LogisticRegression()).fit(flights.fillna(0.0), late)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[tool.mlnb]\nenvironment = "installed"\n')
    made = Project(folder)
    yield made
    made.ledger.close()


@pytest.fixture
def register(project: Project, flights: pd.DataFrame, estimator: Pipeline, tmp_path: Path) -> Callable[..., Version]:
    """Register a version that differs with its threshold's metric."""

    def registered(
        auc: float, model: str = "delays", metrics: Mapping[str, float] | None = None, **lineage: Any
    ) -> Version:
        package = tmp_path / f"{model}-{auc}"
        export = export_model(estimator, flights, package, model=model, hooks=HOOK)
        seal(package)
        files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
        origin = Lineage(run="r1", notebook="train.ipynb", git_commit="c0ffee" * 6, parameters={"depth": 3}, **lineage)
        measured = {"auc": auc, **({"loss": float("nan")} if metrics is None else metrics)}
        draft = Draft(model, "anna", export.exporter, files, measured, origin, export.signature.to_json())
        return project.models.register(draft)

    return registered


@pytest.fixture
def mlflow() -> Iterator[Double]:
    with mlflow_double() as double:
        yield double
