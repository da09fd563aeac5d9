"""The values that a plan is made of: a `Pipeline` of `Stage` nodes, and the `Deploy` marks behind it.

Nothing here knows how they were inferred (`build`), how they run (`render`) or when they need not (`fingerprint`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from mlnb.notebook.document import Cell, Document

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What JSON can say."""


@dataclass(frozen=True, slots=True)
class Input:
    """A name that is taken, and the stage that gives it."""

    name: str
    giver: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A typed default from the notebook's parameters cell.

    Attributes
    ----------
    type : str
        ``int``, ``float``, ``bool``, ``str``, ``list``, ``dict`` or ``any``, with ``" | None"`` where None is allowed.
    default : JSON value
        Its value where no ``-p`` says otherwise.
    cell : int
        Number of the cell that declares it.
    """

    name: str
    type: str
    default: Json
    cell: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A node of the pipeline: a stage, or the tests of one.

    Attributes
    ----------
    name : str
        ``train``; for tests ``test-train``.
    kind : str
        ``stage`` or ``test``.
    cells : tuple of Cell
        Its cells, as they stand in the file.
    inputs : tuple of Input
        What it takes from stages before it, in order of reading.
    outputs : tuple of str
        What somebody demands of it: later nodes, deploys, gates, metrics, or ``--outputs``.
    parameters : tuple of str
        Parameters that its code, or the setup it uses, reads; sorted.
    metrics, slices : tuple of str
        From ``--metrics`` and ``--slices``.
    upstream : tuple of str
        Nodes that must have run before, in the pipeline's order.
    imports : tuple of str
        Import statements of other stages that it relies on: they are repeated, a module need not be handed over.
    tested : str
        The tested stage, ``""`` for a stage.
    reads, env : tuple of str
        From ``--reads`` (paths, patterns and addresses, relative to the notebook's folder) and ``--env``.
    """

    name: str
    kind: str
    cells: tuple[Cell, ...]
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    tested: str = ""
    reads: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deploy:
    """A ``%%deploy`` cell.

    Attributes
    ----------
    name : str
        The model, and its service.
    model, sample : Input
        The variables that hold the estimator and raw rows.
    gates : tuple of str
        Conditions as they are written.
    to : str
        Alias that the new version gets, ``staging`` where the mark says nothing.
    hooks : str
        Source of the service's own code: the body with the setup that it uses; ``""`` for no hook.
    """

    name: str
    cell: Cell
    model: Input
    sample: Input
    gates: tuple[str, ...] = ()
    to: str = "staging"
    hooks: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A notebook as a graph.

    Attributes
    ----------
    document : Document
        The file it was planned from.
    setup : tuple of Cell
        Cells that run before every stage, in notebook order.
    parameters : tuple of Parameter
        In order of declaration.
    parameter_cells : tuple of Cell
        The cells that declare them.
    stages : tuple of Stage
        Stages and tests in an order in which they can run, as near to the notebook's as possible.
    deploys : tuple of Deploy
        In notebook order.
    not_run : tuple of int
        Numbers of the cells that never run in the pipeline: exploration and skipped ones.
    warnings : tuple of str
        Sentences about what can run and is probably not meant.
    """

    document: Document
    setup: tuple[Cell, ...]
    parameters: tuple[Parameter, ...]
    parameter_cells: tuple[Cell, ...]
    stages: tuple[Stage, ...]
    deploys: tuple[Deploy, ...] = ()
    not_run: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def stage(self, name: str) -> Stage:
        """Return the node of that name; KeyError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def upstream_of(self, names: Iterable[str]) -> tuple[Stage, ...]:
        """Return the named nodes and all that must run before them, in running order."""
        wanted = set(names)
        for stage in reversed(self.stages):
            if stage.name in wanted:
                wanted.update(stage.upstream)
        return tuple(stage for stage in self.stages if stage.name in wanted)
