"""``mlnb models compare A B`` becomes how the second differs from the first: lines of text.

The page and the picture are the matter of `mlnb.faces.comparison_page`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mlnb.faces.compared import changes_lines
from mlnb.faces.tables import size_text, table

if TYPE_CHECKING:
    from mlnb.model.gains import Gain
    from mlnb.project import Project
    from mlnb.registry.comparison import Comparison, Side

SPEED = ("latency_p50_ms", "latency_p99_ms", "throughput_rps", "load_p99_ms")
_MOST_SLICES = 20


def compared(project: Project, first: str, second: str) -> Comparison:
    """Compare two versions: on the same rows, and in everything that was recorded of them.

    Raises
    ------
    UsageError
        If they are one version.
    """
    from mlnb.batch.trust import load_trusted
    from mlnb.judging.judgement import judged
    from mlnb.registry.comparison import Desk, compare

    versions = project.models.get(first), project.models.get(second)
    evidence = judged(versions[0], project.audit)[0], judged(versions[1], project.audit)[0]
    desk = Desk(project.models, project.state, project.state.files, load_trusted)
    return compare(desk, *versions, evidence)


def comparison_lines(told: Comparison) -> Iterator[str]:
    """Yield the finding first, then what differs, part by part; what is the same is not mentioned."""
    yield told.headline
    if told.measured is not None:
        yield from _measured_lines(told)
    yield from (f"note: {note}" for note in told.notes)
    if told.metrics:
        yield "recorded by their own runs:"
        rows = [(f"  {one.name}", one.before, one.after, one.difference) for one in told.metrics]
        yield from table(("  metric", told.first.ref, told.second.ref, "difference"), rows)
    yield from table(("", told.first.ref, told.second.ref), facts(told.first, told.second))
    broken = [change for change in told.callers if not change.compatible]
    if broken:
        yield "callers must change:"
        yield from (f"  {change.sentence}" for change in broken)
    others = [change for change in told.callers if change.compatible]
    if others:
        yield "callers may notice:"
        yield from (f"  {change.sentence}" for change in others)
    yield from changes_lines("parameters", told.parameters)
    yield from changes_lines("data", told.data)
    yield from changes_lines("environment", told.environment)
    for code in told.code:
        yield f"code of {code.stage}:"
        yield from (f"  {line}" for line in code.diff)


def facts(first: Side, second: Side) -> list[tuple[str, str, str]]:
    """Return what both sides are, row by row, as texts."""
    rows = [
        ("registered", f"{first.at[:19].replace('T', ' ')}Z", f"{second.at[:19].replace('T', ' ')}Z"),
        ("by", first.by, second.by),
        ("packaged as", first.exporter, second.exporter),
        ("package", _package(first.size_bytes), _package(second.size_bytes)),
    ]
    for name in SPEED:
        if name in first.evidence or name in second.evidence:
            rows.append((name, _number(first.evidence, name), _number(second.evidence, name)))
    return rows


def interval_text(gain: Gain) -> str:
    """Return the interval of a gain, empty where none can be given."""
    low, high = gain.ends
    return "" if math.isnan(low) else f"[{low:+.3g}, {high:+.3g}]"


def slices_of(told: Comparison) -> tuple[Gain, ...]:
    """Return the lead metric on each slice, the worst first."""
    if told.measured is None:
        return ()
    lead = told.measured.gains.gains[0]
    found = told.measured.gains.slices(lead.metric)
    return tuple(sorted(found, key=lambda gain: (gain.small, math.isnan(gain.gain), gain.gain)))


def _measured_lines(told: Comparison) -> Iterator[str]:
    found = told.measured
    if found is None:
        return
    gains = found.gains
    yield f"measured now: {found.where}; gains above 0 are better, {gains.level:.0%} paired bootstrap intervals"
    heads = ("metric", told.first.ref, told.second.ref, "gain", "interval", "")
    yield from table(heads, [_gain_row(gain, gain.metric) for gain in gains.gains if not gain.part])
    slices = slices_of(told)
    if slices:
        yield f"{slices[0].metric} by slice, the intervals hold together:"
        rows = [
            _gain_row(one, f"{one.part} ({one.rows:,} rows{', small' * one.small})") for one in slices[:_MOST_SLICES]
        ]
        yield from table(("slice", *heads[1:]), rows)
        if len(slices) > _MOST_SLICES:
            yield f"and {len(slices) - _MOST_SLICES} more slices"
    yield f"they answer {found.answered_alike:.1%} of the rows alike"
    yield f"one row takes {found.row_ms[0]:.3g} ms and {found.row_ms[1]:.3g} ms in this process"


def _gain_row(gain: Gain, name: str) -> tuple[object, ...]:
    verdict = "" if math.isnan(gain.ends[0]) else gain.verdict
    return name, gain.first, gain.second, f"{gain.gain:+.3g}" if gain.sign else "", interval_text(gain), verdict


def _package(size_bytes: int) -> str:
    return size_text(size_bytes) if size_bytes else "not here"


def _number(evidence: Mapping[str, float], name: str) -> str:
    return f"{evidence[name]:.4g}" if name in evidence else ""
