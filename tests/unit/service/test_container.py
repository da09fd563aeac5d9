from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from mlnb.errors import ServiceError
from mlnb.service.bento import Bento
from mlnb.service.client import Client
from mlnb.service.container import build_image
from mlnb.service.log_reader import read_predictions
from mlnb.service.protocols import encode
from mlnb.service.recipe import dockerfile
from mlnb.service.skew import read_sample, replay
from tests.image import make_base, unpack


def test_the_dockerfile_takes_the_locked_files_alone_and_no_root(bento: Bento) -> None:
    written = (bento.source / "Dockerfile").read_text("utf-8").splitlines()
    [install] = [line for line in written if '"install"' in line]
    assert '"--require-hashes"' in install and '"--only-binary=:all:"' in install and '"--no-deps"' in install
    assert written.index("USER 10001:10001") > max(at for at, line in enumerate(written) if line.startswith("RUN"))
    assert written[-1] == 'CMD ["serve"]'
    assert '"--require-hashes"' not in dockerfile("delays", [1], "# mlnb lock 1\nnumpy==2.4.6\n")


def test_without_a_builder_the_command_for_another_is_told(
    bento: Bento, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"there is no buildah.*docker build --tag delays:1 .*/src"):
        build_image(bento.path, "delays:1", tmp_path / "image.tar")


@pytest.mark.image
@pytest.mark.timeout(900)
def test_the_image_answers_from_a_read_only_root_as_nobody_in_particular(
    bento: Bento, packages: dict[int, Path], tmp_path: Path
) -> None:
    base = make_base(tmp_path / "base")
    built = build_image(bento.path, bento.tag, tmp_path / "image.tar", base=f"oci-archive:{base}")
    image = unpack(built.archive, tmp_path / "unpacked")
    assert (image.config["User"], image.list("Cmd")) == ("10001:10001", ["serve"])
    assert "PORT=8080" in image.list("Env")
    assert not list(image.root.glob("opt/service/lib/*/site-packages/pip"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    volume = tmp_path / "volume"
    (volume / "predictions").mkdir(parents=True)
    for path in (volume, volume / "predictions"):
        os.chown(path, 10001, 10001)
    environ = {"PORT": str(port), "MLNB_HOST": "127.0.0.1"}
    url = f"http://127.0.0.1:{port}"
    with image.started(volume, environ, ["serve"]) as process:
        _await(url, process)
        inside, worker = _inside(process)
        assert inside.uids().effective == worker.uids().effective == 10001
        assert _root_options(inside.pid).startswith("ro")
        assert replay(url, packages[1], 1e-4).passed
        with Client(url) as client:
            assert client.get("/ping").status == 200
            row = read_sample(packages[1])[0]
            answered = client.post("/invocations", encode({"rows": [row]}))
            assert (answered.status, list(answered.body)) == (200, ["predictions"])  # SageMaker's form, not ours
        health = image.config["Healthcheck"]
        assert isinstance(health, dict)
        assert image.run(health["Test"][1:], volume, environ).returncode == 0
        inside.terminate()
        assert process.wait(30) == 0
    assert image.run(health["Test"][1:], volume, environ).returncode == 1
    logged = [status for batch in read_predictions(volume / "predictions") for status in batch.status]
    assert logged == [200] * 61


def _inside(process: subprocess.Popen[str]) -> tuple[psutil.Process, psutil.Process]:
    """Return the first process of the container, the supervisor, and its worker."""
    found = [one for one in psutil.Process(process.pid).children(recursive=True) if "python" in one.exe()]
    [worker] = [one for one in found if "--worker" in one.cmdline()]
    [supervisor] = [one for one in found if one != worker]
    return supervisor, worker


def _await(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Client(url, timeout_s=5) as client:
                if client.get("/ping").status == 200:
                    return
        except ServiceError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(f"The image did not start: {process.communicate()[0]}")


def _root_options(pid: int) -> str:
    """Return how the root of a process is mounted (proc(5), mountinfo)."""
    rows = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return next(row[5] for row in rows if row[4] == "/")
