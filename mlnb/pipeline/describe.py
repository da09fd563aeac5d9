"""A `Pipeline` becomes lines of text, or facts that JSON can say. What it looks like is `drawing`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mlnb.notebook.document import Cell
from mlnb.notebook.spelling import numbered
from mlnb.pipeline.graph import Deploy, Input, Json, Pipeline, Stage

FORMAT = 1


def describe(pipeline: Pipeline) -> Iterator[str]:
    """Yield the plan as text: stages in running order, what each takes and gives, and what will not run."""
    yield f"{pipeline.document.path.name}: {', '.join(_counts(pipeline))}"
    width = max([len("parameters"), *(len(stage.name) for stage in pipeline.stages)])
    if pipeline.parameters:
        shown = ", ".join(f"{p.name}: {p.type} = {json.dumps(p.default)}" for p in pipeline.parameters)
        yield f"  {'parameters':{width}}  {shown}"
    if pipeline.setup:
        yield f"  {'setup':{width}}  {_cells(pipeline.setup)}, before every stage"
    for stage in pipeline.stages:
        first, *more = _stage_lines(stage)
        yield f"  {stage.name:{width}}  {first}"
        yield from (f"  {'':{width}}  {line}" for line in more)
    for deploy in pipeline.deploys:
        first, *more = _deploy_lines(deploy)
        yield f"  {'deploy':{width}}  {first}"
        yield from (f"  {'':{width}}  {line}" for line in more)
    if pipeline.not_run:
        yield f"not run: {_cells([pipeline.document.cells[number - 1] for number in pipeline.not_run])}"
    for warning in pipeline.warnings:
        yield f"warning: {warning}"


def facts(pipeline: Pipeline) -> dict[str, Json]:
    """Return the plan as a JSON object, format 1."""
    return {
        "format": FORMAT,
        "notebook": str(pipeline.document.path),
        "digest": pipeline.document.digest,
        "kernel": pipeline.document.kernel_name,
        "parameters": [
            {"name": p.name, "type": p.type, "default": p.default, "cell": p.cell} for p in pipeline.parameters
        ],
        "setup": [cell.number for cell in pipeline.setup],
        "stages": [_stage_facts(stage) for stage in pipeline.stages],
        "edges": _edges(pipeline),
        "deploys": [_deploy_facts(deploy) for deploy in pipeline.deploys],
        "not_run": list(pipeline.not_run),
        "warnings": list(pipeline.warnings),
    }


def handed_over(stage: Stage, giver: str) -> tuple[str, ...]:
    """Return the names that a stage takes from `giver`."""
    return tuple(taken.name for taken in stage.inputs if taken.giver == giver)


def _counts(pipeline: Pipeline) -> Iterator[str]:
    kinds = [stage.kind for stage in pipeline.stages]
    for count, word in (
        (kinds.count("stage"), "stage"),
        (sum(kind == "test" for kind in kinds), "tested stage"),
        (len(pipeline.deploys), "deploy"),
    ):
        if count:
            yield f"{count} {word}{'s' if count != 1 else ''}"


def _stage_lines(stage: Stage) -> Sequence[str]:
    lines = [_cells(stage.cells)]
    if stage.inputs:
        lines.append(f"takes {_inputs(stage.inputs)}")
    if stage.parameters:
        lines.append(f"reads {', '.join(stage.parameters)}")
    after = [name for name in stage.upstream if not handed_over(stage, name)]
    if after:
        lines.append(f"after {', '.join(after)}")
    if stage.reads or stage.env:
        lines.append(f"declares {', '.join([*stage.reads, *(f'${name}' for name in stage.env)])}")
    if stage.outputs:
        lines.append(f"gives {', '.join(stage.outputs)}")
    if stage.metrics:
        lines.append(f"metrics {', '.join(stage.metrics)}" + (f" by {', '.join(stage.slices)}" if stage.slices else ""))
    return lines


def _deploy_lines(deploy: Deploy) -> Sequence[str]:
    lines = [
        f"{deploy.name} (cell {deploy.cell.number}) to {deploy.to}",
        f"takes {_inputs((deploy.model, deploy.sample))}",
    ]
    lines.extend(f"gate {gate}" for gate in deploy.gates)
    return lines


def _inputs(inputs: Sequence[Input]) -> str:
    givers: dict[str, list[str]] = {}
    for taken in inputs:
        givers.setdefault(taken.giver, []).append(taken.name)
    return ", ".join(f"{', '.join(dict.fromkeys(names))} from {giver}" for giver, names in givers.items())


def _cells(cells: Sequence[Cell]) -> str:
    lines = [str(cell.line) for cell in cells if cell.line]
    where = f" (line{'s' if len(lines) != 1 else ''} {', '.join(lines)})" if lines else ""
    return numbered(cell.number for cell in cells) + where


def _stage_facts(stage: Stage) -> dict[str, Json]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "cells": [cell.number for cell in stage.cells],
        "inputs": [{"name": taken.name, "from": taken.giver} for taken in stage.inputs],
        "outputs": list(stage.outputs),
        "parameters": list(stage.parameters),
        "metrics": list(stage.metrics),
        "slices": list(stage.slices),
        "upstream": list(stage.upstream),
        "imports": list(stage.imports),
        "tested": stage.tested,
        "reads": list(stage.reads),
        "env": list(stage.env),
    }


def _deploy_facts(deploy: Deploy) -> dict[str, Json]:
    return {
        "name": deploy.name,
        "cell": deploy.cell.number,
        "model": {"name": deploy.model.name, "from": deploy.model.giver},
        "sample": {"name": deploy.sample.name, "from": deploy.sample.giver},
        "gates": list(deploy.gates),
        "to": deploy.to,
        "hooks": deploy.hooks,
    }


def _edges(pipeline: Pipeline) -> list[Json]:
    edges: list[Json] = []
    for stage in pipeline.stages:
        for giver in stage.upstream:
            edges.append({"from": giver, "to": stage.name, "names": list(handed_over(stage, giver))})
    return edges
