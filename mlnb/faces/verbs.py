"""The verbs of the road, from the notebook to the watched service: each parses, calls one verb of `Project`, and views.

Only click and the words of our own errors are imported here; a verb imports what it needs when it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import aliases, model_names, notebooks, refs, stages
from mlnb.faces.run_options import how_to_run, what_to_run
from mlnb.faces.verb import Asked, Verb, write_out

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.run.options import RunOptions
    from mlnb.run.record import RunRecord

_FILE = click.Path(path_type=Path)
_notebook = click.argument("notebook", type=_FILE, shell_complete=notebooks)
_parameters = click.option(
    "-p", "assignments", multiple=True, metavar="NAME=VALUE", help="Set one parameter; typed by the parameters cell."
)
_file = click.option("-f", "file", type=_FILE, metavar="FILE", help="Set parameters from a YAML or JSON file.")
_any_notebook = click.argument("notebook", type=_FILE, required=False, shell_complete=notebooks)
_events = click.option(
    "--events", is_flag=True, help="Print each event, then the result, as JSON lines while it goes on."
)
_junit = click.option("--junitxml", type=_FILE, metavar="FILE", help="Write stages and tests as JUnit XML.")
_html = click.option("--html", type=_FILE, metavar="FILE", help="Write a page that opens without a network.")
_reason = click.option("--reason", default="", help="Why; kept in the audit log.")


@click.command(cls=Verb)
@_notebook
@_parameters
@_file
@click.option(
    "--why",
    is_flag=False,
    flag_value="*",
    default="",
    metavar="[STAGE]",
    shell_complete=stages,
    help="Say whether a stage, or each, would run now, and what has changed since its newest result.",
)
@click.option("--svg", type=_FILE, metavar="FILE", help="Write the graph as a picture.")
@click.pass_obj
def plan(
    asked: Asked, notebook: Path, assignments: tuple[str, ...], file: Path | None, why: str, svg: Path | None
) -> int:
    """Show the stages that a notebook makes, and the cells that will not run."""
    from mlnb.pipeline.describe import describe, facts

    if why:
        from mlnb.faces.why import answer_why

        return answer_why(asked, notebook, why, assignments, file)
    pipeline = asked.project(notebook).plan(notebook)
    if svg:
        from mlnb.pipeline.drawing import svg as drawn

        write_out(svg, drawn(pipeline))
    return asked.answer(facts(pipeline), lambda _: describe(pipeline))


@click.command(cls=Verb)
@_any_notebook
@_parameters
@_file
@what_to_run
@_junit
@_html
@_events
@click.pass_obj
def run(
    asked: Asked,
    notebook: Path | None,
    assignments: tuple[str, ...],
    file: Path | None,
    options: RunOptions,
    junitxml: Path | None,
    html: Path | None,
) -> int:
    """Run a notebook as a pipeline: each stage in a fresh kernel, unchanged stages from the cache."""
    from mlnb.faces.progress import following

    project = asked.project(notebook)
    with following(asked) as notify:
        record = project.run(notebook, assignments, file, options=options, notify=notify)
    return _tell_run(asked, record, project, junitxml, html)


@click.command(cls=Verb)
@_any_notebook
@_parameters
@_file
@what_to_run
@_junit
@_html
@_events
@click.pass_obj
def test(
    asked: Asked,
    notebook: Path | None,
    assignments: tuple[str, ...],
    file: Path | None,
    options: RunOptions,
    junitxml: Path | None,
    html: Path | None,
) -> int:
    """Run a notebook's tests, and the stages that they need."""
    from mlnb.faces.progress import following

    project = asked.project(notebook)
    with following(asked) as notify:
        record = project.test(notebook, assignments, file, options=options, notify=notify)
    return _tell_run(asked, record, project, junitxml, html)


@click.command(cls=Verb)
@_notebook
@click.argument("name", default="", metavar="[NAME]")
@_parameters
@_file
@click.option(
    "--to", default="", metavar="ALIAS", shell_complete=aliases, help="Promote there, whatever the mark says."
)
@click.option("--port", type=click.IntRange(0, 65535), help="Listen there; 0 lets the system choose.")
@_reason
@click.option("--force", is_flag=True, help="Promote although a gate failed; needs --reason.")
@how_to_run
@_events
@click.pass_obj
def deploy(
    asked: Asked,
    notebook: Path,
    name: str,
    assignments: tuple[str, ...],
    file: Path | None,
    to: str,
    port: int | None,
    reason: str,
    force: bool,
    options: RunOptions,
) -> int:
    """Run a notebook, register its models, judge their gates, promote and serve them."""
    from mlnb.faces import view
    from mlnb.faces.progress import following

    project = asked.project(notebook)
    with following(asked) as notify:
        shipments = project.deploy(
            notebook,
            name,
            assignments,
            file,
            to=to,
            port=port,
            options=options,
            notify=notify,
            reason=reason,
            force=force,
        )
    return asked.answer(shipments, view.shipment_lines)


@click.command(cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.argument("alias", shell_complete=aliases)
@_reason
@click.option("--force", is_flag=True, help="Although a gate failed; needs --reason.")
@click.pass_obj
def promote(asked: Asked, ref: str, alias: str, reason: str, force: bool) -> int:
    """Move an alias to a version: mlnb promote delays/7 production."""
    from mlnb.faces import view

    return asked.answer(asked.project().promote(ref, alias, reason=reason, force=force), view.promotion_lines)


@click.command(cls=Verb)
@click.argument("model", shell_complete=model_names)
@click.argument("alias", shell_complete=aliases)
@click.option("--to", type=click.IntRange(min=1), default=None, metavar="N", help="A version that held it before.")
@_reason
@click.pass_obj
def rollback(asked: Asked, model: str, alias: str, to: int | None, reason: str) -> int:
    """Move an alias back to where it was: mlnb rollback delays production."""
    from mlnb.faces import view

    return asked.answer(asked.project().rollback(model, alias, reason=reason, to=to or 0), view.promotion_lines)


@click.command(cls=Verb)
@click.argument("model", shell_complete=model_names)
@click.option("--alias", default="production", show_default=True, shell_complete=aliases)
@click.option("--span", default="day", show_default=True, help='A window: hour, day, week, month or "500 rows".')
@click.option("--labels", type=_FILE, metavar="FILE", help="True values by prediction id, CSV or JSON.")
@click.option("--joint", is_flag=True, help="All columns together too: principal components and a domain classifier.")
@_html
@click.pass_obj
def monitor(
    asked: Asked, model: str, alias: str, span: str, labels: Path | None, joint: bool, html: Path | None
) -> int:
    """Compare what a service is asked with what its model has learned from."""
    from mlnb.faces import view

    report = asked.project().monitor(model, alias=alias, span=span, labels=labels, joint=joint)
    if html:
        from mlnb.monitor.figures import page

        write_out(html, page(report))
    return asked.answer(report, view.report_lines)


@click.command(cls=Verb)
@click.option("--trust", type=_FILE, metavar="FILE", help="Trust a colleague's or CI's public key from now on.")
@click.option("--notify", is_flag=True, help="Send a test event by every channel of [tool.mlnb.notify].")
@click.option("--allow", metavar="NAME", help="Let this project's channel use its secrets or run its command.")
@click.pass_obj
def doctor(asked: Asked, trust: Path | None, notify: bool, allow: str | None) -> int:
    """Look at what mlnb needs: Python, packages, kernel, keys, state, services, channels."""
    from mlnb.faces.doctor import examine, trust_key
    from mlnb.faces.view import check_lines

    if sum(map(bool, (trust, notify, allow))) > 1:
        raise click.UsageError("--trust, --notify and --allow are asked for one at a time.")
    if notify or allow:
        from mlnb.faces.notifying import allow_channel, try_channels

        checks = [allow_channel(asked.folder, allow)] if allow else list(try_channels(asked.folder))
    else:
        checks = [trust_key(trust)] if trust else list(examine(asked.folder))
    return asked.answer(checks, check_lines, code=0 if all(check.ok for check in checks) else 1)


def _tell_run(asked: Asked, record: RunRecord, project: Project, junitxml: Path | None, html: Path | None) -> int:
    import os

    from mlnb.faces import view

    folder = project.state.runs / record.id
    if junitxml:
        from mlnb.run.junit import junit_xml

        write_out(junitxml, junit_xml(record))
    if html:
        from mlnb.run.notebooks import assembled_path
        from mlnb.run.report import report_html

        write_out(html, report_html(assembled_path(folder, Path(record.notebook))))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        from mlnb.run.summary import markdown
        from mlnb.run.values import numbers

        write_out(Path(summary), markdown(record, numbers(record, project.state.files)), append=True)
    return asked.answer(
        record,
        lambda told: view.run_lines(told, stages=not asked.events),  # whoever follows the events has seen the stages
        code=0 if record.state == "done" else 1,
    )
