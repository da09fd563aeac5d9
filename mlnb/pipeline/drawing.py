"""A `Pipeline` becomes an SVG picture: stages from top to bottom, the names that travel written on the edges."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mlnb.notebook.spelling import numbered
from mlnb.pipeline.describe import handed_over
from mlnb.pipeline.graph import Deploy, Pipeline, Stage
from mlnb.pipeline.picture import Node, draw, shortened


def svg(pipeline: Pipeline, states: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the picture of a plan, or of a run.

    Parameters
    ----------
    pipeline : Pipeline
        Stages, tests and deploys are drawn; cells that do not run are told below.
    states : mapping of str to str
        What became of nodes in a run, by name: ``done``, ``cached``, ``failed``, ...; stands in the node's corner.
    """
    stages = [_stage_node(stage, states.get(stage.name, "")) for stage in pipeline.stages]
    nodes = [*stages, *map(_deploy_node, pipeline.deploys)]
    notes = [f"not run: {numbered(pipeline.not_run)}"] if pipeline.not_run else []
    return draw(nodes, _edges(pipeline), f"Pipeline of {pipeline.document.path.name}", notes)


def _stage_node(stage: Stage, state: str) -> Node:
    lines = [f"test {stage.tested}" if stage.tested else stage.name, numbered(cell.number for cell in stage.cells)]
    if stage.parameters:
        lines.append(f"reads {', '.join(stage.parameters)}")
    if stage.metrics:
        lines.append(f"metrics {', '.join(stage.metrics)}")
    return Node(stage.name, stage.kind, tuple(shortened(line) for line in lines), state)


def _deploy_node(deploy: Deploy) -> Node:
    lines = [
        f"deploy {deploy.name}",
        f"cell {deploy.cell.number}, to {deploy.to}",
        *(f"gate {g}" for g in deploy.gates),
    ]
    return Node(f"\0deploy {deploy.name}", "deploy", tuple(shortened(line) for line in lines))


def _edges(pipeline: Pipeline) -> dict[tuple[str, str], tuple[str, ...]]:
    edges = {(giver, stage.name): handed_over(stage, giver) for stage in pipeline.stages for giver in stage.upstream}
    for deploy in pipeline.deploys:
        for taken in (deploy.model, deploy.sample):
            edge = (taken.giver, f"\0deploy {deploy.name}")
            edges[edge] = tuple(dict.fromkeys((*edges.get(edge, ()), taken.name)))
    return edges
