"""A saved notebook becomes the verdict of ``mlnb verify``: whether a clean run gives again what was saved in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import notebooks
from mlnb.faces.verb import Asked, Verb, write_out

if TYPE_CHECKING:
    from mlnb.run.options import RunOptions
    from mlnb.run.record import RunRecord

_FILE = click.Path(path_type=Path)


@click.command(cls=Verb)
@click.argument("notebook", type=_FILE, shell_complete=notebooks)
@click.option(
    "-p", "assignments", multiple=True, metavar="NAME=VALUE", help="Set one parameter; typed by the parameters cell."
)
@click.option("-f", "file", type=_FILE, metavar="FILE", help="Set parameters from a YAML or JSON file.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=1e-6,
    show_default=True,
    metavar="RTOL",
    help="Relative difference up to which numbers are equal; 0.01 is one per cent.",
)
@click.option("--force", is_flag=True, help="Run every stage again: then metrics are compared with earlier runs, too.")
@click.option("--honesty", is_flag=True, help="Look for leaks and chance as well; costs a further run.")
@click.option("--junitxml", type=_FILE, metavar="FILE", help="Write a case for each cell and metric as JUnit XML.")
@click.option("--events", is_flag=True, hidden=True)
@click.pass_obj
def verify(
    asked: Asked,
    notebook: Path,
    assignments: tuple[str, ...],
    file: Path | None,
    tolerance: float,
    force: bool,
    honesty: bool,
    junitxml: Path | None,
) -> int:
    """Compare saved outputs and metrics with a clean run: 1 where they are not reproducible."""
    from mlnb.faces.compared import verification_lines, verification_xml
    from mlnb.faces.progress import following
    from mlnb.run.options import RunOptions

    project = asked.project(notebook)
    with following(asked) as notify:

        def run(options: RunOptions) -> RunRecord:
            return project.run(notebook, assignments, file, options=options, notify=notify)

        record = run(RunOptions(force=force))
        result = project.runs.verification(record, tolerance)
        if honesty and record.state == "done":
            from mlnb.run.honesty import examine

            result = replace(result, findings=examine(project.plan(notebook), record, project.state, run))
    if junitxml:
        write_out(junitxml, verification_xml(result))
    return asked.answer(result, verification_lines, code=0 if result.reproducible and not result.findings else 1)
