"""Registered versions on a real MLflow server: what MLflow's own client loads answers as here, and back again.

The server is ``mlflow server`` with its own database and artifact proxy, a process of its own on loopback, in an
environment of its own (MLFLOW_PYTHON, else one is made). Beside mlnb's mirroring, MLflow's own client logs, registers and
aliases a model with given requirements, its quickest way.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench.cost import spend
from tests.bench.mlflow_peer import mlflow_python
from tests.bench.place import Place
from tests.bench.table import Table, ratio

_READY_S = 300.0
_CLIENT = str(Path(__file__).with_name("mlflow_client.py"))
_ROOT = Path(__file__).parents[2]


def bench(place: Place) -> Table:
    """Mirror, load and score there, register from there, mirror again."""
    python = mlflow_python(place.folder)
    project = place.make("mirrored")
    count = max(3, place.count)
    spend((sys.executable, "-m", "tests.bench.mirror_case", str(project), str(count)), _ROOT, place.environ)
    with mlflow_server(python, place) as url:
        began = time.perf_counter()
        first = place.mlnb(project, "models", "mirror", "--to", url)
        first_s = time.perf_counter() - began
        began = time.perf_counter()
        again = place.mlnb(project, "models", "mirror", "--to", url)
        again_s = time.perf_counter() - began
        scored = _client(python, place, "score", url, str(project))
        logged = _client(python, place, "log", url, str(project), str(count))
        adopted = _adopt(place, project, url, logged)
    added = sum(len(one["added"]) for one in first)
    wrong = [*_faults(scored, first, again), *adopted]
    theirs = statistics.median(logged["seconds"])
    rows = [
        [f"mlnb models mirror: {added} versions of 3 models, a process", f"{first_s / added:.2f}", "1.00x"],
        ["the same again, nothing is new", f"{again_s / added:.2f}", ratio(again_s, first_s)],
        ["mlflow: log_model, register, alias (in a warm process)", f"{theirs:.2f}", ratio(theirs, first_s / added)],
    ]
    said = [
        f"{name} ({', '.join(one['flavors'])}): models:/{name}@production is {one['mark']} and answers "
        f"{one['rows'] - one['differ']} of {one['rows']} rows as mlnb does, probabilities within {one['apart']:.1e}."
        for name, one in scored.items()
    ]
    notes = [*said, *(wrong or ["Models that MLflow's client logged (skops, cloudpickle) were registered and agree."])]
    return Table(
        "mirror: on a real MLflow server, by MLflow's own client", ["", "s a version", "times"], rows, notes, not wrong
    )


@contextmanager
def mlflow_server(python: str, place: Place) -> Iterator[str]:
    """Start ``mlflow server`` on a free port and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = place.make("mlflow-server")
    address = f"http://127.0.0.1:{port}"
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=place.environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
                if answer.status == 200:
                    break
            time.sleep(0.2)
        else:
            raise RuntimeError((folder / "log").read_text()[-2000:])
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _client(python: str, place: Place, *words: str) -> Any:
    environ = {**place.environ, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "PYTHONWARNINGS": "ignore"}
    return json.loads(spend((python, _CLIENT, *words), place.folder, environ)[1].strip().splitlines()[-1])


def _faults(scored: Any, first: Any, again: Any) -> list[str]:
    faults = [f"mirrored twice: {one['added']}" for one in again if one["added"] or one["moved"]]
    faults += [f"{one['model']} is numbered otherwise: {one['versions']}" for one in first if not _numbered(one)]
    for name, one in scored.items():
        if one["differ"] or one["apart"] > 1e-9:
            faults.append(f"{name} answers otherwise there: {one}")
        if one["after"] != [True, 2.0, 3.0]:
            faults.append(f"{name} has lost numbers there: {one['after']}")
        if one["mark"] != one["expected"] or not one["linked"] or not one["example"] or "depth" not in one["params"]:
            faults.append(f"{name} is told otherwise there: {one}")
    return faults


def _numbered(one: Any) -> bool:
    return all(ref.rpartition("/")[2] == number for ref, number in one["versions"].items())


def _adopt(place: Place, project: Path, url: str, logged: Any) -> list[str]:
    """Register what MLflow's client has logged; return what is wrong with it."""
    import pandas as pd

    from mlnb.errors import UntrustedError
    from mlnb.platforms.mlflow_adoption import Wanted
    from mlnb.project import Project

    faults: list[str] = []
    here = Project(project)
    sample = project / "plain.parquet"
    rows = json.loads(pd.read_parquet(sample).to_json(orient="records", double_precision=15))
    for how, run in logged["runs"].items():
        trusted = ""
        try:
            here.mlflow.adopt(Wanted(run, f"ours_{how}", sample=sample), url)
        except UntrustedError as error:
            trusted = error.digest
        if bool(trusted) == (how == "skops"):
            faults.append(f"{how} was {'refused' if trusted else 'loaded'}")
        told = here.mlflow.adopt(Wanted(run, f"ours_{how}", sample=sample, trusted=trusted), url)
        if here.predict(told.version.ref, rows)["predictions"] != logged["answers"]:
            faults.append(f"{told.version.ref} answers otherwise than in MLflow")
        if told.version.metrics != {"auc": 0.75} or told.version.lineage.parameters != {"depth": "3"}:
            faults.append(f"{told.version.ref} has other numbers than in MLflow")
        alias = f"models:/theirs_{how}@champion"
        named = here.mlflow.adopt(Wanted(alias, f"named_{how}", sample=sample, trusted=trusted), url)
        faults += [] if named.version.exporter == told.version.exporter else [f"{named.version.ref} is another"]
    here.ledger.close()
    return faults
