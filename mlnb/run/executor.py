"""The seam between the engine and whatever executes stages: a `StageTask` in, its `StageRecord` and notebook out.

An executor is a plug-in (entry points ``mlnb.executors``): a function or class that makes one out of a `Session`. The
address ``local`` is the entry point ``local``; of ``dask://10.0.0.1:8786`` the scheme names it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

from mlnb import plugins
from mlnb.notebook.document import Document
from mlnb.run.kernels.place import tidy
from mlnb.run.options import RunOptions
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.run.record import StageRecord
    from mlnb.run.stage import OnPosition, StageTask

_NEEDED_BY = {
    "pandas": ("pyarrow.pandas_compat",),
    "sklearn": (
        "cryptography.hazmat.primitives.asymmetric.ed25519",  # an estimator is signed when it is stored
        "cryptography.hazmat.primitives.serialization",
        "narwhals._pandas_like.namespace",  # scikit-learn looks at frames with it
        "narwhals._interchange.dataframe",
    ),
}
"""What a kernel would import later to use or store the values of a distribution."""


@dataclass(frozen=True, slots=True)
class Session:
    """What an executor is made for.

    Attributes
    ----------
    state, settings
        The project's own.
    kernel : str
        ``fork``, ``pool`` or ``spawn``: how the kernels of a machine are made.
    address : str
        The executor's address as it was given.
    """

    state: StateFolder
    settings: Settings
    kernel: str
    address: str


def session_of(state: StateFolder, settings: Settings, options: RunOptions) -> Session:
    """Return the session of a run: what its options say, else the settings."""
    return Session(state, settings, options.kernel or settings.kernel, options.executor or settings.executor)


class Executor(Protocol):
    """Executes stages, each in a fresh kernel that is gone afterwards, whatever happens.

    A context manager, whose end is `close`. The engine calls `execute` from several threads at once.
    """

    def __enter__(self) -> Self:
        """Return the executor itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    def prepare(self, modules: Sequence[str]) -> None:
        """Start to load these modules of distributions, in the background: stages will import them."""

    def execute(self, task: StageTask, on_cell: OnPosition) -> tuple[StageRecord, Mapping[str, object]]:
        """Execute one stage from its inputs to stored artifacts; return its record and the executed notebook."""

    def cancel(self) -> None:
        """Let every `execute` end soon; its record fails with the crash "it was cancelled"."""

    def close(self) -> None:
        """End whatever was started; a second time does nothing."""


class Deferred:
    """An executor that is made when it is first needed: a run with nothing to do never loads one.

    Parameters
    ----------
    session : Session
        What it is made for.
    document : Document
        The notebook whose imports it loads ahead.
    """

    def __init__(self, session: Session, document: Document) -> None:
        self._session = session
        self._document = document
        self._lock = threading.Lock()
        self._made: Executor | None = None

    def __enter__(self) -> Self:
        """Return the executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was made."""
        self.close()

    def begin(self) -> None:
        """Make the executor and let it begin to load what the notebook imports."""
        self._executor()

    def prepare(self, modules: Sequence[str]) -> None:
        """Let the executor begin to load further modules."""
        self._executor().prepare(modules)

    def execute(self, task: StageTask, on_cell: OnPosition) -> tuple[StageRecord, Mapping[str, object]]:
        """Execute one stage."""
        return self._executor().execute(task, on_cell)

    def cancel(self) -> None:
        """Cancel what is going on, if anything is."""
        if self._made is not None:
            self._made.cancel()

    def close(self) -> None:
        """Close the executor, if it was made, and remove what an earlier one left that was killed."""
        if self._made is not None:
            self._made.close()
        tidy()

    def _executor(self) -> Executor:
        with self._lock:
            if self._made is None:
                from mlnb.run.kernels.preload import preload_of

                self._made = open_executor(self._session)
                self._made.prepare(_with_late(preload_of(self._document)))
            return self._made


def _with_late(modules: Sequence[str]) -> tuple[str, ...]:
    """Return the modules with those that their distributions import late, in every kernel again."""
    tops = {name.partition(".")[0] for name in modules}
    return (*modules, *(name for top, needed in _NEEDED_BY.items() if top in tops for name in needed))


def open_executor(session: Session) -> Executor:
    """Return the executor at the session's address.

    Raises
    ------
    PluginError
        If nothing is installed that understands the address.
    """
    make = cast("Callable[[Session], Executor]", plugins.load("mlnb.executors", session.address.partition("://")[0]))
    return make(session)
