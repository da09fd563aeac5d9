"""The four groups of things to look at: runs, models, services, audit."""

from __future__ import annotations

import click

from mlnb.faces.complete import model_names, refs
from mlnb.faces.verb import Asked, Verb


class Things(click.Group):
    """A group whose commands keep the order in which they were written."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)


_service = click.argument("name", shell_complete=model_names)


@click.group(cls=Things)
def runs() -> None:
    """See what was run: list, show, logs."""


@runs.command("list")
@click.pass_obj
def runs_list(asked: Asked) -> int:
    """List the runs, the newest first."""
    from mlnb.faces import view

    return asked.answer(asked.project().runs.list(), view.runs_lines)


@runs.command("show")
@click.argument("run")
@click.pass_obj
def runs_show(asked: Asked, run: str) -> int:
    """Show one run: its stages, tests, parameters and what it was made of."""
    from mlnb.faces import view

    return asked.answer(asked.project().runs.read(run), view.run_lines)


@runs.command("logs")
@click.argument("run")
@click.argument("stage", default="")
@click.pass_obj
def runs_logs(asked: Asked, run: str, stage: str) -> int:
    """Print what the cells of a run, or of one of its stages, have printed."""
    from mlnb.faces.logs import read_logs
    from mlnb.faces.view import log_lines

    project = asked.project()
    return asked.answer(read_logs(project.runs.read(run), project.state.root, stage), log_lines)


@click.group(cls=Things)
def models() -> None:
    """See what was registered: list, show, lineage, card."""


@models.command("list")
@click.argument("model", default="", shell_complete=model_names)
@click.pass_obj
def models_list(asked: Asked, model: str) -> int:
    """List the versions of all models, or of one."""
    from mlnb.faces import view

    registry = asked.project().models
    listed = view.Listed.of(registry, model)
    return asked.answer(listed.versions, lambda _: view.version_table(listed))


@models.command("show")
@click.argument("ref", shell_complete=refs)
@click.pass_obj
def models_show(asked: Asked, ref: str) -> int:
    """Show one version: metrics, gates, parity, signature, lineage."""
    from mlnb.faces import view
    from mlnb.ship import judged

    project = asked.project()
    version = project.models.get(ref)
    evidence, verdicts = judged(version, project.audit)
    facts: dict[str, object] = {**version.to_json(), "evidence": evidence, "verdicts": verdicts}
    return asked.answer(facts, lambda _: view.version_lines(version, verdicts))


@models.command("lineage")
@click.argument("ref", shell_complete=refs)
@click.pass_obj
def models_lineage(asked: Asked, ref: str) -> int:
    """Show what a version was made of: notebook, commit, parameters, data, environment."""
    from mlnb.faces import view

    return asked.answer(asked.project().models.get(ref).lineage, view.lineage_lines)


@models.command("card")
@click.argument("ref", shell_complete=refs)
@click.pass_obj
def models_card(asked: Asked, ref: str) -> int:
    """Print a version's model card in Markdown."""
    from mlnb.faces.card import card
    from mlnb.ship import judged

    project = asked.project()
    version = project.models.get(ref)
    text = card(version, *judged(version, project.audit))
    return asked.answer({"ref": version.ref, "markdown": text}, lambda made: [made["markdown"]])


@click.group(cls=Things)
def services() -> None:
    """See and steer what is running: list, start, stop, restart, logs."""


@services.command("list")
@click.pass_obj
def services_list(asked: Asked) -> int:
    """List the services with their address, state and aliases."""
    from mlnb.faces import view

    return asked.answer(asked.project().services.list(), view.service_lines)


@services.command("start")
@_service
@click.pass_obj
def services_start(asked: Asked, name: str) -> int:
    """Start a service that was deployed before."""
    from mlnb.faces import view

    return asked.answer([asked.project().services.start(name)], view.service_lines)


@services.command("stop")
@_service
@click.pass_obj
def services_stop(asked: Asked, name: str) -> int:
    """Stop a service; what it has answered stays in the prediction log."""
    from mlnb.faces import view

    return asked.answer([asked.project().services.stop(name)], view.service_lines)


@services.command("restart")
@_service
@click.pass_obj
def services_restart(asked: Asked, name: str) -> int:
    """Stop a service and start it again."""
    from mlnb.faces import view

    found = asked.project().services
    found.stop(name)
    return asked.answer([found.start(name)], view.service_lines)


@services.command("logs")
@_service
@click.pass_obj
def services_logs(asked: Asked, name: str) -> int:
    """Print what a service has written while it ran."""
    text = asked.project().services.logs(name)
    return asked.answer({"name": name, "log": text}, lambda told: [told["log"].rstrip("\n")])


@click.group(cls=Things)
def audit() -> None:
    """See who moved what, when and why: log, verify."""


@audit.command("log")
@click.pass_obj
def audit_log(asked: Asked) -> int:
    """Print the audit log, the oldest entry first."""
    from mlnb.faces import view

    return asked.answer(asked.project().audit.log(), view.audit_lines)


@audit.command("verify")
@click.pass_obj
def audit_verify(asked: Asked) -> int:
    """Check that nobody has changed the audit log."""
    report = asked.project().audit.verify()
    return asked.answer(report, lambda told: [told.sentence], code=0 if report.ok else 1)
