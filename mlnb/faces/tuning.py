"""The events of a study become live progress: a bar in a terminal, lines in a log, a growing plot in a notebook."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import click

from mlnb.faces.board import SIGNS, seconds_text
from mlnb.faces.verb import Asked

if TYPE_CHECKING:
    from mlnb.tune.trial import TrialEvent

Told = Callable[["TrialEvent"], None]


@contextmanager
def tuning(asked: Asked) -> Iterator[Told]:
    """Show trials in the way the verb was asked for, and hand out the function that is told."""
    if asked.events:
        yield lambda event: print(json.dumps(event.to_json()), flush=True)
    elif asked.quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _line if not asked.as_json else lambda event: None


def _line(event: TrialEvent) -> None:
    if event.happened == "finished":
        click.echo(trial_line(event.to_json()), err=True)


def trial_line(event: Mapping[str, object]) -> str:
    """Return what a finished trial is said in: sign, number, values, score, time, best so far."""
    trial = cast("Mapping[str, object]", event["trial"])
    state, score, best = str(trial["state"]), trial["score"], event["best"]
    values = cast("Mapping[str, object]", trial["values"])
    parts = [
        f"{SIGNS.get(state, '-')} trial {trial['number']}",
        ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
        ),
        f"{score:.6g}" if isinstance(score, float) else "",
        state if state != "failed" else str(trial["message"]),
        seconds_text(float(cast(float, trial["seconds"]))),
        f"best {best:.6g}" if isinstance(best, float) else "",
    ]
    return "  ".join(part for part in parts if part)


def _bar() -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("trials"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def told(event: TrialEvent) -> None:
            best = "" if event.best is None else f"best {event.best:.6g}"
            progress.update(task, total=event.wanted, completed=event.done, description=best)
            if event.happened == "finished":
                progress.console.print(trial_line(event.to_json()), highlight=False, markup=False)

        yield told


class LiveTuning:
    """A study in a notebook's output: a plot that grows with every trial, and lines below it.

    The plot is a FigureWidget, which needs a live front end; the text beside it is what a saved notebook keeps.
    """

    def __init__(self, names: list[str], logarithmic: list[str], objective: str, direction: str) -> None:
        import plotly.graph_objects as go
        from IPython.display import display

        from mlnb.tune import picture

        self._feed = picture.feed
        self._objective = objective
        self.figure = go.FigureWidget(picture.figure(names, logarithmic, objective, direction))
        self.figure._config = {**self.figure._config, "responsive": True, "displayModeBar": False}
        self._trials: dict[int, Mapping[str, object]] = {}
        self._best: object = None
        display(self.figure)
        self._handle = display({"text/plain": "starting"}, raw=True, display_id=True)

    def take(self, event: Mapping[str, object]) -> None:
        """Fold one event in and redraw what it changed."""
        if not str(event.get("event", "")).startswith("trial-"):
            return
        trial = cast("Mapping[str, object]", event["trial"])
        if event["event"] == "trial-finished":
            self._trials[cast(int, trial["number"])] = trial
            self._best = event["best"]
            self._redraw()
        best = f", best {self._objective} {self._best:.6g}" if isinstance(self._best, float) else ""
        self.draw(f"{event['done']} of {event['wanted']} trials{best}")

    def draw(self, text: str) -> None:
        """Show `text` below the plot."""
        from mlnb.faces.html import bundle, text_html

        self._handle.update(bundle(text_html(text), text), raw=True)

    def _redraw(self) -> None:
        from mlnb.tune.trial import Trial

        with self.figure.batch_update():
            self._feed(self.figure, [Trial(**trial) for trial in self._trials.values()])  # type: ignore[arg-type]  # our own to_json
