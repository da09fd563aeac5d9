"""MLflow's registry: versions are created and an alias is moved, by one process, or by one of several.

Run by the Python of an environment with MLflow: ``mlflow_registry_peer.py FOLDER`` prints medians in milliseconds;
``mlflow_registry_peer.py FOLDER NAME ROUNDS`` says "ready", waits for a line, and prints what went wrong.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

_ACTS = 100


def measure(folder: Path) -> dict[str, float]:
    """Return the medians of create version + set alias, look up by alias, and set the alias back."""
    client = _client(folder)
    client.create_registered_model("delays")
    pairs, look_ups, back = [], [], []
    for _ in range(_ACTS):
        began = time.perf_counter()
        version = client.create_model_version("delays", (folder / "model").as_uri())
        client.set_registered_model_alias("delays", "production", version.version)
        pairs.append(time.perf_counter() - began)
        began = time.perf_counter()
        client.get_model_version_by_alias("delays", "production")
        look_ups.append(time.perf_counter() - began)
    for number in range(_ACTS, _ACTS // 2, -1):
        began = time.perf_counter()
        client.set_registered_model_alias("delays", "production", str(number - 1))
        back.append(time.perf_counter() - began)
    names = ("register + promote", "look up by alias", "roll back")
    figures = (pairs[5:], look_ups[5:], back)
    return {name: statistics.median(figure) * 1000 for name, figure in zip(names, figures, strict=True)}


def compete(folder: Path, rounds: int) -> dict[str, object]:
    """Create versions and move the alias there and back; return what went wrong."""
    errors: dict[str, int] = {}
    numbers = []
    client = None
    for _ in range(rounds):
        try:
            client = client or _client(folder)
            version = client.create_model_version("delays", (folder / "model").as_uri())
            numbers.append(int(version.version))
            client.set_registered_model_alias("delays", "production", version.version)
            before = str(max(1, int(version.version) - 1))
            client.set_registered_model_alias("delays", "production", before)
        except Exception as error:  # whatever it is, it is counted
            name = type(error.__cause__ or error).__name__
            errors[name] = errors.get(name, 0) + 1
    return {"numbers": numbers, "errors": errors}


def _client(folder: Path):  # of a library that is not here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    (folder / "model").mkdir(exist_ok=True)
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    if len(sys.argv) > 2:
        try:
            client.create_registered_model("delays")
        except Exception as error:
            if "already exists" not in str(error):
                raise
    return client


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(measure(Path(sys.argv[1]))))
    else:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(compete(Path(sys.argv[1]), int(sys.argv[3]))))
