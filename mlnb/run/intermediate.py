"""A score on the way becomes a line beside the run, and the answer whether it is worth going on.

``from mlnb import report`` and ``report(score, step)`` in a training loop. Outside a study it does nothing, so that the
notebook stays a notebook. In a trial (`mlnb tune`) the line goes to ``runs/<id>/trial/``, and the study answers there.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlnb.errors import PrunedError, UsageError
from mlnb.store.disk import write_bytes

FOLDER = "trial"
_ANSWER_TIMEOUT_S = 5.0
_POLL_S = 0.005

_run: list[Path] = []


def begin(run_folder: Path) -> None:
    """Say which run this kernel works for; called once, when a stage takes its inputs."""
    _run[:] = [run_folder]


def report(score: float, step: int) -> None:
    """Report an intermediate value of the objective; the study may end the trial here.

    Parameters
    ----------
    score : float
        The objective as far as it is known, on the scale of the final one.
    step : int
        How far the training is: epoch, number of trees, fold; grows from 0.

    Raises
    ------
    PrunedError
        If the trial is worse than others were at this step. Let it pass: it ends the stage.
    UsageError
        If the score is not a number.
    """
    try:
        value = float(score)
    except (TypeError, ValueError):
        raise UsageError(f"report() was given {score!r}, which is not a number.", "Report the score itself.") from None
    if not _run or not (_run[0] / FOLDER).is_dir():
        return
    folder = _run[0] / FOLDER
    text = json.dumps({"step": int(step), "score": value if math.isfinite(value) else None})
    name = f"{time.time_ns():020d}-{os.getpid()}"
    write_bytes(folder / f"{name}.score", text.encode())
    answer = folder / f"{name}.answer"
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        if answer.exists():
            if answer.read_bytes() == b"prune":
                raise PrunedError(f"This trial was ended at step {step}: others were better there.", "Let it pass.")
            return
        time.sleep(_POLL_S)


def answer(run_folder: Path, hopeless: Callable[[int, float], bool]) -> Iterator[tuple[int, float]]:
    """Answer every report that waits in a run's folder, and yield step and score of each.

    Parameters
    ----------
    hopeless : callable
        Is told step and score (NaN where it was not finite); True ends the trial.
    """
    folder = run_folder / FOLDER
    for path in sorted(folder.glob("*.score")):
        told = json.loads(path.read_bytes())
        score = math.nan if told["score"] is None else float(told["score"])
        prune = hopeless(int(told["step"]), score)
        path.unlink()
        write_bytes(path.with_suffix(".answer"), b"prune" if prune else b"go on")
        yield int(told["step"]), score
