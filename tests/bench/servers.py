"""One model becomes the servers that people put it behind, each as its own guide ships it, one worker each.

MLflow's and MLServer's Pythons are MLFLOW_PYTHON and MLSERVER_PYTHON, or environments that are made for the bench.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.bench.mlflow_peer import mlflow_python
from tests.bench.peer import Peer, Started
from tests.bench.place import Place
from tests.bench.rows import WORDS, Row

Rows = Sequence[Row]
_SAVE = (
    "import sys, joblib, mlflow.sklearn\n"
    "mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], pip_requirements=['mlflow', 'scikit-learn'], "
    "serialization_format='cloudpickle', pyfunc_predict_fn='predict_proba')\n"
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server, how it is asked, and how its answer is read.

    Attributes
    ----------
    name : str
        With what it does beside answering.
    server : Started
        Not yet entered.
    path : str
        Where it takes rows.
    body : callable
        Rows to a request's body.
    chances : callable
        A decoded answer to the probability of being late for each row.
    """

    name: str
    server: Started
    path: str
    body: Callable[[Rows], bytes]
    chances: Callable[[Any], list[float]]


def ours(place: Place, name: str, **settings: str) -> Contestant:
    """Return the Bento's own process, with settings of the service as variables."""
    source = place.deployed.onnx.parents[2]
    folder = _folder(place, name)
    environ = place.environ | {"PYTHONPATH": str(source), "MLNB_PREDICTIONS": str(folder / "predictions")} | settings
    command = [sys.executable, "-m", "mlnb.service.serve", "--port", "PORT"]
    return Contestant(name, Started(command, folder, environ, "/readyz"), "/predict", rows_body, _second_of_each)


def ours_through_bentoml(place: Place) -> Contestant:
    """Return the same Bento behind ``bentoml serve``, logged durably."""
    bento = place.deployed.onnx.parents[3]
    name = "mlnb through bentoml serve, durable log"
    folder = _folder(place, "bentoml")
    environ = place.environ | {
        "BENTOML_HOME": str(bento.parents[2]),
        "MLNB_PREDICTIONS": str(folder / "predictions"),
    }
    command = [sys.executable, "-m", "bentoml", "serve", f"{bento.parent.name}:{bento.name}", "--host", "127.0.0.1"]
    server = Started([*command, "--port", "PORT"], folder, environ, "/readyz")
    return Contestant(name, server, "/predict", rows_body, _second_of_each)


def bare(place: Place) -> Contestant:
    """Return Starlette and onnxruntime by hand."""
    folder = _folder(place, "starlette")
    shutil.copy(Path(__file__).with_name("bare_starlette.py"), folder)
    environ = place.environ | {"ONNX": str(place.deployed.onnx), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "bare_starlette:app", "--port", "PORT", "--no-access-log"]
    server = Started([*command, "--log-level", "warning"], folder, environ, "/readyz")
    return Contestant("Starlette + onnxruntime by hand", server, "/predict", rows_body, _second_of_each)


def stock_bento(place: Place, service: str, told: str) -> Contestant:
    """Return a service as BentoML's guide writes it."""
    return Contestant(f"BentoML, {told}", Peer(place, service), "/predict", rows_body, list)


def mlflow(place: Place) -> Contestant:
    """Return ``mlflow models serve``."""
    folder, python = _folder(place, "mlflow-serve"), Path(mlflow_python(place.folder))
    environ = place.environ | {
        "PATH": f"{python.parent}{os.pathsep}{place.environ.get('PATH', '')}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    model = folder / "model"
    saving = [str(python), "-c", _SAVE, str(place.deployed.project / "model.joblib"), str(model)]
    subprocess.run(saving, check=True, cwd=folder, env=environ, capture_output=True)
    command = [str(python), "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    server = Started([*command, "--host", "127.0.0.1", "--port", "PORT", "--workers", "1"], folder, environ, "/ping")
    return Contestant(
        "mlflow models serve (scikit-learn)",
        server,
        "/invocations",
        lambda rows: json.dumps({"dataframe_records": list(rows)}).encode(),
        lambda answer: [row[1] for row in answer["predictions"]],
    )


def mlserver(place: Place, grpc_port: int = 0) -> Contestant:
    """Return MLServer with its runtime for scikit-learn."""
    folder, python = _folder(place, "mlserver"), _mlserver_python(place)
    shutil.copy(place.deployed.project / "model.joblib", folder)
    settings = {
        "name": "late",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "content_type": "pd"},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings), "utf-8")
    environ = place.environ | {
        "PATH": f"{python.parent}{os.pathsep}{place.environ.get('PATH', '')}",
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": "PORT",
        "MLSERVER_GRPC_PORT": str(grpc_port),
        "MLSERVER_METRICS_PORT": "0",
        "MLSERVER_DEBUG": "false",
    }
    server = Started([str(python.parent / "mlserver"), "start", "."], folder, environ, "/v2/models/late/ready")
    return Contestant(
        "MLServer (scikit-learn)",
        server,
        "/v2/models/late/infer",
        tensors_body,
        lambda a: a["outputs"][0]["data"][1::2],
    )


def rows_body(rows: Rows) -> bytes:
    """Return our own form."""
    return json.dumps({"rows": list(rows)}).encode()


def tensors_body(rows: Rows, *, peer: bool = True) -> bytes:
    """Return the Open Inference Protocol's JSON, with what MLServer must be told."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if name in WORDS else "FP64",
            "data": [row[name] for row in rows],
            **({"parameters": {"content_type": "str"}} if peer and name in WORDS else {}),
        }
        for name in rows[0]
    ]
    if not peer:
        return json.dumps({"inputs": inputs}).encode()
    asked = {"inputs": inputs, "outputs": [{"name": "predict_proba"}], "parameters": {"content_type": "pd"}}
    return json.dumps(asked).encode()


def _second_of_each(answer: Any) -> list[float]:
    return [row[1] for row in answer["probabilities"]]


def _folder(place: Place, name: str) -> Path:
    folder = place.folder / "peers" / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _mlserver_python(place: Place) -> Path:
    if os.environ.get("MLSERVER_PYTHON"):
        return Path(os.environ["MLSERVER_PYTHON"])
    python, uv = place.folder / "mlserver-env" / "bin" / "python", str(Path(sys.executable).parent / "uv")
    if python.with_name("mlserver").exists():
        return python
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    same = f"scikit-learn=={metadata.version('scikit-learn')}"
    needed = ("mlserver", "mlserver-sklearn", "uvloop<0.22", same, f"joblib=={metadata.version('joblib')}")
    subprocess.run([uv, "venv", "-q", "--allow-existing", "--python", version, str(python.parents[1])], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *needed], check=True)
    return python
