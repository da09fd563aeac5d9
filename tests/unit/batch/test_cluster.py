"""`mlnb predict` on a real Dask cluster and at addresses of S3: nothing is lost, doubled or left lying about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mlnb.model.export import export_model
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft
from tests.unit.run.test_dask import Cluster, bucket, cluster

__all__ = ["bucket", "cluster"]

KILLED_ONCE = """
def preprocess(rows):
    import os, pathlib, signal
    mark = pathlib.Path(MARK)
    if rows[0]["x"] == 7000.0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"x": row["x"] * 2} for row in rows]
"""
UPLOAD = """
import pathlib, s3fs, sys
system = s3fs.S3FileSystem()
for path in pathlib.Path(sys.argv[1]).iterdir():
    system.put_file(str(path), f"{sys.argv[2]}/rows/{path.name}")
"""
DOWNLOAD = "import s3fs, sys; s3fs.S3FileSystem().get_file(sys.argv[1] + '/made/answers.parquet', 'answers.parquet')"
LEFT = "import s3fs, sys; print(s3fs.S3FileSystem().glob(sys.argv[1] + '/cache/batch/**'))"


def register(folder: Path, hooks: str) -> None:
    rows = pd.DataFrame({"x": np.arange(50.0)})
    package = folder / "package"
    export_model(LinearRegression().fit(rows, 3 * rows["x"] + 1), rows, package, model="triple", hooks=hooks)
    project = Project(folder)
    files = {path.name: project.state.files.put(path)[0] for path in package.iterdir()}
    signature = json.loads((package / "signature.json").read_bytes())
    lineage = Lineage(run="r1", notebook="nb.ipynb", notebook_digest="sha256:00", parameters={})
    parity = {"rows": 50, "max_abs": 0.0, "flips": 0}
    draft = Draft("triple", "ada", "onnx", files, {}, lineage=lineage, signature=signature, parity=parity)
    project.models.register(draft)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twelve files of 1,000 numbers from 0 to 11,999."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for at in range(12):
        numbers = np.arange(at * 1000.0, (at + 1) * 1000.0)
        pd.DataFrame({"x": numbers}).to_parquet(folder / f"{at:02d}.parquet", index=False)
    return folder


def run(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done


def place(environ: dict[str, str]) -> str:
    """Return the bucket's address."""
    return environ["MLNB_SHARED_CACHE"].removesuffix("/cache")


def test_a_killed_worker_neither_loses_nor_doubles_rows(
    cluster: Cluster, bucket: dict[str, str], tmp_path: Path, rows: Path
) -> None:
    register(tmp_path, KILLED_ONCE.replace("MARK", repr(str(tmp_path / "killed"))))
    words = ("predict", "triple/1", "rows", "answers.parquet", "--keep", "x", "--executor", cluster.address, "--json")
    told: dict[str, Any] = json.loads(run(bucket, tmp_path, "-m", "mlnb", *words).stdout)
    assert (told["rows"], told["faulty"]) == (12_000, 0)
    assert sum(worker.poll() is not None for worker in cluster.workers.values()) == 1
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert answers["x"].tolist() == list(np.arange(12_000.0))
    np.testing.assert_allclose(answers["prediction"], 6 * answers["x"] + 1, rtol=1e-6)
    assert run(bucket, tmp_path, "-c", LEFT, place(bucket)).stdout.strip() == "[]"


def test_rows_and_answers_may_lie_at_addresses(bucket: dict[str, str], tmp_path: Path, rows: Path) -> None:
    register(tmp_path, "")
    run(bucket, tmp_path, "-c", UPLOAD, str(rows), place(bucket))
    words = ("triple/1", f"{place(bucket)}/rows/*.parquet", f"{place(bucket)}/made/answers.parquet", "--keep", "x")
    assert "12,000 rows scored with triple/1" in run(bucket, tmp_path, "-m", "mlnb", "predict", *words).stdout
    run(bucket, tmp_path, "-c", DOWNLOAD, place(bucket))
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert answers["x"].tolist() == list(np.arange(12_000.0))
    np.testing.assert_allclose(answers["prediction"], 3 * answers["x"] + 1, rtol=1e-5)
