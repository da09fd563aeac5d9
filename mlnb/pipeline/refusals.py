"""What is wrong with a plan becomes a `PlanError` that names the cell, the name and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlnb.errors import PlanError
from mlnb.notebook.spelling import closest, numbered
from mlnb.pipeline.givers import Node, Write


def star_import(cell: int, line: int, title: str, stage: str) -> PlanError:
    """Refuse ``from m import *``, which leaves unknown names behind."""
    return PlanError(
        f"{title} has `import *` in cell {cell}, line {line}, which hides the names that it binds.",
        "Import the names that you use, or the module.",
        cell=cell,
        stage=stage,
        name="*",
    )


def unknown_name(name: str, where: str, *, cell: int, stage: str, known: Iterable[str]) -> PlanError:
    """Refuse a name that nobody gives."""
    near = closest(name, known, 0.75)
    guess = f"Did you mean `{near}`? " if near else ""
    return PlanError(
        f"{where} needs `{name}`, which nobody gives.",
        f"{guess}Bind it in a stage above, in setup, or in the parameters cell.",
        cell=cell,
        stage=stage,
        name=name,
    )


def only_exploration(name: str, where: str, cells: Sequence[int], *, cell: int, stage: str) -> PlanError:
    """Refuse a name that only cells give which never run."""
    last = cells[-1]
    return PlanError(
        f"{where} needs `{name}`, which only exploration gives ({numbered(cells)}).",
        f"Mark cell {last} as a stage (`%%stage NAME`), or as `%%setup` if every stage may run it.",
        cell=cell,
        stage=stage,
        name=name,
    )


def only_tests(name: str, where: str, giver: str, cells: Sequence[int], *, cell: int, stage: str) -> PlanError:
    """Refuse a name that only tests bind: tests give nothing."""
    return PlanError(
        f"{where} needs `{name}`, which only the tests of `{giver}` bind ({numbered(cells)}).",
        "Bind it in a stage: tests give nothing.",
        cell=cell,
        stage=stage,
        name=name,
    )


def only_below(name: str, where: str, write: Write, *, cell: int, stage: str) -> PlanError:
    """Refuse a name that only a later cell gives."""
    return PlanError(
        f"{where} needs `{name}`, which only stage `{write.stage}` gives, below it (cell {write.cell}).",
        f"Move cell {write.cell} above cell {cell}.",
        cell=cell,
        stage=stage,
        name=name,
    )


def not_declared(name: str, where: str, write: Write, *, cell: int, stage: str) -> PlanError:
    """Refuse a name that a stage binds, but that its ``--outputs`` leaves out."""
    return PlanError(
        f"{where} needs `{name}`, which stage `{write.stage}` binds (cell {write.cell}) but does not list in "
        "`--outputs`.",
        f"Add `{name}` to `--outputs` of stage `{write.stage}`.",
        cell=cell,
        stage=stage,
        name=name,
    )


def setup_needs_stage(name: str, where: str, write: Write, *, cell: int) -> PlanError:
    """Refuse setup that needs a stage: it runs before all of them."""
    return PlanError(
        f"{where} needs `{name}`, which only stage `{write.stage}` gives (cell {write.cell}); setup runs before all "
        "stages.",
        f"Make cell {cell} a stage, or put what needs `{name}` into a function.",
        cell=cell,
        name=name,
    )


def cycle(path: Sequence[Node]) -> PlanError:
    """Refuse stages of which each needs the next, and the last one the first."""
    links: list[str] = []
    for taker, giver in zip(path, [*path[1:], path[0]], strict=True):
        why = taker.upstream[giver.name]
        links.append(
            f"`{taker.name}` takes `{why}` from `{giver.name}`" if why else f"`{taker.name}` is after `{giver.name}`"
        )
    names = [f"`{node.name}` ({numbered(cell.number for cell in node.draft.cells)})" for node in path]
    last = max(path, key=lambda node: node.last_cell)
    remedy = "Correct their order (`prev:` tags or `--after`)."
    if len(last.draft.cells) > 1:
        remedy = f"Give cell {last.last_cell} a stage of its own, or move it above what it needs."
    return PlanError(
        f"The stages {' and '.join(names)} need each other: {', '.join(links)}.",
        remedy,
        cell=last.last_cell,
        stage=last.name,
        name=next((node.upstream[giver.name] for node, giver in zip(path, [*path[1:], path[0]], strict=True)), ""),
    )


def two_writers(name: str, where: str, first: Write, second: Write, *, cell: int, stage: str) -> PlanError:
    """Refuse a name that two stages give, neither after the other."""
    return PlanError(
        f"{where} needs `{name}`, and stages `{first.stage}` (cell {first.cell}) and `{second.stage}` (cell "
        f"{second.cell}) both give it on parallel branches.",
        f"Rename `{name}` in one of them, or order them: `%%stage {second.stage} --after {first.stage}`.",
        cell=cell,
        stage=stage,
        name=name,
    )


def not_given(name: str, option: str, node: Node, given: Iterable[str]) -> PlanError:
    """Refuse an option that lists a name which the stage does not bind."""
    near = closest(name, given)
    return PlanError(
        f"{node.draft.title} lists `{name}` in `--{option}`, but does not bind it.",
        f"Did you mean `{near}`?" if near else f"Bind `{name}` in the stage, or take it out of `--{option}`.",
        cell=node.draft.said[option],
        stage=node.name,
        name=name,
    )


def function_needs(name: str, free: str, giver: Node, where: str, *, cell: int, stage: str) -> PlanError:
    """Refuse a function that is handed over, but reads a name that its own stage never has."""
    return PlanError(
        f"{where} takes the function `{name}` from stage `{giver.name}`, and `{name}` reads `{free}`, which nobody "
        f"gives to `{giver.name}`.",
        f"Pass `{free}` to `{name}` as an argument, or move the function to setup.",
        cell=cell,
        stage=stage,
        name=free,
    )
