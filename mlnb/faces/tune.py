"""``mlnb tune`` searches better parameters: each parses, calls `Project.tune`, and views."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.complete import notebooks
from mlnb.faces.verb import Asked, Verb, write_out

if TYPE_CHECKING:
    from mlnb.faces.tuning import LiveTuning
    from mlnb.pipeline.graph import Json, Pipeline
    from mlnb.tune.asked import Wish
    from mlnb.tune.trial import Trial, Tuning

_FILE = click.Path(path_type=Path)
_SHOWN = 10
_WISHED = ("maximize", "minimize", "trials", "jobs", "timeout_s", "sampler", "pruner", "seed")


@click.command(cls=Verb)
@click.argument("notebook", type=_FILE, shell_complete=notebooks)
@click.argument("space", nargs=-1, required=True, metavar="NAME=VALUES...")
@click.option("--maximize", default="", metavar="NUMBER", help="Search for the highest: --maximize evaluate.auc.")
@click.option("--minimize", default="", metavar="NUMBER", help="Search for the lowest: --minimize train.loss.")
@click.option("--trials", type=click.IntRange(1), default=30, show_default=True, help="Trials in all.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trials at once.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=0.0, help="Begin no trial after so many s.")
@click.option("--sampler", type=click.Choice(["tpe", "random", "grid"]), default="tpe", show_default=True)
@click.option("--pruner", type=click.Choice(["median", "halving", "none"]), default="median", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the search.")
@click.option("-p", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a parameter that is not searched.")
@click.option("-f", "file", type=_FILE, metavar="FILE", help="Set parameters from a YAML or JSON file.")
@click.option("--write", is_flag=True, help="Write the best values into the notebook's parameters cell.")
@click.option("--html", type=_FILE, metavar="FILE", help="Write the study's plot as a page that needs no network.")
@click.option("--events", is_flag=True, hidden=True)
@click.pass_obj
def tune(
    asked: Asked,
    /,
    notebook: Path,
    space: tuple[str, ...],
    assignments: tuple[str, ...],
    file: Path | None,
    write: bool,
    html: Path | None,
    **wished: str | int | float,
) -> int:
    """Search better parameters: mlnb tune nb.ipynb "C=log(1e-3,10)" "model=[a,b]" --maximize evaluate.auc.

    VALUES are uniform(LOW,HIGH), uniform(LOW,HIGH,STEP), log(LOW,HIGH) or a list [A,B,C]. Only what depends on a
    searched parameter runs again; the same command goes on with the same study. A training loop that calls
    `mlnb.report(score, step)` lets hopeless trials end early.
    """
    from mlnb.faces.tuning import tuning
    from mlnb.tune.asked import Wish

    project = asked.project(notebook)
    with tuning(asked) as notify:
        found = project.tune(notebook, Wish(space, **wished), assignments, file, notify=notify)  # type: ignore[arg-type]  # click has typed them
    pipeline = project.plan(notebook)
    if html:
        from mlnb.tune.picture import page
        from mlnb.tune.space import read_space

        write_out(html, page(found, read_space(pipeline.parameters, space)))
    changed = _changes(pipeline, found)
    if write and changed:
        from mlnb.notebook.rewriting import rewrite

        rewrite(pipeline.document, {number: after for number, (_, after) in changed.items()})
    return asked.answer(
        found, lambda told: _lines(told, changed, written=write), code=0 if found.best is not None else 1
    )


def live_tuning(words: Sequence[str]) -> LiveTuning:
    """Return the live picture of the study that ``%mlnb tune`` was asked for.

    Raises
    ------
    MlnbError
        If the words or the notebook cannot be read.
    """
    from mlnb.faces.tuning import LiveTuning
    from mlnb.tune.asked import search_of
    from mlnb.tune.picture import logarithmic

    pipeline, wish, values = _asked_of(words)
    search, _ = search_of(pipeline, wish, values)
    names = [axis.name for axis in search.space]
    return LiveTuning(names, logarithmic(search.space), search.objective, search.direction)


def _asked_of(words: Sequence[str]) -> tuple[Pipeline, Wish, Mapping[str, Json]]:
    """Return what ``tune`` and its words are about: the pipeline, the wish, and the parameters' values without it."""
    from mlnb.notebook.document import read_document
    from mlnb.pipeline.build import build_pipeline
    from mlnb.pipeline.parameters import read_values
    from mlnb.tune.asked import Wish

    try:
        given = tune.make_context("tune", list(words[1:])).params
    except click.UsageError as error:
        raise UsageError(error.format_message(), "Try '%mlnb tune --help'.") from error
    pipeline = build_pipeline(read_document(given["notebook"]))
    wish = Wish(given["space"], **{name: given[name] for name in _WISHED})
    return pipeline, wish, read_values(pipeline.parameters, given["assignments"], given["file"])


def _changes(pipeline: Pipeline, found: Tuning) -> dict[int, tuple[str, str]]:
    from mlnb.tune.rewriting import rewritten

    return rewritten(pipeline, found.best.values) if found.best is not None else {}


def _lines(found: Tuning, changed: dict[int, tuple[str, str]], *, written: bool) -> Iterator[str]:
    yield from _table(found)
    states = {state: sum(trial.state == state for trial in found.trials) for state in ("done", "pruned", "failed")}
    yield ""
    yield f"Study {found.study}: " + ", ".join(f"{count} {state}" for state, count in states.items() if count) + "."
    best = found.best
    if best is None:
        yield "No trial was done: see the messages of the failed ones above."
        return
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    yield f"Best {found.objective} {best.score:.6g} with {values} (trial {best.number}, run {best.run})."
    if len(found.importance) > 1:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items())
        yield f"What moved {found.objective}: {shares} of its variance (fANOVA)."
    for number, (before, after) in changed.items():
        yield f"The notebook's cell {number}, {'as it is now' if written else 'with the best values (--write)'}:"
        yield from list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1))[2:]


def _table(found: Tuning) -> Iterator[str]:
    from mlnb.faces.tables import table

    sign = -1 if found.direction == "maximize" else 1
    ranked = sorted(found.trials, key=lambda trial: (trial.state != "done", sign * (trial.score or 0.0), trial.number))
    names = list(dict.fromkeys(name for trial in found.trials for name in trial.values))
    yield from table(
        ("trial", found.objective, *names, "state", "run"), [_row(trial, names) for trial in ranked[:_SHOWN]]
    )
    if len(ranked) > _SHOWN:
        yield f"and {len(ranked) - _SHOWN} more (--json has all)"


def _row(trial: Trial, names: list[str]) -> tuple[str, ...]:
    score = "" if trial.score is None else f"{trial.score:.6g}"
    values = [_short(trial.values.get(name)) for name in names]
    return (str(trial.number), score, *values, trial.message or trial.state, trial.run)


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
