"""What a person asks of a service's traffic becomes its routing and a row of the audit log.

Split, canary and shadow are set here and never move an alias: the way in are `mlnb promote` and its gates. But who
gets a share of the callers must pass as well: a split or a canary asks the same gates and the same policy. What a
service did by itself, such as taking a canary back, is taken over into the audit log here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mlnb.effects import WAIT_S, follow
from mlnb.errors import GateError, OvertakenError, PolicyError, RegistryError, ServiceError, UsageError
from mlnb.judging.case import Bench
from mlnb.judging.judgement import reconsider
from mlnb.registry.gates import parse_gate
from mlnb.registry.outbox import Outbox
from mlnb.registry.policy import Act, read_policy
from mlnb.registry.reference import hint
from mlnb.registry.version import Version
from mlnb.service.canary import LIVE_METRICS, Event
from mlnb.service.live import Live
from mlnb.service.target import Target
from mlnb.service.traffic import COLUMN, Canary, LiveGate, Traffic, slotted

STICKY = "X-Caller-Id"
_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How a canary grows, and what ends it.

    Attributes
    ----------
    steps : tuple of float
        Its share in each interval, as parts of one.
    every_s : float
        Length of an interval.
    max_error_rate, max_p99_ms : float
        Limits; infinite for none.
    min_requests : int
        See `mlnb.service.traffic.Canary`.
    gates : tuple of str
        Further limits, such as ``p99_ratio <= 1.5``.
    """

    steps: tuple[float, ...]
    every_s: float
    max_error_rate: float
    max_p99_ms: float
    min_requests: int
    gates: tuple[str, ...]


class Desk:
    """Where the traffic of services is asked for.

    Parameters
    ----------
    bench : Bench
        Where the gates of an alias, and the policy, look things up.
    target : Target
        What runs the services.
    outbox : Outbox
        Where the right to route is: promotions do so as well.
    by : str
        Who asks.
    """

    def __init__(self, bench: Bench, target: Target, outbox: Outbox, by: str) -> None:
        self._bench = bench
        self._registry = bench.registry
        self._audit = bench.audit
        self._target = target
        self._outbox = outbox
        self._by = by

    def live(self, name: str) -> Live:
        """Return what is live in a service, after what it did by itself is in the audit log."""
        self.take_over(name)
        return self._target.live(name)

    def take_over_all(self) -> tuple[Event, ...]:
        """Take what all services did by themselves into the audit log."""
        return tuple(event for deployment in self._target.list() for event in self.take_over(deployment.name))

    def take_over(self, name: str) -> tuple[Event, ...]:
        """Take what a service did by itself into the audit log, each event once; return those."""
        if not self._target.live(name).events:
            return ()
        with self._alone(name):
            live = self._target.live(name)
            events = live.events  # another process may have taken some over meanwhile
            for event in events:
                self._tell(name, event)
                standing = live.traffic.get(event.alias)
                if standing is not None and standing.id == event.id:
                    left = replace(standing, canary=None) if standing.shadows else None
                    self._follow(name, live, event.alias, left)
                    live = self._target.live(name)
                self._target.forget(name, event.id)
        return events

    def split(self, name: str, alias: str, shares: Mapping[int, float], sticky: str, *, reason: str = "") -> Live:
        """Spread an alias over versions; callers move only where shares change.

        Raises
        ------
        UsageError
            If the shares are not positive parts of one, or a canary runs.
        GateError
            If a gate of one of the versions failed.
        """
        live, base = self._standing(name, alias)
        if base not in shares:
            raise UsageError(
                f"The split of {name}@{alias} leaves out {name}/{base}, which the alias points to.",
                f"Give it a share too; to take it away altogether: mlnb promote {name}/N {alias}.",
            )
        if any(not 0.0 < share <= 1.0 for share in shares.values()) or abs(sum(shares.values()) - 1.0) > 1e-6:
            raise UsageError(
                f"The shares of {name}@{alias} are not positive parts of one: {_text(shares)}.",
                "Give parts that add up to 1: --split 7=0.9,8=0.1.",
            )
        before = live.traffic.get(alias)
        _refuse_second(name, alias, before and before.canary)
        self._check(name, alias, [number for number in shares if number != base])
        kept = before or Traffic(_new_id(), "")
        header = _sticky(sticky) if sticky else kept.sticky or _sticky(STICKY)
        traffic = replace(kept, sticky=header, slots=slotted(shares, kept.slots))
        detail = {"experiment": kept.id, "split": {str(n): share for n, share in sorted(shares.items())}}
        return self._act(name, alias, live, traffic, "traffic", {**detail, "sticky": header, "reason": reason})

    def shadow(self, name: str, alias: str, number: int, share: float, *, reason: str = "") -> Live:
        """Give a version the copy of a share of the requests; a share of 0 ends that."""
        live, base = self._standing(name, alias)
        self._registry.verify(self._registry.get(f"{name}/{number}"))
        if number == base or not 0.0 <= share <= 1.0:
            what = f"{name}/{number} answers {alias} itself" if number == base else f"{share:g} is no part of one"
            raise UsageError(f"There is no such shadow: {what}.", "Name another version: --shadow 9 or --shadow 9=0.5.")
        kept = live.traffic.get(alias) or Traffic(_new_id(), _sticky(STICKY))
        others = tuple(one for one in kept.shadows if one[0] != number)
        traffic = replace(kept, shadows=(*others, (number, share)) if share else others)
        detail = {"experiment": kept.id, "version": number, "share": share, "reason": reason}
        return self._act(name, alias, live, traffic if traffic.numbers else None, "shadow", detail)

    def canary(self, name: str, alias: str, number: int, plan: Plan, sticky: str, *, reason: str = "") -> Live:
        """Let a version's share grow by a schedule; the service itself takes it back where a limit is exceeded.

        Raises
        ------
        UsageError
            If the schedule is none, or the alias is split already.
        GateError
            If a gate of the version failed.
        """
        live, base = self._standing(name, alias)
        before = live.traffic.get(alias)
        _refuse_second(name, alias, before and (before.canary or before.slots))
        if number == base:
            raise UsageError(
                f"{name}/{number} answers {alias} already.", f"Name another version: mlnb models list {name}."
            )
        gates = tuple(_live_gate(text) for text in plan.gates)
        rising = list(plan.steps) == sorted(plan.steps)
        if not plan.steps or not rising or plan.steps[0] <= 0.0 or plan.steps[-1] > 1.0 or plan.every_s <= 0.0:
            raise UsageError(
                "The steps of a canary are not rising shares of at most 100 %.", "Write them so: --steps 5,25,50,100."
            )
        self._check(name, alias, (number,))
        canary = Canary(
            number,
            plan.steps,
            plan.every_s,
            time.time(),
            plan.max_error_rate,
            plan.max_p99_ms,
            plan.min_requests,
            gates,
        )
        shadows = before.shadows if before else ()
        traffic = Traffic(_new_id(), _sticky(sticky or STICKY), canary=canary, shadows=shadows)
        detail: dict[str, object] = {
            "experiment": traffic.id,
            "version": number,
            "base": base,
            "steps": list(plan.steps),
            "every_s": plan.every_s,
            "limits": [*_limits(plan), *plan.gates],
            "min_requests": plan.min_requests,
            "sticky": traffic.sticky,
            "reason": reason,
        }
        return self._act(name, alias, live, traffic, "canary", detail)

    def off(self, name: str, alias: str, *, reason: str = "") -> Live:
        """Let the alias' own version answer everything again."""
        live, _ = self._standing(name, alias)
        before = live.traffic.get(alias)
        if before is None:
            return live
        counted = {
            f"{arm.version}{' shadow' if arm.shadow else ''}": {"requests": tally.requests, "errors": tally.errors}
            for arm, tally in live.counts.items()
            if arm.experiment == before.id
        }
        detail = {"experiment": before.id, "counted": counted, "reason": reason}
        return self._act(name, alias, live, None, "traffic-off", detail)

    def wait(self, name: str, alias: str, notify: Callable[[Live], None]) -> Event | None:
        """Wait for the end of a canary; return what ended it early, None where it has passed its whole schedule."""
        while True:
            live = self._target.live(name)
            notify(live)
            ended = live.ended(alias)
            traffic = live.traffic.get(alias)
            if ended is not None:
                self.take_over(name)
                return ended
            if traffic is None or traffic.canary is None:
                raise UsageError(f"The canary of {name}@{alias} was taken away.", f"See: mlnb audit log, {name}.")
            if traffic.canary.finished(time.time()):
                return None
            time.sleep(_WAIT_S)

    def _standing(self, name: str, alias: str) -> tuple[Live, int]:
        self.take_over(name)
        live = self._target.live(name)
        aliases = live.aliases or self._registry.aliases(name)
        if alias not in aliases:
            raise RegistryError(f"{name} has no alias {alias!r}.", hint(alias, aliases), model=name, alias=alias)
        return live, aliases[alias]

    def _check(self, name: str, alias: str, numbers: Iterable[int]) -> None:
        """Refuse a version that may not be promoted to the alias: it must not answer who asks for that."""
        for number in numbers:
            version = self._registry.get(f"{name}/{number}")
            self._registry.verify(version)
            self._ask_policy(version, alias)
            verdicts = reconsider(version, alias, self._by, self._bench).verdicts
            failed = [verdict.sentence for verdict in verdicts if not verdict.passed]
            if failed:
                raise GateError(
                    f"Gates of {version.ref} failed, so it gets no traffic of {alias}: {' '.join(failed)}",
                    f"Improve the model; or watch it without answering anybody: --shadow {number}.",
                    verdicts=failed,
                )

    def _ask_policy(self, version: Version, alias: str) -> None:
        policy = read_policy(self._bench.settings.policy)
        given = self._registry.approvals(version.ref, alias) if policy.rules else ()
        by = self._by
        act = Act("traffic", version.model, alias, version.number, by, version.created_by, approvals=given)
        problem = policy.refusal(act)
        if problem:
            detail = {"kind": act.kind, "alias": alias, "problem": problem, "policy": policy.digest}
            self._audit.record(by, "policy-refused", version.ref, detail)
            raise PolicyError(
                problem, "Ask somebody who may; or watch it without answering anybody: --shadow.", actor=by, alias=alias
            )

    def _act(
        self, name: str, alias: str, live: Live, traffic: Traffic | None, action: str, detail: Mapping[str, object]
    ) -> Live:
        self._route(name, live, alias, traffic)
        self._audit.record(self._by, action, f"{name}@{alias}", detail)
        return self._target.live(name)

    def _route(self, name: str, live: Live, alias: str, traffic: Traffic | None) -> None:
        """Give an alias other traffic than was seen; that of other aliases is what it is by now."""
        with self._alone(name):
            now = self._target.live(name)
            same = (now.aliases.get(alias), now.traffic.get(alias)) == (
                live.aliases.get(alias),
                live.traffic.get(alias),
            )
            if not same or (traffic is not None and alias in self._moved(name, now)):
                raise OvertakenError(
                    f"{name}@{alias}, or its traffic, was changed by somebody else meanwhile.",
                    f"See what it is now, and decide again: mlnb services traffic {name}.",
                    model=name,
                    alias=alias,
                )
            self._follow(name, now, alias, traffic)

    def _follow(self, name: str, live: Live, alias: str, traffic: Traffic | None) -> None:
        ended = {alias, *self._moved(name, live)}
        others = {one: spread for one, spread in live.traffic.items() if one not in ended}
        follow(name, self._registry, self._target, others if traffic is None else {**others, alias: traffic})

    def _moved(self, name: str, live: Live) -> set[str]:
        """Return the aliases that have been moved, and whose service does not follow yet."""
        aliases = self._registry.aliases(name)
        return {alias for alias, number in live.aliases.items() if aliases.get(alias) != number}

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Keep all others from the services of this ledger: what is read now is still so when it is written."""
        with self._outbox.delivering(WAIT_S) as alone:
            if not alone:
                raise ServiceError(
                    f"Another process has been at the services of this ledger for {WAIT_S:g} seconds.",
                    "Wait until it has ended, then try again; mlnb audit effects tells what waits.",
                    service=name,
                )
            yield

    def _tell(self, name: str, event: Event) -> None:
        """Write an event into the audit log, where a process that died has not done so before."""
        subject = f"{event.model}@{event.alias}"
        told = self._audit.log(subject, action="canary-abort")
        if not any(row.detail.get("experiment") == event.id for row in told):
            detail = {
                "experiment": event.id,
                "version": event.version,
                "back_to": event.base,
                "at": event.at,
                "reason": event.reason,
                "evidence": dict(event.evidence),
            }
            self._audit.record(f"service {name}", "canary-abort", subject, detail)


def _refuse_second(name: str, alias: str, standing: object) -> None:
    if standing:
        raise UsageError(
            f"The traffic of {name}@{alias} is spread by another experiment already.",
            f"End that one first: mlnb services traffic {name} --off.",
        )


def _sticky(text: str) -> str:
    """Return how a caller's key is found: a header in lower case, or ``column:NAME`` as it is written."""
    if text.startswith(COLUMN):
        return text
    if not text.replace("-", "").replace("_", "").isalnum() or not text.isascii():
        raise UsageError(
            f"{text!r} is not the name of a header.",
            "Name a header, --sticky X-User, or a column, --sticky column:user.",
        )
    return text.lower()


def _live_gate(text: str) -> LiveGate:
    gate = parse_gate(text)
    if gate.metric not in LIVE_METRICS:
        raise UsageError(f"A canary does not count {gate.metric!r}.", hint(gate.metric, LIVE_METRICS))
    return LiveGate(gate.metric, gate.operator, gate.limit)


def _limits(plan: Plan) -> list[str]:
    found = {"error_rate": plan.max_error_rate, "p99_ms": plan.max_p99_ms}
    return [f"{name} <= {limit:g}" for name, limit in found.items() if limit < float("inf")]


def _text(shares: Mapping[int, float]) -> str:
    return ", ".join(f"{number}={share:g}" for number, share in shares.items())


def _new_id() -> str:
    return os.urandom(8).hex()
