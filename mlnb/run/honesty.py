"""A clean run, and one more with another seed, become `Finding` values: what makes results look better than they are.

The second run executes every stage with other random numbers and other string hashes, and notes in each kernel which
rows estimators were fitted on and asked about (`mlnb.run.honesty_kernel`). Its results are not kept for others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mlnb.pipeline.graph import Pipeline
from mlnb.run.cells import code_name
from mlnb.run.honesty_finding import Finding
from mlnb.run.honesty_source import early_transformers
from mlnb.run.notebooks import executed_cells
from mlnb.run.options import RunOptions
from mlnb.run.record import RunRecord, StageRecord
from mlnb.store.folder import StateFolder

if TYPE_CHECKING:
    from mlnb.run.honesty_leaks import Noted

SEED = 20_613
"""Of the second run; any number but 0, which is every run's own."""

__all__ = ["SEED", "Finding", "examine"]


def examine(
    pipeline: Pipeline,
    record: RunRecord,
    state: StateFolder,
    run_again: Callable[[RunOptions], RunRecord],
) -> tuple[Finding, ...]:
    """Return what is doubtful about a pipeline's results.

    Parameters
    ----------
    pipeline : Pipeline
        What was run.
    record : RunRecord
        A run of it that is done, from the cache or not.
    run_again : callable
        Runs the same notebook with the same parameters and these options.

    Returns
    -------
    tuple of Finding
        Leaks in the order of the notebook, then what chance decides in the order of the pipeline.

    Raises
    ------
    CancelledError, StorageError
        As running does.
    """
    from mlnb.run.honesty_chance import changes
    from mlnb.run.honesty_leaks import leaks

    again = run_again(RunOptions(seed=SEED, observe=True))
    found = leaks([one for stage in again.stages if stage.kind == "stage" for one in _noted(stage, again, state)])
    known = {(finding.check, finding.cell) for finding in found}
    early = (one for one in early_transformers(pipeline) if (one.check, one.cell) not in known)
    return (*sorted([*found, *early], key=lambda one: (one.cell, one.line)), *changes(pipeline, record, again, state))


def _noted(stage: StageRecord, record: RunRecord, state: StateFolder) -> Iterator[Noted]:
    from mlnb.run.honesty_leaks import Noted
    from mlnb.run.honesty_notes import read_notes

    notes, arrays = read_notes(state.runs / record.id / "handoff" / stage.name)
    if not notes:
        return
    notebook = json.loads((state.root / stage.notebook).read_bytes())
    cells = {code_name(cell.source): cell for cell in executed_cells(notebook)}
    for note in notes:
        cell = cells.get(note.code)
        line = note.line + cell.first_line - 1 if cell is not None else 0
        yield Noted(note, stage.name, cell.cell if cell is not None else 0, line, arrays)
