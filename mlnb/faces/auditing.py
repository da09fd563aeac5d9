"""The verbs of an auditor: the log is verified and exported, what waits to be done is told, a version is signed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.complete import refs
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.registry.outbox import Due
    from mlnb.registry.verification import AuditReport

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("verify", cls=Verb)
@click.option("--against", type=_FILE, metavar="FILE", help="Also compare with an earlier `mlnb audit export`.")
@click.option("--policy", is_flag=True, help="Also fail where today's [tool.mlnb.policy] would have refused a move.")
@click.pass_obj
def verify(asked: Asked, against: Path | None, policy: bool) -> int:
    """Check that log, versions, aliases and artifacts are what was written and signed."""
    project = asked.project()
    report = project.verify(policy=policy)
    if against is not None:
        report = _compared(project, report, against)
    return asked.answer(report, _report_lines, code=0 if report.ok else 1)


@click.command("export", cls=Verb)
@click.argument("file", type=_FILE, required=False)
@click.pass_obj
def export(asked: Asked, file: Path | None) -> int:
    """Write the log as JSON lines, rows and signatures, to FILE or to the terminal."""
    rows = asked.project().audit.export()
    if file is None:
        for row in rows:
            click.echo(json.dumps(row))
        return 0
    from mlnb.store.disk import replacing

    count = 0
    with replacing(file) as out:
        for row in rows:
            out.write(json.dumps(row).encode() + b"\n")
            count += 1
    return asked.answer({"file": str(file), "lines": count}, lambda told: [f"{told['lines']} lines in {told['file']}"])


@click.command("effects", cls=Verb)
@click.pass_obj
def effects(asked: Asked) -> int:
    """Do what moves of aliases have left to be done, and tell what still waits."""
    waiting = asked.project().effects.deliver()
    return asked.answer(waiting, _waiting_lines, code=1 if waiting else 0)


@click.command("vouch", cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.option("--reason", default="", metavar="TEXT", help="How you know where it comes from; for the audit log.")
@click.pass_obj
def vouch(asked: Asked, ref: str, reason: str) -> int:
    """Sign a version that an mlnb before 0.2, or somebody you do not trust by key, has registered."""
    project = asked.project()
    version = project.models.vouch(ref, by=project.actor, reason=reason)
    return asked.answer(version, lambda told: [f"{told.ref} is signed by the key {told.key}"])


def _compared(project: Project, report: AuditReport, against: Path) -> AuditReport:
    try:
        with against.open(encoding="utf-8", errors="replace") as lines:
            difference = project.audit.differs_from(lines)
    except OSError as error:
        raise UsageError(f"{against} cannot be read: {error.strerror}.", "Name a file of mlnb audit export.") from error
    if not difference:
        return replace(report, notes=(*report.notes, f"Everything that {against} holds is in the log."))
    sentence = difference if report.ok else report.sentence
    return replace(report, ok=False, sentence=sentence, faults=(*report.faults, difference))


def _report_lines(report: AuditReport) -> Iterator[str]:
    yield report.sentence
    for fault in report.faults:
        if fault != report.sentence:
            yield fault
    yield from report.notes


def _waiting_lines(waiting: tuple[Due, ...]) -> Iterator[str]:
    if not waiting:
        yield "Everything is done."
    for effect in waiting:
        tries = f" after {effect.attempts} tries" if effect.attempts else ""
        yield f"{effect.kind} of {effect.model} waits{tries}: {effect.problem or 'not tried yet'}"
