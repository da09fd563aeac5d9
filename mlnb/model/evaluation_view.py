"""An evaluation becomes what people read: a line, a text, Markdown, HTML; in a notebook tables and a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from mlnb.model.metric_names import better

if TYPE_CHECKING:
    from mlnb.model.evaluation import Evaluation, Metric, Slice

PLOTLY = "application/vnd.plotly.v1+json"
_TOLD = 5
_SAID = 3
_FONT = "font:13px system-ui,'DejaVu Sans',sans-serif;color:#1f2937;background:#fff"
_CELL = "text-align:left;padding:2px 14px 2px 0;background:#fff;color:#1f2937;border-bottom:1px solid #eef1f5"
_CELL += ";white-space:nowrap"
_ARROWS = {"higher": "↑", "lower": "↓"}
_GREY = "color:#64748b"


def headline(evaluation: Evaluation) -> str:
    """Return one line: the task, the rows, the first three metrics."""
    told = ", ".join(f"{one.name} {_with_interval(one)}" for one in evaluation.metrics[:3])
    return f"{evaluation.task}, {evaluation.rows:,} rows: {told}"


def text(evaluation: Evaluation) -> str:
    """Return the tables as text."""
    lines = [f"{evaluation.task}, {evaluation.rows:,} rows; {_how(evaluation)}"]
    width = max((len(one.name) for one in evaluation.metrics), default=0)
    lines += [f"  {one.name:<{width}}  {_with_interval(one)}" for one in evaluation.metrics]
    for column, parts in _by_column(evaluation):
        lines.append(f"by {column}")
        names = [f"{part.value}{' (small)' if part.small else ''}" for part in parts]
        wide = max(len(name) for name in names)
        lines += [
            f"  {name:<{wide}}  {part.rows:>9,} rows  "
            + ", ".join(f"{one.name} {_with_interval(one)}" for one in _told(part)[:_SAID])
            for name, part in zip(names, parts, strict=True)
        ]
    return "\n".join([*lines, *(f"- {note}" for note in evaluation.notes)])


def markdown(evaluation: Evaluation) -> Iterator[str]:
    """Yield the tables as Markdown, for a model card."""
    yield f"{evaluation.task}, {evaluation.rows:,} rows; {_how(evaluation)}\n"
    yield "| metric | value | interval |\n|---|---|---|"
    yield from (f"| {one.name} | {_shown(one.value)} | {_interval(one)} |" for one in evaluation.metrics)
    for column, parts in _by_column(evaluation):
        names = [one.name for one in _told(parts[0])]
        yield f"\n| {_plain(column)} | rows | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}"
        for part in parts:
            known = {one.name: one for one in part.metrics}
            cells = [_with_interval(known[name]) if name in known else "-" for name in names]
            yield f"| {_plain(part.value)}{' (small)' if part.small else ''} | {part.rows:,} | {' | '.join(cells)} |"
    yield ""
    yield from (f"- {note}" for note in evaluation.notes)


def html(evaluation: Evaluation, *, drawn: bool = True) -> str:
    """Return tables and, if `drawn`, static pictures: no script, no network."""
    from mlnb.model.evaluation_figures import svg

    tables = [_metric_table(evaluation.metrics), *(_slice_table(*group) for group in _by_column(evaluation))]
    notes = "".join(f'<li style="margin:0">{escape(note)}</li>' for note in evaluation.notes)
    return (
        f'<div class="evaluation" style="{_FONT};padding:6px;overflow-x:auto">'
        f'<p style="margin:0 0 4px"><b>{escape(evaluation.task)}</b>, {evaluation.rows:,} rows; '
        f'<span style="{_GREY}">{escape(_how(evaluation))}</span></p>{"".join(tables)}'
        f'<ul style="margin:4px 0;padding-left:18px;{_GREY}">{notes}</ul>{svg(evaluation) if drawn else ""}</div>'
    )


def show(evaluation: Evaluation) -> None:
    """Display the tables, and below them the figure: plotly's where it can be drawn, else the static pictures."""
    from IPython.display import display

    from mlnb.model.evaluation_figures import plotly_figure, svg

    pictures = svg(evaluation)
    display({"text/html": html(evaluation, drawn=False), "text/plain": text(evaluation)}, raw=True)
    if pictures:
        figure = {**plotly_figure(evaluation), "config": {"displayModeBar": False, "responsive": True}}
        display({PLOTLY: figure, "text/html": f"<div>{pictures}</div>", "text/plain": "(figure)"}, raw=True)


def _how(evaluation: Evaluation) -> str:
    how = evaluation.interval
    if not how.resamples:
        return "no intervals"
    drawn = {"row": "", "query": " of queries", "series": " of series"}.get(
        how.unit, f" of {how.unit}".replace("block", "blocks", 1)
    )
    return f"{how.level:.0%} intervals, {how.method}, {how.resamples:,} resamples{drawn}"


def _metric_table(metrics: Sequence[Metric]) -> str:
    rows = "".join(
        f'<tr><td style="{_CELL}">{escape(one.name)} '
        f'<span style="{_GREY}">{_ARROWS.get(better(one.name), "")}</span></td>'
        f'<td style="{_CELL}"><b>{_shown(one.value)}</b></td><td style="{_CELL};{_GREY}">{_interval(one)}</td></tr>'
        for one in metrics
    )
    return _wrapped(("metric", "value", "interval"), rows)


def _slice_table(column: str, parts: Sequence[Slice]) -> str:
    names = [one.name for one in _told(parts[0])]
    rows = []
    for part in parts:
        known = {one.name: one for one in part.metrics}
        cells = "".join(f'<td style="{_CELL}">{_cell(known.get(name))}</td>' for name in names)
        note = f' <span style="{_GREY}">small</span>' if part.small else ""
        rows.append(
            f'<tr><td style="{_CELL}">{escape(part.value)}{note}</td><td style="{_CELL}">{part.rows:,}</td>{cells}</tr>'
        )
    return _wrapped((column, "rows", *names), "".join(rows))


def _cell(metric: Metric | None) -> str:
    if metric is None:
        return "-"
    interval = "" if math.isnan(metric.low) else f'<br/><span style="{_GREY}">{_interval(metric)}</span>'
    return f"{_shown(metric.value)}{interval}"


def _wrapped(heads: Sequence[str], rows: str) -> str:
    head = "".join(f'<th style="{_CELL};{_GREY};font-weight:500">{escape(one)}</th>' for one in heads)
    style = "border-collapse:collapse;width:auto;margin:0 0 10px;font-size:13px"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _by_column(evaluation: Evaluation) -> list[tuple[str, list[Slice]]]:
    found: dict[str, list[Slice]] = {}
    for part in evaluation.slices:
        found.setdefault(part.column, []).append(part)
    return list(found.items())


def _told(part: Slice) -> tuple[Metric, ...]:
    return part.metrics[:_TOLD]


def _with_interval(metric: Metric) -> str:
    interval = _interval(metric)
    return f"{_shown(metric.value)} {interval}" if interval != "-" else _shown(metric.value)


def _interval(metric: Metric) -> str:
    return "-" if math.isnan(metric.low) else f"[{_shown(metric.low)}, {_shown(metric.high)}]"


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _plain(value: str) -> str:
    return value.replace("|", "&#124;")
