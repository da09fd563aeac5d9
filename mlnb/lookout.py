"""What a service is asked becomes alarms that stand until a person acknowledges them, and people are told of both.

A look judges all windows since the version began to answer (`mlnb.monitor.alarm`), with the span of the settings; it
may be repeated as often as one likes, by anybody, by cron, or by what retrains. What stands is not raised again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlnb.effects import Courier
from mlnb.monitor.alarm import Judgement, Place, Subject, judge
from mlnb.monitor.rules import read_rules
from mlnb.monitor.watch import watch
from mlnb.registry.alarms import Alarm, Alarms
from mlnb.registry.canonical import utc_now
from mlnb.registry.registry import Registry
from mlnb.service.log_record import nanoseconds
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a model's windows has found.

    Attributes
    ----------
    version : str
        Whose windows they were: ``delays/7``.
    windows : int
        That had rows.
    raised : tuple of Alarm
        Raised by this look.
    standing : tuple of Alarm
        All of the model that nobody has acknowledged, those among them.
    bounded : bool
        Whether a bound on false alarms can be claimed.
    bound : str
        Which one, or why none, in a sentence.
    """

    version: str
    windows: int
    raised: tuple[Alarm, ...]
    standing: tuple[Alarm, ...]
    bounded: bool
    bound: str

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "version": self.version,
            "windows": self.windows,
            "raised": [alarm.to_json() for alarm in self.raised],
            "open": [alarm.to_json() for alarm in self.standing],
            "bounded": self.bounded,
            "bound": self.bound,
        }


class Lookout:
    """The alarms of a project.

    Parameters
    ----------
    registry, alarms, courier, settings, state
        The project's own.
    actor : str
        Who looks, or acknowledges.
    clock : callable
        Returns the present time, aware.
    """

    def __init__(
        self,
        registry: Registry,
        alarms: Alarms,
        courier: Courier,
        settings: Settings,
        state: StateFolder,
        actor: str,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._alarms = alarms
        self._courier = courier
        self._settings = settings
        self._state = state
        self._actor = actor
        self._clock = clock

    def list(self, model: str = "", *, everything: bool = False) -> tuple[Alarm, ...]:
        """Return the open alarms of a model, or of all; with `everything` the acknowledged ones, too. Oldest first."""
        return self._alarms.list(model, everything=everything)

    def get(self, id: int) -> Alarm:
        """Return one alarm.

        Raises
        ------
        RegistryError
            If there is none of that number.
        """
        return self._alarms.get(id)

    def judge(self, model: str, alias: str = "production") -> Judgement:
        """Judge the windows of the version that an alias points to, and raise nothing.

        Raises
        ------
        RegistryError
            If the alias points to nothing.
        MonitorError
            If nothing was logged.
        SettingsError
            If ``[tool.mlnb.monitor]`` cannot be read.
        """
        rules = read_rules(self._settings.monitor)
        version = self._registry.get(f"{model}@{alias}")
        report = watch(version, self._state, at=self._clock(), span=rules.span, labels=None)
        subject = Subject(model, alias, version.number)
        return judge(report.reference, report.windows, rules, subject, self._since(subject))

    def check(self, model: str, alias: str = "production") -> Look:
        """Judge the windows of the version that an alias points to, raise what is to be raised, and tell people.

        Raises as `judge` does.
        """
        found = self.judge(model, alias)
        standing = {_key(alarm) for alarm in self.list(model)}
        fresh = [alarm for alarm in found.alarms if _key(alarm) not in standing]
        raised: tuple[Alarm, ...] = ()
        if fresh:
            with self._courier.planned(model, "alarm") as effects:
                raised = self._alarms.raise_all(fresh, by=self._actor, effects=effects)
            self._courier.deliver()
        ref = self._registry.get(f"{model}@{alias}").ref
        return Look(ref, len(found.windows), raised, self.list(model), found.bounded, found.bound)

    def acknowledge(self, id: int, note: str = "") -> Alarm:
        """Write down that the actor has seen an alarm; evidence begins anew with the next window, and people are told.

        Raises
        ------
        RegistryError
            If there is no such alarm, or it was acknowledged already.
        """
        with self._courier.planned(self._alarms.get(id).model, "alarm") as effects:
            alarm = self._alarms.acknowledge(id, by=self._actor, note=note, effects=effects)
        self._courier.deliver()
        return alarm

    def _since(self, subject: Subject) -> dict[Place, int]:
        """Return when each place's last alarm was acknowledged, nanoseconds since 1970."""
        since: dict[Place, int] = {}
        for alarm in self.list(subject.model, everything=True):
            mine = (alarm.alias, alarm.number) == (subject.alias, subject.number)
            if mine and not alarm.open:
                at = nanoseconds(datetime.fromisoformat(alarm.acknowledged_at))
                since[alarm.place] = max(at, since.get(alarm.place, 0))
        return since


def _key(alarm: Alarm) -> tuple[str, str, int, str, str]:
    return alarm.model, alarm.alias, alarm.number, alarm.what, alarm.kind
