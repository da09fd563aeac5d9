"""The events of a run and of a deployment become one board: a row for each stage and step, with its state and time.

Events arrive in their JSON form (`mlnb.run.events.event_json`), so that a run in this process and one that is followed
from another look the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

SIGNS = {
    "queued": "·",
    "running": "▸",
    "done": "✓",
    "cached": "=",
    "failed": "✗",
    "skipped": "-",
    "cancelled": "-",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One stage, test or step.

    Attributes
    ----------
    name : str
    state : str
        A key of `SIGNS`.
    seconds : float
        How long it took; while it runs, see `began`.
    note : str
        The cell it is at, or why it failed.
    began : float
        `time.monotonic` when it started; 0 if it has not.
    """

    name: str
    state: str = "queued"
    seconds: float = 0.0
    note: str = ""
    began: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds so far, or in all."""
        return time.monotonic() - self.began if self.state == "running" and self.began else self.seconds


class Board:
    """What a person sees of a run while it goes on."""

    def __init__(self) -> None:
        self.title = ""
        self.state = "running"
        self._rows: dict[str, Row] = {}

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows in the order in which they were announced."""
        return tuple(self._rows.values())

    def take(self, event: Mapping[str, object]) -> Row | None:
        """Fold one event in, and return the row that has ended with it, if any."""
        kind = event.get("event")
        name = str(event.get("stage", ""))
        if kind == "run-started":
            self.title = str(event.get("notebook", ""))
            stages = event.get("stages")
            self._rows = {str(stage): Row(str(stage)) for stage in stages} if isinstance(stages, list | tuple) else {}
        elif kind == "stage-started":
            self._put(name, "running", began=time.monotonic())
        elif kind == "cell-started":
            note = f"cell {event.get('cell')} ({event.get('position')} of {event.get('total')})"
            self._rows[name] = replace(self._rows.get(name, Row(name, "running")), note=note)
        elif kind == "stage-finished":
            return self._put(name, str(event["state"]), _number(event.get("seconds")), str(event.get("message") or ""))
        elif kind == "run-finished":
            self.state = str(event["state"])
        elif kind == "ship":
            return self._step(event)
        return None

    def _step(self, event: Mapping[str, object]) -> Row | None:
        name = f"{event.get('model')}: {event.get('step')}"
        state = str(event.get("state"))
        if state == "started":
            self._put(name, "running", note=str(event.get("detail") or ""), began=time.monotonic())
            return None
        before = self._rows.get(name)
        seconds = before.elapsed_s if before else 0.0
        return self._put(name, state, seconds, str(event.get("detail") or ""))

    def _put(self, name: str, state: str, seconds: float = 0.0, note: str = "", began: float = 0.0) -> Row:
        self._rows[name] = row = Row(name, state, seconds, note, began)
        return row


def seconds_text(seconds: float) -> str:
    """Return a duration as a person says it: ``0.3 s``, ``12 s``, ``2 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
