"""The words of ``mlnb services traffic`` and ``mlnb services canary`` become acts, a table, and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mlnb.errors import CancelledError, GateError, UsageError
from mlnb.faces.complete import aliases, model_names
from mlnb.faces.spans import span_s
from mlnb.faces.verb import Asked, Verb

if TYPE_CHECKING:
    from mlnb.monitor.shadowed import Agreement
    from mlnb.project import Project
    from mlnb.service.canary import Event
    from mlnb.service.counts import Tally
    from mlnb.service.live import Live
    from mlnb.service.traffic import Traffic
    from mlnb.traffic import Desk

_name = click.argument("name", shell_complete=model_names)
_alias = click.option("--alias", default="production", show_default=True, shell_complete=aliases)
_sticky = click.option(
    "--sticky", default="", metavar="HEADER", help="What names a caller: a header, or column:NAME. [X-Caller-Id]"
)
_reason = click.option("--reason", default="", help="Why; kept in the audit log.")


@click.command("traffic", cls=Verb)
@_name
@_alias
@click.option("--split", default="", metavar="N=SHARE,...", help="Spread callers over versions: --split 7=0.9,8=0.1.")
@_sticky
@click.option("--shadow", default="", metavar="N[=SHARE]", help="Ask a version too, without sending its answers.")
@click.option("--off", is_flag=True, help="Let the alias' own version answer everything again.")
@_reason
@click.pass_obj
def traffic(asked: Asked, name: str, alias: str, split: str, sticky: str, shadow: str, off: bool, reason: str) -> int:
    """Show how a service's requests are spread over versions, and what was counted; or spread them."""
    if sum(map(bool, (split, shadow, off))) > 1 or (sticky and not split):
        raise UsageError(
            "--split, --shadow and --off are three acts; --sticky belongs to --split.", "Do one at a time."
        )
    project = asked.project()
    desk = _desk_of(project)
    if split:
        live = desk.split(name, alias, _shares(split), sticky, reason=reason)
    elif shadow:
        number, _, share = shadow.partition("=")
        live = desk.shadow(name, alias, _number(number), _share(share or "1"), reason=reason)
    elif off:
        live = desk.off(name, alias, reason=reason)
    else:
        live = desk.live(name)
    shadows = _shadows(project, name, live)
    return asked.answer(
        {**live_json(name, live), "shadows": {f"{name}/{number}": one.to_json() for number, one in shadows.items()}},
        lambda _: [
            *live_lines(name, live),
            *(f"{name}/{number} as a shadow: {one.sentence()}" for number, one in shadows.items()),
        ],
    )


@click.command("canary", cls=Verb)
@_name
@click.argument("version", type=click.IntRange(1))
@_alias
@click.option("--steps", default="5,25,50,100", show_default=True, metavar="PERCENT,...", help="Its shares, in order.")
@click.option("--every", default="10m", show_default=True, metavar="TIME", help="How long each: 30s, 10m, 1h.")
@click.option("--max-error-rate", type=click.FloatRange(0.0, 1.0), default=0.02, show_default=True, metavar="SHARE")
@click.option("--max-p99-ms", type=click.FloatRange(0.0, min_open=True), default=None, metavar="MS")
@click.option("--gate", "gates", multiple=True, metavar="GATE", help='A further limit: "p99_ratio <= 1.5".')
@click.option("--min-requests", type=click.IntRange(1), default=100, show_default=True, metavar="N")
@_sticky
@click.option("--promote", is_flag=True, help="Wait for its end, then move the alias, through the gates.")
@_reason
@click.pass_obj
def canary(
    asked: Asked,
    name: str,
    version: int,
    alias: str,
    steps: str,
    every: str,
    max_error_rate: float,
    max_p99_ms: float | None,
    gates: tuple[str, ...],
    min_requests: int,
    sticky: str,
    promote: bool,
    reason: str,
) -> int:
    """Give a version a growing share; the service itself takes it back where it fails or is slow."""
    from mlnb.traffic import Plan

    shares = tuple(_share(text) / 100.0 for text in steps.split(","))
    limit = math.inf if max_p99_ms is None else max_p99_ms
    plan = Plan(shares, span_s(every, "--every"), max_error_rate, limit, min_requests, gates)
    project = asked.project()
    live = _desk_of(project).canary(name, alias, version, plan, sticky, reason=reason)
    if not promote:
        return asked.answer(live_json(name, live), lambda _: live_lines(name, live))
    return _promote(asked, project, name, version, alias, reason)


def live_json(name: str, live: Live) -> dict[str, object]:
    """Return what is live as JSON values."""
    return {
        "service": name,
        "aliases": {alias: f"{name}/{number}" for alias, number in live.aliases.items()},
        "warm": [f"{name}/{number}" for number in live.warm],
        "traffic": {alias: _traffic_json(name, live, alias, one) for alias, one in live.traffic.items()},
        "events": [event.to_json() for event in live.events],
    }


def live_lines(name: str, live: Live) -> Iterator[str]:
    """Yield what is live, a table of counts for each alias that is spread."""
    from mlnb.faces.tables import table

    for alias, number in live.aliases.items():
        one = live.traffic.get(alias)
        yield f"{name}@{alias} is {name}/{number}{'' if one else ', which answers every request'}"
        if one is None:
            continue
        yield from (f"  {line}" for line in _state_lines(live, alias, one))
        headers = ("version", "role", "share", "requests", "errors", "error rate", "p50 ms", "p99 ms", "dropped")
        yield from (f"  {line}" for line in table(headers, _rows(name, live, alias, one)))
    if live.warm:
        yield f"warm standby: {', '.join(f'{name}/{number}' for number in live.warm)}"


def _state_lines(live: Live, alias: str, one: Traffic) -> Iterator[str]:
    ended = live.ended(alias)
    if ended is not None:
        yield ended.reason
    elif one.canary is not None:
        yield _canary_text(one)
    if one.role:
        yield f"callers are told apart by {_sticky_text(one.sticky)}; those without one at random, by request"


def _canary_text(one: Traffic) -> str:
    from time import time

    canary, now = one.canary, time()
    if canary is None:
        return ""
    if canary.finished(now):
        return "the canary has passed its whole schedule and waits: mlnb promote"
    step = canary.step(now)
    left = canary.started_at + canary.every_s * (step + 1) - now
    return f"canary: step {step + 1} of {len(canary.steps)}, {canary.share(now):.0%}, for another {left:.0f} s"


def _sticky_text(sticky: str) -> str:
    from mlnb.service.traffic import COLUMN

    return f"the column {sticky.removeprefix(COLUMN)}" if sticky.startswith(COLUMN) else f"the header {sticky}"


def _rows(name: str, live: Live, alias: str, one: Traffic) -> Iterator[tuple[object, ...]]:
    for row in _arms(live, alias, one):
        number, role, share, tally = row
        numbers = [_finite(value) for value in (tally.error_rate, tally.latency_ms(50), tally.latency_ms(99))]
        rate = None if numbers[0] is None else f"{numbers[0]:.2%}"
        dropped = tally.dropped if role == "shadow" else None
        yield f"{name}/{number}", role, f"{share:.1%}", tally.requests, tally.errors, rate, *numbers[1:], dropped


def _arms(live: Live, alias: str, one: Traffic) -> Iterator[tuple[int, str, float, Tally]]:
    from time import time

    from mlnb.service.counts import Arm, Tally

    base = live.aliases[alias]
    shares = {base: 1.0} if live.ended(alias) else one.shares(base, time())
    if live.ended(alias) and one.canary is not None:
        shares[one.canary.version] = 0.0
    for number, share in sorted(shares.items(), key=lambda pair: pair[0] != base):
        role = "alias" if number == base else one.role or "alias"
        yield number, role, share, live.counts.get(Arm(one.id, number), Tally())
    for number, share in one.shadows:
        yield number, "shadow", share, live.counts.get(Arm(one.id, number, shadow=True), Tally())


def _traffic_json(name: str, live: Live, alias: str, one: Traffic) -> dict[str, object]:
    from time import time

    from mlnb.service.traffic import traffic_to_json

    canary = one.canary
    versions = [
        {
            "version": f"{name}/{number}",
            "role": role,
            "share": share,
            "requests": tally.requests,
            "errors": tally.errors,
            "error_rate": _finite(tally.error_rate),
            "p50_ms": _finite(tally.latency_ms(50)),
            "p99_ms": _finite(tally.latency_ms(99)),
            "dropped": tally.dropped,
        }
        for number, role, share, tally in _arms(live, alias, one)
    ]
    state = "" if canary is None else "waiting" if canary.finished(time()) else "running"
    state = "aborted" if live.ended(alias) else state
    return {**traffic_to_json(one), "versions": versions, "canary_state": state}


def _shadows(project: Project, name: str, live: Live) -> dict[int, Agreement]:
    """Return how the answers of the shadows compare with those that were sent."""
    numbers = sorted({number for one in live.traffic.values() for number, _ in one.shadows})
    if not numbers:
        return {}
    from mlnb.monitor.shadowed import shadowed

    return {number: shadowed(project.state.predictions / name, number) for number in numbers}


def _promote(asked: Asked, project: Project, name: str, version: int, alias: str, reason: str) -> int:
    from mlnb.faces import view

    told: list[str] = []

    def tell(live: Live) -> None:
        one = live.traffic.get(alias)
        step = "" if one is None or one.canary is None else _canary_text(one).partition(", for")[0]
        if step and [step] != told[-1:]:
            told.append(step)
            if not asked.as_json:
                asked.tell(step, lambda text: [text])

    try:
        ended = _desk_of(project).wait(name, alias, tell)
    except KeyboardInterrupt as error:
        raise CancelledError(
            f"Nobody waits any more, and the canary of {name}/{version} goes on.",
            f"See it: mlnb services traffic {name}. At its end: mlnb promote {name}/{version} {alias}. "
            f"Or end it: mlnb services traffic {name} --alias {alias} --off.",
            run="",
        ) from error
    if ended is not None:
        raise _aborted(ended)
    promotion = project.promote(f"{name}/{version}", alias, reason=reason)
    return asked.answer(promotion, view.promotion_lines)


def _aborted(event: Event) -> GateError:
    return GateError(event.reason, f"See mlnb services traffic {event.model}.", verdicts=[event.reason])


def took_over(asked: Asked) -> Project:
    """Return the project, after what its services did by themselves is in the audit log."""
    project = asked.project()
    if any(project.state.services.glob("*/events/*.json")):
        _desk_of(project).take_over_all()
    return project


def _desk_of(project: Project) -> Desk:
    from mlnb.traffic import Desk

    return Desk(project.bench, project.services, project.outbox, project.actor)


def _shares(text: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for part in text.split(","):
        number, _, share = part.partition("=")
        if _number(number) in found:
            raise UsageError(f"--split names version {number.strip()} twice.", "Name each version once.")
        found[_number(number)] = _share(share)
    return found


def _number(text: str) -> int:
    if not text.strip().isdecimal():
        raise UsageError(f"{text.strip()!r} is no version's number.", "Write numbers: --split 7=0.9,8=0.1, --shadow 9.")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        raise UsageError(f"{text.strip()!r} is no share.", "Write numbers: --split 7=0.9,8=0.1, --steps 5,25,50,100.")
    return share


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
