"""The counts of a column become a few bars that a person can read, the same ones for reference and current.

A number's cumulative counts are known at its edges; between them they are interpolated, so the bars can be of equal
width whatever the edges are. All that lies beyond the outer edges is one bar at each end. Missing values are the last
bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mlnb.monitor.feature import Categorical, Feature, Numeric
from mlnb.monitor.text import number, shortened
from mlnb.monitor.values import Floats
from mlnb.monitor.window import Tally

DISCRETE = 24
WIDE = 24
_NAMED = 14
_TICKS = 6
_TAIL = 0.005


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of reference and current, bar by bar.

    Attributes
    ----------
    labels : tuple of str, shape (bars,)
        What a bar holds; unique.
    ticks : tuple of (float, str)
        Where on the axis (bar 0 is at 0, the bound between it and bar 1 at 0.5) which short name is written.
    reference, current : tuple of float, shape (bars,)
        Shares of all rows, 0 to 1. All 0 where a side has no rows.
    """

    labels: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


def bars(feature: Feature, tally: Tally) -> Bars:
    """Return the bars of a column's reference and of the counts of a span."""
    if isinstance(feature, Categorical):
        return _categories(feature, tally)
    if len(feature.edges) <= DISCRETE:
        return _single_values(feature, tally)
    return _equal_widths(feature, tally)


def _categories(feature: Categorical, tally: Tally) -> Bars:
    before = [*feature.counts, feature.other]
    after = tally.counts.tolist()
    size = len(feature.categories)
    shown = sorted(range(size), key=lambda place: -_larger(before, after, place))[:_NAMED]
    shown.sort()
    hidden = [place for place in range(size) if place not in shown]
    names = [feature.categories[place] for place in shown]
    reference = [before[place] for place in shown] + [before[size] + sum(before[place] for place in hidden)]
    current = [after[place] for place in shown] + [after[size] + sum(after[place] for place in hidden)]
    ticks: list[tuple[float, str]] = [(place, shortened(name, 12)) for place, name in enumerate(names)]
    if hidden or reference[-1] or current[-1]:
        names.append("other values")
        ticks.append((len(ticks), "other"))
    return _finished(names, ticks, reference[: len(names)], current[: len(names)], feature, tally)


def _larger(before: list[int], after: list[int], place: int) -> float:
    return max(before[place] / max(sum(before), 1), after[place] / max(sum(after), 1))


def _single_values(feature: Numeric, tally: Tally) -> Bars:
    names = [
        number(edge) if mean == edge or place == 0 else f"up to {number(edge)}"
        for place, (edge, mean) in enumerate(zip(feature.edges, feature.means, strict=False))
    ]
    names = _unique(names)
    names.append(f"above {number(feature.edges[-1])}" if feature.edges else "any number")
    reference, current = list(feature.counts), tally.counts.tolist()
    if not (reference[-1] or current[-1]):
        names, reference, current = names[:-1], reference[:-1], current[:-1]
    step = max(1, math.ceil(len(names) / 12))
    short = [name.replace("up to ", "≤ ").replace("above ", "> ") for name in names]
    return _finished(names, list(enumerate(short))[::step], reference, current, feature, tally)


def _equal_widths(feature: Numeric, tally: Tally) -> Bars:
    edges = np.array(feature.edges)
    before, after = np.array(feature.counts, dtype=float), tally.counts.astype(float)
    grid = _grid(edges, before, after, whole=feature.whole)
    texts = [number(float(edge)) for edge in grid]
    names = _unique([f"up to {texts[0]}", *(f"{a} to {b}" for a, b in pairwise(texts)), f"above {texts[-1]}"])
    step = math.ceil(len(texts) / _TICKS)
    last = len(texts) - (2 if feature.missing or tally.missing else 0)
    ticks = [(place + 0.5, texts[place]) for place in range(0, last, step)]
    return _finished(names, ticks, _between(grid, edges, before), _between(grid, edges, after), feature, tally)


def _grid(edges: Floats, before: Floats, after: Floats, *, whole: bool) -> Floats:
    """Return round, equidistant bounds around all but the outermost per cent of either side."""
    sides = [np.cumsum(counts)[:-1] / counts.sum() for counts in (before, after) if counts.sum() > 0]
    low = min((float(edges[max(0, int(np.argmax(side > _TAIL)) - 1)]) for side in sides), default=float(edges[0]))
    high = max((float(edges[min(int(np.sum(side < 1 - _TAIL)), edges.size - 1)]) for side in sides), default=low)
    rough = max((high - low) / WIDE, abs(high) * 1e-9, 1e-12)
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * 0.999)
    width = max(width, 1.0) if whole else width
    return np.arange(math.floor(low / width), math.ceil(high / width) + 1, dtype=np.float64) * width


def _between(grid: Floats, edges: Floats, counts: Floats) -> list[float]:
    reached = np.cumsum(counts)
    inside = np.interp(grid, edges, reached[:-1])
    return [float(inside[0]), *np.diff(inside).tolist(), float(reached[-1] - inside[-1])]


def _unique(names: list[str]) -> list[str]:
    taken: dict[str, int] = {}
    result = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        result.append(name if taken[name] == 1 else f"{name} ({taken[name]})")
    return result


def _finished(
    names: list[str],
    ticks: Sequence[tuple[float, str]],
    reference: list[float] | list[int],
    current: list[float] | list[int],
    feature: Feature,
    tally: Tally,
) -> Bars:
    absent = tally.missing + tally.unusable
    before, after = [*reference], [*current]
    if feature.missing or absent:
        ticks = [*ticks, (len(names), "missing")]
        names = [*names, "missing"]
        before, after = [*before, feature.missing], [*after, absent]
    return Bars(tuple(names), tuple(ticks), _shares(before), _shares(after))


def _shares(counts: list[float] | list[int]) -> tuple[float, ...]:
    total = sum(counts) or 1
    return tuple(max(0.0, count / total) for count in counts)
