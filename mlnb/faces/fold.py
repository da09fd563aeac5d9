"""The lines of ``mlnb run --events`` become one run as it stands, and the numbered changes that led there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from mlnb.faces.messages import API_VERSION, Fault, RunChange, RunSnapshot, RunState, StageState, StageStateName

_STAGE_ENDS: dict[str, StageStateName] = {
    "done": "done",
    "cached": "cached",
    "failed": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}


class RunFold:
    """What is known of one run: the events so far, folded into stages and told as numbered changes."""

    def __init__(self, id: str, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.id = id
        self.path = path
        self.state: RunState = "running"
        self.changes: list[RunChange] = []
        self._fault: Fault | None = None
        self._stages: dict[str, StageState] = {}
        self._started: dict[str, float] = {}
        self._cells: dict[str, int] = {}
        self._clock = clock
        self._began = clock()
        self._ended: float | None = None

    def snapshot(self) -> RunSnapshot:
        """Return the run as it stands."""
        return {
            "api": API_VERSION,
            "id": self.id,
            "path": self.path,
            "sequence": len(self.changes),
            "state": self.state,
            "seconds": self._seconds(),
            "stages": [self._now(stage) for stage in self._stages.values()],
            "fault": self._fault,
        }

    def take(self, event: Mapping[str, object]) -> None:
        """Fold one line of ``--events``; kinds that say nothing about stages are passed over."""
        stage, kind = _text(event, "stage"), _text(event, "event")
        match kind:
            case "run-started":
                for name in _texts(event, "stages"):
                    self._set(name, "queued")
            case "stage-started":
                self._started[stage] = self._clock()
                self._set(stage, "running")
            case "cell-started":
                self._cells[stage] = _number(event, "cell")
                self._set(stage, "running", position=_number(event, "position"), total=_number(event, "total"))
            case "stage-finished":
                self._finish_stage(stage, event)
            case "result":
                self._take_result(event)
            case "error":
                self.end("failed", _fault(event))

    def end(self, state: RunState, fault: Fault | None = None) -> None:
        """Close the run, once: what was still to come will not."""
        if self.state != "running":
            return
        self.state = state
        self._ended = self._clock()
        self._fault = fault or self._fault
        for stage in list(self._stages.values()):
            if stage["state"] == "running":
                self._set(stage["name"], "cancelled" if state == "cancelled" else "failed")
            elif stage["state"] == "queued":
                self._set(stage["name"], "skipped")
        self._tell(None)

    def _finish_stage(self, stage: str, event: Mapping[str, object]) -> None:
        state = _STAGE_ENDS.get(_text(event, "state"), "failed")
        if state == "failed" and self._fault is None:
            self._fault = {
                "problem": _text(event, "message") or f"The stage {stage} failed.",
                "remedy": "Repair the cell and run again: the stages before it are kept.",
                "stage": stage,
                "cell": self._cells.get(stage, 0),
                "line": 0,
            }
        seconds = event.get("seconds")
        self._started.pop(stage, None)
        self._set(stage, state, seconds=float(seconds) if isinstance(seconds, int | float) else 0.0)

    def _take_result(self, event: Mapping[str, object]) -> None:
        result = event.get("result")
        record = result if isinstance(result, dict) else {}
        fault = _fault_of_record(record)
        state = record.get("state")
        if state == "cancelled":
            self.end("cancelled", fault)
        else:
            self.end("done" if event.get("code") == 0 else "failed", fault)

    def _set(
        self, name: str, state: StageStateName, *, seconds: float = 0.0, position: int = 0, total: int = 0
    ) -> None:
        stage: StageState = {"name": name, "state": state, "seconds": seconds, "position": position, "total": total}
        if state in ("failed", "cancelled") and not seconds:
            stage["seconds"] = self._since(name)
        self._stages[name] = stage
        self._tell(self._now(stage))

    def _tell(self, stage: StageState | None) -> None:
        self.changes.append(
            {
                "sequence": len(self.changes) + 1,
                "state": self.state,
                "seconds": self._seconds(),
                "stage": stage,
                "fault": self._fault,
            }
        )

    def _now(self, stage: StageState) -> StageState:
        return {**stage, "seconds": self._since(stage["name"])} if stage["state"] == "running" else stage

    def _since(self, name: str) -> float:
        return round(self._clock() - self._started[name], 3) if name in self._started else 0.0

    def _seconds(self) -> float:
        return round((self._ended if self._ended is not None else self._clock()) - self._began, 3)


def _fault_of_record(record: Mapping[str, object]) -> Fault | None:
    stages = record.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        error = stage.get("error") if isinstance(stage, dict) else None
        if isinstance(error, dict):
            return {**_fault(error), "stage": _text(stage, "name")}
    return None


def _fault(source: Mapping[str, object]) -> Fault:
    return {
        "problem": _text(source, "problem"),
        "remedy": _text(source, "remedy"),
        "stage": _text(source, "stage"),
        "cell": _number(source, "cell"),
        "line": _number(source, "line"),
    }


def _text(source: Mapping[str, object], key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""


def _number(source: Mapping[str, object], key: str) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else 0


def _texts(source: Mapping[str, object], key: str) -> list[str]:
    value = source.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []
