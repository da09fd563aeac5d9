"""Marked cells of a live kernel become plain cells, and what was executed is remembered.

The mark's line becomes a comment *before* IPython looks at the cell, so that everything else (display of the last
expression, tracebacks and their lines, top-level await, a nested ``%%time``) is IPython's own doing. Hooks before and
after each cell note what was run and how it ended; a ``%%test`` cell that ended well has its ``test_*`` functions
called.
"""

from __future__ import annotations

import ast
import inspect
import re
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from mlnb.errors import MlnbError, StageError, UsageError
from mlnb.faces.trail import Trail
from mlnb.model.asked import ask

CellState = Literal["running", "done", "failed"]
_MARK = re.compile(r"%%(setup|stage|test)\b|#\|\s*(setup|stage|test)\b")
_DEPLOY = re.compile(r"%%deploy\b")
_COMMAND = re.compile(r"\s*(#.*|%(mlnb|load_ext|reload_ext)\b.*)?")
_RANK: dict[CellState, int] = {"done": 0, "running": 1, "failed": 2}


class Shell(Protocol):
    """What we use of IPython's shell."""

    user_ns: dict[str, object]
    execution_count: int

    def transform_cell(self, raw_cell: str) -> str:
        """Return the cell as plain Python."""

    def showtraceback(self, _exception: object = None, /) -> None:
        """Show an exception as the output of the running cell."""


@dataclass(frozen=True, slots=True)
class ExecutedCell:
    """One cell that this kernel has executed.

    Attributes
    ----------
    source : str
        As the front end sent it.
    count : int
        The number in its prompt.
    at : float
        When it began, seconds since the epoch.
    kind, name : str
        Of its mark; "" for none.
    state : str
    """

    source: str
    count: int
    at: float
    kind: str
    name: str
    state: CellState

    @property
    def node(self) -> str:
        """The stage, or ``test-`` of one, that the cell belongs to; "" for none."""
        return {"stage": self.name, "test": f"test-{self.name}"}.get(self.kind, "")

    @property
    def title(self) -> str:
        """How a person recognises the cell: its prompt and its first line."""
        first = next((line for line in self.source.splitlines() if line.strip()), "")
        return f"[{self.count}] {first[:60]}"


class MarkLine:
    """An input transformer of IPython: the line ``%%stage train`` becomes the comment ``# %%stage train``.

    A mark above another cell magic, such as ``%%time``, goes away altogether: IPython wants that one first.
    """

    has_side_effects = True  # so that asking whether a cell is complete never reports a mark's fault

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the cell's lines without its mark, their number unchanged.

        Raises
        ------
        MarkError
            If the mark is misspelt.
        """
        if not lines or lines[0].rstrip().endswith("?"):
            return lines
        if _DEPLOY.match(lines[0]) and not "".join(lines[1:]):
            return [*lines, "\n"]  # IPython refuses a cell magic without a body, and a deploy needs none
        ask(())
        if not _MARK.match(lines[0]):
            return lines
        from mlnb.notebook.marks import parse_mark

        try:
            mark = parse_mark("".join(lines))
        except MlnbError as error:
            raise shown(error) from None
        ask(mark.options.get("slices", ()) if mark else ())
        body = (mark.body if mark else "".join(lines)).splitlines(keepends=True)
        first = next((n for n, line in enumerate(body) if line.strip() and not line.startswith("#")), 0)
        return body[first:] if body[first].startswith("%%") else body


class ExecutedCells:
    """What this kernel has executed since mlnb was loaded.

    Attributes
    ----------
    trail : Trail
        What followed from what.
    warns : callable or None
        Asked, when a cell has made stages stale, whether to say so; None never says so.
    """

    def __init__(self, shell: Shell, warns: Callable[[], bool] | None = None) -> None:
        self._shell = shell
        self._cells: dict[str, ExecutedCell] = {}
        self.trail = Trail()
        self.warns = warns

    def began(self, info: object) -> None:
        """Note a cell that is about to run (IPython's ``pre_run_cell``)."""
        source = str(getattr(info, "raw_cell", ""))
        if not getattr(info, "store_history", False) or not source.strip():
            return
        kind, name = _mark_of(source)
        count = self._shell.execution_count
        self._cells[_key(info)] = ExecutedCell(source, count, time.time(), kind, name, "running")

    def ended(self, result: object) -> None:
        """Note how a cell ended (IPython's ``post_run_cell``), and call the test functions of a ``%%test`` cell."""
        info = getattr(result, "info", None)
        cell = self._cells.get(_key(info))
        if cell is None or cell.source != getattr(info, "raw_cell", ""):
            return
        if cell.kind == "test" and getattr(result, "success", False):
            failure = run_tests(self._shell, cell)
            if failure:
                setattr(result, "error_in_exec", failure)  # noqa: B010  # IPython's result: so that Run All stops here
                self._shell.showtraceback((type(failure), failure, None))
        state: CellState = "done" if getattr(result, "success", False) else "failed"
        self._cells[_key(info)] = ended = replace(cell, state=state)
        if state == "done":
            self._follow_up(_key(info), ended)

    def _follow_up(self, key: str, cell: ExecutedCell) -> None:
        """Note what the cell has read and given; say in one line which stages it has made stale."""
        stale = self.trail.add(key, cell.source, cell.count, cell.node)
        if stale and self.warns is not None and self.warns():
            from mlnb.faces.html import show_hint

            used = "it used" if len(stale) == 1 else "they used"
            verb = "is" if len(stale) == 1 else "are"
            show_hint(f"{', '.join(stale)} {verb} stale: {used} what this cell gave before. %mlnb verify --warn off")

    def states(self) -> dict[str, CellState]:
        """Return the state of each stage and test in this kernel; of several cells, the worst decides."""
        found: dict[str, CellState] = {}
        for cell in self._cells.values():
            if cell.node:
                found[cell.node] = max(found.get(cell.node, "done"), cell.state, key=_RANK.__getitem__)
        return found

    def unsaved(self, sources: Iterable[str], saved_at: float) -> tuple[ExecutedCell, ...]:
        """Return the cells that were executed after `saved_at` and are not among the saved `sources`.

        Cells that only hold ``%mlnb`` commands and comments do not count: they are no part of a pipeline.
        """
        known = {source.strip() for source in sources}
        return tuple(
            cell
            for cell in self._cells.values()
            if cell.at > saved_at and cell.source.strip() not in known and not _only_commands(cell.source)
        )


def refuse_unsaved(cells: ExecutedCells, notebook: Path) -> None:
    """Refuse to go on if something was executed that the saved `notebook` does not hold.

    Raises
    ------
    UsageError
        Naming the cells.
    """
    from mlnb.notebook.document import as_sent, read_document

    sources = [text for cell in read_document(notebook).cells for text in as_sent(cell)]
    unsaved = cells.unsaved(sources, notebook.stat().st_mtime)
    if unsaved:
        titles = "; ".join(cell.title for cell in unsaved)
        raise UsageError(
            f"{notebook.name} on disk does not hold what this kernel has executed: {titles}.",
            "Save the notebook first: what runs is the saved file.",
        )


def shown(error: MlnbError) -> MlnbError:
    """Return the error so dressed that IPython shows its two sentences instead of a traceback."""
    error.__dict__["_render_traceback_"] = lambda: [f"\x1b[31m{error.problem}\x1b[0m", error.remedy]
    return error


def run_tests(shell: Shell, cell: ExecutedCell) -> MlnbError | None:
    """Call the ``test_*`` functions that `cell` defines, show each result, and return what to raise, if anything."""
    from mlnb.faces.html import show_cases

    outcomes = [(name, _outcome(shell.user_ns.get(name))) for name in _test_names(shell, cell.source)]
    if not outcomes:
        return None
    show_cases(outcomes)
    failed = [name for name, fault in outcomes if fault]
    if not failed:
        return None
    return shown(
        StageError(
            f"{len(failed)} of {len(outcomes)} tests of {cell.name or 'this cell'} failed: {', '.join(failed)}.",
            "Repair the stage or the test and run the cell again.",
            stage=cell.name,
        )
    )


def _test_names(shell: Shell, source: str) -> list[str]:
    tree = ast.parse(shell.transform_cell(source))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if node.name.startswith("test_")]


def _outcome(function: object) -> str:
    """Return "" if the test passed, else what went wrong and in which line of the cell."""
    if not callable(function):
        return "it is no longer defined"
    try:
        if inspect.iscoroutinefunction(function):
            _drive(function)
        else:
            function()
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.name.startswith("test_")]
        where = f" (line {lines[-1]})" if lines else ""
        told = f": {error}" if str(error) else ""
        return f"{type(error).__name__}{told}{where}"
    return ""


def _drive(function: Callable[[], object]) -> None:
    """Run an async test to its end in a thread of its own: the kernel's loop is busy with this cell."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    async def awaited() -> None:
        made = function()
        if inspect.isawaitable(made):
            await made

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(awaited())).result()


def _key(info: object) -> str:
    return str(getattr(info, "cell_id", None) or getattr(info, "raw_cell", ""))


def _mark_of(source: str) -> tuple[str, str]:
    from mlnb.notebook.marks import parse_mark

    try:
        mark = parse_mark(source)
    except MlnbError:
        return "", ""
    return (mark.kind, mark.name) if mark else ("", "")


def _only_commands(source: str) -> bool:
    return all(_COMMAND.fullmatch(line) for line in source.splitlines())
