"""A cron expression becomes the instants at which it fires.

Five fields as in crontab(5), or six with the seconds first. It is read as Debian's cron reads it: where both day of the
month and day of the week are restricted, either will do; what falls into the hour that a clock leaves out runs right
after it, what falls into the hour that it repeats runs once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from mlnb.errors import UsageError


@dataclass(frozen=True, slots=True)
class Schedule:
    """An expression and the clock that it is about."""

    expression: str
    zone: ZoneInfo

    def __str__(self) -> str:
        return f"{self.expression} ({self.zone.key})"

    def next(self, after: datetime) -> datetime | None:
        """Return the first instant after a time, in UTC; None where there is none within 50 years."""
        return next((at.astimezone(UTC) for at in CronSim(self.expression, after.astimezone(self.zone))), None)

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """Return the instants after a time, up to and with another."""
        every = (at.astimezone(UTC) for at in CronSim(self.expression, after.astimezone(self.zone)))
        return list(takewhile(lambda at: at <= until, every))


def read_schedule(text: str, zone: ZoneInfo) -> Schedule:
    """Return the schedule that a person wrote.

    Raises
    ------
    UsageError
        If it is no cron expression.
    """
    try:
        CronSim(text, datetime.now(zone))
    except CronSimError as error:
        raise UsageError(f"{text!r} is no cron expression: {error}.", "Write it as 0 3 * * MON.") from error
    return Schedule(text, zone)


def next_of(schedules: Sequence[Schedule], after: datetime) -> datetime | None:
    """Return the first instant of several schedules after a time."""
    found = [at for at in (one.next(after) for one in schedules) if at is not None]
    return min(found, default=None)


def missed(schedules: Sequence[Schedule], after: datetime, until: datetime) -> list[datetime]:
    """Return the instants of several schedules after a time, up to and with another, each once and in order."""
    return sorted({at for one in schedules for at in one.between(after, until)})
