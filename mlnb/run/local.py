"""A rendered notebook becomes an executed one: papermill, in a fresh kernel of this interpreter, on unix sockets.

Everything that belongs to one kernel (connection file, sockets, log) lies in a private folder (0700) with a short path,
because a unix socket's path may have 108 characters at the most. The kernel is its own process group and is killed
with all that it started when the notebook ends, whichever way; if this process dies, ipykernel's parent poller ends it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from mlnb.run.executor import Execution, Job, OnCell
from mlnb.store.disk import storing, write_bytes

with warnings.catch_warnings():  # of papermill's own dependencies; nothing that a user could change
    warnings.simplefilter("ignore")
    import nbformat
    import papermill
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import ERROR_MARKER_TAG

_ENGINE = "mlnb"
_SOCKET_PATH_LIMIT = 108
_START_TIMEOUT_S = 120
_LOG_LINES = 5


class LocalExecutor:
    """Executes notebooks on this machine, one fresh kernel each."""

    def execute(self, job: Job, on_cell: OnCell) -> Execution:
        """Execute a notebook and leave no process, socket or file of the kernel behind."""
        with _private_folder() as folder, _kernel(folder) as (manager, log):
            session = _Session(job, on_cell, manager, log)
            crash = _execute(session)
        session.save()
        return Execution(json.loads(session.written()), session.last, crash)


@dataclass(slots=True)
class _Session:
    """What papermill's engine, which is a class, needs to know about this one execution."""

    job: Job
    on_cell: OnCell
    manager: Any
    log: Any
    last: int = -1
    notebook: Any = field(default=None)

    def started(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            self.last = cell_index
            number = cell.metadata.get("mlnb", {}).get("cell", 0)
            if number:
                self.on_cell(number)

    def save(self, **_: Any) -> None:
        write_bytes(self.job.notebook, self.written())

    def written(self) -> bytes:
        notebook = self.notebook.copy()
        notebook["cells"] = [
            cell for cell in notebook["cells"] if ERROR_MARKER_TAG not in cell.metadata.get("tags", [])
        ]
        text: str = nbformat.v4.writes(nbformat.from_dict(notebook))
        return text.encode("utf-8", "surrogatepass")


class _StageEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """papermill's own engine with our kernel and our progress."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, session: _Session, execution_timeout: int | None = None, **_: Any
    ) -> None:
        session.notebook = nb_man.nb
        client = PapermillNotebookClient(
            nb_man,
            km=session.manager,
            kernel_name=kernel_name,
            timeout=execution_timeout,
            startup_timeout=_START_TIMEOUT_S,
            extra_arguments=["--ext=mlnb.run.cells"],
            on_cell_start=session.started,
            on_cell_executed=session.save,
            log=_log(),
        )
        client.execute(
            cleanup_kc=True,
            cwd=str(session.job.folder),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=session.log,
            stderr=session.log,
        )


def _execute(session: _Session) -> str:
    """Run papermill; return why the kernel could not finish, or nothing."""
    if not _log().handlers:  # else Python prints what nbclient logs, which we tell ourselves
        _log().addHandler(logging.NullHandler())
    papermill_engines.register(_ENGINE, _StageEngine)
    timeout_s = session.job.timeout_s
    try:
        papermill.execute_notebook(
            str(session.job.notebook).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            None,
            parameters=dict(session.job.parameters),
            engine_name=_ENGINE,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            execution_timeout=timeout_s or None,
            session=session,
        )
    except PapermillExecutionError:
        return ""  # the user's exception is in the outputs
    except CellTimeoutError:
        return f"it ran longer than {timeout_s} s (the setting stage_timeout_s)"
    except DeadKernelError:
        return f"its kernel died{_last_words(session)}"
    except RuntimeError as error:
        if session.last >= 0:
            raise
        return f"its kernel did not start ({error}){_last_words(session)}"
    return ""


def _log() -> logging.Logger:
    return logging.getLogger("papermill")


def _last_words(session: _Session) -> str:
    process = getattr(session.manager.provisioner, "process", None)
    code = process.poll() if process is not None else None
    how = ""
    if code is not None:
        how = f" ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
    session.log.seek(0)
    lines = [line.strip() for line in session.log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return how + (f": {' / '.join(lines[-_LOG_LINES:])}" if lines else "")


class _ThisPython(KernelSpecManager):  # type: ignore[misc]  # jupyter_client is untyped here
    """Knows one kernel: this interpreter, whatever kernels the user has installed under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


@contextmanager
def _kernel(folder: Path) -> Iterator[tuple[Any, Any]]:
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_ThisPython())
    manager.connection_file = str(folder / "kernel.json")
    if os.name == "posix":
        manager.transport = "ipc"
        manager.ip = str(folder / "k")
    with (folder / "log").open("w+b") as log:
        try:
            yield manager, log
        finally:
            _kill(manager)


def _kill(manager: Any) -> None:
    """End the kernel and all of its group, if it has not ended in an orderly way."""
    provisioner = manager.provisioner
    process = getattr(provisioner, "process", None)
    group = getattr(provisioner, "pgid", None)
    if group:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Give a folder of our own whose path leaves room for a socket's name."""
    parent = tempfile.gettempdir()
    if len(parent) + len("/mlnb-12345678/k-5") >= _SOCKET_PATH_LIMIT:
        parent = "/tmp"  # noqa: S108  # mkdtemp makes a private folder in it
    with storing(Path(parent)):
        folder = tempfile.mkdtemp(prefix="mlnb-", dir=parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
