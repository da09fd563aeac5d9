"""A document becomes an `Outline`: which cell is setup, which belongs to which stage, and which never runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mlnb.errors import MarkError, NotebookError, PlanError
from mlnb.notebook.document import Cell, Document
from mlnb.notebook.marks import Mark, is_kale, mark_of
from mlnb.notebook.spelling import did_you_mean, listed, numbered
from mlnb.pipeline.setup import SetupReader, tree_of


@dataclass(slots=True)
class Draft:
    """A stage, or the tests of one, as its cells claim it.

    Attributes
    ----------
    name : str
        ``train`` or ``test-train``.
    tested : str
        The tested stage, ``""`` for a stage.
    options : mapping
        Options of all its cells.
    said : mapping of str to int
        The cell in which an option was first written.
    """

    name: str
    tested: str
    cells: list[Cell] = field(default_factory=list)
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Say what it is and where: "Stage `train` (cells 4, 6)"."""
        what = f"The tests of `{self.tested}`" if self.tested else f"Stage `{self.name}`"
        return f"{what} ({numbered(cell.number for cell in self.cells)})"

    def add(self, cell: Cell, mark: Mark) -> None:
        """Continue the stage with a cell; an option may be repeated, not contradicted."""
        self.cells.append(cell)
        for option, values in mark.options.items():
            if self.options.setdefault(option, values) != values:
                before = f"`{option}: {', '.join(self.options[option])}` (cell {self.said[option]})"
                raise MarkError(
                    f"{self.title} says {before} and `{option}: {', '.join(values)}` (cell {cell.number}).",
                    "Say it once, in one of its cells.",
                    cell=cell.number,
                    stage=self.name,
                    name=option,
                )
            self.said.setdefault(option, cell.number)


@dataclass(slots=True)
class Outline:
    """The cells of a document by their part in the pipeline; drafts in the order of their first cells."""

    parameters: list[Cell] = field(default_factory=list)
    setup: list[Cell] = field(default_factory=list)
    drafts: dict[str, Draft] = field(default_factory=dict)
    deploys: list[tuple[Cell, Mark]] = field(default_factory=list)
    metrics: list[Cell] = field(default_factory=list)
    exploration: list[Cell] = field(default_factory=list)
    skipped: list[Cell] = field(default_factory=list)

    @property
    def stages(self) -> tuple[Draft, ...]:
        """The drafts that are stages."""
        return tuple(draft for draft in self.drafts.values() if not draft.tested)


def outline(document: Document) -> Outline:
    """Sort the cells of a document.

    Raises
    ------
    MarkError
        If a mark is malformed, contradicts another, or tests an unknown stage.
    NotebookError
        If a cell has a syntax error.
    PlanError
        If there is no stage.
    """
    marked = [(cell, mark_of(cell)) for cell in document.cells if cell.kind == "code"]
    trees = {cell.number: _tree(document, cell) for cell, mark in marked if mark is None or mark.kind != "skip"}
    sorter = _Sorter()
    for cell, mark in _joined(document, marked):
        sorter.put(cell, mark, trees)
    result = sorter.outline
    if not result.stages:
        raise PlanError(
            f"{document.path.name} has no stage.", "Begin a cell with `%%stage NAME`, as in `%%stage train`."
        )
    _check_tested(result)
    return result


def _tree(document: Document, cell: Cell) -> ast.Module:
    try:
        return tree_of(cell)
    except (SyntaxError, ValueError) as error:
        line = (error.lineno or 0) if isinstance(error, SyntaxError) else 0
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise NotebookError(
            f"Cell {cell.number} has a syntax error in line {line}: {said}.",
            "Correct the cell, or tag it `skip`.",
            path=str(document.path),
            cell=cell.number,
            line=line,
        ) from error


def _joined(document: Document, marked: list[tuple[Cell, Mark | None]]) -> Iterator[tuple[Cell, Mark | None]]:
    """Yield the cells with their marks; in a Kale notebook, an untagged cell has that of the cell before."""
    kale = any(is_kale(cell.tags) for cell in document.cells)
    before: Mark | None = None
    for cell, mark in marked:
        if kale and mark is None and before is not None:
            mark = Mark(before.kind, before.name, {}, before.spelling, cell.source)  # noqa: PLW2901  joined
        elif mark is not None and mark.kind != "skip":
            before = mark
        yield cell, mark


class _Sorter:
    """Put each cell where it belongs, in notebook order."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._reader = SetupReader()
        self._above = ""

    def put(self, cell: Cell, mark: Mark | None, trees: Mapping[int, ast.Module]) -> None:
        if mark is None:
            self._unmarked(cell, trees[cell.number])
        elif mark.kind == "skip":
            self.outline.skipped.append(cell)
        elif mark.kind in {"setup", "parameters"}:
            (self.outline.setup if mark.kind == "setup" else self.outline.parameters).append(cell)
            self._reader.learn(trees[cell.number])
        elif mark.kind == "metrics":
            self.outline.metrics.append(cell)
        elif mark.kind == "deploy":
            self._deploy(cell, mark)
        else:
            self._stage(cell, mark)

    def _unmarked(self, cell: Cell, tree: ast.Module) -> None:
        if not tree.body:
            return
        accepted = self._reader.accepts(tree)
        (self.outline.setup if accepted else self.outline.exploration).append(cell)

    def _stage(self, cell: Cell, mark: Mark) -> None:
        tested = ""
        if mark.kind == "test":
            tested = mark.name or self._above
            if not tested:
                raise MarkError(
                    f"Cell {cell.number} is a `%%test` without a name, and no stage is above it.",
                    "Name the stage: `%%test train`.",
                    cell=cell.number,
                )
        else:
            self._above = mark.name
        name = f"test-{tested}" if tested else mark.name
        draft = self.outline.drafts.setdefault(name, Draft(name, tested))
        if draft.tested != tested:
            raise MarkError(
                f"Cell {cell.number} makes `{name}` the name of a stage and of the tests of "
                f"`{tested or draft.tested}`.",
                "Give the stage another name.",
                cell=cell.number,
                stage=name,
            )
        draft.add(cell, mark)

    def _deploy(self, cell: Cell, mark: Mark) -> None:
        for other, before in self.outline.deploys:
            if before.name == mark.name:
                raise MarkError(
                    f"Cells {other.number} and {cell.number} both deploy `{mark.name}`.",
                    "Keep one of them: a model has one service.",
                    cell=cell.number,
                    name=mark.name,
                )
        self.outline.deploys.append((cell, mark))


def _check_tested(result: Outline) -> None:
    known = [draft.name for draft in result.stages]
    for draft in result.drafts.values():
        wanted = [(draft.tested, draft.cells[0].number)] if draft.tested else []
        wanted.extend((after, draft.said["after"]) for after in draft.options.get("after", ()))
        for name, cell in wanted:
            if name not in known:
                what = "tests" if draft.tested else "comes after"
                raise MarkError(
                    f"Cell {cell} {what} `{name}`, and there is no such stage.",
                    did_you_mean(name, known, f"The stages are {listed(known)}."),
                    cell=cell,
                    stage=draft.name,
                    name=name,
                )
