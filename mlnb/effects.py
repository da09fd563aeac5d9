"""What a move of an alias must cause elsewhere is done: the service follows, people are told; what fails is repeated.

The effects are rows that were written with the move (`mlnb.registry.outbox`). They are delivered at the end of the
verb, and, where that failed or its process died, by the next verb of the project and by the Jupyter server. A
file, made before the act and removed when everything is done, says that there is something to do (`mlnb.store.undone`).

*Once*: a route is what the aliases ask for at that moment, so a second delivery changes nothing. A message may reach
its receiver twice where a process dies between its answer and our note of it; both have the same ``Idempotency-Key``.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import local

from mlnb.errors import MlnbError, ServiceError, StateError
from mlnb.notify.channel import Channel, channels
from mlnb.registry.outbox import Due, Effect, Outbox
from mlnb.registry.registry import Registry
from mlnb.registry.version import Promotion
from mlnb.service.target import Deployment, Target
from mlnb.service.traffic import Traffic
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder

ROUTE, NOTIFY = "route", "notify"
WAIT_S = 30.0
"""How long a verb waits for another process that is delivering."""


def notices(channels: Mapping[str, Channel], place: str, event: str, model: str) -> tuple[Effect, ...]:
    """Return what an event of a model must cause: every channel that wants it is told.

    Parameters
    ----------
    channels : mapping of str to Channel
        As `mlnb.notify.channel.channels` gives them.
    place : str
        Whose event: `StateFolder.place`.
    event : str
        One of `mlnb.notify.channel.EVENTS`.
    """
    wanted = (name for name, one in channels.items() if one.wants(event, model))
    return tuple(Effect(NOTIFY, {"place": place, "notifier": name}) for name in wanted)


def follow(
    model: str, registry: Registry, target: Target, spread: Mapping[str, Traffic] | None = None
) -> Deployment | None:
    """Give the model's service the routing that the registry's aliases ask for; None where it was never started.

    Whoever calls it holds the right to deliver (`Outbox.delivering`): of two at a time the older look might come last.

    Parameters
    ----------
    spread : mapping of str to Traffic
        As `Target.route` takes it.
    """
    aliases = registry.aliases(model)
    needed = set(aliases.values()).union(*(one.numbers for one in (spread or {}).values()))
    with tempfile.TemporaryDirectory(prefix="mlnb-route-") as folder:
        packages, placed = {}, target.placed(model, needed)
        for number in sorted(needed):
            version = registry.get(f"{model}/{number}")
            if placed[number] != version.files:
                packages[number] = Path(folder) / str(number)
                registry.unpack(version, packages[number])
        return target.route(model, packages, aliases, spread)


class Courier:
    """Delivers the effects of a project's moves.

    Parameters
    ----------
    outbox : Outbox
        What is to be done.
    registry, target
        The project's own.
    settings : Settings
        Which channels are set up.
    state : StateFolder
        Where the files are that say whether there is something to do.
    """

    def __init__(
        self, outbox: Outbox, registry: Registry, target: Target, settings: Settings, state: StateFolder
    ) -> None:
        self._outbox = outbox
        self._registry = registry
        self._target = target
        self._settings = settings
        self._state = state
        self._undone = state.undone
        self._begun = local()

    @contextmanager
    def planned(self, model: str, event: str = "promotion") -> Iterator[tuple[Effect, ...]]:
        """Give what the act of the block must cause; a death between it and its delivery leaves a file behind.

        The delivery is to come in the same thread.

        Parameters
        ----------
        model : str
            Whose act.
        event : str
            A ``promotion`` moves an alias, so the model's service follows; of any other event people are told.
        """
        marks = self._marks()
        marks.append(self._undone.begin())
        try:
            told = notices(self._channels(), self._state.place, event, model)
            yield (Effect(ROUTE, {"place": self._state.place}), *told) if event == "promotion" else told
        except BaseException as error:
            # A ledger that is lost while it commits may have moved the alias; what refuses a move has not.
            moved = isinstance(error, StateError) or not isinstance(error, MlnbError)
            self._undone.end([marks.pop()], again=moved)
            raise

    def deliver(self, wait_s: float = WAIT_S) -> tuple[Due, ...]:
        """Do what is to be done here and now; return what is still to be done here, with the problem of each."""
        left = self._undone.left()  # before the look into the outbox: whatever these stand for is there to be seen
        marks, seen = self._marks(), set[int]()
        try:
            with self._outbox.delivering(wait_s) as alone:
                while alone and (due := [one for one in self._ours(self._outbox.due()) if one.id not in seen]):
                    seen.update(one.id for one in due)  # one that fails is due again, but not for this verb
                    self._do(due)
            waiting = self._ours(self._outbox.waiting())
        except BaseException:
            if marks:
                self._undone.end(marks, again=True)
            raise
        else:
            self._undone.end((*left, *marks), again=bool(waiting))
            return waiting
        finally:
            marks.clear()

    def settle(self, promotion: Promotion) -> None:
        """Deliver what a move has caused.

        Raises
        ------
        ServiceError
            If the service does not follow yet: the alias has moved all the same, and it is tried again.
        """
        waiting = self.deliver()
        if not promotion.changed:  # a second promotion also repairs a service that was changed by hand
            with self._outbox.delivering(WAIT_S) as alone:  # an older look at the aliases must not come last
                if not alone:
                    raise _behind(promotion, "another process is still at it.")
                follow(promotion.model, self._registry, self._target)
        for effect in waiting:
            if effect.kind == ROUTE and effect.model == promotion.model:
                raise _behind(promotion, effect.problem or "another process is still at it.")

    def _marks(self) -> list[Path]:
        """Return the files of this thread's acts: threads of a server act at the same time."""
        marks: list[Path] = self._begun.__dict__.setdefault("marks", [])
        return marks

    def _ours(self, effects: Iterable[Due]) -> tuple[Due, ...]:
        """Leave out the services of other projects that share the ledger, and notifiers that are set up there alone."""
        told = self._channels()
        return tuple(
            effect
            for effect in effects
            if self._is_here(str(effect.payload.get("place", "")))
            or (effect.kind == NOTIFY and effect.payload.get("notifier") in told)
        )

    def _is_here(self, place: str) -> bool:
        root = self._state.root
        if place in (self._state.place, f"{platform.node()}:{root}"):  # an older mlnb wrote the second
            return True
        return not self._settings.ledger and place.endswith(f":{root}")  # of a backup, or before a host's new name

    def _do(self, due: Iterable[Due]) -> None:
        routes: dict[str, list[Due]] = {}
        for effect in due:
            if effect.kind == ROUTE:
                routes.setdefault(effect.model, []).append(effect)
        for model, effects in routes.items():  # all of them ask for the same: what the aliases say now
            self._try(effects, partial(follow, model, self._registry, self._target))
        silent: set[object] = set()
        for effect in due:  # people are told after the service was
            notifier = effect.payload.get("notifier")
            if effect.kind == ROUTE or notifier in silent:  # what did not answer once is not waited for again
                continue
            if not self._try([effect], partial(self._notify, effect)):
                silent.add(notifier)

    def _try(self, effects: list[Due], do: Callable[[], object]) -> bool:
        """Do something and write down what came of it; say whether it was done."""
        try:
            do()
        except Exception as error:  # noqa: BLE001  # notifiers and targets are plug-ins: the alias has moved all the same
            told = f"{error.problem} {error.remedy}" if isinstance(error, MlnbError) else ""
            for effect in effects:
                self._outbox.failed(effect.id, told or f"{type(error).__name__}: {error}")
            return False
        for effect in effects:
            self._outbox.done(effect.id)
        return True

    def _notify(self, effect: Due) -> None:
        name = str(effect.payload.get("notifier", ""))
        channel = self._channels().get(name)
        if channel is None:
            raise ServiceError(
                f"The notifier {name!r}, which is to tell of {effect.model}, is not set up here.",
                f"Set it up again, see [tool.mlnb.notify.{name}] or notify_url; until then the message waits.",
                service=effect.model,
            )
        cause = effect.payload.get("event", effect.payload.get("promotion"))  # the latter in rows of an older mlnb
        event = {"event": "promotion", **(cause if isinstance(cause, Mapping) else {})}
        event.setdefault("text", sentence(event))
        if channel.wants(str(event["event"]), effect.model):  # it may have been limited since
            channel.tell(event, effect.key)

    def _channels(self) -> dict[str, Channel]:
        return channels(self._settings, self._state.root.parent)


def _behind(promotion: Promotion, problem: str) -> ServiceError:
    return ServiceError(
        f"{promotion.model}@{promotion.alias} is {promotion.to_ref}, but its service does not follow yet: {problem}",
        "It is tried again by the next mlnb command; mlnb audit effects tells what waits.",
        service=promotion.model,
    )


def sentence(event: Mapping[str, object]) -> str:
    """Return what happened in one sentence for people."""
    verb = "rolled back" if event.get("kind") == "rollback" else "promoted"
    before = f" (before: {event['from']})" if event.get("from") else ""
    forced = ", overriding its gates" if event.get("forced") else ""
    reason = f": {event['reason']}" if event.get("reason") else "."
    alias = f"{event.get('model')}@{event.get('alias')}"
    return f"{event.get('by')} {verb} {alias} to {event.get('to')}{before}{forced}{reason}"
