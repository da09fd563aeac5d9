"""A stage becomes the notebook that papermill runs: parameters, setup, what it takes, its cells, what it gives.

Plain nbformat-4 JSON, made without nbformat. Every cell tells in ``metadata.mlnb`` which cell of the source it is
(``cell``, 0 for an injected one; ``id``), with which line of it its text begins (``first_line``), and its ``role``:
``parameters``, ``setup``, ``imports``, ``take``, ``cells`` or ``give``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlnb.notebook.document import Cell
from mlnb.notebook.marks import mark_of
from mlnb.notebook.syntax import cell_magic
from mlnb.pipeline.graph import Json, Pipeline, Stage
from mlnb.pipeline.ground import prologue

_TAKE = """\
from mlnb.run.handoff import take as _mlnb_take
globals().update(_mlnb_take(r"{spec}"))
del _mlnb_take"""

_GIVE = """\
from mlnb.run.handoff import give as _mlnb_give
_mlnb_give(r"{spec}", globals())"""

_TESTS = """\
from mlnb.run.handoff import run_tests as _mlnb_tests
_mlnb_tests(r"{spec}", globals())"""


def render_stage(pipeline: Pipeline, stage: Stage, spec_path: Path) -> dict[str, Json]:
    """Return the notebook of one stage or test.

    Parameters
    ----------
    pipeline : Pipeline
        Gives setup, parameters and the kernel.
    stage : Stage
        One of its nodes.
    spec_path : Path
        What the kernel reads to know what to take and give; written by whoever runs the notebook.

    Notes
    -----
    The last parameters cell is tagged ``parameters``, so papermill's values come right behind it and before the setup
    below. Values that are taken come after setup, because they win over what setup binds.
    """
    parameters = pipeline.parameter_cells
    cells: list[Json] = []
    for cell in prologue(parameters, pipeline.setup):
        role = "parameters" if cell in parameters else "setup"
        cells.append(_own(cell, role, ["parameters"] if parameters and cell is parameters[-1] else []))
    if stage.imports:
        cells.append(_injected("imports", "\n".join(stage.imports)))
    cells.append(_injected("take", _TAKE.format(spec=spec_path)))
    test = stage.kind == "test"
    cells.extend(_own(cell, "cells", ["raises-exception"] if test else []) for cell in stage.cells)
    cells.append(_injected("give", (_TESTS if test else _GIVE).format(spec=spec_path)))
    kernel = pipeline.document.kernel_name
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": kernel, "display_name": kernel, "language": "python"},
            "language_info": {"name": "python"},
            "mlnb": {"stage": stage.name, "kind": stage.kind},
        },
        "cells": cells,
    }


def _own(cell: Cell, role: str, tags: Sequence[str]) -> dict[str, Json]:
    source, first_line = _runnable(cell)
    dropped = {"parameters"} if role == "cells" else {"parameters", "raises-exception"}
    kept = [tag for tag in cell.tags if tag not in dropped]
    return _cell(
        cell.id,
        source,
        list(dict.fromkeys([*kept, *tags])),
        {"cell": cell.number, "id": cell.id, "first_line": first_line, "role": role},
    )


def _injected(role: str, source: str) -> dict[str, Json]:
    return _cell(f"mlnb-{role}", source, ["mlnb"], {"cell": 0, "id": "", "first_line": 1, "role": role})


def _cell(identity: str, source: str, tags: Sequence[str], mlnb: dict[str, Json]) -> dict[str, Json]:
    return {
        "cell_type": "code",
        "id": identity,
        "metadata": {"tags": list(tags), "mlnb": mlnb},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _runnable(cell: Cell) -> tuple[str, int]:
    """Return a cell's text as IPython can run it, and the line of the cell it begins with.

    The mark stays as a comment, unless another cell magic follows: that must be the first line.
    """
    mark = mark_of(cell)
    source = mark.body if mark is not None else cell.source
    magic = cell_magic(source)
    if magic is None or magic.number == 1:
        return source, 1
    return "\n".join(source.split("\n")[magic.number - 1 :]), magic.number
