"""MLflow in a virtual environment of its own, with the same libraries as here: scores a table, or logs a model.

Run by that environment's Python: ``mlflow_peer.py score MODEL.joblib IN OUT`` and ``mlflow_peer.py log MODEL.joblib IN
FOLDER COUNT inferred``, or ``pinned``; each prints JSON. What is imported here must be light: the peers' libraries come
inside functions.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

_SAME = ("scikit-learn", "pandas", "numpy", "joblib")  # MLflow has its own limit on pyarrow
_PIECE_ROWS = 100_000


def mlflow_python(folder: Path) -> str:
    """Return the Python of an environment with MLflow: MLFLOW_PYTHON, else one is made below `folder`, once."""
    if os.environ.get("MLFLOW_PYTHON"):
        return os.environ["MLFLOW_PYTHON"]
    python = str(folder / "mlflow" / "bin" / "python")
    uv = str(Path(sys.executable).parent / "uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    same = [f"{name}=={metadata.version(name)}" for name in _SAME]
    if Path(python).with_name("mlflow").exists():
        return python
    for words in (
        ("venv", "-q", "--allow-existing", "--python", version, "mlflow"),
        ("pip", "install", "-q", "--compile-bytecode", "--python", python, "mlflow>=3,<4", *same),
    ):
        subprocess.run([uv, *words], cwd=folder, check=True)
    return python


def score(model: str, source: str, target: str) -> dict[str, float]:
    """Score a Parquet file with pyfunc, piece by piece, as MLflow's users do where a table is large."""
    import joblib
    import mlflow.pyfunc
    import mlflow.sklearn
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    saved = f"{target}.model"
    how = {"serialization_format": "cloudpickle", "pyfunc_predict_fn": "predict_proba"}
    mlflow.sklearn.save_model(joblib.load(model), saved, pip_requirements=["scikit-learn"], **how)
    loaded = mlflow.pyfunc.load_model(saved)
    began, before = time.perf_counter(), _cpu_s()
    writer, rows = None, 0
    for batch in pq.ParquetFile(source).iter_batches(_PIECE_ROWS):
        chances = loaded.predict(batch.to_pandas())
        table = pa.Table.from_pandas(pd.DataFrame(chances, columns=["p0", "p1"]), preserve_index=False)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
        rows += batch.num_rows
    if writer is not None:
        writer.close()
    return {"rows": rows, "seconds": time.perf_counter() - began, "cpu_s": _cpu_s() - before, "peak_mb": peak_mb()}


def log(model: str, source: str, folder: str, count: str, how: str) -> dict[str, list[float]]:
    """Return what each `log_model` costs with ``inferred`` or ``pinned`` requirements; the first, which loads, is left out."""
    import joblib
    import mlflow
    import mlflow.sklearn
    import pandas as pd

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    estimator, sample = joblib.load(model), pd.read_parquet(source)
    pinned = [f"{name}=={metadata.version(name)}" for name in ("scikit-learn", "pandas", "numpy")]
    told: dict[str, list[float]] = {"seconds": [], "cpu_s": []}
    for _ in range(int(count) + 1):
        with mlflow.start_run():
            began, before = time.perf_counter(), _cpu_s()
            mlflow.sklearn.log_model(
                estimator,
                name="model",
                input_example=sample.head(5),
                pip_requirements=pinned if how == "pinned" else None,
                serialization_format="cloudpickle",  # skops, the default, refuses the model's own types
            )
            told["seconds"].append(time.perf_counter() - began)
            told["cpu_s"].append(_cpu_s() - before)
    return {name: values[1:] for name, values in told.items()}


def peak_mb() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    print(json.dumps(score(*given) if verb == "score" else log(*given)))
