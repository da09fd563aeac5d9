"""The source of one or several cells becomes `Names`: what each takes from elsewhere, gives, and changes in place.

The analysis follows scope and order: ``x += 1`` and ``y = x; x = 2`` take ``x``; a function's free names count where it
is called; ``except E as e``, comprehensions and ``del`` leak nothing; ``df["c"] = 1`` both takes and changes ``df``.
A name that is read where it may, but need not, be bound already is `optional`: it is taken if somebody gives it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlnb.notebook.flow import Flow
from mlnb.notebook.scopes import Body
from mlnb.notebook.state import CellRecord
from mlnb.notebook.syntax import parse_cell


@dataclass(frozen=True, slots=True)
class Names:
    """What a cell does with names, given the cells of its stage before it.

    Attributes
    ----------
    inputs : tuple of str
        Read before they are bound here or by the stage's earlier cells, in order of reading.
    optional : tuple of str
        Read where they may but need not be bound: taken if somebody gives them.
    outputs : tuple of str
        Bound here and perhaps still bound at the cell's end, in order of binding.
    mutates : tuple of str
        Changed in place without having been bound here.
    deletes : tuple of str
        Deleted and not bound again.
    carried : tuple of str
        Read here, bound by an earlier cell of the same stage.
    imports : mapping of str to str
        Outputs that an import statement binds, and that statement.
    functions : mapping of str to tuple of str
        Functions and classes defined here, and the names they read when they run.
    stars : tuple of int
        Lines of ``from m import *``.
    shadows : tuple of str
        Builtins that are read: taken if somebody binds such a name.
    dynamic : mapping of int to str
        Lines that run code which only exists then, and what does it: ``exec``, ``%run``.
    lines : mapping of str to int
        The line, in the cell, where a name of `inputs`, `optional` or `carried` is first read.
    """

    inputs: tuple[str, ...]
    optional: tuple[str, ...]
    outputs: tuple[str, ...]
    mutates: tuple[str, ...]
    deletes: tuple[str, ...]
    carried: tuple[str, ...]
    imports: Mapping[str, str]
    functions: Mapping[str, tuple[str, ...]]
    stars: tuple[int, ...]
    lines: Mapping[str, int]
    shadows: tuple[str, ...] = ()
    dynamic: Mapping[int, str] = field(default_factory=dict)


def analyse(source: str) -> Names:
    """Return the names of a single cell.

    Raises
    ------
    SyntaxError
        If the cell is neither Python nor IPython.

    Examples
    --------
    >>> names = analyse("total += price * 2")
    >>> names.inputs, names.outputs
    (('total', 'price'), ('total',))
    """
    return analyse_cells([parse_cell(source)])[0]


def analyse_cells(
    cells: Sequence[ast.Module], known: Mapping[str, Body] | None = None, *, called: str = ""
) -> tuple[Names, ...]:
    """Return the names of the cells of one stage, which run one after the other in one namespace.

    Parameters
    ----------
    cells : sequence of ast.Module
        Trees of the cells, from `parse_cell`.
    known : mapping of str to Body, optional
        Functions and classes that setup defines: where the stage calls one, the names that its body reads are taken.
    called : str, default ""
        Prefix of the functions that somebody calls at the end, such as ``test_``.
    """
    flow = Flow(known or {})
    records = [flow.run(tree) for tree in cells]
    flow.names.settle(called)
    return tuple(map(_names, records))


def definitions(cells: Sequence[ast.Module]) -> Mapping[str, Body]:
    """Return the functions and classes that the cells leave behind, with what running them reads and changes."""
    flow = Flow({})
    for tree in cells:
        flow.run(tree)
    return dict(flow.names.functions)


def _names(record: CellRecord) -> Names:
    inputs = [name for name in record.reads if record.reads[name].certain]
    optional = [name for name in record.reads if not record.reads[name].certain]
    return Names(
        inputs=tuple(inputs),
        optional=tuple(optional),
        outputs=tuple(name for name in record.bound if name in record.at_end),
        mutates=tuple(record.changed),
        deletes=tuple(name for name in record.deleted if name not in record.at_end),
        carried=tuple(record.carried),
        imports={name: text for name, text in record.imports.items() if name in record.at_end},
        functions={name: body.reads for name, body in record.functions.items()},
        stars=tuple(record.stars),
        lines={**{name: read.line for name, read in record.reads.items()}, **record.carried},
        shadows=tuple(record.shadows),
        dynamic=dict(record.dynamic),
    )
