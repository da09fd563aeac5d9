"""Marks, pipelines and errors become the messages that a front end reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from mlnb.errors import MlnbError
from mlnb.faces.messages import API_VERSION, CellMark, Fault, MarkKind, PlanReply

if TYPE_CHECKING:
    from mlnb.pipeline.graph import Pipeline


def cell_mark(cell: Mapping[str, object]) -> CellMark | None:
    """Return what a cell is marked as, or None."""
    from mlnb.notebook.marks import parse_mark

    source, tags = cell.get("source"), cell.get("tags")
    texts = tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
    try:
        mark = parse_mark(source if isinstance(source, str) else "", texts)
    except MlnbError as error:
        return {"kind": "fault", "name": "", "node": "", "problem": error.problem, "remedy": error.remedy}
    if mark is None:
        return None
    node = {"stage": mark.name, "test": f"test-{mark.name}"}.get(mark.kind, "")
    kind = cast("MarkKind", mark.kind)
    return {"kind": kind, "name": mark.name, "node": node, "problem": "", "remedy": ""}


def plan_reply(path: str, pipeline: Pipeline) -> PlanReply:
    """Return a notebook's stages as a message."""
    return {
        "api": API_VERSION,
        "path": path,
        "stages": [
            {
                "name": stage.name,
                "kind": "test" if stage.kind == "test" else "stage",
                "cells": [cell.number for cell in stage.cells],
                "inputs": [taken.name for taken in stage.inputs],
                "outputs": list(stage.outputs),
                "upstream": list(stage.upstream),
            }
            for stage in pipeline.stages
        ],
        "deploys": [deploy.name for deploy in pipeline.deploys],
        "parameters": [
            {"name": parameter.name, "type": parameter.type, "default": parameter.default}
            for parameter in pipeline.parameters
        ],
        "not_run": list(pipeline.not_run),
    }


def fault(error: object, status: int) -> Fault:
    """Return the two sentences of an error, and where it is; of a stranger, only that it happened."""
    cell, line = getattr(error, "cell", 0), getattr(error, "line", 0)
    return {
        "problem": getattr(error, "problem", "") or f"The server answered {status}.",
        "remedy": getattr(error, "remedy", "") or "Read the Jupyter server's log, then try again.",
        "stage": getattr(error, "stage", ""),
        "cell": cell if isinstance(cell, int) else 0,
        "line": line if isinstance(line, int) else 0,
    }
