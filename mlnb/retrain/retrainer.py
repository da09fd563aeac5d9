"""A project's terms, and what has happened since, become retrainings: planned, done once, or for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from threading import Event
from typing import TYPE_CHECKING

from mlnb.errors import CancelledError, MlnbError, MonitorError, RegistryError, UsageError
from mlnb.registry.canonical import time_text, utc_now
from mlnb.registry.reference import hint
from mlnb.retrain.allowance import held
from mlnb.retrain.challenge import Challenge, carry_out
from mlnb.retrain.docket import Docket
from mlnb.retrain.record import HAND, Cause, Outcome, Retraining, Trigger
from mlnb.retrain.schedule import next_of
from mlnb.retrain.terms import Plain, Terms, read_terms
from mlnb.retrain.triggers import Ground, look

if TYPE_CHECKING:
    from mlnb.ship import Notify, Yard
    from mlnb.store.ledger import Ledger

_PERFORMANCE_S = 300.0
"""A daemon reads the log of predictions so often; files, alarms and the clock are looked at each time."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would happen to a model now.

    Attributes
    ----------
    would_fire : tuple of Cause
        What the next look would find.
    waiting : tuple of Trigger
        What has fired already.
    running : Retraining or None
        The one that is at work, or that a process left when it died.
    held : str
        What keeps a retraining from beginning now; empty for nothing.
    next : datetime or None
        The schedule's next instant.
    """

    terms: Terms
    would_fire: tuple[Cause, ...]
    waiting: tuple[Trigger, ...]
    running: Retraining | None
    held: str
    next: datetime | None

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.terms.model,
            "notebook": self.terms.notebook,
            "would_fire": [one.to_json() for one in self.would_fire],
            "waiting": [one.to_json() for one in self.waiting],
            "running": self.running.to_json() if self.running else None,
            "held": self.held,
            "next": time_text(self.next) if self.next else "",
        }


@dataclass(frozen=True, slots=True)
class Visit:
    """What came of looking after one model.

    Attributes
    ----------
    fired : int
        Triggers that this look has added.
    done : tuple of Retraining
        Those that have ended.
    waiting : tuple of Trigger
        Those that go on waiting.
    held : str
        Why; empty where none waits.
    """

    model: str
    fired: int
    done: tuple[Retraining, ...]
    waiting: tuple[Trigger, ...]
    held: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.model,
            "fired": self.fired,
            "done": [one.to_json() for one in self.done],
            "waiting": [one.to_json() for one in self.waiting],
            "held": self.held,
        }


class Retrainer:
    """Retrains the models of a project.

    Parameters
    ----------
    yard : callable
        Returns the project's parts, given whom to tell of each step.
    ledger : Ledger
        Where triggers and retrainings are.
    table : mapping
        ``[tool.mlnb.retrain]``.
    clock : callable
        Returns the present time, aware.
    check : callable
        Raises the alarms of a model and an alias that are to be raised, before it is looked at those that are open.

    Raises
    ------
    SettingsError
        If the table cannot be read.
    """

    def __init__(
        self,
        yard: Callable[[Notify | None], Yard],
        ledger: Ledger,
        table: Mapping[str, object],
        clock: Callable[[], datetime] = utc_now,
        check: Callable[[str, str], object] = lambda _model, _alias: None,
    ) -> None:
        self.terms = read_terms(table)
        self.docket = Docket(ledger, clock)
        self._yard = yard
        self._ledger = ledger
        self._clock = clock
        self._check = check

    def plan(self, model: str = "") -> tuple[Outlook, ...]:
        """Say what would fire now, what waits, and when the schedules come next; it changes nothing.

        Raises
        ------
        UsageError
            If no such model is retrained.
        """
        return tuple(self._outlook(terms) for terms in self._chosen(model))

    def ask(self, model: str, reason: str, parameters: Mapping[str, Plain] | None = None) -> None:
        """Fire a trigger by hand: neither budget nor cool-down holds it.

        Parameters
        ----------
        parameters : mapping of str to plain value
            Win over those of the terms.

        Raises
        ------
        UsageError
            If no such model is retrained, or no reason is given.
        """
        (terms,) = self._chosen(model)
        if not model or not reason.strip():
            raise UsageError(
                "Retraining by hand needs a model and a reason.", "Write mlnb retrain MODEL --once --reason TEXT."
            )
        by = self._yard(None).by
        cause = Cause(HAND, token_hex(8), f"{by} asked for it: {reason.strip()}", {"by": by}, dict(parameters or {}))
        self.docket.fire(terms.model, [cause], {})

    def once(self, model: str = "", notify: Notify | None = None) -> tuple[Visit, ...]:
        """Look at what has happened, and do every retraining that is due.

        Raises
        ------
        UsageError
            If no such model is retrained.
        CancelledError
            If the user stopped it; the next time goes on from there.
        """
        return tuple(self._visit(terms, notify) for terms in self._chosen(model))

    def serve(
        self,
        model: str,
        every_s: float,
        stop: Event,
        told: Callable[[Visit | MlnbError], None],
        notify: Notify | None = None,
    ) -> None:
        """Look again and again until `stop` is set, or the user ends it.

        Parameters
        ----------
        every_s : float
            Seconds between two looks.
        told : callable
            Given each visit that did something, and what kept one from doing so.
        """
        chosen, read_at, effects = self._chosen(model), dict[str, datetime](), self._yard(notify).effects
        while not stop.is_set():
            for terms in chosen:
                now = self._clock()
                last = read_at.get(terms.model)
                reads = last is None or (now - last).total_seconds() >= _PERFORMANCE_S
                if reads:
                    read_at[terms.model] = now
                try:
                    visit = self._visit(terms, notify, performance=reads)
                except CancelledError:
                    return
                except MlnbError as error:  # of this model or of this moment: the others are looked after all the same
                    told(error)
                    continue
                if visit.fired or visit.done:
                    told(visit)
            try:
                effects.deliver(0.0)  # what a notifier or a service did not take before
            except MlnbError as error:
                told(error)
            stop.wait(every_s)

    def _visit(self, terms: Terms, notify: Notify | None, *, performance: bool = True) -> Visit:
        model, docket, done, fired = terms.model, self.docket, list[Retraining](), 0
        with docket.alone(model) as alone:
            if not alone:
                why = "Another process retrains this model, and takes up what waits."
                return Visit(model, 0, (), docket.waiting(model), why)
            left = docket.left(model)
            if left is not None:
                done.append(self._do(terms, left, notify))
            if terms.on_alarm and performance:
                with suppress(MonitorError, RegistryError):  # nothing was asked yet, or nothing promoted
                    self._check(model, terms.champion)
            found = look(terms, self._clock(), self._ground(notify), performance=performance)
            if found.causes or found.seen:
                fired = docket.fire(model, found.causes, found.seen)
            while chosen := self._due(terms):
                done.append(self._do(terms, docket.begin(model, chosen, terms.values), notify))
            waiting = docket.waiting(model)
        return Visit(model, fired, tuple(done), waiting, self._held(terms) if waiting else "")

    def _due(self, terms: Terms) -> tuple[Trigger, ...]:
        """Return those waiting triggers that one retraining may serve now: what a person asked for first."""
        waiting = self.docket.waiting(terms.model)
        asked = [one for one in waiting if one.cause.kind == HAND]
        if not waiting or (not asked and self._held(terms)):
            return ()
        first = (asked or waiting)[0]
        return tuple(one for one in waiting if one.cause.parameters == first.cause.parameters)

    def _do(self, terms: Terms, act: Retraining, notify: Notify | None) -> Retraining:
        yard = self._yard(notify)
        why = " ".join(one.cause.reason for one in self.docket.served(act.id))
        return self._end(yard, act, carry_out(Challenge(act, terms, yard, self.docket, why)))

    def _end(self, yard: Yard, act: Retraining, outcome: Outcome) -> Retraining:
        with yard.effects.planned(act.model, "retraining") as effects:
            ended = self.docket.end(act, outcome, yard.by, effects)
        yard.effects.deliver()
        return ended

    def _outlook(self, terms: Terms) -> Outlook:
        now, model = self._clock(), terms.model
        found = look(terms, now, self._ground(None))
        running = next((one for one in self.docket.list(model) if one.ended_at is None), None)
        following = next_of(terms.schedule, now)
        return Outlook(terms, found.causes, self.docket.waiting(model), running, self._held(terms), following)

    def _ground(self, notify: Notify | None) -> Ground:
        yard = self._yard(notify)
        return Ground(self.docket, self._ledger, yard.registry, yard.state)

    def _held(self, terms: Terms) -> str:
        found = held(terms, self.docket.begun(terms.model), self._clock())
        return found.why if found else ""

    def _chosen(self, model: str) -> Sequence[Terms]:
        if not self.terms:
            raise UsageError(
                "No model of this project is retrained.",
                'Write [tool.mlnb.retrain.MODEL] with notebook = "NAME.ipynb" into pyproject.toml.',
            )
        if model and model not in self.terms:
            raise UsageError(f"{model} has no [tool.mlnb.retrain.{model}].", hint(model, self.terms))
        return [self.terms[model]] if model else list(self.terms.values())


def worst(visits: Iterable[Visit]) -> int:
    """Return the exit code of what was done: 1 where one failed, 3 where a challenger was refused, else 0."""
    states = {one.outcome.state for visit in visits for one in visit.done}
    return 1 if "failed" in states else 3 if "refused" in states else 0
