"""``mlnb annotate NOTEBOOK``: a notebook without stages becomes a diff that would give it some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import notebooks
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.notebook.document import Document
    from mlnb.pipeline.annotate import Proposal

_FORMAT = 1


@click.command(cls=Verb)
@click.argument("notebook", type=click.Path(path_type=Path), shell_complete=notebooks)
@click.option("--write", is_flag=True, help="Write the marks into the notebook.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the marked notebook there.")
@click.pass_obj
def annotate(asked: Asked, notebook: Path, write: bool, output: Path | None) -> int:
    """Propose marks for a notebook that has no stages, as a diff; nothing is written unless you say so."""
    from mlnb.notebook.document import read_document
    from mlnb.pipeline.amend import write_amended
    from mlnb.pipeline.annotate import propose

    document = read_document(notebook)
    proposal = propose(document)
    targets = [*([document.path] if write else []), *([output] if output else [])]
    for target in targets:
        write_amended(document, proposal.suggestions, target)
    return asked.answer(_facts(document, proposal, targets), lambda _: _lines(document, proposal, targets))


def _facts(document: Document, proposal: Proposal, written: list[Path]) -> dict[str, object]:
    from mlnb.pipeline.amend import unified
    from mlnb.pipeline.describe import facts

    return {
        "format": _FORMAT,
        "notebook": str(document.path),
        "cells": [
            {"cell": one.cell, "lines": list(one.lines), "tags": list(one.tags), "reason": one.reason}
            for one in proposal.suggestions
        ],
        "diff": "\n".join(unified(document, proposal.suggestions)),
        "plan": facts(proposal.pipeline),
        "written": [str(path) for path in written],
    }


def _lines(document: Document, proposal: Proposal, written: list[Path]) -> Iterator[str]:
    from mlnb.pipeline.amend import unified
    from mlnb.pipeline.describe import describe

    yield from unified(document, proposal.suggestions)
    yield ""
    yield from describe(proposal.pipeline)
    yield ""
    if written:
        yield f"Written: {', '.join(str(path) for path in written)}."
    else:
        yield f"Nothing is written. To accept it: mlnb annotate {document.path.name} --write"
