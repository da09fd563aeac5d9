"""``plan --why`` and ``runs checkout``: why a stage would run, and a run of the past put into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlnb.faces.verb import Asked

EVERY = "*"
"""What ``--why`` without a stage means."""


def answer_why(asked: Asked, notebook: Path, stage: str, assignments: Sequence[str], file: Path | None) -> int:
    """Say why a stage, or each, would run now or would not; nothing is executed, moved or made."""
    from mlnb.pipeline.parameters import read_values
    from mlnb.run.why import lines, why
    from mlnb.store.folder import StateFolder

    project = asked.project(notebook)
    pipeline = project.plan(notebook)
    values = read_values(pipeline.parameters, assignments, file)
    place = project.root / ".mlnb"
    state = project.state if place.is_dir() else StateFolder(place, project.settings.shared_cache)
    reasons = why(pipeline, values, state, () if stage == EVERY else (stage,))
    return asked.answer(reasons, lines)


def answer_checkout(asked: Asked, run: str, folder: Path) -> int:
    """Put the notebook, the parameters and the data of a run, as they were, into a new folder."""
    from mlnb.run.snapshot import sentences

    restored = asked.project().runs.restore(run, folder)
    return asked.answer(restored, sentences, code=1 if restored.missing else 0)
