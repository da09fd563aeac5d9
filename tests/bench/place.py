"""A count becomes a place to measure in: a folder, a home and an environment of its own, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import uuid
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.bench.cost import Cost, spend
from tests.bench.deployed import Deployed

_MARK = "MLNB_BENCH"


class Place:
    """A context manager; whatever was started in its environment is stopped when it ends.

    Parameters
    ----------
    count : int
        Repetitions of each measurement.

    Attributes
    ----------
    folder : Path
        Removed at the end.
    environ : dict of str to str
        For every child.
    remained : list of str
        Processes that the benches themselves had not stopped, known after the end.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = Path(tempfile.mkdtemp(prefix="mlnb-bench-"))
        self.session = uuid.uuid4().hex
        self.remained: list[str] = []
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(("MLNB_", "JPY_"))}
        self.environ |= {
            _MARK: self.session,
            "HOME": str(self.make("home")),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
            "TMPDIR": str(self.make("tmp")),
            "JUPYTER_DATA_DIR": str(self.folder / "home/data"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "home/config"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "home/runtime"),
            "IPYTHONDIR": str(self.folder / "home/ipython"),
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        }

    def __enter__(self) -> Place:
        """Return the place itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what still runs, by its process id, and remove the folder."""
        try:
            if "deployed" in self.__dict__:
                self.deployed.stop()
        finally:
            for process in self._ours():
                with suppress(psutil.NoSuchProcess):
                    self.remained.append(f"{process.pid} {' '.join(process.cmdline())}")
                    process.kill()
                    process.wait(10)
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def deployed(self) -> Deployed:
        """The service that several benches ask; deployed when it is first needed."""
        print("(deploying the service that is measured ...)", file=sys.stderr, flush=True)
        return Deployed(self, "project")

    def make(self, name: str) -> Path:
        """Return a new folder."""
        path = self.folder / name
        path.mkdir(parents=True)
        return path

    def spend(self, *command: str | Path, cwd: Path | None = None) -> Cost:
        """Run a command here; return its cost."""
        return spend(command, cwd or self.folder, self.environ)[0]

    def mlnb(self, project: Path, *words: str | Path) -> Any:
        """Run an mlnb verb in a project; return its JSON answer."""
        return json.loads(spend((sys.executable, "-m", "mlnb", *words, "--json"), project, self.environ)[1])

    def _ours(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self.session and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found
