"""The executed notebooks of a run become what their cells have printed, at once or while the run goes on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlnb.errors import UsageError

if TYPE_CHECKING:
    from mlnb.run.record import RunRecord
    from mlnb.run.runs import Runs

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class CellLog:
    """What one cell has printed; `cell` is its position in the notebook, 0 for cells that mlnb has added."""

    stage: str
    cell: int
    text: str


class Tell(Protocol):
    """Prints a part of an answer."""

    def __call__(self, part: CellLog, lines: Callable[[CellLog], Iterable[str]], /) -> None:
        """Print `part` as JSON, or as the lines that `lines` makes of it."""


def read_logs(record: RunRecord, root: Path, stage: str = "") -> tuple[CellLog, ...]:
    """Return the logs of a run's cells, of all stages or of one, in the order in which they ran.

    Raises
    ------
    UsageError
        If the run has no such stage, or its notebook is no longer there.
    """
    if record.state == "running":
        return tuple(log for path in _notebooks(root / "runs" / record.id) for log in _saved(path, stage))
    stages = [record.stage(stage)] if stage else list(record.stages)
    return tuple(log for one in stages if one.notebook for log in _of_stage(one.name, root / one.notebook))


def follow_logs(runs: Runs, record: RunRecord, stage: str, tell: Tell) -> int:
    """Print what cells print until the run has ended or the reader presses Ctrl-C; return the exit code.

    A stage's notebook is saved after each of its cells: a cell's text comes when the cell has ended.

    Raises
    ------
    UsageError
        If the run has ended without such a stage.
    """
    folder = runs.state.runs / record.id
    told: dict[tuple[str, int, int], int] = {}
    seen: dict[Path, int] = {}
    try:
        while True:
            running = record.state == "running"
            for path in _notebooks(folder):
                changed = path.stat().st_mtime_ns
                if seen.get(path) != changed:
                    seen[path] = changed
                    _tell_new(list(_saved(path, stage)), told, tell)
            if not running:
                break
            time.sleep(_POLL_S)
            record = runs.read(record.id)
    except KeyboardInterrupt:
        return 0
    if stage:
        record.stage(stage)
    return 0


def cell_lines(log: CellLog) -> Iterator[str]:
    """Yield what a cell has printed, under its stage and number."""
    yield f"--- {log.stage}, {f'cell {log.cell}' if log.cell else 'cell added by mlnb'}"
    yield log.text.rstrip("\n")


def _tell_new(logs: list[CellLog], told: dict[tuple[str, int, int], int], tell: Tell) -> None:
    for place, log in enumerate(logs):
        key = (log.stage, place, log.cell)
        new = log.text[told.get(key, 0) :]
        if new:
            told[key] = len(log.text)
            tell(CellLog(log.stage, log.cell, new), cell_lines)


def _notebooks(folder: Path) -> list[Path]:
    """Return the notebooks of the stages that have begun, in the order in which they did."""
    begun = sorted((folder / "handoff").glob("*/spec.json"), key=lambda path: path.stat().st_mtime_ns)
    order = [path.parent.name for path in begun]
    found = {name: path for path in folder.glob("*.ipynb") if (name := _stage_of(path))}
    return [found[name] for name in sorted(found, key=lambda name: order.index(name) if name in order else -1)]


def _stage_of(path: Path) -> str:
    """Return the stage of an executed notebook, ``""`` for the source and the assembled one."""
    metadata = _read(path).get("metadata")
    own = metadata.get("mlnb") if isinstance(metadata, dict) else None
    return str(own.get("stage", "")) if isinstance(own, dict) else ""


def _saved(path: Path, stage: str) -> Iterator[CellLog]:
    name = _stage_of(path)
    if stage in ("", name):
        yield from _of_stage(name, path)


def _of_stage(stage: str, path: Path) -> Iterator[CellLog]:
    from mlnb.run.notebooks import executed_cells

    for cell in executed_cells(_read(path)):
        text = "".join(map(_text, cell.outputs))
        if text:
            yield CellLog(stage, cell.cell, text)


def _read(path: Path) -> Mapping[str, object]:
    try:
        notebook = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The executed notebook {path} cannot be read: {error}.", "Run the pipeline again.") from error
    return notebook if isinstance(notebook, dict) else {}


def _text(output: Mapping[str, object]) -> str:
    """Return what an output has printed: streams and tracebacks, without colours."""
    if output.get("output_type") == "stream":
        text = output.get("text", "")
        return "".join(text) if isinstance(text, list) else str(text)
    if output.get("output_type") == "error":
        lines = output.get("traceback")
        return _COLOURS.sub("", "\n".join(map(str, lines))) + "\n" if isinstance(lines, list) else ""
    return ""
