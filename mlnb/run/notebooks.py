"""The source and the executed stages become one notebook: the user's cells with all outputs in place. Plain JSON.

Each executed cell tells in ``metadata.mlnb`` which cell of the source it is, and with which line of it its text begins.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, cast

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExecutedCell:
    """A code cell of an executed stage.

    Attributes
    ----------
    index : int
        0-based position in the stage's notebook.
    cell : int
        Number in the source, 0 for what mlnb injected.
    first_line : int
        1-based line of the source's cell that its text begins with.
    role : str
        ``setup``, ``cells``, ... as the renderer says.
    outputs : sequence of mapping
        As nbformat has them.
    may_raise : bool
        Whether it is tagged ``raises-exception``, so that execution goes on behind its exception.
    """

    index: int
    cell: int
    first_line: int
    role: str
    source: str
    execution_count: int
    outputs: Sequence[Json]
    may_raise: bool = False

    @property
    def error(self) -> Json | None:
        """The output of an exception, or None."""
        return next((output for output in self.outputs if output.get("output_type") == "error"), None)


def source_path(folder: Path, notebook: PurePath) -> Path:
    """Return where a run's folder holds the copy of its source: ``source.ipynb``, ``source.py``."""
    return folder / f"source{notebook.suffix}"


def assembled_path(folder: Path, notebook: PurePath) -> Path:
    """Return where a run's folder holds the assembled notebook: under the source's name, always an ``.ipynb``."""
    return folder / f"{notebook.stem}.ipynb"


def executed_cells(notebook: Json) -> list[ExecutedCell]:
    """Return the code cells of a stage's notebook (executed, or rendered and not yet executed)."""
    found = []
    for index, cell in enumerate(cast("list[dict[str, Any]]", notebook["cells"])):
        if cell["cell_type"] != "code":
            continue
        origin = cell.get("metadata", {}).get("mlnb", {})
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        found.append(
            ExecutedCell(
                index=index,
                cell=int(origin.get("cell", 0)),
                first_line=int(origin.get("first_line", 1)),
                role=str(origin.get("role", "")),
                source=source,
                execution_count=cell.get("execution_count") or 0,
                outputs=cell.get("outputs", []),
                may_raise="raises-exception" in cell.get("metadata", {}).get("tags", []),
            )
        )
    return found


def renumber(notebook: Json, numbers: Mapping[str, int]) -> tuple[dict[str, object], dict[int, int]]:
    """Return a stage's notebook with the cell numbers that its cells have now, and what became of each number.

    A cached stage was executed when its cells may have stood elsewhere; they are known again by their ids.

    Parameters
    ----------
    notebook : mapping
        The executed stage.
    numbers : mapping of str to int
        The number of each cell of the source by its id.
    """
    cells = cast("list[dict[str, Any]]", notebook["cells"])
    origins = [cell.get("metadata", {}).get("mlnb", {}) for cell in cells]
    moved = {one["cell"]: numbers.get(one.get("id", ""), one["cell"]) for one in origins if one.get("cell")}
    if all(was == now for was, now in moved.items()):
        return dict(notebook), moved
    renumbered = cast("dict[str, Any]", copy.deepcopy(dict(notebook)))
    for cell in renumbered["cells"]:
        origin = cell.get("metadata", {}).get("mlnb", {})
        if origin.get("cell"):
            origin["cell"] = moved[origin["cell"]]
    return renumbered, moved


def assemble(source: Json, stages: Iterable[Json], run: str) -> dict[str, object]:
    """Return the source notebook with the outputs of the executed stages, and none from elsewhere.

    A cell that runs in several stages (setup) shows what it did in the first. Cells that did not run show nothing.
    """
    notebook = cast("dict[str, Any]", copy.deepcopy(dict(source)))
    cells = notebook["cells"]
    for cell in cells:
        if cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None
    widgets: dict[str, Any] = {}
    filled: set[int] = set()
    for stage in stages:
        for executed in executed_cells(stage):
            number = executed.cell
            if number and number <= len(cells) and executed.execution_count and number not in filled:
                cells[number - 1]["outputs"] = list(executed.outputs)
                cells[number - 1]["execution_count"] = executed.execution_count
                filled.add(number)
        for mime, held in cast("dict[str, Any]", stage.get("metadata", {})).get("widgets", {}).items():
            kept = widgets.setdefault(mime, {**held, "state": {}})
            kept["state"].update(held.get("state", {}))
    notebook.setdefault("metadata", {})
    notebook["metadata"].pop("widgets", None)
    if widgets:
        notebook["metadata"]["widgets"] = widgets
    notebook["metadata"]["mlnb"] = {**notebook["metadata"].get("mlnb", {}), "run": run}
    return notebook
