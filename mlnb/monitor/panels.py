"""A report becomes the traces of a dashboard: ranking, distribution, drift over time, traffic, performance.

Each panel is a list of traces on axes that `mlnb.monitor.figures` lays out. What a trace holds grows with features
and windows up to a limit, never with rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from mlnb.monitor.bars import Bars
from mlnb.monitor.report import Column, Report
from mlnb.monitor.span import instant
from mlnb.monitor.text import METRIC_NAMES, number, shortened
from mlnb.monitor.trend import Period, evident_drift_over
from mlnb.registry.alarms import Alarm
from mlnb.service.log_record import nanoseconds

SHOWN = 15
"""Features that the ranking and the heat map have room for."""

PERIODS = 150
"""Columns that the heat map has room for."""

GREY, BLUE, ORANGE, RED, GREEN, INK = "#a8b3c2", "#2563eb", "#f97316", "#dc2626", "#059669", "#1f2937"
SCALE = ((0.0, "#f8fafc"), (0.2, "#fef0d9"), (0.45, "#fdbb84"), (0.7, "#ef6548"), (1.0, "#990000"))
_NAME = 22
_METRIC_COLOURS = {"accuracy": BLUE, "auc": GREEN, "log_loss": ORANGE, "mae": BLUE, "rmse": ORANGE}


def axis_names(columns: Sequence[Column]) -> list[str]:
    """Return the columns' names, shortened where they must be and still unique."""
    short = [shortened(column.name, _NAME) for column in columns]
    return [
        name if short.count(name) == 1 else f"{shortened(name, _NAME - 3)} {place}" for place, name in enumerate(short)
    ]


def ranking(report: Report) -> list[go.Bar | go.Scatter]:
    """Return the ranked bars and, for each, a tick where chance alone would reach."""
    columns = report.features[:SHOWN][::-1]
    names = axis_names(columns)
    facts = [[_round(c.drift.chance), *_distances(c)] for c in columns]
    found = [_round(c.drift.distance) for c in columns]
    return [
        go.Bar(
            x=found,
            y=names,
            orientation="h",
            marker_color=[ORANGE if c.drift.drifted else GREY for c in columns],
            customdata=facts,
            hovertemplate="<b>%{y}</b><br>Jensen-Shannon %{x:.3f} (chance %{customdata[0]:.3f})<br>PSI %{customdata[1]}"
            "<br>KS %{customdata[2]}<br>Wasserstein %{customdata[3]} sd<extra></extra>",
            xaxis="x",
            yaxis="y",
        ),
        go.Scatter(
            x=[_round(c.drift.chance) for c in columns],
            y=names,
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 9, "color": INK, "line_width": 1.5},
            hoverinfo="skip",
            xaxis="x",
            yaxis="y",
        ),
    ]


def distribution(bars: Bars) -> list[go.Bar]:
    """Return the shares of reference and current, side by side."""
    sides = (("reference", bars.reference, GREY), ("current", bars.current, BLUE))
    return [
        go.Bar(
            x=list(bars.labels),
            y=[_round(share) for share in shares],
            name=name,
            marker_color=colour,
            hovertemplate="%{x}<br>" + name + " %{y:.1%}<extra></extra>",
            xaxis="x2",
            yaxis="y2",
        )
        for name, shares, colour in sides
    ]


def distribution_axis(bars: Bars) -> dict[str, object]:
    """Return the names below the bars; those of many or long names are slanted."""
    texts = [text for _, text in bars.ticks]
    slanted = sum(len(text) + 2 for text in texts) > 55
    return {"tickvals": [place for place, _ in bars.ticks], "ticktext": texts, "tickangle": -40 if slanted else 0}


def over_time(report: Report, parts: Sequence[Period], place: tuple[float, float]) -> list[go.Heatmap]:
    """Return the heat map of drift by feature and period, blank within chance; `place` is its part of the height."""
    columns = report.features[:SHOWN][::-1]
    rows = [[_round(value) for value in evident_drift_over(column, parts)] for column in columns]
    highest = max((value for row in rows for value in row if value is not None), default=0.0)
    return [
        go.Heatmap(
            x=_bounds(report, parts),
            y=axis_names(columns),
            z=rows,
            zmin=0,
            zmax=max(0.5, highest),
            colorscale=[list(stop) for stop in SCALE],
            colorbar={
                "thickness": 8,
                "outlinewidth": 0,
                "x": 0.462,
                "xanchor": "left",
                "xpad": 0,
                "ypad": 0,
                "y": sum(place) / 2,
                "len": place[1] - place[0],
                "tickfont": {"size": 10},
                "nticks": 5,
            },
            xgap=1 if len(parts) <= 60 else 0,
            ygap=1,
            hoverongaps=False,
            hovertemplate="<b>%{y}</b><br>" + _when(report) + "<br>Jensen-Shannon %{z:.3f}<extra></extra>",
            xaxis="x3",
            yaxis="y3",
        )
    ]


def alarmed(report: Report, parts: Sequence[Period]) -> list[go.Scatter]:
    """Return a mark in the heat map for each alarm of a feature that it shows: filled while it is open."""
    columns = report.features[:SHOWN][::-1]
    names = dict(zip((column.name for column in columns), axis_names(columns), strict=True))
    places = {alarm.id: _place(report, parts, alarm) for alarm in report.alarms if alarm.what in names}
    shown = [alarm for alarm in report.alarms if places.get(alarm.id) is not None]
    if not shown:
        return []
    return [
        go.Scatter(
            x=[places[alarm.id] for alarm in shown],
            y=[names[alarm.what] for alarm in shown],
            mode="markers",
            marker={
                "symbol": ["triangle-down" if alarm.open else "triangle-down-open" for alarm in shown],
                "size": 12,
                "color": INK,
                "line": {"width": 1.5, "color": ["#ffffff" if alarm.open else INK for alarm in shown]},
            },
            customdata=[[alarm.id, alarm.kind, "<br>".join(wrap(escape(alarm.reason), 70))] for alarm in shown],
            hovertemplate="<b>alarm %{customdata[0]}</b>, %{customdata[1]} of %{y}<br>%{customdata[2]}<extra></extra>",
            xaxis="x3",
            yaxis="y3",
        )
    ]


def traffic(report: Report, parts: Sequence[Period]) -> list[go.Bar | go.Scatter]:
    """Return rows and errors as bars, and the latency's median and 95th percentile as lines."""
    at, when = middles(report, parts), _when(report)
    widths = _widths(report, parts)
    windows = [part.window for part in parts]
    volume = [
        go.Bar(
            x=at,
            y=counts,
            width=widths,
            marker_color=colour,
            hovertemplate=when + "<br>%{y:,} " + name + "<extra></extra>",
            xaxis="x4",
            yaxis="y4",
            base=base,
        )
        for name, counts, colour, base in (
            ("answered", [w.rows - w.errors for w in windows], "#cbd5e1", None),
            ("refused or failed", [w.errors for w in windows], RED, [w.rows - w.errors for w in windows]),
        )
        if name == "answered" or any(counts)
    ]
    latency = [
        go.Scatter(
            x=at,
            y=[_round(w.latency_ms(percent)) for w in windows],
            mode="lines+markers" if len(parts) < 40 else "lines",
            line={"color": colour, "width": 1.6},
            marker={"size": 4},
            hovertemplate=when + f"<br>p{percent} %{{y:.2f}} ms<extra></extra>",
            xaxis="x4",
            yaxis="y5",
        )
        for percent, colour in ((50, BLUE), (95, INK))
    ]
    return [*volume, *latency]


def realised(report: Report, parts: Sequence[Period]) -> list[go.Scatter]:
    """Return a line for each realised metric; empty where no label is known."""
    at, when = middles(report, parts), _when(report)
    return [
        go.Scatter(
            x=at,
            y=[_round(part.performance.metrics.get(name, math.nan)) for part in parts],
            customdata=[part.performance.rows for part in parts],
            mode="lines+markers" if len(parts) < 40 else "lines",
            line={"color": _METRIC_COLOURS.get(name, INK), "width": 1.8},
            marker={"size": 5},
            hovertemplate=when + f"<br>{METRIC_NAMES.get(name, name)} %{{y:.3f}}"
            "<br>%{customdata:,} labels<extra></extra>",
            xaxis="x5",
            yaxis="y7" if name == "log_loss" else "y6",
        )
        for name in report.overall.metrics
    ]


def realised_colours(report: Report) -> list[tuple[str, str]]:
    """Return colour and name of each realised metric."""
    return [(_METRIC_COLOURS.get(name, INK), METRIC_NAMES.get(name, name)) for name in report.overall.metrics]


def by_time(report: Report) -> bool:
    """Return whether the windows are spans of time rather than of rows."""
    return not report.span.endswith("rows")


def middles(report: Report, parts: Sequence[Period]) -> list[str] | list[float]:
    """Return where the periods sit on the time axis: their middle, or their number where windows are of rows."""
    if by_time(report):
        return [_iso((part.window.start + part.window.end) // 2) for part in parts]
    return [part.places.start + len(part.places) / 2 + 0.5 for part in parts]


def _bounds(report: Report, parts: Sequence[Period]) -> list[str] | list[float]:
    if by_time(report):
        return [_iso(parts[0].window.start), *(_iso(part.window.end) for part in parts)]
    return [0.5, *(part.places.stop + 0.5 for part in parts)]


def _place(report: Report, parts: Sequence[Period], alarm: Alarm) -> str | float | None:
    """Return where an alarm's window sits on the time axis; None where it is not on it."""
    start, end = (nanoseconds(datetime.fromisoformat(text)) for text in alarm.window.split("/"))
    at: Sequence[str | float] = middles(report, parts)
    for part, middle in zip(parts, at, strict=True):
        if part.window.start < end and start < part.window.end:
            return middle
    return None


def _widths(report: Report, parts: Sequence[Period]) -> list[float]:
    if by_time(report):
        return [(part.window.end - part.window.start) // 1_000_000 * 0.94 for part in parts]
    return [len(part.places) * 0.94 for part in parts]


def _when(report: Report) -> str:
    if not by_time(report):
        return "window %{x:.0f}"
    return {"hour": "%{x|%d %b %Y %H:%M}", "month": "%{x|%b %Y}"}.get(report.span, "%{x|%d %b %Y}")


def _distances(column: Column) -> list[str]:
    drift = column.drift
    return [number(value) for value in (drift.psi, drift.ks, drift.wasserstein)]


def _iso(at: int) -> str:
    return instant(at).strftime("%Y-%m-%dT%H:%M").removesuffix("T00:00")


def _round(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.3g}")
