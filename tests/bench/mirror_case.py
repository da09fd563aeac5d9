"""A folder becomes a project with registered versions of three kinds, the rows they are asked, and their answers.

Run as ``python -m tests.bench.mirror_case PROJECT COUNT``: ``delays`` with a hook, texts and missing numbers (COUNT
versions), ``plain`` (ONNX without a hook), ``odd`` (nothing that ONNX can hold).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlnb.model.export import export_model
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft
from mlnb.store.seal import seal

HOOK = """
def preprocess(rows: list[dict]):
    return [{**row, "wind": row["wind"] or 0.0} for row in rows]
"""


class Curve:
    """A model of the notebook's own: only a pickle can hold it."""

    def fit(self, rows: pd.DataFrame) -> Curve:
        """Learn nothing."""
        return self

    def predict(self, rows: pd.DataFrame) -> Any:
        """Return a number for each row."""
        return np.cbrt(np.asarray(rows)).sum(axis=1)


def rows_of(count: int) -> pd.DataFrame:
    """Return rows with missing numbers and texts."""
    rng = np.random.default_rng(11)
    wind = rng.normal(size=count)
    wind[::7] = np.nan
    origin = rng.choice(["JFK", "LGA", "EWR"], count)
    return pd.DataFrame({"hour": rng.integers(0, 24, count), "wind": wind, "origin": origin})


def make(folder: Path, count: int) -> None:
    """Register, promote, and write down what each model answers."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = rows_of(2_000)
    whole = rows.fillna(0.0)
    late = np.where(whole.hour + whole.wind > 12, "late", "on time")
    encoded = make_column_transformer((StandardScaler(), ["hour", "wind"]), (OneHotEncoder(), ["origin"]))
    numbers = whole[["hour", "wind"]].astype(float)
    models: dict[str, tuple[Any, pd.DataFrame, str]] = {
        "delays": (make_pipeline(encoded, LogisticRegression()).fit(whole, late), rows, HOOK),
        "plain": (make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, late), numbers, ""),
        "odd": (Curve(), numbers, ""),
    }
    (folder / "pyproject.toml").write_text('[tool.mlnb]\nenvironment = "installed"\n')
    project = Project(folder)
    expected: dict[str, Any] = {}
    for name, (estimator, sample, hooks) in models.items():
        package = folder / f".{name}"
        export = export_model(estimator, sample, package, model=name, hooks=hooks)
        seal(package)
        files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
        for at in range(count if name == "delays" else 1):
            metrics = {"auc": 0.5 + at / 1000, "undefined": float("nan"), "after": 2.0, "α": 3.0}
            origin = Lineage(run=f"r{at}", notebook="train.ipynb", parameters={"depth": at})
            said = (export.exporter, files, metrics, origin, export.signature.to_json())
            version = project.models.register(Draft(name, "anna", *said))
        project.models.promote(version.ref, "production", by="anna", reason="bench")
        sample.to_parquet(folder / f"{name}.parquet")
        asked = json.loads(sample.to_json(orient="records", double_precision=15))
        expected[name] = {"exporter": export.exporter, **project.predict(version.ref, asked)}
    (folder / "expected.json").write_text(json.dumps(expected))
    project.ledger.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
