"""Stages and rows on a real Dask cluster: its processes are its own, results travel over S3's protocol.

What `mlnb.batch.cluster` does with rows is here as well, because no second cluster need be started for it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from moto.server import ThreadedMotoServer
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mlnb.model.export import export_model
from mlnb.project import Project
from mlnb.registry.lineage import Lineage
from mlnb.registry.version import Draft

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}  # moto's
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


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    name = f"mlnb-{uuid.uuid4().hex[:8]}"  # moto remembers the buckets of all its servers in a process
    environ = {
        **os.environ,
        **KEYS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "MLNB_SHARED_CACHE": f"s3://{name}/cache",
    }
    httpx.put(f"http://127.0.0.1:{port}/{name}", trust_env=False).raise_for_status()
    yield environ
    server.stop()


class Cluster:
    """A scheduler and its workers, by name."""

    def __init__(self, count: int, environ: dict[str, str], folder: Path, stack: ExitStack) -> None:
        self._environ, self._folder, self._stack = environ, folder, stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._place = f"127.0.0.1:{free.getsockname()[1]}"
        port = self._place.rpartition(":")[2]
        self.scheduler = self._process("scheduler", "--host", "127.0.0.1", "--port", port, name="scheduler")
        self.workers = {name: self._worker(name) for name in (f"w{n}" for n in range(count))}
        _wait_for(self._place, count)

    @property
    def address(self) -> str:
        """As --executor takes it."""
        return f"dask://{self._place}"

    @property
    def alive(self) -> int:
        """How many workers live."""
        return sum(worker.poll() is None for worker in self.workers.values())

    def _worker(self, name: str) -> subprocess.Popen[bytes]:
        words = (f"tcp://{self._place}", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")
        return self._process("worker", *words, "--local-directory", str(self._folder / name), name=name)

    def _process(self, *words: str, name: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        started = subprocess.Popen(command, env=self._environ, cwd=self._folder, stdout=log, stderr=log)
        return self._stack.enter_context(_ending(started))


@pytest.fixture(scope="module")
def cluster(bucket: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that serves all tests; two of them kill one of its three workers each."""
    with ExitStack() as stack:
        yield Cluster(3, bucket, tmp_path_factory.mktemp("dask"), stack)


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        psutil.wait_procs(children, timeout=20)


def _wait_for(place: str, count: int) -> None:
    from distributed import Client

    with Client(f"tcp://{place}", timeout=60, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


def write(folder: Path, *sources: str) -> Path:
    cells = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(sources)
    ]
    path = folder / "nb.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return path


def run(address: str, environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlnb", "run", "nb.ipynb", "--executor", address, "--json", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=200)


def states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in json.loads(done.stdout)["stages"]}


def test_stages_run_on_the_workers_with_the_projects_own_modules_and_data(
    cluster: Cluster, bucket: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ours.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "data.txt").write_text("20")
    (tmp_path / ".mlnb").mkdir()
    write(
        tmp_path,
        "import os\nfrom pathlib import Path\nfrom ours import double",
        "%%stage first\nnumber = double(int(Path('data.txt').read_text()))\nwhere = os.getcwd()",
        "%%stage last --outputs total\ntotal = number + 2\nprint('in', where)",
        "%%test last\ndef test_it():\n    assert total == 42",
    )
    done = run(cluster.address, bucket, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert states(done) == {"first": "done", "last": "done", "test-last": "done"}
    text = json.dumps(json.loads((tmp_path / ".mlnb/runs" / json.loads(done.stdout)["id"] / "last.ipynb").read_text()))
    assert "in " in text
    assert str(tmp_path) not in text.split("in ")[1][:200]  # it was another folder: the worker's
    assert set(states(run(cluster.address, bucket, tmp_path)).values()) == {"cached"}

    write(tmp_path, "%%stage bad\n1 / 0")
    failed = run(cluster.address, bucket, tmp_path)
    assert failed.returncode == 1
    fault = json.loads(failed.stdout)["stages"][0]["error"]
    assert (fault["ename"], fault["cell"], fault["line"]) == ("ZeroDivisionError", 1, 2)


def test_a_stage_whose_worker_is_killed_completes_on_another_one_once(
    cluster: Cluster, bucket: dict[str, str], tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    write(
        tmp_path,
        "import os, time\nfrom pathlib import Path",
        f"%%stage slow --outputs value\nmarks = Path({str(marks)!r})\n(marks / f'begun-{{os.getpid()}}').touch()\n"
        "while not (marks / 'go').exists():\n    time.sleep(0.05)\n(marks / f'ended-{os.getpid()}').touch()\nvalue = 7",
    )
    command = [sys.executable, "-m", "mlnb", "run", "nb.ipynb", "--executor", cluster.address, "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=bucket, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        kernel = _first(lambda: [int(path.name.split("-")[1]) for path in marks.glob("begun-*")])
        worker = next(part for part in Path(psutil.Process(kernel).cwd()).parts if part in cluster.workers)
        cluster.workers[worker].kill()
        again = _first(
            lambda: [pid for path in marks.glob("begun-*") if (pid := int(path.name.split("-")[1])) != kernel]
        )
        psutil.wait_procs([psutil.Process(kernel)] if psutil.pid_exists(kernel) else [], timeout=20)
        assert not psutil.pid_exists(kernel)  # the kernel dies with its worker
        (marks / "go").touch()
        out, complaints = process.communicate(timeout=150)
    assert process.returncode == 0, complaints
    assert {stage["state"] for stage in json.loads(out)["stages"]} == {"done"}
    assert [path.name for path in marks.glob("ended-*")] == [f"ended-{again}"]


def test_a_lost_scheduler_is_said_and_the_run_resumes_on_another_one(
    cluster: Cluster, bucket: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    write(
        tmp_path,
        "import time\nfrom pathlib import Path",
        "%%stage quick\nvalue = 6",
        f"%%stage slow --outputs answer\nmarks = Path({str(marks)!r})\n(marks / 'begun').touch()\n"
        "while not (marks / 'go').exists():\n    time.sleep(0.05)\nanswer = 7 * value",
    )
    with ExitStack() as stack:
        lost = Cluster(1, bucket, tmp_path_factory.mktemp("lost"), stack)
        command = [sys.executable, "-m", "mlnb", "run", "nb.ipynb", "--executor", lost.address]
        with subprocess.Popen(
            command, cwd=tmp_path, env=bucket, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            _first(lambda: list(marks.glob("begun")))
            lost.scheduler.send_signal(signal.SIGKILL)
            _, complaints = process.communicate(timeout=150)
    assert process.returncode == 1
    assert f"The Dask scheduler at {lost.address[7:]} was lost" in complaints
    assert "--resume" in complaints
    assert "Traceback" not in complaints
    (marks / "go").touch()
    resumed = run(cluster.address, bucket, tmp_path, "--resume", "last")
    assert resumed.returncode == 0, resumed.stderr
    assert states(resumed)["quick"] == "cached"
    assert states(resumed)["slow"] in {"done", "cached"}


def test_what_is_missing_is_said_before_anything_runs(bucket: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path, "%%stage one\nx = 1")
    nobody = "dask://127.0.0.1:1"
    alone = {name: value for name, value in bucket.items() if name != "MLNB_SHARED_CACHE"}
    refused = run(nobody, alone, tmp_path)
    assert refused.returncode == 2
    assert "shared_cache" in refused.stdout
    refused = run(nobody, bucket, tmp_path)
    assert refused.returncode == 1
    assert "No Dask scheduler answers at 127.0.0.1:1" in refused.stdout
    assert "refused" in refused.stdout  # said at once: nothing was waited for


def register(folder: Path, hooks: str) -> None:
    rows = pd.DataFrame({"x": np.arange(50.0)})
    package = folder / "package"
    with threadpool_limits(1):
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


def python(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
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
    alive = cluster.alive
    register(tmp_path, KILLED_ONCE.replace("MARK", repr(str(tmp_path / "killed"))))
    words = ("predict", "triple/1", "rows", "answers.parquet", "--keep", "x", "--executor", cluster.address, "--json")
    told: dict[str, Any] = json.loads(python(bucket, tmp_path, "-m", "mlnb", *words).stdout)
    assert (told["rows"], told["faulty"]) == (12_000, 0)
    assert cluster.alive == alive - 1
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert answers["x"].tolist() == list(np.arange(12_000.0))
    np.testing.assert_allclose(answers["prediction"], 6 * answers["x"] + 1, rtol=1e-6)
    assert python(bucket, tmp_path, "-c", LEFT, place(bucket)).stdout.strip() == "[]"


def test_rows_and_answers_may_lie_at_addresses(bucket: dict[str, str], tmp_path: Path, rows: Path) -> None:
    register(tmp_path, "")
    python(bucket, tmp_path, "-c", UPLOAD, str(rows), place(bucket))
    words = ("triple/1", f"{place(bucket)}/rows/*.parquet", f"{place(bucket)}/made/answers.parquet", "--keep", "x")
    assert "12,000 rows scored with triple/1" in python(bucket, tmp_path, "-m", "mlnb", "predict", *words).stdout
    python(bucket, tmp_path, "-c", DOWNLOAD, place(bucket))
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    assert answers["x"].tolist() == list(np.arange(12_000.0))
    np.testing.assert_allclose(answers["prediction"], 3 * answers["x"] + 1, rtol=1e-5)


def _first(look: Callable[[], list[object]], timeout_s: float = 120.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found[0]
        time.sleep(0.05)
    raise AssertionError("it did not happen")
