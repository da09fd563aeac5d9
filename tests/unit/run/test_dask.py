"""Stages on a real Dask cluster: scheduler and workers are processes of their own, results travel over S3's protocol."""

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

import httpx
import psutil
import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}  # moto's


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
    """A cluster that serves all tests; one of them kills one of its two workers."""
    with ExitStack() as stack:
        yield Cluster(2, bucket, tmp_path_factory.mktemp("dask"), stack)


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


def _first(look: Callable[[], list[object]], timeout_s: float = 120.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found[0]
        time.sleep(0.05)
    raise AssertionError("it did not happen")
