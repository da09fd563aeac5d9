"""The executed notebooks of a run become what their cells have printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import UsageError

if TYPE_CHECKING:
    from mlnb.run.record import RunRecord

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class CellLog:
    """What one cell has printed; `cell` is its position in the notebook, 0 for cells that mlnb has added."""

    stage: str
    cell: int
    text: str


def read_logs(record: RunRecord, root: Path, stage: str = "") -> tuple[CellLog, ...]:
    """Return the logs of a run's cells, of all stages or of one, in the order in which they ran.

    Raises
    ------
    UsageError
        If the run has no such stage, or its notebook is no longer there.
    """
    stages = [record.stage(stage)] if stage else list(record.stages)
    return tuple(log for one in stages if one.notebook for log in _of_stage(one.name, root / one.notebook))


def _of_stage(stage: str, path: Path) -> Iterator[CellLog]:
    from mlnb.run.notebooks import executed_cells

    try:
        notebook = json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"The executed notebook {path} cannot be read: {error}.", "Run the pipeline again.") from error
    for cell in executed_cells(notebook):
        text = "".join(map(_text, cell.outputs))
        if text:
            yield CellLog(stage, cell.cell, text)


def _text(output: Mapping[str, object]) -> str:
    """Return what an output has printed: streams and tracebacks, without colours."""
    if output.get("output_type") == "stream":
        text = output.get("text", "")
        return "".join(text) if isinstance(text, list) else str(text)
    if output.get("output_type") == "error":
        lines = output.get("traceback")
        return _COLOURS.sub("", "\n".join(map(str, lines))) + "\n" if isinstance(lines, list) else ""
    return ""
