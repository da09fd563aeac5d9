"""An evaluation's curves become panels, drawn as a plotly figure (plain JSON) or as SVG that needs no script."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlnb.model.evaluation import Confusion, Curve, Evaluation, Slice

INK, BLUE, GREY = "#1f2937", "#2563eb", "#cbd5e1"
_COLOURS = (BLUE, "#f97316", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#db2777", "#4b5563", "#65a30d")
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
_WIDE, _HIGH, _LEFT, _TOP, _BOTTOM = 270, 240, 44, 26, 36
_PANEL_PX, _GAP_PX, _ABOVE_PX, _BELOW_PX = 230, 96, 34, 52
_TITLES = {
    "roc": ("ROC", "false positive rate", "true positive rate"),
    "precision_recall": ("Precision and recall", "recall", "precision"),
    "calibration": ("Calibration", "predicted", "observed"),
    "residuals": ("Residuals", "truth - answer", "rows"),
    "qq": ("Residuals and the normal distribution", "normal quantile", "residual / sd"),
    "binned": ("Truth by answer", "mean answer", "mean truth"),
    "cut_off": ("nDCG by cut-off", "k", "nDCG"),
}
_SQUARE = {"roc", "precision_recall", "calibration"}
_DIAGONAL = {"roc", "calibration", "qq", "binned"}


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one name; `marks` draws them as well as the line; `low` and `high` are ends of intervals or empty."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot.

    Attributes
    ----------
    title, across, up : str
        What stands above it, below it and beside it.
    lines : tuple of Line
        What is drawn; bars if `bars`.
    square : bool
        Whether both axes go from 0 to 1.
    diagonal : bool
        Whether the line x = y is drawn.
    table : Confusion, optional
        Drawn instead of lines, each row as shares of its own.
    ticks : tuple of str
        What stands below x = 0, 1, 2 and so on; empty where the numbers say it themselves.
    """

    title: str
    across: str
    up: str
    lines: tuple[Line, ...] = ()
    bars: bool = False
    square: bool = False
    diagonal: bool = False
    table: Confusion | None = None
    ticks: tuple[str, ...] = ()


def panels(evaluation: Evaluation) -> tuple[Panel, ...]:
    """Return what is drawn of an evaluation, in order."""
    found = [_panel(kind, [one for one in evaluation.curves if one.kind == kind]) for kind in _TITLES]
    shown = [panel for panel in found if panel.lines]
    if evaluation.confusion is not None:
        shown.append(Panel("Confusion, share of each true class", "answer", "truth", table=evaluation.confusion))
    ahead = [one for one in evaluation.slices if one.column == "horizon"]
    if len(ahead) > 1:
        shown.append(_by_horizon(ahead))
    return tuple(shown)


def plotly_figure(evaluation: Evaluation) -> dict[str, object]:
    """Return data and layout of a plotly figure; plotly itself is not needed."""
    shown = panels(evaluation)
    columns = 2 if len(shown) == 4 else min(3, max(len(shown), 1))
    rows = math.ceil(len(shown) / columns)
    inside = rows * _PANEL_PX + (rows - 1) * _GAP_PX
    data: list[object] = []
    layout: dict[str, object] = {
        "template": "none",
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "height": _ABOVE_PX + inside + _BELOW_PX,
        "margin": {"l": 60, "r": 20, "t": _ABOVE_PX, "b": _BELOW_PX},
        "showlegend": False,
        "annotations": [],
    }
    titles: list[object] = []
    for number, panel in enumerate(shown):
        end = "" if not number else str(number + 1)
        column, row = number % columns, number // columns
        left, top = column / columns, 1 - row * (_PANEL_PX + _GAP_PX) / inside
        across = [left + (0.03 if column else 0), left + 1 / columns - 0.05]
        up = [max(0.0, top - _PANEL_PX / inside), top]
        data += _traces(panel, f"x{end}", f"y{end}")
        layout |= _axes(panel, end, across, up)
        titles.append(
            {
                "text": f"<b>{escape(panel.title)}</b>",
                "x": across[0],
                "y": up[1],
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "yshift": 6,
            }
        )
    return {"data": data, "layout": {**layout, "annotations": titles}}


def svg(evaluation: Evaluation) -> str:
    """Return the panels side by side as inline SVG; empty where nothing can be drawn."""
    return "".join(_drawing(panel) for panel in panels(evaluation))


def _panel(kind: str, curves: Sequence[Curve]) -> Panel:
    title, across, up = _TITLES[kind]
    lines = tuple(Line(one.label, one.x, one.y, marks=kind in {"calibration", "binned", "cut_off"}) for one in curves)
    return Panel(title, across, up, lines, kind == "residuals", kind in _SQUARE, kind in _DIAGONAL)


def _by_horizon(ahead: Sequence[Slice]) -> Panel:
    names = [one.name for one in ahead[0].metrics]
    name = next((name for name in ("mase", "mae", "pinball") if name in names), names[0])
    rows = [next((one for one in part.metrics if one.name == name), None) for part in ahead]
    steps = tuple(part.value for part in ahead)
    ranges = not all(_is_number(step) for step in steps)
    x = tuple(float(place if ranges else step) for place, step in enumerate(steps))
    ends = [(one.value, one.low, one.high) if one else (math.nan,) * 3 for one in rows]
    values, low, high = (tuple(end[place] for end in ends) for place in range(3))
    line = Line(name, x, values, low, high, marks=True)
    return Panel(f"{name} by horizon", "steps ahead", name, (line,), ticks=steps if ranges else ())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _traces(panel: Panel, x: str, y: str) -> Iterator[dict[str, object]]:
    axes = {"xaxis": x, "yaxis": y}
    if panel.table is not None:
        names, shares = list(panel.table.classes), [list(row) for row in _shares(panel.table)]
        counts = [list(row) for row in panel.table.counts]
        look = {"colorscale": [[0, "#ffffff"], [1, BLUE]], "zmin": 0, "zmax": 1, "showscale": False}
        told = {"text": counts, "texttemplate": "%{text}" if len(names) <= 12 else "", "hovertemplate": _CELL}
        yield {"type": "heatmap", "x": names, "y": names, "z": shares, **look, **told, **axes}
        return
    if panel.diagonal:
        low, high = _span(panel)
        line = {"color": GREY, "dash": "dot", "width": 1}
        yield {"type": "scatter", "x": [low, high], "y": [low, high], "mode": "lines", "line": line, **axes}
    for number, line_of in enumerate(panel.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = {"x": list(line_of.x), "y": [None if math.isnan(value) else value for value in line_of.y]}
        if panel.bars:
            yield {"type": "bar", **points, "marker": {"color": colour}, **axes}
            continue
        spread: dict[str, object] = {}
        if line_of.low:
            spread["error_y"] = {
                "type": "data",
                "array": _gaps(line_of.high, line_of.y),
                "arrayminus": _gaps(line_of.y, line_of.low),
                "color": colour,
                "thickness": 1,
            }
        mode = "lines+markers" if line_of.marks else "lines"
        yield {
            "type": "scatter",
            **points,
            **spread,
            "mode": mode,
            "name": line_of.name,
            "line": {"color": colour, "width": 2},
            **axes,
        }


_CELL = "truth %{y}<br>answer %{x}<br>%{text} rows, %{z:.1%} of the true ones<extra></extra>"


def _axes(panel: Panel, end: str, across: Sequence[float], up: Sequence[float]) -> Mapping[str, object]:
    grid: dict[str, object] = {"gridcolor": "#eef1f5", "zeroline": False, "linecolor": GREY, "ticks": ""}
    x: dict[str, object] = {**grid, "domain": list(across), "anchor": f"y{end}", "title": {"text": panel.across}}
    y: dict[str, object] = {**grid, "domain": list(up), "anchor": f"x{end}", "title": {"text": panel.up}}
    if panel.square:
        x["range"], y["range"] = [0, 1], [0, 1.02]
    if panel.ticks:
        x |= {"tickvals": list(range(len(panel.ticks))), "ticktext": [escape(one, quote=False) for one in panel.ticks]}
    if panel.table is not None:
        x |= {"type": "category", "showgrid": False}
        y |= {"type": "category", "autorange": "reversed", "showgrid": False}
    return {f"xaxis{end}": x, f"yaxis{end}": y}


def _gaps(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [0.0 if math.isnan(high - low) else high - low for high, low in zip(over, under, strict=True)]


def _shares(table: Confusion) -> list[list[float]]:
    return [[count / max(sum(row), 1) for count in row] for row in table.counts]


def _span(panel: Panel) -> tuple[float, float]:
    values = [value for line in panel.lines for value in (*line.x, *line.y) if math.isfinite(value)]
    return (0.0, 1.0) if panel.square or not values else (min(values), max(values))


def _drawing(panel: Panel) -> str:
    inside = _table(panel.table) if panel.table is not None else _plot(panel)
    middle = _LEFT + (_WIDE - _LEFT) / 2
    texts = (
        f'<text x="{_LEFT}" y="14" font-weight="600">{escape(panel.title)}</text>'
        f'<text x="{middle:g}" y="{_HIGH - 4}" text-anchor="middle">{escape(panel.across)}</text>'
        f'<text x="10" y="{_HIGH / 2:g}" text-anchor="middle" transform="rotate(-90 10 {_HIGH / 2:g})">'
        f"{escape(panel.up)}</text>"
    )
    size = f'width="{_WIDE + 14}" height="{_HIGH}" viewBox="0 0 {_WIDE + 14} {_HIGH}"'
    style = f'style="background:#fff;margin:4px 8px 4px 0" font-family="{_FONT}" font-size="11" fill="{INK}"'
    name = f'role="img" aria-label="{escape(panel.title)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} {name}>{texts}{inside}</svg>'


def _plot(panel: Panel) -> str:
    xs = [value for line in panel.lines for value in line.x if math.isfinite(value)]
    ys = [value for line in panel.lines for value in (*line.y, *line.low, *line.high) if math.isfinite(value)]
    if not xs or not ys:
        return ""
    box = (0.0, 1.0, 0.0, 1.0) if panel.square else (min(xs), max(xs), 0.0 if panel.bars else min(ys), max(ys))
    left, right, low, high = box
    right, high = right if right > left else left + 1, high if high > low else low + 1

    def at(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - left) / (right - left) * (_WIDE - _LEFT)
        up = _HIGH - _BOTTOM - (y - low) / (high - low) * (_HIGH - _TOP - _BOTTOM)
        return round(across, 1), round(up, 1)

    names = (panel.ticks[0], panel.ticks[-1]) if panel.ticks else (f"{left:.3g}", f"{right:.3g}")
    parts = [_frame(names, low, high)]
    if panel.diagonal:
        start, end = max(left, low), min(right, high)
        if end > start:
            parts.append(_path([at(start, start), at(end, end)], GREY, dash=True))
    for number, line in enumerate(panel.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [at(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
        if panel.bars:
            wide = (_WIDE - _LEFT) / max(len(points), 1) - 1
            bottom = _HIGH - _BOTTOM
            parts += [
                f'<rect x="{x - wide / 2:.1f}" y="{y}" width="{wide:.1f}" height="{bottom - y:.1f}" fill="{colour}"/>'
                for x, y in points
            ]
            continue
        parts.append(_path(points, colour))
        if line.marks:
            parts += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in points]
        ends = zip(line.x, line.low, line.high, strict=True) if line.low else ()
        for x, bottom_end, top_end in ends:
            if math.isfinite(bottom_end) and math.isfinite(top_end):
                parts.append(_path([at(x, bottom_end), at(x, top_end)], colour))
    return "".join(parts)


def _frame(across: tuple[str, str], low: float, high: float) -> str:
    bottom = _HIGH - _BOTTOM
    edge = f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDE}" fill="none" stroke="{GREY}"/>'
    ends = (
        (_LEFT, bottom + 13, "start", across[0]),
        (_WIDE, bottom + 13, "end", across[1]),
        (_LEFT - 4, bottom, "end", f"{low:.3g}"),
        (_LEFT - 4, _TOP + 8, "end", f"{high:.3g}"),
    )
    return edge + "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#64748b">{escape(text)}</text>'
        for x, y, anchor, text in ends
    )


def _path(points: Sequence[tuple[float, float]], colour: str, *, dash: bool = False) -> str:
    steps = "L".join(f"{x:g} {y:g}" for x, y in points)
    dotted = ' stroke-dasharray="3 3"' if dash else ""
    return f'<path d="M{steps}" fill="none" stroke="{colour}" stroke-width="1.6"{dotted}/>' if points else ""


def _table(table: Confusion) -> str:
    size = len(table.classes)
    wide, high = (_WIDE - _LEFT) / size, (_HIGH - _TOP - _BOTTOM) / size
    parts = []
    for row, (counts, shares) in enumerate(zip(table.counts, _shares(table), strict=True)):
        for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
            x, y = _LEFT + column * wide, _TOP + row * high
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{BLUE}" '
                f'fill-opacity="{share:.2f}" stroke="#fff"/>'
            )
            if size <= 6:
                ink = "#fff" if share > 0.5 else INK
                place = f'x="{x + wide / 2:.1f}" y="{y + high / 2 + 4:.1f}" text-anchor="middle"'
                parts.append(f'<text {place} fill="{ink}">{count}</text>')
    if size <= 6:
        for number, name in enumerate(table.classes):
            short = escape(name if len(name) <= 8 else f"{name[:7]}…")
            across, up = _LEFT + (number + 0.5) * wide, _TOP + (number + 0.5) * high + 4
            parts.append(f'<text x="{across:.1f}" y="{_HIGH - _BOTTOM + 13}" text-anchor="middle">{short}</text>')
            parts.append(f'<text x="{_LEFT - 4}" y="{up:.1f}" text-anchor="end" font-size="10">{short}</text>')
    return "".join(parts)
