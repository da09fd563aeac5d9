"""MLflow's own client, in MLflow's environment: loads and scores what mlnb has mirrored, logs what mlnb is to register.

Run by that environment's Python: ``mlflow_client.py score URL PROJECT``, ``mlflow_client.py log URL PROJECT COUNT``; each
prints JSON. What is imported here must be light: MLflow comes inside functions.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def score(url: str, folder: str) -> dict[str, Any]:
    """Load each model by its alias and compare what it answers, and what MLflow tells of its version."""
    import mlflow
    import numpy as np
    import pandas as pd

    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    told: dict[str, Any] = {}
    for name, expected in json.loads((Path(folder) / "expected.json").read_text()).items():
        rows = pd.read_parquet(Path(folder) / f"{name}.parquet")
        model = mlflow.pyfunc.load_model(f"models:/{name}@production")
        answers = np.asarray(model.predict(rows))
        same = answers == np.asarray(expected["predictions"])
        if answers.dtype.kind == "f":
            same = np.abs(answers - np.asarray(expected["predictions"])) <= 1e-9
        apart = 0.0
        if "probabilities" in expected:
            chances = model.predict(rows, params={"output": "probabilities"}).to_numpy()
            apart = float(np.abs(chances - np.asarray(expected["probabilities"])).max())
        version = client.get_model_version_by_alias(name, "production")
        run = client.get_run(version.run_id)
        told[name] = {
            "flavors": sorted(model.metadata.flavors),
            "differ": int((~same).sum()),
            "rows": len(rows),
            "apart": apart,
            "version": version.version,
            "mark": version.tags["mlnb.version"],
            "expected": expected["version"],
            "auc": run.data.metrics["auc"],
            "after": [run.data.metrics.get("undefined", 0.0) != run.data.metrics.get("undefined", 0.0)]
            + [run.data.metrics.get(name) for name in ("after", "α")],
            "linked": [f"models:/{one.model_id}" for one in run.outputs.model_outputs] == [version.source],
            "params": run.data.params,
            "example": len(model.input_example),
        }
    return told


def log(url: str, folder: str, count: str) -> dict[str, Any]:
    """Log, register and alias scikit-learn models, as MLflow's users do; return their runs, answers and costs."""
    import mlflow
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("theirs")
    rows = pd.read_parquet(Path(folder) / "plain.parquet")
    estimator = LogisticRegression().fit(rows, rows["hour"] > 12)
    told: dict[str, Any] = {"answers": estimator.predict(rows).tolist(), "runs": {}, "seconds": []}
    for how in ("skops", "cloudpickle"):
        for _ in range(int(count)):
            began = time.perf_counter()
            with mlflow.start_run() as run:
                mlflow.log_param("depth", 3)
                mlflow.log_metric("auc", 0.75)
                mlflow.sklearn.log_model(
                    estimator,
                    name=f"by_{how}",
                    input_example=rows.head(5),
                    serialization_format=how,
                    pip_requirements=["scikit-learn"],
                    registered_model_name=f"theirs_{how}",
                )
            mlflow.MlflowClient().set_registered_model_alias(f"theirs_{how}", "champion", 1)
            told["seconds"].append(time.perf_counter() - began)
        told["runs"][how] = run.info.run_id
    return told


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    print(json.dumps(score(*given) if verb == "score" else log(*given)))
