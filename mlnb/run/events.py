"""What a run says while it goes on: small values that every face can show, and their JSON for who only listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins; `stages` are the names of its nodes in order."""

    run: str
    notebook: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage or test begins to execute; one that is reused or skipped only finishes."""

    run: str
    stage: str


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell of the notebook begins: `cell` is its number there, `position` of `total` its place in the stage."""

    run: str
    stage: str
    cell: int
    position: int
    total: int


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage is ``done``, ``cached``, ``failed`` or ``skipped``; `message` says why it is not done."""

    run: str
    stage: str
    state: str
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is ``done``, ``failed`` or ``cancelled``."""

    run: str
    state: str
    seconds: float


Event = RunStarted | StageStarted | CellStarted | StageFinished | RunFinished
Notify = Callable[[Event], None]
_NAMES = {
    RunStarted: "run-started",
    StageStarted: "stage-started",
    CellStarted: "cell-started",
    StageFinished: "stage-finished",
    RunFinished: "run-finished",
}


def event_json(event: Event) -> dict[str, object]:
    """Return an event as a JSON object whose ``event`` is its kind.

    Examples
    --------
    >>> event_json(StageStarted("20261122-193000-a1b2c3", "train"))
    {'event': 'stage-started', 'run': '20261122-193000-a1b2c3', 'stage': 'train'}
    """
    return {"event": _NAMES[type(event)], **asdict(event)}
