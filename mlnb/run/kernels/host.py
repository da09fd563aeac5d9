"""Jobs become executions on this machine: papermill runs each with a kernel from the chosen source.

Where more notebooks are likely to follow, the next kernel is forked while this one works, and waits for its notebook.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

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
        self._ahead: _Ahead | None = None

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
        from mlnb.run.kernels.session import CANCELLED
        from mlnb.run.kernels.sources import Spawn

        source = Spawn() if job.seed else self._chosen()
        with self._changed:
            if self._cancelled:
                return Execution(json.loads(job.notebook.read_bytes()), -1, CANCELLED)
            ahead = self._taken(job)
            session = ahead.session if ahead is not None else _session(job.folder, job.seed)
            self._running.add(session)
            session.give(job, on_cell)
            if job.more and source.ahead and self._ahead is None:
                self._ahead = _Ahead(_session(job.folder, 0), source)
        try:
            execution = ahead.result() if ahead is not None else session.execute(source)
        finally:
            with self._changed:
                self._running.discard(session)
                self._changed.notify_all()
        return cast("Execution", execution)  # it is None only for a session without a notebook

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
            ahead, self._ahead = self._ahead, None
        if self._source is not None:
            self._source.abort()
        if ahead is not None:
            ahead.end()
        for session in running:
            session.kill()
        with self._changed:
            self._changed.wait_for(lambda: not self._running)
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _taken(self, job: Job) -> _Ahead | None:
        """Return what waits for a notebook, if it may be this one."""
        ahead = self._ahead
        if ahead is None or not (ahead.ended or ahead.fits(_session(job.folder, job.seed))):
            return None
        self._ahead = None
        return None if ahead.ended else ahead  # what could not start says so to whoever starts the next one

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


class _Ahead:
    """A session in a thread of its own, which starts its kernel and waits for a notebook."""

    def __init__(self, session: Session, source: Source) -> None:
        self.session = session
        self._source = source
        self._result: Future[Execution | None] = Future()
        threading.Thread(target=self._execute, name="mlnb-ahead", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether it has ended without a notebook."""
        return self._result.done()

    def fits(self, wanted: Session) -> bool:
        """Say whether it can take the place of a session that is not started yet."""
        return (self.session.folder, self.session.environ) == (wanted.folder, wanted.environ)

    def result(self) -> Execution | None:
        """Wait for its end."""
        return self._result.result()

    def end(self) -> None:
        """Let it end without a notebook, and wait until nothing of it is left."""
        self.session.dismiss()
        self._result.exception()

    def _execute(self) -> None:
        try:
            self._result.set_result(self.session.execute(self._source))
        except BaseException as error:  # noqa: BLE001  # raised where the notebook is given
            self._result.set_exception(error)


def _session(folder: Path, seed: int) -> Session:
    from mlnb.run.kernels.environment import environment
    from mlnb.run.kernels.session import Session

    return Session(folder, environment(seed))


def _load_papermill() -> None:
    from mlnb.run.kernels.stack import load

    load()
