"""Three groups of things to look at: runs, services, audit; the fourth, models, is `mlnb.faces.models`."""

from __future__ import annotations

from pathlib import Path

import click

from mlnb.faces.auditing import effects, export, verify
from mlnb.faces.complete import model_names, notebooks, refs, run_ids, run_stages
from mlnb.faces.predictions import Wanted, answer_predictions, answer_rolled, prediction_options
from mlnb.faces.tokens import tokens
from mlnb.faces.traffic import canary, traffic
from mlnb.faces.verb import Asked, Things

_FILE = click.Path(path_type=Path)
STATES = ("running", "done", "failed", "cancelled")


_service = click.argument("name", shell_complete=model_names)


_run = click.argument("run", shell_complete=run_ids)


@click.group(cls=Things)
def runs() -> None:
    """See what was run: list, show, checkout, logs, diff, debug."""


@runs.command("list")
@click.option("--notebook", default="", metavar="NB", shell_complete=notebooks, help="Only runs of this notebook.")
@click.option(
    "--state", default="", type=click.Choice(["", *STATES]), metavar="STATE", help=f"Only {', '.join(STATES)}."
)
@click.option("-n", "limit", type=click.IntRange(1), default=None, metavar="N", help="Only the newest N.")
@click.pass_obj
def runs_list(asked: Asked, notebook: str, state: str, limit: int | None) -> int:
    """List the runs, the newest first."""
    from mlnb.faces import view

    return asked.answer(asked.project().runs.list(notebook, state, limit or 0), view.runs_lines)


@runs.command("show")
@_run
@click.pass_obj
def runs_show(asked: Asked, run: str) -> int:
    """Show one run: its stages, tests, parameters and what it was made of. `last` is the newest."""
    from mlnb.faces import view
    from mlnb.faces.measured import evaluation_lines
    from mlnb.run.values import evaluations

    project = asked.project()
    record = project.runs.read(run)
    measured = evaluations(record, project.state.files)
    return asked.answer(record, lambda told: [*view.run_lines(told), *evaluation_lines(measured)])


@runs.command("checkout")
@_run
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def runs_checkout(asked: Asked, run: str, folder: Path) -> int:
    """Put a run's notebook, parameters and data, as they were, into a new folder."""
    from mlnb.faces.why import answer_checkout

    return answer_checkout(asked, run, folder)


@runs.command("logs")
@click.argument("run", default="last", shell_complete=run_ids)
@click.argument("stage", default="", shell_complete=run_stages)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended; Ctrl-C leaves the run alone.")
@click.pass_obj
def runs_logs(asked: Asked, run: str, stage: str, follow: bool) -> int:
    """Print what the cells of a run, or of one of its stages, have printed."""
    from mlnb.faces.logs import follow_logs, read_logs
    from mlnb.faces.view import log_lines

    project = asked.project()
    record = project.runs.read(run)
    if follow:
        return follow_logs(project.runs, record, stage, asked.tell)
    return asked.answer(read_logs(record, project.state.root, stage), log_lines)


@runs.command("diff")
@click.argument("before", metavar="A", shell_complete=run_ids)
@click.argument("after", metavar="B", shell_complete=run_ids)
@click.pass_obj
def runs_diff(asked: Asked, before: str, after: str) -> int:
    """Compare two runs, as in `runs diff last~1 last`: parameters, code, data, environment, metrics, outputs."""
    from mlnb.faces.compared import difference_lines

    return asked.answer(asked.project().runs.difference(before, after), difference_lines)


@runs.command("debug")
@click.argument("run", default="last", shell_complete=run_ids)
@click.argument("stage", default="", shell_complete=run_stages)
@click.option("--frame", is_flag=True, help="In a notebook: bind the variables of the failing frames, too.")
@click.option("--back", is_flag=True, help="In a notebook: give the namespace back as it was before.")
@click.pass_obj
def runs_debug(asked: Asked, run: str, stage: str, frame: bool, back: bool) -> int:
    """Stand where a stage failed: in a notebook, its parameters, setup and inputs come into the kernel."""
    from mlnb.faces.debug import terminal_lines

    return asked.answer(asked.project().runs.standpoint(run, stage), terminal_lines)


@click.group(cls=Things)
def services() -> None:
    """See and steer what is running: list, start, stop, restart, logs, traffic, canary, tokens, image."""


@services.command("list")
@click.pass_obj
def services_list(asked: Asked) -> int:
    """List the services with their address, state, aliases, workers and for how long they have run."""
    from mlnb.faces.operate import service_lines
    from mlnb.faces.traffic import took_over

    return asked.answer(took_over(asked).services.list(), service_lines)


@services.command("start")
@_service
@click.option("--workers", type=click.IntRange(0), default=None, metavar="N", help="Processes; 0: one for each core.")
@click.pass_obj
def services_start(asked: Asked, name: str, workers: int | None) -> int:
    """Start a service that was deployed before; one that runs takes up what is new."""
    from mlnb.faces.operate import service_lines

    wanted = -1 if workers is None else workers
    return asked.answer([asked.project().operate("start", name, wanted)], service_lines)


@services.command("stop")
@_service
@click.pass_obj
def services_stop(asked: Asked, name: str) -> int:
    """Stop a service; what it has answered stays in the prediction log."""
    from mlnb.faces.operate import service_lines

    return asked.answer([asked.project().operate("stop", name)], service_lines)


@services.command("restart")
@_service
@click.pass_obj
def services_restart(asked: Asked, name: str) -> int:
    """Replace a service's workers one after another, without losing a request; settings are read anew."""
    from mlnb.faces.operate import service_lines

    return asked.answer([asked.project().operate("restart", name)], service_lines)


@services.command("logs")
@_service
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes; Ctrl-C leaves the service alone.")
@click.option("-n", "lines", type=click.IntRange(0), metavar="N", help="The last N lines (200), or predictions (20).")
@prediction_options
@click.pass_obj
def services_logs(asked: Asked, /, name: str, follow: bool, lines: int | None, **wanted: str) -> int:
    """Print what a service has written while it ran; with --predictions what it was asked, and answered."""
    if (predictions := Wanted(**wanted)).any:  # type: ignore[arg-type]  # as click has typed them
        return answer_predictions(asked, name, predictions, lines, follow=follow)
    from mlnb.faces.operate import answer_logs

    return answer_logs(asked, name, 200 if lines is None else lines, follow=follow)


@services.command("roll")
@_service
@click.option("--to", default=None, metavar="ADDRESS", help="A folder elsewhere, as s3://...; by default log_segments.")
@click.pass_obj
def services_roll(asked: Asked, name: str, to: str | None) -> int:
    """Move a service's prediction log into Parquet files; it may run meanwhile."""
    return answer_rolled(asked, name, to)


@services.command("export")
@_service
@click.argument("kind", type=click.Choice(["systemd", "systemd-user", "compose", "prometheus", "grafana"]))
@click.option("-o", "--out", type=_FILE, metavar="FILE", help="Write it there instead of printing it.")
@click.option("--image", default="", metavar="IMAGE", help="For compose: the image; by default the one of its Bento.")
@click.pass_obj
def services_export(asked: Asked, name: str, kind: str, out: Path | None, image: str) -> int:
    """Print what runs a service (a hardened systemd unit, a compose file) or watches it (Prometheus, Grafana)."""
    from mlnb.faces.operate import answer_export

    return answer_export(asked, name, kind, out, image)


services.add_command(traffic)
services.add_command(canary)
services.add_command(tokens)


@services.command("image")
@click.argument("ref", shell_complete=refs)
@click.option("--archive", type=click.Path(path_type=Path), default=None, help="The file; by default MODEL-NUMBER.tar.")
@click.option("--base", default="", metavar="IMAGE", help="The image it is built on; by default python:3.x-slim.")
@click.pass_obj
def services_image(asked: Asked, ref: str, archive: Path | None, base: str) -> int:
    """Build the container image of a version with buildah, without a daemon."""
    from mlnb.faces.contents import answer_image

    return answer_image(asked, ref, archive, base)


@click.group(cls=Things)
def audit() -> None:
    """See who moved what, when and why: log, verify, export, effects."""


@audit.command("log")
@click.argument("subject", default="", shell_complete=refs)
@click.option("-n", "last", type=click.IntRange(0), default=0, metavar="N", help="Only the newest N; 0 for all.")
@click.option("--action", default="", metavar="ACT", help="Only these acts: promote, rollback, approve, canary, ...")
@click.pass_obj
def audit_log(asked: Asked, subject: str, last: int, action: str) -> int:
    """Print the audit log, the oldest entry first; of SUBJECT alone: delays, delays/7 or delays@production."""
    from mlnb.faces import view
    from mlnb.faces.traffic import took_over

    return asked.answer(took_over(asked).audit.log(subject, last, action), view.audit_lines)


for _command in (verify, export, effects):
    audit.add_command(_command)
