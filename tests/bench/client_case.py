"""A model of flights with columns of every kind that tensors have becomes a package, and a service that answers with it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlnb.model.export import export_model
from mlnb.service.bento import build_bento
from mlnb.service.local import LocalTarget
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

MODEL = "delays"
DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "string": "BYTES", "bool": "BOOL"}
_ROWS = 12


def export_wide(folder: Path) -> Path:
    """Export a classifier that answers with text, from numbers, whole numbers, text and truth; return its package."""
    random, rows = np.random.default_rng(0), 300
    sample = pd.DataFrame(
        {
            "distance": random.normal(size=rows),
            "wind": random.normal(size=rows).astype("float32"),
            "hour": random.integers(0, 24, rows),
            "origin": random.choice(["JFK", "LGA", "Zürich"], rows),
            "holiday": random.random(rows) > 0.8,
        }
    )
    score = sample["distance"] + (sample["origin"] == "JFK") + sample["holiday"] + random.normal(size=rows)
    sample.loc[7, "wind"] = np.nan
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("n", numbers, ["distance", "wind", "hour"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), ["origin"]),
            ("b", "passthrough", ["holiday"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(sample, np.where(score > 0.5, "late", "on time"))
    export_model(model, sample.head(60), folder, model=MODEL)
    return folder


def client_case(port: int, package: Path) -> dict[str, object]:
    """Return what `tests.bench.client_peers` is to ask, and what scikit-learn itself answered."""
    sample, known = (json.loads((package / name).read_bytes()) for name in ("sample.json", "expected.json"))
    inputs = json.loads((package / "signature.json").read_bytes())["inputs"]
    columns = [
        {
            "name": one["name"],
            "datatype": DATATYPES[one["dtype"]],
            "values": [row[sample["columns"].index(one["name"])] for row in sample["data"][:_ROWS]],
        }
        for one in inputs
    ]
    answers = {name: known[name][:_ROWS] for name in ("predictions", "probabilities")}
    return {"port": port, "model": MODEL, "version": "1", "columns": columns, **answers}


def free_port() -> int:
    """Return a port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class WideService:
    """A context manager: the service of that model, built and started here.

    Parameters
    ----------
    folder : Path
        Everything is made in it.

    Attributes
    ----------
    port, grpc_port, pid : int
        Of the service.
    package : Path
        What it answers with.
    """

    def __init__(self, folder: Path) -> None:
        self.package = export_wide(folder / "package")
        state = StateFolder.open(folder / "project")
        self._target = LocalTarget(state, Settings(service={"max_rows": 1000, "grpc_port": free_port()}))
        self._bento = build_bento(MODEL, {1: self.package}, {"production": 1}, state)
        self.port = self.grpc_port = self.pid = 0

    def __enter__(self) -> WideService:
        """Start the service."""
        self._target.route(MODEL, {1: self.package}, {"production": 1})
        started = self._target.start(MODEL, self._bento.path)
        self.port, self.grpc_port, self.pid = started.port, started.grpc_port, started.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service."""
        self._target.stop(MODEL)
