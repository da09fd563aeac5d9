"""A command becomes a server that answers; a class of `stock_bento` becomes a running ``bentoml serve``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from tests.bench.place import Place

_READY_S = 180.0
_POLL_S = 0.2


class Started:
    """A server; a context manager that stops it.

    Parameters
    ----------
    command : sequence of str
        ``PORT`` in it stands for the port.
    folder : Path
        Its working folder, where its output goes to ``output.log``.
    environ : dict of str to str
        Its environment.
    ready : str
        Path that is answered with 200 as soon as it is ready.
    """

    def __init__(self, command: Sequence[str], folder: Path, environ: dict[str, str], ready: str) -> None:
        self.folder = folder
        port = str(_free_port())
        self.url = f"http://127.0.0.1:{port}"
        self._ready = self.url + ready
        with (folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [word.replace("PORT", port) for word in command],
                cwd=folder,
                env={name: value.replace("PORT", port) for name, value in environ.items()},
                stdout=output,
                stderr=output,
            )
        self.process = psutil.Process(self._process.pid)

    def __enter__(self) -> Started:
        """Return the server once it is ready."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urlopen(self._ready, timeout=5) as answer:
                    if answer.status == 200:
                        return self
            except (URLError, OSError):
                time.sleep(_POLL_S)
        self.kill()
        raise RuntimeError("The peer did not start:\n" + (self.folder / "output.log").read_text("utf-8")[-3000:])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it: SIGTERM to the supervisor, SIGKILL to what does not end."""
        below = self._below()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in psutil.wait_procs(below, timeout=5)[1]:
            process.kill()

    def kill(self) -> None:
        """Kill the supervisor and its workers with SIGKILL."""
        below = self._below()
        self._process.kill()
        for process in below:
            if process.is_running():
                process.kill()

    def _below(self) -> list[psutil.Process]:
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Peer(Started):
    """A stock BentoML service with one worker.

    Parameters
    ----------
    place : Place
        Where it runs; one name has the same folder at every start.
    name : str
        The class.
    """

    def __init__(self, place: Place, name: str) -> None:
        folder = place.folder / "peers" / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            shutil.copy(Path(__file__).with_name("stock_bento.py"), folder)
        deployed = place.deployed
        environ = place.environ | {"MODEL": str(deployed.project / "model.joblib"), "ONNX": str(deployed.onnx)}
        command = [sys.executable, "-m", "bentoml", "serve", f"stock_bento:{name}", "--host", "127.0.0.1"]
        super().__init__([*command, "--port", "PORT"], folder, environ, "/readyz")


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds that a server and everything below it have used since they started."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        times = each.cpu_times()
        total += times.user + times.system
    return total


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
