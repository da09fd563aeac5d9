"""``%%deploy`` cells become `Deploy` values, and demands on the stages that give model, sample and gated numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlnb import plugins
from mlnb.errors import PlanError
from mlnb.model.gate_words import family, refused, spelled_out
from mlnb.model.metric_names import PATTERN, SLICE, is_metric
from mlnb.notebook.document import Cell
from mlnb.notebook.marks import Mark
from mlnb.notebook.spelling import closest, listed
from mlnb.pipeline.evaluations import evaluating
from mlnb.pipeline.graph import Deploy, Input
from mlnb.pipeline.hooks import hooks_source
from mlnb.pipeline.resolve import Demand, Resolver

_GATE = re.compile(
    rf"\s*((?:[A-Za-z_][\w-]*\.)*{PATTERN})({SLICE})?\s*(>=|<=|==|!=|>|<)\s*"
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$"
)


def read_deploy(cell: Cell, mark: Mark, resolver: Resolver) -> tuple[Deploy, tuple[Input, ...]]:
    """Return a deploy, and what it demands of stages.

    Raises
    ------
    PlanError
        If nobody gives the model, the sample or a gated number, or the hook cannot stand on its own.
    """
    model, sample = (_taken(cell, mark, option, resolver) for option in ("model", "sample"))
    gates = mark.options.get("gate", ())
    numbers = tuple(number for gate in gates if (number := _number(gate, cell, mark, resolver)) is not None)
    deploy = Deploy(
        name=mark.name,
        cell=cell,
        model=model,
        sample=sample,
        gates=gates,
        to=mark.one("to") or "staging",
        hooks=hooks_source(cell, mark.name, resolver),
    )
    return deploy, (model, sample, *numbers)


def _taken(cell: Cell, mark: Mark, option: str, resolver: Resolver) -> Input:
    name = mark.one(option)
    demand = Demand(name, f"The deploy of `{mark.name}` (cell {cell.number}, `--{option}`)", cell.number)
    known = resolver.ground.bound | resolver.ground.parameters.keys()
    write = None if name in known and not resolver.givers.all(name) else resolver.giver(demand)
    if write is None or write.text:
        raise PlanError(
            f"{demand.where} takes `{name}`, which no stage gives: it is {'a module' if write else 'setup'}.",
            f"Bind `{name}` in a stage.",
            cell=cell.number,
            name=name,
        )
    return Input(name, write.stage)


def _number(gate: str, cell: Cell, mark: Mark, resolver: Resolver) -> Input | None:
    found = _GATE.match(spelled_out(gate))
    if found is None:
        raise PlanError(
            f"Cell {cell.number} has the gate `{gate}`, which does not compare a name with a number.",
            refused(gate) or 'Write it as in `--gate "auc >= 0.80"`.',
            cell=cell.number,
            name=gate,
        )
    number = found[1]
    stage, _, name = number.rpartition(".")
    if _measured(number, stage, name, resolver):
        return None
    where = f"Cell {cell.number} has a gate on `{number}{found[2] or ''}`"
    if found[2] or not _binds(stage, name, resolver):
        measuring = _measuring(stage, name, resolver)
        if len(measuring) > 1:
            raise _several(where, name, measuring, cell)
        if measuring:
            return None
    head = number.partition(".")[0]
    given = head in resolver.nodes if stage else _binds("", name, resolver)
    if not given and head in plugins.names("mlnb.gates"):
        return None
    if stage:
        return _of_stage(where, stage, name, cell, resolver)
    stages = list(dict.fromkeys(write.stage for write in resolver.givers.all(name) if not write.text))
    if not stages:
        near = closest(name, resolver.givers.names)
        remedy = f"Did you mean `{near}`?" if near else f"Bind `{name}` in a stage."
        raise PlanError(f"{where}, which no stage gives.", remedy, cell=cell.number, name=name)
    if len(stages) > 1:
        raise _several(where, name, stages, cell)
    return Input(name, stages[-1])


def _measured(number: str, stage: str, name: str, resolver: Resolver) -> bool:
    """Say whether mlnb measures the number itself, so that the gate demands nothing of a stage."""
    kind = family(number)
    if kind in ("callers", "load", "parity"):
        return True
    if _binds(stage, name, resolver):
        return False
    return bool(kind)


def _several(where: str, name: str, stages: Sequence[str], cell: Cell) -> PlanError:
    return PlanError(
        f"{where}, which {len(stages)} stages give: {listed(stages)}.",
        f"Say which one: {listed(f'{stage}.{name}' for stage in stages)}.",
        cell=cell.number,
        name=name,
    )


def _binds(stage: str, name: str, resolver: Resolver) -> bool:
    writes = [write for write in resolver.givers.all(name) if not write.text]
    return any(stage in ("", write.stage) for write in writes)


def _measuring(stage: str, name: str, resolver: Resolver) -> list[str]:
    """Return the stages in whose evaluation a metric may be: those whose mark names it, else all that evaluate."""
    measuring = evaluating(resolver) if is_metric(name) else frozenset()
    home = stage.partition(".")[0]
    found = [node for node in resolver.nodes if node in measuring and home in ("", node)]
    if not found and home and not any(home == node for node in resolver.nodes):
        found = [node for node in resolver.nodes if node in measuring]  # home is the evaluation's variable
        return found[:1]
    named = [node for node in found if name in resolver.nodes[node].draft.options.get("metrics", ())]
    return named or found


def _of_stage(where: str, stage: str, name: str, cell: Cell, resolver: Resolver) -> Input:
    stages = [node.name for node in resolver.nodes.values() if not node.draft.tested]
    if stage not in stages:
        near = closest(stage, stages)
        remedy = f"Did you mean `{near}.{name}`?" if near else f"The stages are {listed(stages)}."
        raise PlanError(f"{where}, and there is no stage `{stage}`.", remedy, cell=cell.number, stage=stage, name=name)
    given = resolver.givers.by(stage)
    if name not in given:
        near = closest(name, given)
        remedy = f"Did you mean `{stage}.{near}`?" if near else f"Bind `{name}` in stage `{stage}`."
        raise PlanError(
            f"{where}, which stage `{stage}` does not give.", remedy, cell=cell.number, stage=stage, name=name
        )
    return Input(name, stage)
