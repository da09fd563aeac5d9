"""Importances and shares of predictions become pictures: plotly figures (plain JSON) and SVG that needs no script.

Three of them: bars with their spread, a swarm (each point a row, its place the share of a column in the prediction, its
colour the column's value) and a waterfall (from the base value to one prediction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, BLUE, RED, GREY, QUIET = "#1f2937", "#2563eb", "#dc2626", "#cbd5e1", "#64748b"
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
_WIDE, _LEFT, _RIGHT, _ROW, _TOP, _FOOT = 640, 190, 70, 22, 30, 26
_LONGEST = 28
_LOW, _HIGH, _UNKNOWN = (37, 99, 235), (220, 38, 38), "#94a3b8"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its length and the spread around its end (0 for none)."""

    name: str
    value: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Swarm:
    """The points of one column.

    Attributes
    ----------
    name : str
        The column.
    shares : tuple of float, shape (rows,)
        Its share in each row's prediction.
    heights : tuple of float, shape (rows,)
        The column's value from 0 (smallest) to 1 (largest); NaN where it is missing or no number.
    texts : tuple of str, shape (rows,)
        The value as people write it.
    """

    name: str
    shares: tuple[float, ...]
    heights: tuple[float, ...]
    texts: tuple[str, ...]


def bars_figure(bars: Sequence[Bar], title: str, unit: str = "") -> dict[str, object]:
    """Return the bars as a plotly figure, the first on top."""
    shown = list(reversed(bars))
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [bar.value for bar in shown],
        "y": [_plain(bar.name) for bar in shown],
        "error_x": {"type": "data", "array": [bar.spread for bar in shown], "color": INK, "thickness": 1},
        "marker": {"color": BLUE},
        "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
    }
    if not any(bar.spread for bar in shown):
        trace.pop("error_x")
    return {"data": [trace], "layout": _layout(title, unit, len(shown))}


def bars_svg(bars: Sequence[Bar], title: str, unit: str = "") -> str:
    """Return the bars as SVG, the first on top."""
    low = min([0.0, *(bar.value - bar.spread for bar in bars)])
    high = max([0.0, *(bar.value + bar.spread for bar in bars)])
    scale = _Scale(low, high)
    parts = []
    for place, bar in enumerate(bars):
        y = _TOP + place * _ROW
        start, end = sorted((scale.x(0.0), scale.x(bar.value)))
        parts.append(_name(bar.name, y))
        parts.append(f'<rect x="{start}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="14" fill="{BLUE}"/>')
        if bar.spread:
            ends = f"M{scale.x(bar.value - bar.spread)} {y + 11}H{scale.x(bar.value + bar.spread)}"
            parts.append(f'<path d="{ends}" stroke="{INK}" stroke-width="1.2" fill="none"/>')
        after = scale.x(max(bar.value + bar.spread, 0.0)) + 5
        parts.append(f'<text x="{after}" y="{y + 15}" fill="{QUIET}">{bar.value:.3g}</text>')
    return _svg(title, unit, len(bars), "".join(parts), scale)


def swarm_figure(swarms: Sequence[Swarm], title: str, unit: str = "") -> dict[str, object]:
    """Return the swarm as a plotly figure, the first column on top."""
    data: list[object] = []
    shown = list(reversed(swarms))
    for place, one in enumerate(shown):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": list(one.shares),
                "y": [place + shift for shift in _spread(one.shares)],
                "text": [_plain(text) for text in one.texts],
                "marker": {
                    "size": 6,
                    "color": [_UNKNOWN if math.isnan(height) else _rgb(height) for height in one.heights],
                    "opacity": 0.75,
                },
                "hovertemplate": f"{_plain(one.name)} = %{{text}}: %{{x:.4g}}<extra></extra>",
            }
        )
    layout = _layout(title, unit, len(shown))
    layout["yaxis"] = {
        "tickvals": list(range(len(shown))),
        "ticktext": [_plain(one.name) for one in shown],
        "automargin": True,
        "zeroline": False,
        "gridcolor": "#eef1f5",
    }
    return {"data": data, "layout": layout}


def swarm_svg(swarms: Sequence[Swarm], title: str, unit: str = "") -> str:
    """Return the swarm as SVG, the first column on top; blue is a low value, red a high one, grey no number."""
    shares = [share for one in swarms for share in one.shares]
    scale = _Scale(min([0.0, *shares]), max([0.0, *shares]))
    parts = []
    for place, one in enumerate(swarms):
        y = _TOP + place * _ROW
        parts.append(_name(one.name, y))
        for share, shift, height in zip(one.shares, _spread(one.shares), one.heights, strict=True):
            middle = y + 11 - shift * _ROW
            colour = _UNKNOWN if math.isnan(height) else _rgb(height)
            parts.append(
                f'<circle cx="{scale.x(share)}" cy="{middle:.1f}" r="2.4" fill="{colour}" fill-opacity="0.75"/>'
            )
    return _svg(title, unit, len(swarms), "".join(parts), scale)


def waterfall_figure(bars: Sequence[Bar], base: float, title: str, unit: str = "") -> dict[str, object]:
    """Return the way from the base value (at the bottom) to the prediction as a plotly figure."""
    shown = list(reversed(bars))
    end = base + sum(bar.value for bar in bars)
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "base": base,
        "x": [bar.value for bar in shown],
        "y": [_plain(bar.name) for bar in shown],
        "measure": ["relative"] * len(shown),
        "text": [f"{bar.value:+.3g}" for bar in shown],
        "increasing": {"marker": {"color": RED}},
        "decreasing": {"marker": {"color": BLUE}},
        "connector": {"line": {"color": GREY, "width": 1}},
        "hovertemplate": "%{y}: %{delta:+.4g}<extra></extra>",
    }
    steps = [base]
    for bar in shown:
        steps.append(steps[-1] + bar.value)
    room = 0.12 * (max(steps) - min(steps) or 1.0)
    layout = _layout(f"{title}: {base:.4g} on average, {end:.4g} here", unit, len(shown))
    layout["xaxis"] = {"range": [min(steps) - room, max(steps) + room], "gridcolor": "#eef1f5"}
    return {"data": [trace], "layout": layout}


def waterfall_svg(bars: Sequence[Bar], base: float, title: str, unit: str = "") -> str:
    """Return the way from the base value (at the bottom) to the prediction (on top) as SVG."""
    steps = [base]
    for bar in reversed(bars):
        steps.append(steps[-1] + bar.value)
    scale = _Scale(min(steps), max(steps))
    parts = []
    for place, bar in enumerate(bars):
        y = _TOP + place * _ROW
        before, after = steps[len(bars) - 1 - place], steps[len(bars) - place]
        start, end = sorted((scale.x(before), scale.x(after)))
        colour = RED if bar.value >= 0 else BLUE
        parts.append(_name(bar.name, y))
        parts.append(f'<rect x="{start}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="14" fill="{colour}"/>')
        parts.append(f'<path d="M{scale.x(after)} {y - 4}V{y + 4}" stroke="{GREY}" fill="none"/>')
        parts.append(f'<text x="{end + 5:.1f}" y="{y + 15}" fill="{QUIET}">{bar.value:+.3g}</text>')
    whole = f"{title}: {base:.4g} on average, {steps[-1]:.4g} here"
    return _svg(whole, unit, len(bars), "".join(parts), scale)


class _Scale:
    """Places numbers across the picture."""

    __slots__ = ("high", "low")

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high if high > low else low + 1.0

    def x(self, value: float) -> float:
        inside = (value - self.low) / (self.high - self.low)
        return round(_LEFT + inside * (_WIDE - _LEFT - _RIGHT), 1)


def _spread(shares: Sequence[float]) -> list[float]:
    """Return by how much each point is moved up or down, from -0.38 to 0.38 rows, so that equal ones lie apart."""
    low, high = min(shares, default=0.0), max(shares, default=0.0)
    width = (high - low) / 60 or 1.0
    held: dict[int, int] = {}
    places: list[float] = []
    for share in shares:
        at = int((share - low) / width)
        count = held.get(at, 0)
        held[at] = count + 1
        places.append(float((count + 1) // 2 * (1 if count % 2 else -1)))
    most = max((abs(place) for place in places), default=0.0) or 1.0
    return [place / most * min(0.38, 0.06 * most) for place in places]


def _name(name: str, y: int) -> str:
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    tip = f"<title>{escape(name)}</title>" if short != name else ""
    return f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(short)}{tip}</text>'


def _svg(title: str, unit: str, rows: int, inside: str, scale: _Scale) -> str:
    high = _TOP + rows * _ROW + _FOOT
    bottom = _TOP + rows * _ROW
    nought = scale.x(0.0) if scale.low <= 0 <= scale.high else _LEFT
    ends = "".join(
        f'<text x="{scale.x(value)}" y="{bottom + 15}" text-anchor="{anchor}" fill="{QUIET}">{value:.3g}</text>'
        for value, anchor in ((scale.low, "start"), (scale.high, "end"))
    )
    middle = f'<text x="{(_LEFT + _WIDE - _RIGHT) / 2}" y="{bottom + 15}" text-anchor="middle">{escape(unit)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" width="{_WIDE}" height="{high}" '
        f'style="background:#fff;max-width:100%;height:auto" font-family="{_FONT}" font-size="12" fill="{INK}" '
        f'role="img" aria-label="{escape(title)}"><text x="8" y="16" font-weight="600">{escape(title)}</text>'
        f'<path d="M{nought} {_TOP - 4}V{bottom}" stroke="{GREY}"/>{inside}{ends}{middle if unit else ""}</svg>'
    )


def _layout(title: str, unit: str, rows: int) -> dict[str, object]:
    return {
        "template": "none",
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "title": {"text": _plain(title), "x": 0.01, "font": {"size": 14}},
        "height": 110 + 26 * max(rows, 2),
        "margin": {"l": 20, "r": 30, "t": 46, "b": 46},
        "showlegend": False,
        "xaxis": {"title": {"text": _plain(unit)}, "gridcolor": "#eef1f5", "zerolinecolor": GREY},
        "yaxis": {"automargin": True, "type": "category"},
    }


def _plain(text: str) -> str:
    """Return a text that plotly, which understands some markup, shows as it is."""
    return escape(text, quote=False)


def _rgb(height: float) -> str:
    red, green, blue = (round(low + (high - low) * height) for low, high in zip(_LOW, _HIGH, strict=True))
    return f"rgb({red},{green},{blue})"
