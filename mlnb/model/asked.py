"""What a stage's mark asks of the evaluations in it: the columns that `evaluate` slices by unless it is told others.

``--slices origin`` reaches the kernel in the stage's spec, or with the cell itself in a live kernel. Light: it is
imported where no evaluation may follow.
"""

from __future__ import annotations

from collections.abc import Sequence

_slices: dict[str, tuple[str, ...]] = {}


def ask(slices: Sequence[str], *, of_stage: bool = False) -> None:
    """Let the evaluations from now on slice by these columns.

    Parameters
    ----------
    slices : sequence of str
        Columns.
    of_stage : bool
        Whether this kernel executes one stage and nothing else, whose marks have all been read: then single cells
        ask in vain.
    """
    _slices["stage" if of_stage else "cell"] = tuple(slices)


def asked() -> tuple[str, ...]:
    """Return the columns that the stage's mark names; () outside a stage and where it names none."""
    return _slices.get("stage") or _slices.get("cell", ())
