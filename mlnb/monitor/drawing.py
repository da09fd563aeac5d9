"""A report becomes a static table with small drawings: HTML and SVG that need no script, no style sheet and no network.

It is what mail, GitHub, a PDF or a notebook without a kernel show, and the table of the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from mlnb.monitor.bars import Bars, bars
from mlnb.monitor.distance import TOLERANCE
from mlnb.monitor.estimate_view import estimate_section
from mlnb.monitor.report import Column, Report
from mlnb.monitor.text import number, percent
from mlnb.monitor.trend import Period, drift_over, periods

_GREY, _BLUE, _ORANGE, _RED = "#a8b3c2", "#2563eb", "#f97316", "#dc2626"
_POINTS = 48
_UNFOLDED = 6
_ROW = "border-bottom:1px solid #eef1f5;text-align:left;background:#fff;color:#1f2937"
_LEFT = "text-align:left"  # each cell says so, because notebooks align theirs to the right
_HEADS = ("feature", "drift", "over time", "reference and current", "missing", "PSI", "KS", "Wasserstein, sd")


def table(report: Report, *, limit: int) -> str:
    """Return a table with a row for each of the first `limit` features and for the answers."""
    parts = periods(report, _POINTS)
    columns = [*report.features[:limit], *report.answers]
    heads = "".join(f'<th style="{_LEFT}"><small>{escape(head)}</small></th>' for head in _HEADS)
    rows = "".join(_row(column, parts) for column in columns)
    style = "border-collapse:collapse;font-size:13px;font-family:system-ui,'DejaVu Sans',sans-serif;margin:0"
    hidden = len(report.features) - limit
    note = f"<p><small>{hidden} features with less drift are not shown.</small></p>" if hidden > 0 else ""
    head = f'<thead><tr style="{_ROW}">{heads}</tr></thead>'
    return f'<table cellpadding="6" style="{style}">{head}<tbody>{rows}</tbody></table>{note}'


def sentences(report: Report) -> str:
    """Return the summary and the findings, of which all but the first few are folded away."""
    found = [escape(finding.sentence) for finding in report.findings]
    text = f'<p style="margin:0 0 6px">{escape(report.summary())}</p>{_items(found[:_UNFOLDED])}'
    if report.alarms:
        text = alarms(report) + text
    rest = found[_UNFOLDED:]
    if not rest:
        return text
    return f'{text}<details style="margin:0 0 8px"><summary>{len(rest)} more findings</summary>{_items(rest)}</details>'


def alarms(report: Report) -> str:
    """Return the open alarms with their reasons, and how many were acknowledged; empty where there was none."""
    if not report.alarms:
        return ""
    standing = [
        f'<b style="color:{_RED}">▼ alarm {one.id}</b> {escape(one.kind)} of <b>{escape(one.what)}</b>: '
        f"{escape(one.reason)}"
        for one in report.standing
    ]
    seen = [
        f"▽ alarm {one.id}, {escape(one.kind)} of {escape(one.what)}: acknowledged {one.acknowledged_at[:10]} by "
        f"{escape(one.acknowledged_by)}{escape(f': {one.note}' if one.note else '')}"
        for one in report.alarms
        if not one.open
    ]
    folded = ""
    if seen:
        named = f"{len(seen)} acknowledged {'alarm' if len(seen) == 1 else 'alarms'}"
        folded = f'<details style="margin:0 0 8px"><summary>{named}</summary>{_items(seen)}</details>'
    return _items(standing) + folded


def static(report: Report) -> str:
    """Return summary, findings and table as one fragment of HTML."""
    style = "font:13px system-ui,'DejaVu Sans',sans-serif;color:#1f2937;background:#fff;padding:8px;overflow-x:auto"
    return f'<div style="{style}">{sentences(report)}{table(report, limit=20)}{estimate_section(report)}</div>'


def _items(found: Sequence[str]) -> str:
    items = "".join(f'<li style="margin:0;line-height:1.5">{sentence}</li>' for sentence in found)
    return f'<ul style="margin:0 0 6px;padding-left:20px">{items}</ul>' if found else ""


def _row(column: Column, parts: Sequence[Period]) -> str:
    drift, feature, tally = column.drift, column.feature, column.tally
    before, after = feature.missing / max(feature.rows, 1), tally.missing / max(tally.rows, 1)
    shares = f"{percent(before)} → {percent(after)}".replace(" ", "&nbsp;")
    missing = shares if feature.missing or tally.missing else "-"
    colour = _ORANGE if drift.drifted else _GREY
    cells = [
        f"<b>{escape(column.name)}</b>",
        _bar(drift.distance, colour),
        _line(drift_over(column, parts), colour),
        _overlay(bars(feature, tally)),
        missing,
        number(drift.psi),
        number(drift.ks),
        number(drift.wasserstein),
    ]
    inside = "".join(f'<td style="{_LEFT}">{cell}</td>' for cell in cells)
    return f'<tr style="{_ROW}">{inside}</tr>'


def _bar(value: float, colour: str) -> str:
    if math.isnan(value):
        return "no values"
    at = 90 * TOLERANCE
    return _svg(
        135,
        18,
        f'<rect x="0" y="4" width="{_short(max(90 * value, 1))}" height="10" fill="{colour}"/>'
        f'<path d="M{_short(at)} 1v16" stroke="{_RED}" stroke-dasharray="2 2"/>'
        f'<text x="96" y="13" font-size="12" fill="#1f2937">{value:.3f}</text>',
    )


def _line(values: Sequence[float], colour: str) -> str:
    width, height = 150, 26
    step = width / max(len(values), 1)
    top = max((value for value in values if not math.isnan(value)), default=0.0)
    scale = (height - 2) / max(top, 0.25)
    tops = [height if math.isnan(value) else height - max(value * scale, 0.5) for value in values]
    limit = height - TOLERANCE * scale
    return _svg(
        width,
        height,
        f'<path d="{_stairs(tops, step, height)}" fill="{colour}" fill-opacity=".75"/>'
        f'<path d="M0 {_short(limit)}h{width}" stroke="{_RED}" stroke-dasharray="2 2" stroke-width=".8"/>',
    )


def _overlay(shown: Bars) -> str:
    width, height = 190, 34
    step = width / max(len(shown.reference), 1)
    highest = max([*shown.reference, *shown.current, 1e-9])

    def path(shares: Iterable[float]) -> str:
        return _stairs([height - (height - 2) * share / highest for share in shares], step, height)

    return _svg(
        width,
        height,
        f'<path d="{path(shown.reference)}" fill="{_GREY}" fill-opacity=".65"/>'
        f'<path d="{path(shown.current)}" fill="{_BLUE}" fill-opacity=".12" stroke="{_BLUE}" stroke-width="1.3"/>',
    )


def _stairs(tops: Sequence[float], step: float, floor: float) -> str:
    strides = "".join(f"V{_short(top)}h{step:.4g}" for top in tops)
    return f"M0 {_short(floor)}{strides}V{_short(floor)}Z"


def _svg(width: int, height: int, inside: str) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="vertical-align:middle">{inside}</svg>'


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
