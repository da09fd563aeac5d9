"""``mlnb models lineage delays/7`` becomes what a version was made of: lines, a graph in JSON, a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import CorruptError, UsageError
from mlnb.faces.complete import refs
from mlnb.faces.tables import table
from mlnb.faces.verb import Asked, Verb, write_out

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.registry.lineage import Lineage, Step
    from mlnb.registry.lineage_graph import Graph
    from mlnb.registry.version import Version

_MOST_NAMES = 60


@click.command("lineage", cls=Verb)
@click.argument("ref", shell_complete=refs)
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Write the graph as a picture.")
@click.option("--diff", is_flag=True, help="Print what differed from the commit, as a patch.")
@click.pass_obj
def lineage(asked: Asked, ref: str, svg: Path | None, diff: bool) -> int:
    """Show what a version was made of: notebook, commit, parameters, data, stages, tests, environment."""
    project = asked.project()
    version = project.models.get(ref)
    if diff:
        told = {"ref": version.ref, "diff": patch(project, version)}
        return asked.answer(told, lambda one: one["diff"].removesuffix("\n").split("\n"))
    graph = graph_of(project, version)
    if svg is not None:
        from mlnb.registry.lineage_graph import picture

        write_out(svg, picture(graph))
        return asked.answer(graph, lambda _: [f"The lineage of {version.ref} is drawn in {svg}."])
    facts: dict[str, object] = {**version.lineage.to_json(), "ref": version.ref, "graph": graph}
    return asked.answer(facts, lambda _: lineage_lines(version.lineage))


def graph_of(project: Project, version: Version) -> Graph:
    """Return the graph of a version, with the aliases that it has held."""
    from mlnb.registry.lineage_graph import lineage_graph
    from mlnb.registry.tenure import lanes
    from mlnb.run.difference import read_lock

    held = [
        one for of_alias in lanes(project.models, version.model).values() for one in of_alias if one.ref == version.ref
    ]
    moves = [one.begun for one in held if one.begun.verdicts]
    try:
        packages = len(read_lock(project.state.files.read(version.lineage.environment)))
    except CorruptError:
        packages = 0
    return lineage_graph(version, held, moves[-1].verdicts if moves else (), packages)


def patch(project: Project, version: Version) -> str:
    """Return what differed from the commit when a version was registered.

    Raises
    ------
    UsageError
        If nothing did, or it is not known.
    """
    told = version.lineage
    if not told.git_diff:
        why = "no difference was kept" if told.git_dirty else "nothing differed from its commit"
        why = why if told.git_commit else "it was not under git"
        raise UsageError(
            f"{version.ref} has no patch: {why}.", "See what it was made of: mlnb models lineage " + version.ref + "."
        )
    return project.state.files.read(told.git_diff).decode("utf-8", "replace")


def show(project: Project, ref: str) -> None:
    """Display the graph in a notebook; front ends without pictures show the lines."""
    from IPython.display import display

    from mlnb.faces.html import bundle
    from mlnb.registry.lineage_graph import picture

    version = project.models.get(ref)
    drawn = f'<div style="overflow-x:auto">{picture(graph_of(project, version))}</div>'
    display(bundle(drawn, "\n".join(lineage_lines(version.lineage))), raw=True)


def lineage_lines(told: Lineage) -> Iterator[str]:
    """Yield what a version was made of."""
    yield f"notebook: {told.notebook} ({told.notebook_digest})"
    yield f"run: {told.run}" + (f", begun {told.started_at[:19].replace('T', ' ')}Z" if told.started_at else "")
    dirty = " with local changes" if told.git_dirty else ""
    kept = f" (kept as {told.git_diff}: --diff prints it)" if told.git_diff else ""
    yield f"commit: {told.git_commit or 'none: not under git'}{dirty}{kept}"
    yield "parameters: " + (", ".join(f"{name}={value!r}" for name, value in told.parameters.items()) or "none")
    yield from (f"data: {path} ({digest})" for path, digest in told.data)
    yield from (
        f"module: {path} ({digest or 'edited after the run, its text is not kept'})" for path, digest in told.modules
    )
    yield f"environment: {told.environment}"
    if told.place:
        yield "place: " + ", ".join(f"{name} {said}" for name, said in told.place.items())
    if told.steps:
        heads = ("stage", "took", "takes", "gives", "tests", "executed by")
        yield from table(heads, [_step_row(step) for step in told.steps])
    else:
        yield from (f"stage {name}: {key}" for name, key in told.stages.items())
    if told.model:
        yield f"deployed: {told.model}, tried on {told.sample}"


def _step_row(step: Step) -> tuple[str, ...]:
    takes = [*step.reads, *step.parameters, *(f"{giver}.{name}" for giver, name in step.takes)]
    passed = sum(state == "passed" for _, state in step.cases)
    return (
        step.name,
        f"{step.seconds:.2g} s",
        _few(takes),
        _few([name for name, _ in step.gives]),
        f"{passed} of {len(step.cases)}" if step.cases else "",
        step.run,
    )


def _few(names: list[str]) -> str:
    """Return names as far as they fit into a column."""
    told = ""
    for at, name in enumerate(names):
        longer = f"{told}, {name}" if told else name
        if len(longer) > _MOST_NAMES and told:
            return f"{told} and {len(names) - at} more"
        told = longer
    return told
