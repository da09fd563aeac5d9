"""``mlnb retrain`` makes models anew: what would fire, what is due once, a daemon, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING

import click

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.complete import model_names
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.retrain.record import Retraining, Trigger
    from mlnb.retrain.retrainer import Outlook, Visit

_SHOWN = 20


@click.command(cls=Verb)
@click.argument("model", default="", metavar="[MODEL]", shell_complete=model_names)
@click.option("--plan", is_flag=True, help="Say what would fire and when next, and change nothing; the default.")
@click.option("--once", is_flag=True, help="Look, do what is due, and end: for cron and CI.")
@click.option("--daemon", is_flag=True, help="Look again and again, and do what is due, until it is stopped.")
@click.option("--status", is_flag=True, help="Show what came of the last retrainings, and what waits.")
@click.option("--unit", is_flag=True, help="Print a systemd unit of the daemon; root's is of the system.")
@click.option("--reason", default="", help="Retrain MODEL by hand, with --once: why; kept in the audit log.")
@click.option("-p", "assignments", multiple=True, metavar="NAME=VALUE", help="By hand: set one parameter.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0.05), default=30.0, show_default=True, help="Seconds between looks."
)
@click.option("--events", is_flag=True, help="Print each event, then the result, as JSON lines while it goes on.")
@click.pass_obj
def retrain(
    asked: Asked,
    /,
    model: str,
    assignments: tuple[str, ...],
    reason: str,
    every_s: float,
    **acts: bool,
) -> int:
    """Retrain models on a schedule, new data, an alarm, fallen performance or by hand, and challenge the champion.

    [tool.mlnb.retrain.MODEL] in pyproject.toml says when, and what may be promoted. --once ends with 1 where a
    retraining failed, and with 3 where a challenger was refused.
    """
    chosen = [name for name, wanted in acts.items() if wanted] or ["plan"]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} are two acts.", "Ask for one of them.")
    if (reason or assignments) and chosen != ["once"]:
        raise UsageError("--reason and -p are of --once.", "Write mlnb retrain MODEL --once --reason TEXT.")
    project = asked.project()
    if chosen == ["plan"]:
        return asked.answer(project.retraining.plan(model), _plan_lines)
    if chosen == ["status"]:
        return _status(asked, project, model)
    if chosen == ["unit"]:
        from mlnb.retrain.unit import daemon_unit

        return asked.answer(daemon_unit(project.root, model, every_s), str.splitlines)
    if chosen == ["daemon"]:
        return _serve(asked, project, model, every_s)
    return _once(asked, project, model, reason, assignments)


def _once(asked: Asked, project: Project, model: str, reason: str, assignments: Sequence[str]) -> int:
    from mlnb.faces.progress import following
    from mlnb.retrain.retrainer import worst

    if reason or assignments:
        given = dict(one.partition("=")[::2] for one in assignments)
        project.retraining.ask(model, reason, given)
    with following(asked) as notify:
        visits = project.retraining.once(model, notify)
    return asked.answer(visits, _visits_lines, code=worst(visits))


def _serve(asked: Asked, project: Project, model: str, every_s: float) -> int:
    """Serve until SIGTERM or Ctrl-C: a run that is under way is stopped, and gone on with by the next start."""
    from mlnb.faces.progress import following

    stop = Event()

    def told(what: Visit | MlnbError) -> None:
        if isinstance(what, MlnbError):
            click.echo(f"{what.problem} {what.remedy}", err=True)
        elif asked.events:
            click.echo(json.dumps({"event": "visit", **what.to_json()}))
        else:
            asked.tell(what, lambda visit: _visits_lines([visit]))

    try:
        with following(asked) as notify:
            if not asked.quiet:
                click.echo(f"Retraining {model or 'all models that say so'}, a look every {every_s:g} s.", err=True)
            project.retraining.serve(model, every_s, stop, told, notify)
    except KeyboardInterrupt:  # between two runs
        pass
    return asked.answer(
        {"ended": "stopped"}, lambda _: ["Stopped; what waits or was begun is kept for the next start."]
    )


def _status(asked: Asked, project: Project, model: str) -> int:
    docket = project.retraining.docket
    plans = project.retraining.plan(model)
    waiting = [one for outlook in plans for one in outlook.waiting]
    found = {"retrainings": docket.list(model, _SHOWN), "waiting": waiting}
    return asked.answer(found, lambda _: _status_lines(docket.list(model, _SHOWN), waiting))


def _plan_lines(plans: Sequence[Outlook]) -> Iterator[str]:
    for one in plans:
        yield f"{one.terms.model}: {one.terms.notebook}"
        if one.running is not None:
            yield f"  running since {one.running.begun_at:%Y-%m-%d %H:%M:%S} UTC, or left by a process that died"
        yield from (f"  waits: {trigger.cause.reason}" for trigger in one.waiting)
        yield from (f"  would fire: {cause.reason}" for cause in one.would_fire)
        if not one.waiting and not one.would_fire:
            yield "  nothing would fire now"
        if one.held:
            yield f"  {one.held}"
        if one.next is not None:
            yield f"  next by the clock: {one.next:%Y-%m-%d %H:%M:%S} UTC"


def _visits_lines(visits: Sequence[Visit]) -> Iterator[str]:
    for visit in visits:
        if not visit.done and not visit.waiting:
            yield f"{visit.model}: nothing is due"
        for one in visit.done:
            yield f"{visit.model}: retraining {one.id} ended {one.outcome.state}: {one.outcome.reason}"
            yield from _gain_lines(one)
        for trigger in visit.waiting:
            yield f"{visit.model}: waits: {trigger.cause.reason} {visit.held}"


def _gain_lines(one: Retraining) -> Iterator[str]:
    evidence = one.outcome.evidence
    gains = evidence.get("gains")
    for gain in gains if isinstance(gains, list) else []:
        if "gain" not in gain:
            continue
        level = 100 * float(str(evidence["level"]))
        ends = f" ({gain['low']:+.4g} to {gain['high']:+.4g} at {level:.4g} %)" if "low" in gain else ""
        yield (
            f"  {gain['metric']}: champion {gain['champion']:.4g}, challenger {gain['challenger']:.4g}, "
            f"gain {gain['gain']:+.4g}{ends}"
        )


def _status_lines(done: Sequence[Retraining], waiting: Sequence[Trigger]) -> Iterator[str]:
    from mlnb.faces.tables import table

    rows = [
        (
            str(one.id),
            one.model,
            f"{one.begun_at:%Y-%m-%d %H:%M:%S}",
            one.outcome.state,
            f"{one.model}/{one.outcome.number}" if one.outcome.number else "",
            one.outcome.reason,
        )
        for one in reversed(done)
    ]
    if rows:
        yield from table(("id", "model", "begun (UTC)", "state", "version", "reason"), rows)
    else:
        yield "Nothing was retrained yet."
    yield from (f"{one.model} waits: {one.cause.reason}" for one in waiting)
