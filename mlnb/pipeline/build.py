"""A document becomes a `Pipeline`, or a refusal that names the cell, the name and the remedy."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlnb.notebook.document import Document
from mlnb.notebook.names import analyse_cells
from mlnb.notebook.place import located, placing
from mlnb.pipeline import refusals
from mlnb.pipeline.cautions import cautions
from mlnb.pipeline.deploys import read_deploy
from mlnb.pipeline.evaluations import check_measured, evaluating
from mlnb.pipeline.givers import Node
from mlnb.pipeline.graph import Deploy, Input, Pipeline, Stage
from mlnb.pipeline.ground import Ground, prologue
from mlnb.pipeline.order import ordered_by_files
from mlnb.pipeline.outline import Outline, outline
from mlnb.pipeline.parameters import declared
from mlnb.pipeline.resolve import Demand, Resolver
from mlnb.pipeline.setup import names_in, tree_of


def build_pipeline(document: Document) -> Pipeline:
    """Plan a notebook; nothing is executed.

    Parameters
    ----------
    document : Document
        From `read_document`.

    Raises
    ------
    MarkError
        If a mark is misspelt, unknown, or contradicts another.
    NotebookError
        If a cell has a syntax error.
    PlanError
        If there is no stage; a name has no giver, two parallel ones, or only exploration; or stages need each other.
    """
    with placing(document):
        return _planned(document)


def _planned(document: Document) -> Pipeline:
    cells = outline(document)
    parameters = declared(cells.parameters)
    ground = Ground(parameters, prologue(cells.parameters, cells.setup))
    resolver = Resolver(cells, ground)
    deploys: list[Deploy] = []
    demands: dict[str, dict[str, None]] = {name: {} for name in resolver.nodes}
    for cell, mark in cells.deploys:
        deploy, demanded = read_deploy(cell, mark, resolver)
        deploys.append(deploy)
        _demand(demands, demanded)
    metrics = _metrics(cells, resolver)
    for node in resolver.nodes.values():
        _demand(demands, node.inputs.values())
        _demand(demands, (Input(name, node.name) for name in metrics[node.name]))
    unordered = [_stage(node, demands[node.name], metrics[node.name], resolver) for node in resolver.nodes.values()]
    stages = _ordered(unordered, resolver)
    return Pipeline(
        document=document,
        setup=tuple(cells.setup),
        parameters=parameters,
        parameter_cells=tuple(cells.parameters),
        stages=stages,
        deploys=tuple(deploys),
        not_run=tuple(sorted(cell.number for cell in (*cells.exploration, *cells.skipped))),
        warnings=tuple(located(text, document) for text in cautions(stages, parameters)),
    )


def _demand(demands: Mapping[str, dict[str, None]], inputs: Iterable[Input]) -> None:
    for taken in inputs:
        demands[taken.giver][taken.name] = None


def _metrics(cells: Outline, resolver: Resolver) -> dict[str, tuple[str, ...]]:
    """Return the metrics of each node: what ``--metrics`` lists, and what Kale's metrics cells print."""
    measuring = evaluating(resolver)
    found = {node.name: node.draft.options.get("metrics", ()) for node in resolver.nodes.values()}
    for node in resolver.nodes.values():
        given = list(dict.fromkeys(name for names in node.names for name in (*names.outputs, *names.mutates)))
        measured = check_measured(node, given, node.name in measuring)
        for option in ("metrics", "outputs"):
            for name in node.draft.options.get(option, ()):
                if name not in given and (option == "outputs" or name not in measured):
                    raise refusals.not_given(name, option, node, given)
    for cell in cells.metrics:
        for name in analyse_cells([tree_of(cell)])[0].inputs:
            if name not in resolver.ground.bound or resolver.givers.all(name):
                write = resolver.giver(Demand(name, f"The metrics (cell {cell.number})", cell.number))
                if not write.text:
                    found[write.stage] = tuple(dict.fromkeys((*found[write.stage], name)))
    return found


def _stage(node: Node, demanded: Iterable[str], metrics: tuple[str, ...], resolver: Resolver) -> Stage:
    wanted = set(demanded)
    bound = resolver.givers.by(node.name)
    measured = [name for name in metrics if name not in bound]
    used = names_in(tree_of(cell) for cell in node.draft.cells)
    return Stage(
        name=node.name,
        kind="test" if node.draft.tested else "stage",
        cells=tuple(node.draft.cells),
        inputs=tuple(node.inputs.values()),
        outputs=(*(node.declared or [name for name in bound if name in wanted]), *measured),
        parameters=tuple(sorted(node.parameters | resolver.ground.parameters_behind(used))),
        metrics=metrics,
        slices=node.draft.options.get("slices", ()),
        imports=tuple(dict.fromkeys(node.imports.values())),
        tested=node.draft.tested,
        reads=node.draft.options.get("reads", ()),
        env=node.draft.options.get("env", ()),
    )


def _ordered(stages: Sequence[Stage], resolver: Resolver) -> tuple[Stage, ...]:
    """Sort the stages; one that reads a file runs after the one that writes it, unless names or marks say otherwise."""
    nodes = resolver.nodes
    defaults = {name: parameter.default for name, parameter in resolver.ground.parameters.items()}
    for first, then in ordered_by_files(stages, resolver.ground.cells, defaults):
        if then not in resolver.ancestors(first):
            nodes[then].upstream.setdefault(first, "")
    order = {name: place for place, name in enumerate(nodes)}
    by_name = {stage.name: stage for stage in stages}
    return tuple(
        replace(by_name[node.name], upstream=tuple(sorted(node.upstream, key=order.__getitem__)))
        for node in _in_order(nodes)
    )


def _in_order(nodes: Mapping[str, Node]) -> Sequence[Node]:
    """Sort the nodes so that givers come first, otherwise as in the notebook; tests follow their stage."""

    def place(node: Node) -> tuple[int, int, str]:
        home = nodes[node.draft.tested] if node.draft.tested else node
        return home.first_cell, 1 if node.draft.tested else 0, node.name

    waiting = {name: set(node.upstream) for name, node in nodes.items()}
    ready = [place(node) for name, node in nodes.items() if not waiting[name]]
    heapq.heapify(ready)
    ordered: list[Node] = []
    while ready:
        done = heapq.heappop(ready)[2]
        ordered.append(nodes[done])
        for name, needs in waiting.items():
            if done in needs:
                needs.discard(done)
                if not needs:
                    heapq.heappush(ready, place(nodes[name]))
    return ordered
