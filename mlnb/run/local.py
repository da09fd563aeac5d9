"""One machine, that of the engine, as an executor: each stage in a fresh kernel of `mlnb.run.kernels`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlnb.run.executor import Session
from mlnb.run.kernels.open import open_kernels

if TYPE_CHECKING:
    from mlnb.run.record import StageRecord
    from mlnb.run.stage import OnPosition, StageTask


class LocalExecutor:
    """Executes stages on this machine."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kernels = open_kernels(session.kernel, session.state, session.settings)

    def __enter__(self) -> Self:
        """Return the executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def prepare(self, modules: Sequence[str]) -> None:
        """Start to load these modules in the background."""
        self._kernels.prepare(modules)

    def execute(self, task: StageTask, on_cell: OnPosition) -> tuple[StageRecord, Mapping[str, object]]:
        """Execute one stage in a fresh kernel."""
        from mlnb.run.stage import execute_stage

        return execute_stage(task, self._kernels, self._session.state, self._session.settings, on_cell)

    def cancel(self) -> None:
        """Let every `execute` end soon."""
        self._kernels.cancel()

    def close(self) -> None:
        """End the kernels."""
        self._kernels.close()
