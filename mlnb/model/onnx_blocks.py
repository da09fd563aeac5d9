"""Columns of one kind become blocks: tensors of a graph under construction that the next step of a pipeline takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from mlnb.errors import InexactError, ModelError
from mlnb.model.onnx_graph import Graph

Floats: TypeAlias = npt.NDArray[np.float64]
Function: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a block's numbers were before functions that libraries round differently.

    Attributes
    ----------
    tensor : str
        Those numbers, of the shape of the block.
    through : tuple of callable
        For each column what leads from there to the block's numbers: the fitted steps' own computation in numpy,
        element by element, which never falls.
    everywhere : bool
        Whether every number there has an answer, so that the block's own are missing just where those are.
    """

    tensor: str
    through: tuple[Function, ...]
    everywhere: bool = True

    def then(self, functions: Sequence[Function], *, everywhere: bool = True) -> Origin:
        """Return the origin of what functions, one for each column, make of the block's numbers."""
        through = tuple(_after(*pair) for pair in zip(self.through, functions, strict=True))
        return Origin(self.tensor, through, self.everywhere and everywhere)


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that lie side by side in one tensor of shape (rows, width).

    Attributes
    ----------
    tensor : str
        Its name in the graph.
    width : int
        Number of columns; 0 where it is not known.
    kind : str
        ``number`` (doubles), ``text`` (strings) or ``date``, which no transformer takes.
    origin : Origin or None
        Where its numbers come from; None where they are exact.
    single : bool
        Whether scikit-learn holds its numbers as float32, so that every step rounds to it.
    """

    tensor: str
    width: int
    kind: str = "number"
    origin: Origin | None = None
    single: bool = False


def matrix(graph: Graph, blocks: Sequence[Block]) -> Block:
    """Return all columns as one block of numbers.

    Raises
    ------
    ModelError
        If there are none, or a column is no number.
    """
    if not blocks:
        raise refusal("a step gets no columns")
    if any(block.kind != "number" for block in blocks):
        raise refusal("a column of text or dates reaches a step that takes numbers")
    if len(blocks) == 1:
        return blocks[0]
    width = sum(block.width for block in blocks) if all(block.width for block in blocks) else 0
    whole = graph.add("Concat", *(b.tensor for b in blocks), axis=1)
    return Block(whole, width, origin=_together(graph, blocks) if width else None, single=all_single(blocks))


def all_single(blocks: Sequence[Block]) -> bool:
    """Say whether scikit-learn holds the columns together as float32: only if none is wider."""
    return all(block.single for block in blocks)


def held(graph: Graph, tensor: str, *, single: bool) -> str:
    """Return doubles as they are, or rounded to float32 where scikit-learn holds such."""
    if not single:
        return tensor
    graph.repaired("columns of float32 rounded to it in every step")
    return graph.cast(graph.cast(tensor, TensorProto.FLOAT), TensorProto.DOUBLE)


def held_by_numpy(function: Function, *, single: bool) -> Function:
    """Return a function of doubles that computes as one of float32, where scikit-learn holds such."""
    if not single:
        return function
    return lambda numbers: np.asarray(function(numbers.astype(np.float32)), np.float32).astype(np.float64)


def started(block: Block) -> Origin:
    """Return the block's origin; where it has none, its own numbers."""
    return block.origin or Origin(block.tensor, (_same,) * block.width)


def refusal(why: str) -> ModelError:
    """Return the error that says why a model cannot be written as ONNX; `why` is no whole sentence."""
    return ModelError(why, "Another exporter is tried.", name="onnx")


def inexact(why: str) -> InexactError:
    """Return the error that says why no way of writing a model as ONNX can be right on all rows."""
    return InexactError(why, "Another exporter is tried.", name="onnx")


def singles(graph: Graph, blocks: Sequence[Block]) -> list[Block]:
    """Return each column as a block of its own."""
    single: list[Block] = []
    for block in blocks:
        if not block.width:
            raise refusal("the number of columns that a step gives is not known")
        if block.width == 1:
            single.append(block)
            continue
        places = [graph.constant(np.array([at])) for at in range(block.width)]
        for at, place in enumerate(places):
            origin = None
            if block.origin is not None:
                before = graph.add("Gather", block.origin.tensor, place, axis=1)
                origin = Origin(before, block.origin.through[at : at + 1], block.origin.everywhere)
            one = graph.add("Gather", block.tensor, place, axis=1)
            single.append(Block(one, 1, block.kind, origin, block.single))
    return single


def scaled(shift: Floats, scale: Floats, *, single: bool = False) -> list[Function]:
    """Return ``(x - shift) / scale`` of each column, as scikit-learn's scalers compute it."""
    return [_scaled(float(down), float(by), single) for down, by in zip(shift, scale, strict=True)]


def _scaled(down: float, by: float, single: bool) -> Function:
    if not single:
        return lambda numbers: (numbers - down) / by
    return lambda numbers: _rounded(_rounded(numbers - down) / by)


def _rounded(numbers: Floats) -> Floats:
    return numbers.astype(np.float32).astype(np.float64)


def _together(graph: Graph, blocks: Sequence[Block]) -> Origin | None:
    if all(block.origin is None for block in blocks):
        return None
    origins = [started(block) for block in blocks]
    through = tuple(one for origin in origins for one in origin.through)
    whole = graph.add("Concat", *(origin.tensor for origin in origins), axis=1)
    return Origin(whole, through, all(origin.everywhere for origin in origins))


def _same(numbers: Floats) -> Floats:
    return numbers


def _after(first: Function, then: Function) -> Function:
    if first is _same:
        return then
    return lambda numbers: then(first(numbers))
