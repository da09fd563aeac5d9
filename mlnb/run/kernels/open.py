"""``fork``, ``pool`` or ``spawn`` becomes `Kernels`: a fresh Python for every notebook, gone when it has run."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Protocol, Self

from mlnb.errors import UsageError
from mlnb.run.kernels.host import Host
from mlnb.run.kernels.job import Execution, Job, OnCell
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

HOW = ("fork", "pool", "spawn")


class Kernels(Protocol):
    """Where notebooks are executed; a context manager whose end leaves no process, socket or file behind.

    `execute` may be called from several threads at once, `cancel` from any.
    """

    def prepare(self, modules: Sequence[str]) -> None:
        """Start loading what the notebooks import, in the background; return at once."""

    def execute(self, job: Job, on_cell: OnCell) -> Execution:
        """Execute a notebook in a fresh Python that ends with it, whichever way."""

    def cancel(self) -> None:
        """Interrupt every running notebook, then kill it: its `Execution` says that it was cancelled."""

    def close(self) -> None:
        """Kill what still runs and let go of what was kept warm."""

    def __enter__(self) -> Self:
        """Return the kernels themselves."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


def open_kernels(how: str, state: StateFolder, settings: Settings) -> Kernels:
    """Return kernels of one kind; nothing is started or imported before it is needed.

    Parameters
    ----------
    how : str
        ``fork`` (from a process that has imported the libraries), ``pool`` (started and imported ahead, used once) or
        ``spawn`` (started when needed). Where a process may not be forked, ``fork`` becomes ``pool``, said once.

    Raises
    ------
    UsageError
        If `how` is none of these.
    """
    if how not in HOW:
        close = get_close_matches(how, HOW, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(HOW)}."
        raise UsageError(f"There is no kind of kernel {how!r}.", hint)
    return Host(how, state, settings)
