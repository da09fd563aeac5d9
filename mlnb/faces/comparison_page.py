"""A comparison of two versions becomes HTML: the finding, a picture of the gains, tables, and the code's difference.

It holds no script and loads nothing. In the picture what lies right of the line is better in the second version. The
metrics are of different units, so each has a scale of its own; the slices share one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.faces.comparison import compared, comparison_lines, facts, interval_text, slices_of
from mlnb.faces.html_table import FONT, html_table
from mlnb.faces.shelf import page
from mlnb.faces.verb import Asked, write_out

if TYPE_CHECKING:
    from mlnb.model.gains import Gain
    from mlnb.project import Project
    from mlnb.registry.comparison import Comparison
    from mlnb.run.difference import Change, CodeChange

_COLOURS = {"better": "#2e7d32", "worse": "#c62828", "undecided": "#7d8796"}
_WIDTH, _ROW, _NAME, _PLOT, _TOP = 900.0, 24.0, 200.0, 290.0, 26.0
_CHARACTER = 6.6
_MOST_SLICES, _MOST_LINES, _MOST_CHANGES = 24, 400, 40
_H = "margin:18px 0 6px;font-size:14px;font-weight:600"
_QUIET = "opacity:.7"
_STYLE = (
    ".mlnb-gains text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:currentColor}"
    ".mlnb-gains .quiet{fill-opacity:.65}.mlnb-gains .zero{stroke:currentColor;stroke-opacity:.35}"
    ".mlnb-gains .head{fill-opacity:.65;font-size:11px}"
)
_SIGNS = {"+": "#2e7d32", "-": "#c62828", "@": "#6d4bc4"}


def answer_compare(asked: Asked, first: str, second: str, html: Path | None) -> int:
    """Print how two versions compare, or write it as a page."""
    told = compared(asked.project(), first, second)
    if html is not None:
        write_out(html, page(body(told), f"{told.first.ref} and {told.second.ref}"))
        return asked.answer(told, lambda one: [one.headline, f"The comparison is in {html}."])
    return asked.answer(told, comparison_lines)


def show(project: Project, first: str, second: str) -> None:
    """Display the comparison in a notebook."""
    from IPython.display import display

    from mlnb.faces.html import bundle

    told = compared(project, first, second)
    display(bundle(body(told), "\n".join(comparison_lines(told))), raw=True)


def body(told: Comparison) -> str:
    """Return the comparison as HTML that stands in a page or in a notebook."""
    parts = [f'<p style="margin:0 0 4px;font-size:15px"><b>{escape(told.headline)}</b></p>', *_measured(told)]
    parts += [f'<p style="margin:4px 0;{_QUIET}">{escape(note)}</p>' for note in told.notes]
    heads = ("", told.first.ref, told.second.ref)
    parts += [_title("The two versions"), _table(heads, facts(told.first, told.second))]
    if told.metrics:
        rows = [(one.name, _n(one.before), _n(one.after), _n(one.difference, "+")) for one in told.metrics]
        parts += [_title("Recorded by their own runs"), _table((*heads, "difference"), rows)]
    if told.callers:
        rows_of_callers = [
            ("must change" if not one.compatible else "may notice", one.sentence) for one in told.callers
        ]
        parts += [_title("Who calls them"), _table(("callers", ""), rows_of_callers)]
    for name, changes in (("Parameters", told.parameters), ("Data", told.data), ("Environment", told.environment)):
        parts += _changes(name, changes, heads)
    parts += _code(told.code)
    return f'<div class="mlnb-comparison" style="{FONT};max-width:940px">{"".join(parts)}</div>'


def picture(told: Comparison) -> str:
    """Return the gains as an SVG picture; empty where nothing was measured."""
    if told.measured is None:
        return ""
    whole = [(gain.metric, gain) for gain in told.measured.gains.gains if not gain.part]
    slices = slices_of(told)
    parts = slices[:_MOST_SLICES]
    named = [(f"{one.part[1:-1]}, {one.rows:,} rows{' (small)' * one.small}", one) for one in parts]
    widest = max((_reach(one) for one in parts), default=0.0)
    height = _TOP + _ROW * len(whole) + 8
    drawn = [_heads(told.first.ref, told.second.ref, 14.0)]
    drawn += [_row(name, one, _TOP + _ROW * at, _reach(one)) for at, (name, one) in enumerate(whole)]
    drawn.append(_zero(_TOP, height - 8))
    if named:
        title = f"{parts[0].metric} by slice, the worst first, on one scale"
        drawn.append(f'<text class="head" x="0" y="{height + 14:.0f}">{escape(title)}</text>')
        begin = height + 22
        drawn += [_row(name, one, begin + _ROW * at, widest) for at, (name, one) in enumerate(named)]
        height = begin + _ROW * len(named) + 4
        drawn.append(_zero(begin, height - 4))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="mlnb-gains" viewBox="0 0 {_WIDTH:.0f} '
        f'{height:.0f}" width="{_WIDTH:.0f}" height="{height:.0f}" style="max-width:100%;height:auto">'
        f"<title>{escape(told.headline)}</title><style>{_STYLE}</style>{''.join(drawn)}</svg>"
    )


def _measured(told: Comparison) -> Iterator[str]:
    found = told.measured
    if found is None:
        return
    level = f"{found.gains.level:.0%}"
    yield (
        f'<p style="margin:0 0 10px;{_QUIET}">Both packages answered {escape(found.where)}. Right of the line '
        f"{escape(told.second.ref)} is better; {level} paired bootstrap intervals"
        f"{', those of the slices hold together' if slices_of(told) else ''}.</p>"
    )
    yield picture(told)
    yield (
        f'<p style="margin:8px 0 0">They answer {found.answered_alike:.1%} of the rows alike. One row takes '
        f"{found.row_ms[0]:.3g} ms and {found.row_ms[1]:.3g} ms in this process.</p>"
    )


def _heads(first: str, second: str, y: float) -> str:
    places = (_NAME + _PLOT + 86, _NAME + _PLOT + 162)
    return (
        "".join(
            f'<text class="head" x="{x:.0f}" y="{y:.0f}" text-anchor="end">{escape(name)}</text>'
            for x, name in zip(places, (first, second), strict=True)
        )
        + f'<text class="head" x="{_NAME + _PLOT + 176:.0f}" y="{y:.0f}">gain [interval]</text>'
    )


def _reach(gain: Gain) -> float:
    """Return how far from 0 a row goes."""
    return max((abs(one) for one in (gain.gain, *gain.ends) if not math.isnan(one)), default=0.0)


def _zero(top: float, bottom: float) -> str:
    x = _NAME + _PLOT / 2
    return f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}"/>'


def _row(name: str, gain: Gain, top: float, reach: float) -> str:
    middle, half = top + _ROW / 2, _PLOT / 2 - 12
    zero = _NAME + _PLOT / 2
    known = not math.isnan(gain.ends[0])
    colour = _COLOURS[gain.verdict if known and not gain.small else "undecided"]
    shown = name if len(name) * _CHARACTER <= _NAME - 10 else f"{name[: int((_NAME - 10) / _CHARACTER) - 1]}…"
    parts = [f"<title>{escape(name)}</title>", f'<text x="0" y="{middle + 4:.1f}">{escape(shown)}</text>']
    if not math.isnan(gain.gain) and reach:
        places = [zero + value / reach * half for value in (gain.gain, *(gain.ends if known else ()))]
        if known:
            parts.append(
                f'<line x1="{places[1]:.1f}" x2="{places[2]:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" '
                f'stroke="{colour}" stroke-width="2.5" stroke-linecap="round"/>'
            )
        parts.append(f'<circle cx="{places[0]:.1f}" cy="{middle:.1f}" r="4.5" fill="{colour}"/>')
    right = _NAME + _PLOT
    for x, value in ((right + 86, gain.first), (right + 162, gain.second)):
        parts.append(f'<text x="{x:.0f}" y="{middle + 4:.1f}" text-anchor="end">{_n(value)}</text>')
    said = f"{gain.gain:+.3g} {interval_text(gain)}" if gain.sign and not math.isnan(gain.gain) else ""
    parts.append(f'<text x="{right + 176:.0f}" y="{middle + 4:.1f}" style="fill:{colour}">{escape(said)}</text>')
    return f"<g>{''.join(parts)}</g>"


def _changes(name: str, changes: Sequence[Change], heads: Sequence[str]) -> list[str]:
    if not changes:
        return []
    rows = [(one.name, _value(one.before), _value(one.after)) for one in changes[:_MOST_CHANGES]]
    if len(changes) > _MOST_CHANGES:
        rows.append((f"and {len(changes) - _MOST_CHANGES} more", "", ""))
    return [_title(name), _table(heads, rows)]


def _value(value: object) -> str:
    if value is None:
        return "not there"
    return value.removeprefix("sha256:")[:12] if isinstance(value, str) and value.startswith("sha256:") else str(value)


def _code(changes: Sequence[CodeChange]) -> Iterator[str]:
    """Yield the unified differences with coloured lines, up to a limit that is told."""
    left = _MOST_LINES
    for change in changes:
        if left <= 0:
            yield f'<p style="{_QUIET}">More code differs; --json and the terminal tell all of it.</p>'
            return
        lines = [line for line in change.diff if not line.startswith(("---", "+++"))]
        yield _title(f"Code of {change.stage}")
        shown = "\n".join(map(_coloured, lines[:left]))
        yield (
            '<pre style="margin:0;padding:8px 12px;overflow-x:auto;border:1px solid rgba(125,135,150,.35);'
            f"border-radius:6px;font:12px/1.45 ui-monospace,Menlo,'DejaVu Sans Mono',monospace;background:none\">"
            f"{shown}</pre>"
        )
        left -= len(lines)


def _coloured(line: str) -> str:
    colour = _SIGNS.get(line[:1])
    return f'<span style="color:{colour}">{escape(line)}</span>' if colour else escape(line)


def _title(text: str) -> str:
    return f'<h3 style="{_H}">{escape(text)}</h3>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return html_table(heads, ([escape(cell) for cell in row] for row in rows))


def _n(value: float | None, sign: str = "") -> str:
    return "" if value is None or math.isnan(value) else f"{value:{sign}.4g}"
