"""Real rows, fitted estimators, and a package folder each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlnb.model.export import Export, export_model
from mlnb.model.scorer import Scorer, load_scorer
from mlnb.store.signing import verify

Exported = Callable[..., tuple[Export, Scorer, Path]]
Signed = Callable[[str, str, str], bool]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep OpenMP's threads from spinning against each other on small data."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def signed() -> Signed:
    """Judge code as a caller does: this session's own user must have signed it."""

    def judge(digest: str, signature: str, key: str) -> bool:
        verify(digest, signature, key)
        return True

    return judge


@pytest.fixture
def exported(tmp_path: Path, signed: Signed) -> Exported:
    """Export an estimator, and load the package as a service does."""

    def export(estimator: Any, sample: object, **options: Any) -> tuple[Export, Scorer, Path]:
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        made = export_model(estimator, sample, folder, model="tumours", **options)
        return made, load_scorer(folder, allow_code=signed), folder

    return export


@pytest.fixture(scope="session")
def tumours() -> tuple[pd.DataFrame, pd.Series]:
    """The real measurements of scikit-learn's breast cancer data."""
    bunch = load_breast_cancer(as_frame=True)
    return bunch.data, bunch.target


@pytest.fixture(scope="session")
def mixed(tumours: tuple[pd.DataFrame, pd.Series]) -> tuple[pd.DataFrame, pd.Series]:
    """The same measurements as numbers, texts, categories, whole numbers and booleans, some missing."""
    data, target = tumours
    third = pd.Series(range(len(data))) % 3 == 0
    radius = pd.cut(data["mean radius"], 5, labels=["xs", "s", "m", "l", "nan"])
    texture = pd.cut(data["mean texture"], 4, labels=["fine", "plain", "rough", "None"])
    frame = pd.DataFrame(
        {
            "area": data["mean area"].mask(third),
            "smoothness": data["mean smoothness"],
            "points": (data["mean concave points"] * 1000).round().astype("int32"),
            "radius": radius,
            "texture": texture.astype("str").mask(data.index % 7 == 0),
            "symmetry": pd.cut(data["mean symmetry"], 3, labels=["a", "b", "c"]).astype(object),
            "big": data["worst area"] > 700,
        }
    )
    frame.loc[data.index % 5 == 0, "symmetry"] = None
    return frame, target
