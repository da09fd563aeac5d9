"""The seam between a stage and its kernel: `Job` in, `Execution` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

OnCell = Callable[[int], None]
"""Is told the number (``metadata.mlnb.cell``) of each of the user's cells before it runs."""


@dataclass(frozen=True, slots=True)
class Job:
    """One notebook to execute.

    Attributes
    ----------
    notebook : Path
        The rendered notebook. It is saved there again, with outputs, after each cell and at the end.
    folder : Path
        The kernel's working directory.
    parameters : Mapping[str, object]
        Plain values that papermill injects behind the parameters cell.
    timeout_s : int
        Seconds after which one cell is stopped; 0 is never.
    seed : int
        Of `random`, of numpy's global generator and of the hashes of strings. Another seed than 0 takes a spawned
        kernel, because forks share the hashes of their zygote.
    more : bool
        Another notebook is likely to follow: its kernel may be started meanwhile.
    """

    notebook: Path
    folder: Path
    parameters: Mapping[str, object]
    timeout_s: int = 0
    seed: int = 0
    more: bool = False


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
        A sentence that says why the kernel could not finish (it died, it ran out of time, it was cancelled); empty
        where it did finish, be it with an exception of the user's.
    """

    notebook: Mapping[str, object]
    last: int
    crash: str = ""
