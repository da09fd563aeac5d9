"""A pipeline and what was asked become a `Choice`: which stages belong to a run, and which are executed anyway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlnb.errors import UsageError
from mlnb.notebook.spelling import closest
from mlnb.pipeline.graph import Pipeline, Stage
from mlnb.run.options import RunOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """The stages of a run.

    Attributes
    ----------
    nodes : tuple of Stage
        In the pipeline's order.
    forced : frozenset of str
        Are executed whatever is cached.
    given : frozenset of str
        Must be in the cache: they are not to be executed.
    """

    nodes: tuple[Stage, ...]
    forced: frozenset[str]
    given: frozenset[str] = frozenset()


def choose(pipeline: Pipeline, options: RunOptions) -> Choice:
    """Return the stages that the options ask for.

    Raises
    ------
    UsageError
        If there is no stage of a name, or the options contradict each other.
    """
    for name in (*options.start, *options.only, *options.until):
        _check_known(pipeline, name)
    if options.only:
        return _alone(pipeline, options)
    wanted = {node.name for node in (pipeline.upstream_of(options.until) if options.until else pipeline.stages)}
    if not options.start:
        return _choice(pipeline, wanted, wanted if options.force or options.seed else ())
    for name in options.start:
        if name not in wanted:
            raise UsageError(
                f"Stage {name!r} is not needed for {' or '.join(map(repr, options.until))}.",
                "Name with --until a stage that comes after it, or leave --until away.",
            )
    behind = _behind(pipeline, options.start) & wanted
    wanted = {node.name for node in pipeline.upstream_of(behind)}
    return _choice(pipeline, wanted, wanted if options.force or options.seed else behind)


def _alone(pipeline: Pipeline, options: RunOptions) -> Choice:
    if options.start or options.until:
        raise UsageError(
            "--only names all stages that are to run: --from and --until add nothing to it.",
            "Use --only alone, or --from with --until.",
        )
    needed = set(options.only)
    for node in reversed(pipeline.stages):
        if node.name in needed:
            needed.update(taken.giver for taken in node.inputs)
    forced = options.only if options.force or options.seed else ()
    return _choice(pipeline, needed, forced, needed - set(options.only))


def _choice(pipeline: Pipeline, wanted: set[str], forced: Iterable[str], given: Iterable[str] = ()) -> Choice:
    nodes = tuple(node for node in pipeline.stages if node.name in wanted)
    return Choice(nodes, frozenset(forced), frozenset(given))


def _behind(pipeline: Pipeline, names: Sequence[str]) -> set[str]:
    """Return the named nodes and all that need them."""
    found = set(names)
    for node in pipeline.stages:
        if found & set(node.upstream):
            found.add(node.name)
    return found


def _check_known(pipeline: Pipeline, name: str) -> None:
    known = [stage.name for stage in pipeline.stages]
    if name not in known:
        near = closest(name, known)
        hint = f"Did you mean {near!r}?" if near else f"Stages: {', '.join(known)}."
        raise UsageError(f"There is no stage {name!r}.", hint)
