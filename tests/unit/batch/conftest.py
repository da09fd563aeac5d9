"""A fitted estimator of mixed columns, its package, and a table of its rows, larger than one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlnb.model.export import export_model

ROWS = 45_000


@dataclass(frozen=True, slots=True)
class Case:
    """A package, and what is scored with it.

    Attributes
    ----------
    package : Path
    estimator : object
    table : DataFrame
        The model's columns, and one more: ``id``.
    """

    package: Path
    estimator: Any
    table: pd.DataFrame


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def draw(count: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "id": np.arange(count),
            "distance": random.normal(800, 300, count).round(1),
            "delay": random.normal(size=count).round(3),
            "seats": random.integers(10, 400, count),
            "carrier": random.choice(["AA", "UA", "B6"], count),
            "origin": random.choice(["EWR", "JFK"], count),
            "night": random.random(count) < 0.3,
        }
    )
    frame.loc[frame.index % 11 == 0, "delay"] = np.nan
    frame["origin"] = frame["origin"].mask(frame.index % 13 == 0)
    return frame


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    table = draw(ROWS)
    rows = table.drop(columns="id").head(2000)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore"))
    prepare = make_column_transformer((numbers, ["distance", "delay", "seats"]), (words, ["carrier", "origin"]))
    late = np.where(rows["distance"] + rows["seats"] > 1000, "late", np.where(rows["carrier"] == "AA", "early", "ok"))
    estimator = make_pipeline(prepare, LogisticRegression()).fit(rows, late)
    package = tmp_path_factory.mktemp("case") / "package"
    assert export_model(estimator, rows, package, model="delays").exporter == "onnx"
    return Case(package, estimator, table)


@pytest.fixture
def packed(tmp_path: Path) -> Callable[..., Path]:
    """Export an estimator to a package."""

    def pack(estimator: Any, sample: Any, **options: Any) -> Path:
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        export_model(estimator, sample, folder, model="delays", **options)
        return folder

    return pack
