"""``mlnb alarms``: look for what has left its tolerance, see what stands, and acknowledge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from mlnb.faces.complete import aliases, model_names
from mlnb.faces.verb import Asked, Things

if TYPE_CHECKING:
    from mlnb.lookout import Look
    from mlnb.registry.alarms import Alarm


@click.group(cls=Things)
def alarms() -> None:
    """See what has changed beyond its tolerance, with evidence: check, list, show, acknowledge."""


@alarms.command("check")
@click.argument("model", shell_complete=model_names)
@click.option("--alias", default="production", show_default=True, shell_complete=aliases)
@click.pass_obj
def check(asked: Asked, model: str, alias: str) -> int:
    """Judge what a service was asked so far, raise alarms and tell people; 1 where an alarm of the model is open."""
    look = asked.project().alarms.check(model, alias)
    return asked.answer(look, _look_lines, code=1 if look.standing else 0)


@alarms.command("list")
@click.argument("model", default="", metavar="[MODEL]", shell_complete=model_names)
@click.option("--all", "everything", is_flag=True, help="Those that were acknowledged, too.")
@click.pass_obj
def list_alarms(asked: Asked, model: str, everything: bool) -> int:
    """List the open alarms, the oldest first."""
    return asked.answer(asked.project().alarms.list(model, everything=everything), alarm_lines)


@alarms.command("show")
@click.argument("number", type=click.IntRange(1), metavar="ID")
@click.pass_obj
def show(asked: Asked, number: int) -> int:
    """Show one alarm with its evidence."""
    return asked.answer(asked.project().alarms.get(number), _alarm_lines)


@alarms.command("acknowledge")
@click.argument("number", type=click.IntRange(1), metavar="ID")
@click.option("--note", default="", metavar="TEXT", help="What you make of it; kept in the audit log.")
@click.pass_obj
def acknowledge(asked: Asked, number: int, note: str) -> int:
    """Say that you have seen an alarm; evidence begins anew with the next window."""
    alarm = asked.project().alarms.acknowledge(number, note)
    return asked.answer(
        alarm, lambda told: [f"alarm {told.id} ({told.kind} of {told.what}) is acknowledged by {told.acknowledged_by}"]
    )


def alarm_lines(found: Sequence[Alarm]) -> Iterator[str]:
    """Yield each alarm: what and when, and its reason below."""
    if not found:
        yield "No alarm is open."
    for alarm in found:
        yield _head(alarm)
        yield f"    {alarm.reason}"
        if not alarm.open:
            yield f"    acknowledged {alarm.acknowledged_at} by {alarm.acknowledged_by}{_noted(alarm)}"


def _look_lines(look: Look) -> Iterator[str]:
    yield f"{look.version}: {look.windows} windows were judged, {len(look.raised)} alarms raised."
    yield from alarm_lines(look.standing)
    yield look.bound


def _alarm_lines(alarm: Alarm) -> Iterator[str]:
    yield from alarm_lines([alarm])
    yield f"    window {alarm.window}"
    for name, value in alarm.evidence.items():
        yield f"    {name}: {f'{value:.6g}' if isinstance(value, float) else value}"


def _head(alarm: Alarm) -> str:
    return f"{alarm.id}  {alarm.model}/{alarm.number}@{alarm.alias}  {alarm.kind} of {alarm.what}  {alarm.raised_at}"


def _noted(alarm: Alarm) -> str:
    return f": {alarm.note}" if alarm.note else ""
