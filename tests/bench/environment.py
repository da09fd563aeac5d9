"""One model becomes three services' environments: mlnb's lock, stock BentoML's and MLflow's; their size, their start.

Each is installed by uv into an environment of its own; the peers get what their own guides have the user list, at the
versions that are installed here. Start to ready: from starting the server's process to its first healthy answer, in seconds and in
CPU seconds of all of the server's processes, which a busy machine changes less.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from uv import find_uv_bin

from mlnb.service.environment import environment_of, site_packages
from tests.bench.cost import Cost
from tests.bench.place import Place
from tests.bench.table import Table, ratio

LIMIT_S = 1.5
_READY_S = 300.0
_BENTOML = ("bentoml", "onnxruntime", "pandas", "joblib", "scikit-learn")
_MLFLOW = ("scikit-learn", "pandas", "cloudpickle")
_SAVE = (
    "import sys, joblib, mlflow.sklearn\n"
    "model = joblib.load(sys.argv[1])\n"
    "mlflow.sklearn.save_model(model, sys.argv[2], pip_requirements=['mlflow', 'scikit-learn'], "
    "serialization_format='cloudpickle')\n"
)


class _Contestant(NamedTuple):
    name: str
    python: Path
    command: Sequence[str]
    folder: Path
    environ: dict[str, str]
    ready: str


def bench(place: Place) -> Table:
    """Install the environments, measure them, and start each server as often as was asked."""
    deployed = place.deployed
    deployed.stop()
    contestants = [_ours(place, deployed.onnx), _bentoml(place, deployed.onnx), _mlflow(place)]
    starts: dict[str, list[Cost]] = {one.name: [] for one in contestants}
    for one in contestants:
        _start(one)  # compiles what it imports
    for _ in range(place.count):
        for one in contestants:
            starts[one.name].append(_start(one))
    sizes = {one.name: _size_mb(site_packages(one.python)) for one in contestants}
    counts = {one.name: len(list(site_packages(one.python).glob("*.dist-info"))) for one in contestants}
    medians = {name: statistics.median(one.wall_s for one in found) for name, found in starts.items()}
    cpu = {name: statistics.median(one.cpu_s for one in found) for name, found in starts.items()}
    ours = contestants[0].name
    rows = [
        [
            name,
            str(counts[name]),
            f"{sizes[name]:.0f}",
            ratio(sizes[name], sizes[ours]),
            f"{medians[name]:.2f}",
            ratio(medians[name], medians[ours]),
            f"{cpu[name]:.2f}",
        ]
        for name in starts
    ]
    return Table(
        f"environment: what the service of one model installs, and its start (medians of {place.count})",
        ["service", "packages", "MB", "of ours", "start s", "of ours", "CPU s"],
        rows,
        [
            "MB: all files of site-packages, compiled ones included. Started once before, so that all are compiled.",
            f"Limit: mlnb is ready within {LIMIT_S:g} s.",
        ],
        held=medians[ours] <= LIMIT_S,
    )


def _ours(place: Place, onnx: Path) -> _Contestant:
    source = onnx.parents[2]
    python = environment_of((source / "lock.txt").read_text("utf-8"), "the bench's model")
    environ = place.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    environ |= {"MLNB_PREDICTIONS": str(place.make("environment/predictions"))}
    command = [str(python), "-m", "mlnb.service.serve", "--port", "PORT"]
    return _Contestant("mlnb (ONNX)", python, command, source, environ, "/readyz")


def _bentoml(place: Place, onnx: Path) -> _Contestant:
    folder = place.make("environment/bentoml")
    python = _install(folder, [f"{name}=={metadata.version(name)}" for name in _BENTOML])
    shutil.copy(Path(__file__).with_name("stock_bento.py"), folder)
    environ = place.environ | {"ONNX": str(onnx), "MODEL": str(place.deployed.project / "model.joblib")}
    command = [str(python), "-m", "bentoml", "serve", "stock_bento:PydanticOnnx", "--host", "127.0.0.1"]
    return _Contestant("BentoML, stock (ONNX)", python, [*command, "--port", "PORT"], folder, environ, "/readyz")


def _mlflow(place: Place) -> _Contestant:
    folder = place.make("environment/mlflow")
    python = _install(folder, ["mlflow<3.18", *(f"{name}=={metadata.version(name)}" for name in _MLFLOW)])
    path = f"{python.parent}{os.pathsep}{place.environ.get('PATH', '')}"
    environ = place.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    model = folder / "model"
    saving = [str(python), "-c", _SAVE, str(place.deployed.project / "model.joblib"), str(model)]
    subprocess.run(saving, check=True, cwd=folder, env=environ, capture_output=True)
    command = [str(python), "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", "PORT", "--workers", "1"]
    return _Contestant("MLflow models serve (scikit-learn)", python, command, folder, environ, "/ping")


def _install(folder: Path, needed: Sequence[str]) -> Path:
    python = folder / "environment" / "bin" / "python"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *needed], check=True)
    return python


def _start(one: _Contestant) -> Cost:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [word.replace("PORT", str(port)) if word == "PORT" else word for word in one.command]
    environ = one.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # every one of them may keep what it compiles
    with (one.folder.parent / f"start-{one.folder.name}.log").open("w+b") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=one.folder, env=environ, stdout=log, stderr=log)
        try:
            while time.perf_counter() - began < _READY_S and process.poll() is None:
                try:
                    with urlopen(f"http://127.0.0.1:{port}{one.ready}", timeout=5) as answer:
                        if answer.status == 200:
                            return Cost(_cpu_s(process.pid), time.perf_counter() - began)
                except (URLError, OSError):
                    time.sleep(0.01)
            log.seek(0)
            raise RuntimeError(f"{one.name} did not start:\n{log.read()[-3000:].decode()}")
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            for left in psutil.wait_procs([*family, psutil.Process(process.pid)], timeout=20)[1] if family else []:
                left.kill()
            process.wait(20)


def _cpu_s(pid: int) -> float:
    """Return what a server has used by now, its children that have ended included."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(one.cpu_times()[:4]) for one in family)


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
