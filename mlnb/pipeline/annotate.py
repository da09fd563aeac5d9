"""A notebook without stages becomes a `Proposal`: which marks would make it a pipeline that its plan accepts.

Cells that fit, score, save or are tested are what a pipeline is for; what they need, cell by cell upwards, comes along;
everything else (plots, ``head()``, ``describe()``) is left out as exploration. Stages begin where a heading or the
phase (prepare, train, evaluate) changes. Each proposal is planned: what the plan refuses is brought in or put together
until it accepts, and nothing else is ever proposed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlnb.errors import PlanError, UsageError
from mlnb.notebook.document import Cell, Document
from mlnb.notebook.marks import Mark, mark_of
from mlnb.notebook.spelling import listed
from mlnb.pipeline.build import build_pipeline
from mlnb.pipeline.graph import Pipeline
from mlnb.pipeline.headings import headings_above, name_of
from mlnb.pipeline.parameters import declared
from mlnb.pipeline.roles import Role, role_of
from mlnb.pipeline.setup import SetupReader, tree_of

_PHASES = frozenset({"train", "evaluate"})


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What one cell would get.

    Attributes
    ----------
    cell : int
        Its number.
    lines : tuple of str
        Mark lines above its text.
    tags : tuple of str
        Tags added to its metadata.
    reason : str
        Why, for people.
    """

    cell: int
    lines: tuple[str, ...]
    tags: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Suggestions in the order of the cells, and the pipeline that they make."""

    suggestions: tuple[Suggestion, ...]
    pipeline: Pipeline


@dataclass(slots=True)
class _Group:
    """Cells that would become one stage."""

    section: int
    heading: str
    phase: str
    cells: list[int]
    loads: bool


def propose(document: Document) -> Proposal:
    """Return marks for a notebook that has no stages.

    Raises
    ------
    UsageError
        If it has stages already, or holds nothing that could become one.
    NotebookError, PlanError
        If no marks can help: a syntax error, a name that no cell binds.
    """
    marks = {cell.number: mark for cell in document.cells if (mark := mark_of(cell)) is not None}
    stages = list(dict.fromkeys(mark.name for mark in marks.values() if mark.kind == "stage"))
    if stages:
        raise UsageError(
            f"{document.path.name} has stages already: {listed(stages)}.", "See them with `mlnb plan`; nothing to add."
        )
    return _Draft(document, marks).settle()


class _Draft:
    """A proposal that is planned, and changed where the plan refuses it."""

    def __init__(self, document: Document, marks: Mapping[int, Mark]) -> None:
        self._document = document
        self._cells = {cell.number: cell for cell in document.cells}
        self._marks = marks
        self._roles: dict[int, Role] = {}
        self._setup: set[int] = set()
        self._parameters: set[int] = set()
        self._sort()
        self._tests = {number for number, role in self._roles.items() if role.tests and not role.phase}
        self._wanted = self._needed()
        self._tests -= self._wanted
        self._groups = list(self._grouped())

    def settle(self) -> Proposal:
        """Return the first proposal that the plan accepts."""
        if not self._groups:
            raise UsageError(
                f"{self._document.path.name} holds no code that could become a stage.", "Write some, then try again."
            )
        while True:
            suggestions = tuple(self._suggestions())
            try:
                return Proposal(suggestions, build_pipeline(amended(self._document, suggestions)))
            except PlanError as error:
                if not self._repair(error):
                    raise

    # which cell is what

    def _sort(self) -> None:
        reader = SetupReader()
        begun = False
        for cell in self._document.cells:
            if cell.kind != "code" or self._skipped(cell):
                continue
            try:
                tree = tree_of(cell)
            except (SyntaxError, ValueError):
                build_pipeline(replace(self._document, cells=(*self._document.cells[: cell.number - 1], cell)))
                raise
            if not tree.body:
                continue
            if cell.number in self._marks or reader.accepts(tree):
                reader.learn(tree)
                self._setup.add(cell.number)
                if not begun and cell.number not in self._marks and _declares(cell, tree):
                    self._parameters.add(cell.number)
            else:
                begun = True
                self._roles[cell.number] = role_of(cell)
        if any(mark.kind == "parameters" for mark in self._marks.values()):
            self._parameters.clear()

    def _skipped(self, cell: Cell) -> bool:
        mark = self._marks.get(cell.number)
        return mark is not None and mark.kind not in {"setup", "parameters"}

    def _needed(self) -> set[int]:
        """Return the cells that a pipeline is for, and all that they need."""
        aims = {number for number, role in self._roles.items() if role.phase} | self._deployed()
        if not aims:
            aims = {number for number, role in self._roles.items() if role.gives and number not in self._tests}
        wanted: set[int] = set()
        left = sorted(aims)
        while left:
            number = left.pop()
            if number not in wanted:
                wanted.add(number)
                for name in self._roles[number].takes:
                    left.extend(self._givers(name, number))
        return wanted

    def _deployed(self) -> set[int]:
        deploys = [(number, mark) for number, mark in self._marks.items() if mark.kind == "deploy"]
        named = [(mark.one(option), number) for number, mark in deploys for option in ("model", "sample")]
        return {giver for name, number in named for giver in self._givers(name, number)}

    def _givers(self, name: str, number: int) -> Iterator[int]:
        """Yield the cells above that bind a name or change it, up to the one that binds it anew."""
        for above in sorted((n for n in self._roles if n < number and n not in self._tests), reverse=True):
            role = self._roles[above]
            if name in role.gives:
                yield above
                if name in role.names.outputs and name not in role.takes:
                    return

    # how they are put together

    def _grouped(self) -> Iterator[_Group]:
        headings = headings_above(self._document)
        whole = self._whole_sections({number: headings[number][0] for number in self._wanted})
        group: _Group | None = None
        for number in sorted(self._wanted):
            section, heading = headings[number]
            own = self._roles[number].phase
            phase = own if own in _PHASES else whole.get(section, "")
            phase = phase or (group.phase if group and (own or group.section == section) else "prepare")
            if group is not None and (group.section, group.phase) == (section, phase):
                group.cells.append(number)
                group.loads &= self._roles[number].reads
                continue
            if group is not None:
                yield group
            group = _Group(section, heading, phase, [number], self._roles[number].reads)
        if group is not None:
            yield group

    def _whole_sections(self, sections: Mapping[int, int]) -> dict[int, str]:
        """Return the phase of each section below a heading that has one phase only, and loads nothing."""
        found: dict[int, set[str]] = {}
        for number, section in sections.items():
            role = self._roles[number]
            told = {role.phase} & _PHASES | ({"prepare"} if role.reads else set())
            found.setdefault(section, set()).update(told)
        return {section: next(iter(told)) for section, told in found.items() if section and len(told) == 1}

    def _named(self) -> list[str]:
        sections = [group.section for group in self._groups]
        names: list[str] = []
        for group in self._groups:
            told = name_of(group.heading) if sections.count(group.section) == 1 else ""
            if told and group.phase != "prepare" and group.phase in told.split("_"):
                told = group.phase
            plain = "load" if group.loads and group.phase == "prepare" else group.phase
            name = told or plain
            if name in names and (other := name_of(group.heading)):
                name = f"{other}_{group.phase}"
            base, count = name, 2
            while name in names or name.startswith("test-"):
                name, count = f"{base}_{count}", count + 1
            names.append(name)
        return names

    def _suggestions(self) -> Iterator[Suggestion]:
        found = {number: Suggestion(number, (), ("parameters",), "binds constants") for number in self._parameters}
        stage_of: dict[int, str] = {}
        for group, name in zip(self._groups, self._named(), strict=True):
            metrics = list(dict.fromkeys(metric for cell in group.cells for metric in self._roles[cell].metrics))
            scores = next((number for number in group.cells if self._roles[number].metrics), 0)
            for number in group.cells:
                option = f" --metrics {','.join(metrics)}" if number == scores else ""
                why = group.heading or f"it belongs to the phase {group.phase!r}"
                found[number] = Suggestion(number, (f"%%stage {name}{option}",), (), why)
                stage_of[number] = name
        for number in self._tests:
            tested = self._tested(number, stage_of)
            if tested:
                found[number] = Suggestion(number, (f"%%test {tested}",), (), "it asserts")
        yield from (self._spelled(found[number]) for number in sorted(found))

    def _tested(self, number: int, stage_of: Mapping[int, str]) -> str:
        """Return the stage whose values a test reads, the last one of several."""
        givers = [giver for name in self._roles[number].takes for giver in self._givers(name, number)]
        return stage_of.get(max((giver for giver in givers if giver in stage_of), default=0), "")

    def _spelled(self, suggestion: Suggestion) -> Suggestion:
        """Write a mark as comments in a text notebook, where a magic would not be Python."""
        if not self._cells[suggestion.cell].line or not suggestion.lines:
            return suggestion
        kind, _, rest = suggestion.lines[0].removeprefix("%%").partition(" ")
        name, _, metrics = rest.partition(" --metrics ")
        lines = [f"#| {kind}: {name}", *([f"#| metrics: {metrics}"] if metrics else [])]
        return replace(suggestion, lines=tuple(lines))

    # what a refusal teaches

    def _repair(self, error: PlanError) -> bool:
        """Change the draft by what the plan refused; say whether there was anything left to change."""
        if error.cell in self._parameters or any(self._binds(cell, error.name) for cell in self._parameters):
            self._parameters = {cell for cell in self._parameters if not self._binds(cell, error.name)} - {error.cell}
            return True
        if error.cell in self._tests:
            self._tests.discard(error.cell)
            return True
        outside = [n for n, role in self._roles.items() if error.name in role.gives and n not in self._wanted]
        if outside:
            self._wanted.update(outside)
            self._tests.difference_update(outside)
            self._groups = list(self._grouped())
            return True
        return self._put_together(error.cell)

    def _put_together(self, cell: int) -> bool:
        """Join the stage of a cell with the one before it, or with the one behind where it is the first."""
        if len(self._groups) < 2:
            return False
        place = next((n for n, group in enumerate(self._groups) if cell in group.cells), len(self._groups) - 1)
        first = max(0, place - 1)
        one, two = self._groups[first : first + 2]
        joined = replace(two if two.phase == "train" else one, cells=[*one.cells, *two.cells], loads=False)
        self._groups[first : first + 2] = [joined]
        return True

    def _binds(self, cell: int, name: str) -> bool:
        return any(parameter.name == name for parameter in declared([self._cells[cell]]))


def amended(document: Document, suggestions: Sequence[Suggestion]) -> Document:
    """Return the document as it would be with the suggestions."""
    by_cell = {suggestion.cell: suggestion for suggestion in suggestions}
    return replace(
        document,
        cells=tuple(
            _amended(cell, by_cell[cell.number]) if cell.number in by_cell else cell for cell in document.cells
        ),
    )


def _amended(cell: Cell, suggestion: Suggestion) -> Cell:
    source = "\n".join([*suggestion.lines, cell.source])
    return replace(cell, source=source, tags=(*cell.tags, *suggestion.tags))


def _declares(cell: Cell, tree: ast.Module) -> bool:
    """Say whether a setup cell only imports and binds literals, so that its literals can be parameters."""
    if not all(isinstance(node, (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)) for node in tree.body):
        return False
    assigned = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    try:
        return bool(assigned) and len(declared([cell])) == len(assigned)
    except PlanError:
        return False
