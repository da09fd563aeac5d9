"""A `Job` becomes its `Execution`: papermill, with a kernel from a `Source`, on sockets in a private folder.

Everything that belongs to one kernel (connection file, sockets, log) lies in that folder. The kernel is its own process
group and is killed with all that it started when the notebook ends, whichever way. It may be started before there is a
notebook for it; whatever changed its environment meanwhile, the notebook gets a kernel that was started afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.utils import run_sync
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import ERROR_MARKER_TAG

from mlnb.run.kernels.forking import ForkedProcess
from mlnb.run.kernels.job import Execution, Job, OnCell
from mlnb.run.kernels.papermill_engine import PromptEngine
from mlnb.run.kernels.place import private_folder
from mlnb.run.kernels.provisioner import Source
from mlnb.store.disk import write_bytes

_ENGINE = "mlnb"
_START_TIMEOUT_S = 120
_LOG_LINES = 5
CANCELLED = "it was cancelled"

papermill_engines.register(_ENGINE, PromptEngine)  # an installation of mlnb registers it too, by its entry point


@dataclass(slots=True, eq=False)
class Session:
    """One kernel, and the notebook that it executes.

    Attributes
    ----------
    folder : Path
        The kernel's working directory.
    environ : Mapping[str, str]
        Its environment.
    last : int
        0-based index of the cell that was started last.
    cancelled : bool
        Somebody wants it to end.
    """

    folder: Path
    environ: Mapping[str, str]
    last: int = -1
    cancelled: bool = False
    _given: Future[tuple[Job, OnCell] | None] = field(default_factory=Future)
    _manager: Any = None
    _notebook: Any = None

    def give(self, job: Job, on_cell: OnCell) -> None:
        """Let it execute a notebook, before or after `execute` is called in some thread; once."""
        self._given.set_result((job, on_cell))

    def dismiss(self) -> None:
        """Let it end without a notebook."""
        self._given.set_result(None)

    def execute(self, source: Source) -> Execution | None:
        """Start a kernel of `source`, wait for a notebook and execute it; None if it was dismissed instead.

        No process, socket or file of the kernel is left behind.
        """
        try:
            with private_folder() as folder, (folder / "log").open("w+b") as log:
                return self._executed(source, folder, log)
        finally:
            _close_loop()

    def _executed(self, source: Source, folder: Path, log: BinaryIO) -> Execution | None:
        try:
            ahead = not self._given.done()
            refusal = self._start(source, folder, log)
            given = self._given.result()
            if given is None:
                return None
            if ahead and not self._is_current():
                self._end()
                refusal = self._start(source, folder, log)
            job, on_cell = given
            crash = self._run(job, on_cell, refusal, log)
        finally:
            self._end()
        content = self._written(job)
        write_bytes(job.notebook, content)
        return Execution(json.loads(content), self.last, crash)

    def interrupt(self) -> None:
        """Interrupt the cell that runs."""
        self.cancelled = True
        group = getattr(getattr(self._manager, "provisioner", None), "pgid", None)
        if group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGINT)

    def kill(self) -> None:
        """End the kernel with all that it has started."""
        if self._manager is not None:
            _kill(self._manager)

    def _start(self, source: Source, folder: Path, log: BinaryIO) -> RuntimeError | None:
        """Start a kernel; return why it did not start, if so."""
        self._manager = _manager(folder)
        source.provision(self._manager, folder / "log")
        try:
            run_sync(self._manager.start_kernel)(
                extra_arguments=["--ext=mlnb.run.cells", "--HistoryManager.hist_file=:memory:"],
                cwd=str(self.folder),
                env=dict(self.environ),
                stdout=log,
                stderr=log,
            )
        except RuntimeError as error:
            return error
        return None

    def _is_current(self) -> bool:
        """Say whether a kernel that has waited is what one would be that is started now."""
        process = getattr(self._manager.provisioner, "process", None)
        return isinstance(process, ForkedProcess) and process.is_current()

    def _end(self) -> None:
        if self._manager is not None:
            _kill(self._manager)
            _wait(self._manager)
            run_sync(self._manager.cleanup_resources)()

    def _run(self, job: Job, on_cell: OnCell, refusal: RuntimeError | None, log: BinaryIO) -> str:
        """Run papermill; return why the kernel could not finish, or nothing."""
        try:
            if refusal is not None:
                raise refusal
            self._papermill(job, on_cell)
        except PapermillExecutionError:
            crash = ""  # the user's exception is in the outputs
        except CellTimeoutError:
            crash = f"it ran longer than {job.timeout_s} s (the setting stage_timeout_s)"
        except DeadKernelError:
            crash = f"its kernel died{self._last_words(log)}"
        except RuntimeError as error:
            if self.last >= 0 and not self.cancelled:
                raise
            crash = f"its kernel did not start ({error}){self._last_words(log)}"
        else:
            return ""
        return CANCELLED if self.cancelled else crash

    def _papermill(self, job: Job, on_cell: OnCell) -> None:
        papermill.execute_notebook(
            str(job.notebook).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            None,
            parameters=dict(job.parameters),
            engine_name=_ENGINE,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            start_timeout=_START_TIMEOUT_S,
            execution_timeout=job.timeout_s or None,
            km=self._manager,
            on_notebook_start=self._begun,
            on_cell_start=lambda cell, cell_index: self._started(cell, cell_index, on_cell),
            on_cell_executed=lambda **_: write_bytes(job.notebook, self._written(job)),
            cleanup_kc=True,
        )

    def _started(self, cell: Any, cell_index: int, on_cell: OnCell) -> None:
        """Hear from nbclient that a cell begins."""
        if cell.cell_type == "code":
            self.last = cell_index
            number = cell.metadata.get("mlnb", {}).get("cell", 0)
            if number:
                on_cell(number)
        if self.cancelled:
            self.kill()

    def _begun(self, notebook: Any) -> None:
        self._notebook = notebook
        if self.cancelled:
            self.kill()

    def _written(self, job: Job) -> bytes:
        if self._notebook is None:  # it did not come so far
            return job.notebook.read_bytes()
        notebook = self._notebook.copy()
        notebook["cells"] = [
            cell for cell in notebook["cells"] if ERROR_MARKER_TAG not in cell.metadata.get("tags", [])
        ]
        text: str = nbformat.v4.writes(nbformat.from_dict(notebook))
        return text.encode("utf-8", "surrogatepass")

    def _last_words(self, log: BinaryIO) -> str:
        process = getattr(self._manager.provisioner, "process", None)
        code = process.poll() if process is not None else None
        how = ""
        if code is not None:
            how = f" ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
        log.seek(0)
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return how + (f": {' / '.join(lines[-_LOG_LINES:])}" if lines else "")


class _ThisPython(KernelSpecManager):  # type: ignore[misc]  # jupyter_client is untyped here
    """Knows one kernel: this interpreter, whatever kernels the user has installed under its name."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def _manager(folder: Path) -> Any:
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_ThisPython())
    manager.log = logging.getLogger("papermill")  # silent: what goes wrong is told in a crash's sentence
    manager.connection_file = str(folder / "kernel.json")
    if os.name == "posix":
        manager.transport = "ipc"
        manager.ip = str(folder / "k")
    return manager


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


def _wait(manager: Any) -> None:
    process = getattr(manager.provisioner, "process", None)
    if process is not None:
        process.wait()


def _close_loop() -> None:
    """Close the event loop that the stack has made for this thread, which nobody else would."""
    if threading.current_thread() is threading.main_thread():
        return
    with suppress(RuntimeError):
        asyncio.get_event_loop_policy().get_event_loop().close()
