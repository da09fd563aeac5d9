"""The trials of a study become one plotly figure: the score of each trial and the best so far, and each axis by score.

It is fed trial by trial, so that a widget can show the same figure while the study goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mlnb.tune.space import Axis
from mlnb.tune.trial import Trial, Tuning

_GREY, _BLUE, _GREEN, _RED = "#9e9e9e", "#1f77b4", "#2e7d32", "#c62828"
_MARKS = {"done": ("circle", _BLUE), "pruned": ("x-thin-open", _GREY), "failed": ("line-ns-open", _RED)}
_SHOWN_AXES = 6
_HEIGHT_PX = 380


def figure(names: Sequence[str], logarithmic: Sequence[str], objective: str, direction: str) -> go.Figure:
    """Return the empty figure of a study over the parameters `names`; `feed` fills it."""
    shown = list(names)[:_SHOWN_AXES]
    made = make_subplots(
        rows=2 if shown else 1,
        cols=max(len(shown), 1),
        specs=[[{"colspan": max(len(shown), 1)}, *[None] * (len(shown) - 1)], [{} for _ in shown]] if shown else None,
        vertical_spacing=0.2,
        row_heights=[0.55, 0.45] if shown else [1.0],
    )
    for state, (symbol, colour) in _MARKS.items():
        made.add_scatter(
            x=[],
            y=[],
            mode="markers",
            name=state,
            marker={"symbol": symbol, "color": colour, "size": 8, "line": {"width": 2 if state != "done" else 0}},
            hovertemplate="trial %{x}<br>" + objective + " %{y:.5g}<br>%{text}<extra></extra>",
            row=1,
            col=1,
        )
    made.add_scatter(
        x=[], y=[], mode="lines", name="best", line={"color": _GREEN, "shape": "hv"}, hoverinfo="skip", row=1, col=1
    )
    for place, name in enumerate(shown, 1):
        made.add_scatter(
            x=[],
            y=[],
            mode="markers",
            showlegend=False,
            marker={"color": _BLUE, "size": 7},
            hovertemplate=name + " %{x}<br>" + objective + " %{y:.5g}<extra></extra>",
            row=2,
            col=place,
        )
        made.update_xaxes(title_text=name, type="log" if name in logarithmic else None, row=2, col=place)
    made.update_xaxes(title_text="trial", row=1, col=1)
    made.update_yaxes(title_text=f"{objective} ({direction})", row=1, col=1)
    if shown:
        made.update_yaxes(title_text=objective, row=2, col=1)
    made.update_layout(
        template="plotly_white",
        height=_HEIGHT_PX if not shown else _HEIGHT_PX + 120,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        legend={"orientation": "h", "y": 1.08},
        autosize=True,
        meta={"names": shown, "direction": direction},
    )
    return made


def feed(made: go.Figure, trials: Sequence[Trial]) -> None:
    """Put the trials that have ended into the figure, in place of what it showed."""
    names, direction = made.layout.meta["names"], made.layout.meta["direction"]
    for trace, state in zip(made.data[: len(_MARKS)], _MARKS, strict=True):
        here = [trial for trial in trials if trial.state == state]
        trace.x = [trial.number for trial in here]
        trace.y = [trial.score if trial.score is not None else math.nan for trial in here]
        trace.text = [", ".join(f"{name}={value}" for name, value in trial.values.items()) for trial in here]
    done = [trial for trial in trials if trial.state == "done" and trial.score is not None]
    made.data[len(_MARKS)].x = [trial.number for trial in done]
    made.data[len(_MARKS)].y = _best_so_far([trial.score or 0.0 for trial in done], direction)
    for trace, name in zip(made.data[len(_MARKS) + 1 :], names, strict=True):
        trace.x = [_shown(trial.values.get(name)) for trial in done]
        trace.y = [trial.score for trial in done]
        axis = made.layout[trace.xaxis.replace("x", "xaxis")]
        if axis.type == "log" and done:
            ticks = _ticks([float(cast(float, trial.values[name])) for trial in done])
            axis.tickvals, axis.ticktext = ticks, [f"{tick:g}" for tick in ticks]


def _best_so_far(scores: Sequence[float], direction: str) -> list[float]:
    better = max if direction == "maximize" else min
    found: list[float] = []
    for score in scores:
        found.append(better(found[-1], score) if found else score)
    return found


def _ticks(values: Sequence[float]) -> list[float]:
    """Return where a logarithmic axis is marked: 1, 2, 5 of each decade, or the decades alone where those are many."""
    decades = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    steps = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [float(f"{step}e{decade}") for decade in decades for step in steps]


def _shown(value: object) -> object:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def page(tuning: Tuning, space: Sequence[Axis]) -> str:
    """Return the study's plot as an HTML page that needs no network."""
    made = figure([axis.name for axis in space], logarithmic(space), tuning.objective, tuning.direction)
    feed(made, tuning.trials)
    return str(made.to_html(include_plotlyjs=True, full_html=True))


def logarithmic(space: Sequence[Axis]) -> list[str]:
    """Return the names of the axes that are drawn by their logarithm."""
    return [axis.name for axis in space if axis.kind == "log"]
