"""``%mlnb run`` with nothing to do becomes its answer at once, in the live kernel: no process, no library, no wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from mlnb.faces.verb import Asked
from mlnb.faces.verbs import run

_KNOWN = {"notebook", "assignments", "file", "project"}


def reused(words: Sequence[str], notify: Callable[[Mapping[str, object]], None]) -> str | None:
    """Run the notebook if every stage is in the cache; return the answer in text, None where it must be executed.

    Whatever is asked beyond notebook and parameters is left to the verb's own process, misspelt words too.

    Raises
    ------
    MlnbError
        What the verb itself would refuse.
    """
    from mlnb.faces import view
    from mlnb.run.events import event_json

    try:
        given = run.make_context("run", list(words[1:])).params
    except click.UsageError:
        return None
    if given["notebook"] is None or any(value for name, value in given.items() if name not in _KNOWN):
        return None
    project = Asked(folder=given["project"]).project(given["notebook"])
    record = project.reuse(
        given["notebook"],
        given["assignments"],
        given["file"],
        notify=lambda event: notify(event_json(event)),  # type: ignore[arg-type]  # a run's own events
    )
    return "\n".join(view.run_lines(record, stages=False)) if record is not None else None
