"""The seam between the engine and whatever executes a stage's notebook: `Job` in, `Execution` out.

An executor is a plug-in (entry points ``mlnb.executors``): a class without constructor arguments. It executes one
notebook in a fresh Python and gives back what papermill would have written; what it means is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

OnCell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One notebook to execute.

    Attributes
    ----------
    notebook : Path
        The rendered notebook. The executor saves it there again, with outputs, after each cell and at the end.
    folder : Path
        The kernel's working directory.
    parameters : Mapping[str, object]
        Plain values that papermill injects behind the parameters cell.
    timeout_s : int
        Seconds after which one cell is stopped; 0 is never.
    """

    notebook: Path
    folder: Path
    parameters: Mapping[str, object]
    timeout_s: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of it.

    Attributes
    ----------
    notebook : Mapping[str, object]
        nbformat 4 JSON with outputs.
    last : int
        0-based index of the cell that was started last, -1 for none.
    crash : str
        A sentence that says why the kernel could not finish (it died, it ran out of time); empty where it did finish,
        be it with an exception of the user's.
    """

    notebook: Mapping[str, object]
    last: int
    crash: str = ""


class Executor(Protocol):
    """Executes notebooks, each in a fresh Python that is gone afterwards, whatever happens."""

    def execute(self, job: Job, on_cell: OnCell) -> Execution:
        """Execute a notebook; before each of the user's cells `on_cell` is told its number (``metadata.mlnb.cell``)."""
