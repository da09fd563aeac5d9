"""A laid out folder becomes a Bento, by BentoML's own API in a process that loads BentoML while the folder is made.

BentoML takes longer to load than to build, and what it builds is imported, so that each Bento has a process of its own.
It starts with the first stage that runs: it has loaded when what the stage gives is to be packaged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from mlnb.run.events import StageStarted
from mlnb.store.disk import make_folder

_BUILD = """
import importlib, json, os, sys
import bentoml.bentos
for name in ("_bentoml_sdk", "_bentoml_sdk.images", "pip_requirements_parser", "msgspec", "numpy", "sqlite3"):
    try:
        importlib.import_module(name)
    except ImportError:
        continue  # another BentoML may do without
asked = json.loads(sys.stdin.readline() or "null")
if asked:
    bentoml.bentos.build_bentofile(asked.pop("bentofile"), **asked)
    sys.stdout.flush()
    os._exit(0)  # all is written; taking down what was imported would take longer than the rest
"""
_TIMEOUT_S = 300


class Builder:
    """One process that builds one Bento; a context manager that ends it.

    Parameters
    ----------
    home : Path
        BentoML's store.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Builder:
        """Return the builder itself; it starts when it is told to."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process where it was not needed."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def following(self, notify: Callable[[object], None]) -> Callable[[object], None]:
        """Return what to tell of a run's events: it tells `notify`, and loads BentoML as soon as a stage executes."""

        def told(event: object) -> None:
            if isinstance(event, StageStarted):
                self.start()
            notify(event)

        return told

    def start(self) -> None:
        """Begin to load BentoML; a second time does nothing.

        Raises
        ------
        StorageError
            If the store's folder cannot be made.
        """
        if self._process is None:
            make_folder(self._home)
            dropped = {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE"}  # compiled once, not for each Bento
            environ = {key: value for key, value in os.environ.items() if key not in dropped}
            environ |= {"BENTOML_HOME": str(self._home), "BENTOML_DO_NOT_TRACK": "True"}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BUILD],  # what lies in the store's folder is not imported
                cwd=self._home,
                env=environ,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                text=True,
            )

    def build(self, context: Path, name: str, digest: str) -> str:
        """Build the Bento of a folder with ``bentofile.yaml``; return the last line of what went wrong, or "".

        Raises
        ------
        OSError, subprocess.TimeoutExpired
            If no process can be started, or it does not end.
        """
        self.start()
        process = self._process
        assert process is not None  # noqa: S101  # start has made it
        # The file is named because BentoML looks for none below a hidden folder such as .mlnb.
        asked = {
            "bentofile": str(context / "bentofile.yaml"),
            "build_ctx": str(context),
            "name": name,
            "version": digest,
        }
        try:
            said, wrong = process.communicate(json.dumps(asked) + "\n", timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        finally:
            self._process = None
        return ((wrong or said).strip().rpartition("\n")[2] or "it failed") if process.returncode else ""
