"""Columns of one kind become blocks: tensors of a graph under construction that the next step of a pipeline takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.errors import InexactError, ModelError
from mlnb.model.onnx_graph import Graph


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
    """

    tensor: str
    width: int
    kind: str = "number"


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
    width = sum(block.width for block in blocks) if all(block.width for block in blocks) else 0
    return blocks[0] if len(blocks) == 1 else Block(graph.add("Concat", *(b.tensor for b in blocks), axis=1), width)


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
        single += [Block(graph.add("Gather", block.tensor, place, axis=1), 1, block.kind) for place in places]
    return single
