"""A report becomes a picture: a plotly figure, a page that needs no network, a widget for the notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from mlnb.monitor import panels
from mlnb.monitor.bars import Bars, bars
from mlnb.monitor.distance import TOLERANCE
from mlnb.monitor.report import Column, Report
from mlnb.monitor.text import shortened
from mlnb.monitor.trend import periods

if TYPE_CHECKING:
    from mlnb.monitor.explorer import Explorer
    from mlnb.registry.alarms import Alarm

_CHOICES = 40
_LEFT, _RIGHT = (0.0, 0.455), (0.575, 1.0)
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
CONFIG = {"displayModeBar": False, "responsive": True}


def figure(report: Report, *, dropdown: bool = True) -> go.Figure:
    """Return the dashboard of a report.

    Parameters
    ----------
    report : Report
    dropdown : bool
        Whether the figure itself lets one choose the feature whose distribution is shown; a widget brings its own
        choice.

    Returns
    -------
    plotly.graph_objects.Figure
        Ranked drift, reference against current of a feature, drift by feature and time, volume and latency, and
        realised performance where labels are known. Its size depends on features and windows, up to limits, not on
        rows.
    """
    parts = periods(report, panels.PERIODS)
    choices = [*report.features[:_CHOICES], *report.answers]
    drawn = [(column, bars(column.feature, column.tally)) for column in choices]
    ranked, shares = panels.ranking(report), panels.distribution(drawn[0][1])
    traces = [*ranked, *shares, *panels.over_time(report, parts, _rows(report)[1])]
    traces += [*panels.alarmed(report, parts), *panels.traffic(report, parts)]
    traces += panels.realised(report, parts)
    layout = _layout(report, drawn[0][1], dropdown=dropdown)
    if dropdown:
        layout["updatemenus"] = [_menu(drawn, len(ranked), _rows(report)[0][1])]
    return go.Figure(data=traces, layout=layout)


def page(report: Report) -> str:
    """Return a self-contained HTML page with plotly.js inside; it makes no request to any network."""
    from mlnb.monitor.page import render  # the page's text and style are no business of the figure

    return render(report, figure(report).to_html(include_plotlyjs=True, full_html=False, config=CONFIG, div_id="mlnb"))


def widget(report: Report, acknowledge: Callable[[int, str], Alarm] | None = None) -> Explorer:
    """Return a widget to choose feature and window with; where no widget can live it leaves a static picture.

    Parameters
    ----------
    acknowledge : callable
        Acknowledges an alarm, given its number and a note; without it alarms have no buttons.
    """
    from mlnb.monitor.explorer import Explorer  # ipywidgets are for notebooks only

    return Explorer(report, figure(report, dropdown=False), distribution_title, acknowledge)


def distribution_title(column: Column, window: str = "") -> str:
    """Return the title above the distribution of a feature."""
    when = f" in {window}" if window else ""
    keys = f"{_key(panels.GREY, 'reference')} {_key(panels.BLUE, 'current')}"
    return f"{_title(shortened(column.name, 24))}{when} &nbsp; {keys}"


def _rows(report: Report) -> list[tuple[float, float]]:
    if report.overall.rows:
        return [(0.715, 0.965), (0.36, 0.605), (0.0, 0.25)]
    return [(0.57, 0.955), (0.0, 0.42)]


def _layout(report: Report, first: Bars, *, dropdown: bool) -> dict[str, object]:
    rows = _rows(report)
    dates = {"type": "date"} if panels.by_time(report) else {}
    plain = {"showgrid": False, "zeroline": False, "linecolor": "#d1d5db", "ticks": ""}
    grid = {"gridcolor": "#eef1f5", "zeroline": False, "rangemode": "tozero"}
    names = {"automargin": True, "ticks": "", "showgrid": False, "dtick": 1, "tickfont": {"size": 11}}
    right = {"side": "right", "showgrid": False, "tickmode": "auto", "nticks": 5}
    layout: dict[str, object] = {
        "template": "none",
        "font": {"family": _FONT, "size": 12, "color": panels.INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "height": 1010 if report.overall.rows else 740,
        "autosize": True,
        "margin": {"l": 20, "r": 64, "t": 62 if dropdown else 34, "b": 40},
        "showlegend": False,
        "bargap": 0.25,
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": "#d1d5db", "font": {"color": panels.INK}, "align": "left"},
        "xaxis": {"domain": _LEFT, "anchor": "y", **grid, "range": [0, _reach(report)], "title": _drift_axis()},
        "yaxis": {"domain": rows[0], "anchor": "x", **names},
        "xaxis2": {"domain": _RIGHT, "anchor": "y2", **plain, "type": "category", **panels.distribution_axis(first)},
        "yaxis2": {"domain": rows[0], "anchor": "x2", **grid, "tickformat": ".0%"},
        "xaxis3": {"domain": _LEFT, "anchor": "y3", **plain, **dates},
        "yaxis3": {"domain": rows[1], "anchor": "x3", **names},
        "xaxis4": {"domain": _RIGHT, "anchor": "y4", **plain, **dates},
        "yaxis4": {"domain": rows[1], "anchor": "x4", **grid, "tickformat": "~s", "nticks": 5},
        "yaxis5": {"overlaying": "y4", "anchor": "x4", **grid, **right, "ticksuffix": " ms"},
        "shapes": [_tolerance_line(rows[0])],
        "annotations": _titles(report, rows),
    }
    if report.overall.rows:
        layout["xaxis5"] = {"domain": (0.0, 1.0), "anchor": "y6", **plain, **dates}
        layout["yaxis6"] = {"domain": rows[2], "anchor": "x5", "gridcolor": "#eef1f5", "zeroline": False, "nticks": 6}
        layout["yaxis7"] = {"overlaying": "y6", "anchor": "x5", **grid, **right}
    return layout


def _reach(report: Report) -> float:
    known = [c.drift.distance for c in report.features if c.drift.distance == c.drift.distance]
    return min(1.02, max(2.5 * TOLERANCE, 1.08 * max(known, default=0.0)))


def _drift_axis() -> dict[str, object]:
    keys = f"{_key(panels.RED, 'tolerance', '┊')} &nbsp; {_key(panels.INK, 'chance', '|')}"
    return {"text": f"Jensen-Shannon distance &nbsp; {keys}", "font": {"size": 11}, "standoff": 8}


def _tolerance_line(row: tuple[float, float]) -> dict[str, object]:
    line = {"color": panels.RED, "width": 1, "dash": "dot"}
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": TOLERANCE,
        "x1": TOLERANCE,
        "y0": row[0],
        "y1": row[1],
        "line": line,
    }


def _titles(report: Report, rows: Sequence[tuple[float, float]]) -> list[dict[str, object]]:
    more = len(report.features) - panels.SHOWN
    shown = f" ({panels.SHOWN} of {len(report.features)})" if more > 0 else ""
    ranked = f"{_title('Drift by feature')}{shown}"
    alarm = f" &nbsp; {_key(panels.INK, 'alarm', '▼')}" if report.alarms else ""
    trend = f"{_title('Drift over time')} {_column_span(report)}, blank within chance{alarm}"
    volume = " ".join(
        [
            f"{_title('Traffic')} &nbsp;",
            _key("#94a3b8", "rows"),
            *([_key(panels.RED, "errors")] if report.total.errors else []),
            _key(panels.BLUE, "p50", "━"),
            _key(panels.INK, "p95 latency", "━"),
        ]
    )
    titles = [
        _annotation(ranked, _LEFT[0], rows[0][1]),
        _annotation(distribution_title((*report.features, *report.answers)[0]), _RIGHT[0], rows[0][1]),
        _annotation(trend, _LEFT[0], rows[1][1]),
        _annotation(volume, _RIGHT[0], rows[1][1]),
    ]
    if report.overall.rows:
        keys = " ".join(_key(colour, name, "━") for colour, name in panels.realised_colours(report))
        titles.append(_annotation(f"{_title('Realised performance')} &nbsp; {keys}", 0.0, rows[2][1]))
    return titles


def _column_span(report: Report) -> str:
    windows = len(periods(report, panels.PERIODS)[0].places)
    if windows == 1:
        return f"by {report.span}"
    return (
        f"by {windows * int(report.span.split()[0])} rows"
        if not panels.by_time(report)
        else f"by {windows} {report.span}s"
    )


def _annotation(text: str, x: float, y: float) -> dict[str, object]:
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "left", "yanchor": "bottom", "yshift": 8}
    return {"text": text, "showarrow": False, "align": "left", "font": {"size": 12}, **place}


def _title(text: str) -> str:
    return f"<b>{text}</b>"


def _key(colour: str, name: str, sign: str = "■") -> str:
    return f'<span style="color:{colour}">{sign}</span> {name}'


def _menu(drawn: Sequence[tuple[Column, Bars]], first: int, top: float) -> dict[str, object]:
    """Return the dropdown that puts another feature's bars into the two distribution traces, which begin at `first`."""
    buttons = []
    for column, shown in drawn:
        sides = panels.distribution(shown)
        axis = {f"xaxis2.{key}": value for key, value in panels.distribution_axis(shown).items()}
        buttons.append(
            {
                "label": f"{shortened(column.name, 24)}  {column.drift.distance:.3f}",
                "method": "update",
                "args": [
                    {"x": [side.x for side in sides], "y": [side.y for side in sides]},
                    {**axis, "annotations[1].text": distribution_title(column)},
                    [first, first + 1],
                ],
            }
        )
    style = {"bgcolor": "#ffffff", "bordercolor": "#cbd5e1", "font": {"size": 11}, "showactive": True}
    place = {"x": 1.0, "xanchor": "right", "y": top, "yanchor": "bottom", "pad": {"b": 29, "r": 0}}
    return {"type": "dropdown", "direction": "down", "buttons": buttons, **style, **place}
