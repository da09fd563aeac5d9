"""Jobs become executions on this machine: papermill runs each with a kernel from the chosen source."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlnb.run.kernels.job import Execution, Job, OnCell
from mlnb.run.kernels.loading import CUDA
from mlnb.run.kernels.say import say_once
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.run.kernels.provisioner import Source
    from mlnb.run.kernels.session import Session

_GRACE_S = 2.0


class Host:
    """`Kernels` of this machine.

    Parameters
    ----------
    how : str
        ``fork``, ``pool`` or ``spawn``.
    """

    def __init__(self, how: str, state: StateFolder, settings: Settings) -> None:
        self._how = how
        self._state = state
        self._settings = settings
        self._source: Source | None = None
        self._running: set[Session] = set()
        self._changed = threading.Condition()
        self._cancelled = False
        self._preparing: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Return the kernels themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def prepare(self, modules: Sequence[str]) -> None:
        """Start the zygote or the pool in the background; papermill is imported here when there is something to run."""
        cuda = sorted(CUDA & {name.partition(".")[0] for name in modules})
        if self._how == "fork" and cuda:
            say_once(f"Kernels are taken from a pool instead of forked: {cuda[0]} may use CUDA.")
            self._how = "pool"
        thread = threading.Thread(target=self._prepare, args=(modules,), name="mlnb-prepare", daemon=True)
        thread.start()
        self._preparing.append(thread)

    def execute(self, job: Job, on_cell: OnCell) -> Execution:
        """Execute a notebook in a fresh Python that ends with it, whichever way."""
        _load_papermill()
        from mlnb.run.kernels.session import CANCELLED, Session
        from mlnb.run.kernels.sources import Spawn

        session = Session(job, on_cell)
        with self._changed:
            if self._cancelled:
                return Execution(json.loads(job.notebook.read_bytes()), -1, CANCELLED)
            self._running.add(session)
        try:
            return session.execute(Spawn() if job.seed else self._chosen())
        finally:
            with self._changed:
                self._running.discard(session)
                self._changed.notify_all()

    def cancel(self) -> None:
        """Interrupt every running notebook; kill those that have not ended two seconds later."""
        with self._changed:
            self._cancelled = True
            running = list(self._running)
        if self._source is not None:
            self._source.abort()
        for session in running:
            session.interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _GRACE_S)
            running = list(self._running)
        for session in running:
            session.kill()

    def close(self) -> None:
        """Kill what still runs and let go of what was prepared."""
        for thread in self._preparing:
            thread.join()
        with self._changed:
            running = list(self._running)
            self._cancelled = self._cancelled or bool(running)
        for session in running:
            session.kill()
        with self._changed:
            self._changed.wait_for(lambda: not self._running)
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _prepare(self, modules: Sequence[str]) -> None:
        from mlnb.run.kernels.environment import environment

        self._chosen().prepare(modules, environment(0))

    def _chosen(self) -> Source:
        with self._changed:
            if self._source is None:
                self._source = self._made()
            return self._source

    def _made(self) -> Source:
        from mlnb.run.kernels.sources import Fork, Pool, Spawn

        if self._how == "spawn":
            return Spawn()
        if self._how == "fork" and sys.platform == "linux":
            return Fork(self._state.project, self._settings.kernel_idle_s)
        if self._how == "fork":
            say_once(f"Kernels are taken from a pool instead of forked: {sys.platform} cannot fork them.")
        return Pool(self._state.project)


def _load_papermill() -> None:
    from mlnb.run.kernels.stack import load

    load()
