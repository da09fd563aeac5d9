"""Stages that touch the same files become neighbours in an order: who reads a file runs after who writes it.

The order is the notebook's: a stage that writes what one above it reads or writes runs after that one, so that stages
which run side by side leave the files that a run from top to bottom leaves. Only paths that are known beforehand count;
`--after` says the rest.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from mlnb.notebook.document import Cell
from mlnb.pipeline.files_read import Touch, touches
from mlnb.pipeline.graph import Json, Stage
from mlnb.pipeline.setup import names_in, needed, pieces, tree_of

_SIGNS = "*?["


@dataclass(frozen=True, slots=True)
class StageCode:
    """The code that runs when a stage does.

    Attributes
    ----------
    setup, borrowed, cells : tuple of ast.AST
        The statements of setup that it uses, the imports of other stages that it repeats, and its own cells.
    """

    setup: tuple[ast.stmt, ...]
    borrowed: tuple[ast.AST, ...]
    cells: tuple[ast.Module, ...]

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of it, in the order in which it runs."""
        return (*self.setup, *self.borrowed, *self.cells)


def code_of(stage: Stage, before: tuple[Cell, ...]) -> StageCode:
    """Return the code of a stage; `before` are the setup and parameters cells in running order."""
    cells = tuple(tree_of(cell) for cell in stage.cells)
    setup = tuple(piece.node for piece in needed(pieces(before), names_in(cells)))
    return StageCode(setup, tuple(map(_parsed, stage.imports)), cells)


def touches_of(code: StageCode, values: Mapping[str, Json]) -> tuple[Touch, ...]:
    """Return what a stage's code touches where its parameters have these values."""
    return _touches(code.nodes, json.dumps(values, sort_keys=True))


def dumped(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the dump of each tree, worked out once."""
    return map(_dump, nodes)


def related(one: str, other: str) -> bool:
    """Say whether two paths, folders or patterns may mean the same file."""
    if one == other or one.startswith(f"{other.rstrip('/')}/") or other.startswith(f"{one.rstrip('/')}/"):
        return True
    return any(any(sign in a for sign in _SIGNS) and fnmatchcase(b, a) for a, b in ((one, other), (other, one)))


@dataclass(slots=True)
class _Content:
    """Who has to do with one path, as far as the notebook was read."""

    writer: str = ""
    readers: list[str] = field(default_factory=list)


def ordered_by_files(
    stages: Sequence[Stage], before: tuple[Cell, ...], values: Mapping[str, Json]
) -> Iterator[tuple[str, str]]:
    """Yield pairs of stages, of which the second must run after the first because of the files that both touch.

    Parameters
    ----------
    before : tuple of Cell
        Setup and parameters cells.
    values : mapping of str to JSON value
        Defaults of the parameters.
    """
    events = sorted(_events(stages, before, values), key=lambda event: event[:2])
    if not any(touch.written for *_, touch in events):
        return
    known: dict[str, _Content] = {}
    for _, _, stage, touch in events:
        for text, content in known.items():
            if related(text, touch.text):
                first = [content.writer, *(content.readers if touch.written else ())]
                yield from ((name, stage) for name in first if name not in ("", stage))
        content = known.setdefault(touch.text, _Content())
        if touch.written:
            content.writer, content.readers = stage, []
        else:
            content.readers.append(stage)


def _events(
    stages: Sequence[Stage], before: tuple[Cell, ...], values: Mapping[str, Json]
) -> Iterator[tuple[int, int, str, Touch]]:
    """Yield each touch with its cell, its line and its stage; what a function of setup does, the first cell does."""
    for stage in stages:
        for text in stage.reads:
            yield stage.cells[0].number, 0, stage.name, Touch((0, 0, 0), text, written=False)
        code = code_of(stage, before)
        borrowed = len(code.setup) + len(code.borrowed)
        for touch in touches_of(code, {name: values[name] for name in stage.parameters}):
            number, line, _ = touch.place
            cell = stage.cells[max(number - borrowed, 0)].number
            yield cell, line if number >= borrowed else 0, stage.name, touch


@lru_cache(maxsize=4096)
def _touches(nodes: tuple[ast.AST, ...], values: str) -> tuple[Touch, ...]:
    return touches(nodes, json.loads(values))


@lru_cache(maxsize=1024)
def _parsed(line: str) -> ast.AST:
    return ast.parse(line)


@lru_cache(maxsize=8192)
def _dump(node: ast.AST) -> str:
    return ast.dump(node)
