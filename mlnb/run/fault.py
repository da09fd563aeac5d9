"""An executed notebook becomes the user's own cell and line that failed, or the cases of a test.

IPython names places as ``Cell In[3], line 2``. The execution count leads to the executed cell, whose metadata leads to
the user's cell and its first line. The innermost such place is where the user's code raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard, cast

from mlnb.notebook.syntax import parse_cell
from mlnb.run.kernels.job import Execution
from mlnb.run.notebooks import ExecutedCell, executed_cells
from mlnb.run.record import CaseRecord, StageFault
from mlnb.run.spec import CaseCell, Result

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PLACE = re.compile(r"Cell In\[(\d+)\], line (\d+)|File <(?:timed|decorated) \w+>:(\d+)|^File <unknown>:(\d+)", re.M)
_FILE = re.compile(r" \(<mlnb-cell-\w+>, line \d+\)$")
_USAGE = re.compile(r"UsageError: (.+)")


def fault_of(stage: str, execution: Execution, result: Result | None, *, test: bool = False) -> StageFault | None:
    """Return why a stage failed, or None if it ended well.

    Parameters
    ----------
    execution : Execution
        The executed notebook, and whether its kernel came to an end.
    result : Result or None
        What the kernel answered, if it did: a refused hand-over is told from there.
    test : bool
        Whether exceptions of the stage's own cells are failed cases, and no fault of the stage.
    """
    cells = executed_cells(execution.notebook)
    last = next((cell for cell in cells if cell.index == execution.last), None)
    if execution.crash:
        number = last.cell if last else 0
        where = f" in cell {number}" if number else ""
        return StageFault(
            cell=number,
            line=0,
            ename="KernelDied",
            evalue=execution.crash,
            problem=f"Stage {stage!r} was ended{where}: {execution.crash}.",
            remedy="Look for lack of memory, native libraries or an endless loop in that cell, then run again.",
        )
    if result is not None and result.problem:
        return StageFault(0, 0, result.ename, result.problem, result.problem, result.remedy)
    for cell in cells:
        if cell.error is not None and not ((test and _is_case(cell)) or _expected(cell)):
            return _from_error(stage, cell, cells)
    return _from_magic(stage, last) if result is None else None


def fault_of_cases(test: str, cases: Sequence[CaseRecord]) -> StageFault | None:
    """Return why a test failed: how many of its cases, and the first of them."""
    failed = [case for case in cases if case.state == "failed"]
    if not failed:
        return None
    first = failed[0]
    return StageFault(
        cell=first.cell,
        line=0,
        ename="TestFailed",
        evalue=first.message,
        problem=f"{len(failed)} of {len(cases)} cases of {test!r} failed, the first in {first.name}: {first.message}.",
        remedy="Correct the stage or the test and run again: what was finished before it is reused.",
    )


def cases_of(execution: Execution, result: Result | None) -> tuple[CaseRecord, ...]:
    """Return the cases of a test: its cells that assert or fail, then its functions, in notebook order."""
    cells = executed_cells(execution.notebook)
    found = [case for cell in cells if _is_case(cell) for case in _cell_case(cell, cells)]
    functions = list(result.cases) if result is not None else []
    return tuple(sorted([*found, *functions], key=lambda case: case.cell))


def case_cells(rendered: Mapping[str, object]) -> tuple[CaseCell, ...]:
    """Return the cells of a rendered test with the ``test_*`` functions that they define at their top level."""
    return tuple(
        CaseCell(cell.cell, cell.first_line, tuple(node.name for node in _parsed(cell.source) if _is_test(node)))
        for cell in executed_cells(rendered)
        if _is_case(cell)
    )


def _is_case(cell: ExecutedCell) -> bool:
    return bool(cell.cell) and cell.role == "cells"


def _expected(cell: ExecutedCell) -> bool:
    """Say whether a stage's own cell may raise: its author has tagged it so, and what follows runs all the same."""
    return cell.may_raise and bool(cell.cell) and cell.role == "cells"


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")


def _cell_case(cell: ExecutedCell, cells: list[ExecutedCell]) -> list[CaseRecord]:
    if cell.error is not None:
        place = _place(cell, cells)
        line = f" (line {place[1]})" if place[1] else ""
        name, text = str(cell.error.get("ename", "")), _FILE.sub("", str(cell.error.get("evalue", "")))
        return [CaseRecord(f"cell {cell.cell}", cell.cell, "failed", f"{name}: {text}".rstrip(": ") + line)]
    if any(isinstance(node, ast.Assert) for top in _outside_functions(cell.source) for node in ast.walk(top)):
        return [CaseRecord(f"cell {cell.cell}", cell.cell, "passed")]
    return []


def _outside_functions(source: str) -> list[ast.stmt]:
    return [
        node for node in _parsed(source) if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]


def _parsed(source: str) -> list[ast.stmt]:
    try:
        return parse_cell(source).body
    except SyntaxError:
        return []


def _from_error(stage: str, cell: ExecutedCell, cells: list[ExecutedCell]) -> StageFault:
    error = cell.error or {}
    ename, evalue = str(error.get("ename", "")), _FILE.sub("", str(error.get("evalue", "")))
    number, line = _place(cell, cells)
    where = f" in cell {number}" + (f", line {line}" if line else "") if number else ""
    return StageFault(
        cell=number,
        line=line,
        ename=ename,
        evalue=evalue,
        problem=f"Stage {stage!r} failed{where}: {ename}: {evalue}".rstrip(": ") + ".",
        remedy="Correct the cell and run again: what was finished before it is reused.",
        traceback=_plain(error),
    )


def _from_magic(stage: str, last: ExecutedCell | None) -> StageFault:
    """IPython prints a wrong magic as text, without an exception in the outputs."""
    number = last.cell if last else 0
    printed = "".join(_text(output) for output in (last.outputs if last else []))
    said = _USAGE.search(_COLOUR.sub("", printed))
    evalue = said[1].strip() if said else "it ended before its last cell"
    return StageFault(
        cell=number,
        line=0,
        ename="UsageError" if said else "",
        evalue=evalue,
        problem=f"Stage {stage!r} failed" + (f" in cell {number}" if number else "") + f": {evalue.rstrip('.')}.",
        remedy="Correct the cell and run again: what was finished before it is reused.",
    )


def _text(output: Mapping[str, object]) -> str:
    text = output.get("text", "")
    return "".join(text) if isinstance(text, list) else str(text)


def _place(failed: ExecutedCell, cells: list[ExecutedCell]) -> tuple[int, int]:
    """Return cell and line of the innermost place in the user's cells; the failed cell, line 0, if none is told."""
    by_count = {cell.execution_count: cell for cell in cells if cell.cell}
    found = (failed.cell, 0)
    for match in _PLACE.finditer(_plain(failed.error or {})):
        if match[1] is None:  # inside %%time and its like, whose body begins one line further down
            found = (failed.cell, int(match[3] or match[4]) + failed.first_line)
        elif int(match[1]) in by_count:
            cell = by_count[int(match[1])]
            found = (cell.cell, int(match[2]) + cell.first_line - 1)
    return found


def _plain(error: object) -> str:
    lines = cast("dict[str, list[str]]", error).get("traceback", [])
    return _COLOUR.sub("", "\n".join(lines))
