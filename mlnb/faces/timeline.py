"""``mlnb models at delays@production 2026-03-03`` becomes who held the alias then, put there by whom, on what evidence.

In a notebook, and as ``--svg``, all aliases of the model are lanes of a time line with the asked moment across them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlnb.errors import UsageError
from mlnb.faces.board import SIGNS
from mlnb.faces.complete import refs
from mlnb.faces.verb import Asked, Verb, write_out
from mlnb.faces.view import moment

if TYPE_CHECKING:
    from mlnb.project import Project
    from mlnb.registry.tenure import Evidence, Held, Tenure

_WIDTH, _LANE, _LEFT, _RIGHT, _TOP = 900.0, 34.0, 110.0, 16.0, 34.0
_CHARACTER = 7.0
_TICKS = 6
_HUES = ("#3b6fd4", "#6d4bc4", "#3f8f5a", "#c47a1b", "#1b8a9c", "#b0476c")
_MOST_NUMBERS = 12
_STYLE = (
    ".mlnb-timeline text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#5f6b7a}"
    ".mlnb-timeline .bar{fill:#fff;font-weight:600}.mlnb-timeline .lane{fill:#5f6b7a;font-weight:600}"
    ".mlnb-timeline .grid{stroke:#7d8796;stroke-opacity:.3}.mlnb-timeline .asked{fill:#c62828;fill-opacity:.16}"
    ".mlnb-timeline .line{stroke:#c62828;stroke-width:1.5}.mlnb-timeline .said{fill:#c62828;font-weight:600}"
)


@click.command("at", cls=Verb)
@click.argument("ref", metavar="MODEL@ALIAS", shell_complete=refs)
@click.argument("when", nargs=-1, required=True)
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Write the time line as a picture.")
@click.pass_obj
def at(asked: Asked, ref: str, when: tuple[str, ...], svg: Path | None) -> int:
    """Say which version held an alias then, who put it there, on what evidence.

    WHEN is a day or a moment, in UTC: 2026-03-03, 2026-03-03T14:00, 3 March, yesterday, now.
    """
    project = asked.project()
    told = held_at(project, ref, " ".join(when))
    if svg is not None:
        from mlnb.registry.tenure import lanes

        write_out(svg, timeline(told, lanes(project.models, told.model), datetime.now(UTC)))
    return asked.answer(told, lambda one: [*held_lines(one), *([f"The time line is in {svg}."] if svg else [])])


def held_at(project: Project, ref: str, when: str) -> Held:
    """Return who held an alias then.

    Raises
    ------
    UsageError
        If `ref` is no alias, or `when` no time.
    """
    from mlnb.registry.reference import parse_reference
    from mlnb.registry.tenure import held, read_span

    reference = parse_reference(ref)
    if not reference.alias:
        raise UsageError(
            f"{ref} is a version: it never moves.", f"Name an alias: mlnb models at {reference.model}@production."
        )
    return held(project.models, project.audit, reference, read_span(when, datetime.now(UTC)))


def held_lines(told: Held) -> Iterator[str]:
    """Yield the answer, and what it rests on."""
    name = f"{told.model}@{told.alias}"
    if not told.found:
        first = told.first
        yield f"{name} held nothing on {told.span}: {first.ref} was the first, {moment(first.begun.at)}."
        return
    several = f"{len(told.found)} versions, one after the other" if len(told.found) > 1 else told.found[0].tenure.ref
    yield f"{name} on {told.span}: {several}"
    for one in told.found:
        yield from _evidence_lines(one)
    last = told.found[-1].tenure
    if last.ended is None:
        yield "It holds the alias still."
    elif told.now != last.ref:
        number = last.ref.rpartition("/")[2]
        yield f"Now it is {told.now}. To go back: mlnb rollback {told.model} {told.alias} --to {number}"


def _evidence_lines(one: Evidence) -> Iterator[str]:
    tenure, move = one.tenure, one.tenure.begun
    until = moment(tenure.ended.at) if tenure.ended else "now"
    yield f"{tenure.ref}, from {moment(move.at)} until {until}"
    how = "rolled back" if move.kind == "rollback" else "promoted"
    came = f"from {move.from_ref}" if move.from_ref else "where nothing had been"
    yield f"  {how} by {move.by}, {came}{', by force' if move.forced else ''}"
    if move.reason:
        yield f"  reason: {move.reason}"
    for given in one.approvals:
        yield f"  approved by {given.by}, {moment(given.at)}{f': {given.reason}' if given.reason else ''}"
    for verdict in move.verdicts:
        yield f"  {SIGNS['done' if verdict.passed else 'failed']} {verdict.sentence}"
    if not move.verdicts:
        yield "  no gates were judged for this move"
    if one.numbers:
        shown = [(name, value) for name, value in one.numbers.items() if "." not in name]
        more = f", and {len(shown) - _MOST_NUMBERS} more" if len(shown) > _MOST_NUMBERS else ""
        yield "  measured: " + ", ".join(f"{name} {value:.4g}" for name, value in shown[:_MOST_NUMBERS]) + more
    if one.row:
        yield f"  audit row {one.row}, {one.digest}"
    if tenure.ended is not None:
        end = tenure.ended
        why = f": {end.reason}" if end.reason else ""
        yield f"  replaced by {end.to_ref}, {moment(end.at)}, by {end.by}{why}"


def show(project: Project, ref: str, when: str) -> None:
    """Display the time line in a notebook, and the answer below it."""
    from IPython.display import display

    from mlnb.faces.html import bundle, text_html
    from mlnb.registry.tenure import lanes

    told = held_at(project, ref, when)
    text = "\n".join(held_lines(told))
    drawn = timeline(told, lanes(project.models, told.model), datetime.now(UTC))
    display(bundle(drawn + text_html(text), text), raw=True)


def timeline(told: Held, by_alias: Mapping[str, Sequence[Tenure]], now: datetime) -> str:
    """Return the time line as an SVG picture: the asked alias first, then the others."""
    order = [told.alias, *(alias for alias in by_alias if alias != told.alias)]
    scale = _Scale(*_window(told, [one.begun.at for alias in order for one in by_alias.get(alias, ())], now))
    bottom = _TOP + _LANE * len(order)
    hues = _hues(by_alias, order)
    parts = [*_grid(scale, bottom), _band(told, scale, bottom)]
    for lane, alias in enumerate(order):
        top = _TOP + _LANE * lane
        parts.append(f'<text class="lane" x="0" y="{top + 21:.0f}">{escape(alias[:15])}</text>')
        parts += [_bar(one, scale, top, hues[one.ref], now) for one in by_alias.get(alias, ())]
    parts += _asked(told, scale, bottom)
    height = bottom + 30
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="mlnb-timeline" viewBox="0 0 {_WIDTH:.0f} '
        f'{height:.0f}" width="{_WIDTH:.0f}" height="{height:.0f}" style="max-width:100%;height:auto">'
        f"<title>{escape(f'{told.model}@{told.alias} on {told.span}')}</title><style>{_STYLE}</style>"
        f"{''.join(parts)}</svg>"
    )


def _window(told: Held, moves: Sequence[datetime], now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when is drawn: the asked tenures with as much before and twice as much after them."""
    whole = min([told.span.begin, *moves]), max(now, told.span.end)
    if not told.found:
        return whole
    begin, last = told.found[0].tenure.begun.at, told.found[-1].tenure.ended
    length = max((last.at if last else now) - begin, timedelta(minutes=1))
    begin, end = begin - length, (last.at + 2 * length) if last else now
    return max(whole[0], min(begin, told.span.begin)), min(whole[1], max(end, told.span.end))


class _Scale:
    """Times become places from left to right."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.length = max(end - begin, timedelta(minutes=1))
        self.end = begin + self.length

    def x(self, at: datetime) -> float:
        share = (at - self.begin) / self.length
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)


def _hues(by_alias: Mapping[str, Sequence[Tenure]], order: Sequence[str]) -> dict[str, str]:
    """Give each version its colour, the same on every lane."""
    known = dict.fromkeys(one.ref for alias in order for one in by_alias.get(alias, ()))
    return {ref: _HUES[at % len(_HUES)] for at, ref in enumerate(sorted(known, key=_number))}


def _number(ref: str) -> int:
    return int(ref.rpartition("/")[2])


def _grid(scale: _Scale, bottom: float) -> Iterator[str]:
    step = scale.length / _TICKS
    form = (
        "%Y-%m-%d" if step >= timedelta(days=1) else "%m-%d %H:%M" if scale.length >= timedelta(days=1) else "%H:%M:%S"
    )
    for tick in range(_TICKS + 1):
        at = scale.begin + step * tick
        x = scale.x(at)
        anchor = "end" if tick == _TICKS else "middle" if tick else "start"
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4:.0f}" y2="{bottom:.0f}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18:.0f}" text-anchor="{anchor}">{at:{form}}</text>'


def _bar(one: Tenure, scale: _Scale, top: float, hue: str, now: datetime) -> str:
    last = one.ended.at if one.ended else now
    if last < scale.begin or one.begun.at > scale.end:
        return ""
    begin, end = scale.x(one.begun.at), scale.x(last)
    width = max(end - begin, 2.0)
    more = " →" if last > scale.end else ""
    until = moment(one.ended.at) if one.ended else "now"
    tip = f"{one.ref}: {moment(one.begun.at)} to {until}, {one.begun.kind} by {one.begun.by}"
    names = (f"{one.ref}{more}", one.ref, one.ref.rpartition("/")[2])
    label = next((text for text in names if len(text) * _CHARACTER + 8 <= width), "")
    said = (
        f'<text class="bar" x="{begin + width / 2:.1f}" y="{top + 21:.0f}" text-anchor="middle">{escape(label)}</text>'
    )
    return (
        f'<g><title>{escape(tip)}</title><rect x="{begin:.1f}" y="{top + 5:.0f}" width="{max(width - 1, 1):.1f}" '
        f'height="{_LANE - 10:.0f}" rx="4" fill="{hue}"/>{said if label else ""}</g>'
    )


def _band(told: Held, scale: _Scale, bottom: float) -> str:
    """Return the asked day, behind the bars."""
    left, right = scale.x(told.span.begin), scale.x(told.span.end)
    return (
        f'<rect class="asked" x="{left:.1f}" y="{_TOP - 4:.0f}" width="{max(right - left, 0.5):.1f}" '
        f'height="{bottom - _TOP + 4:.0f}"/>'
    )


def _asked(told: Held, scale: _Scale, bottom: float) -> Iterator[str]:
    """Yield where the asked time begins, above the bars, and what it is."""
    left, right = scale.x(told.span.begin), scale.x(told.span.end)
    yield f'<line class="line" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP - 8:.0f}" y2="{bottom:.0f}"/>'
    half = len(str(told.span)) * (_CHARACTER + 1) / 2
    x = min(max((left + right) / 2, half), _WIDTH - half)
    yield f'<text class="said" x="{x:.1f}" y="{_TOP - 14:.0f}" text-anchor="middle">{escape(str(told.span))}</text>'
