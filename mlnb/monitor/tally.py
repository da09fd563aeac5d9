"""The values of a column become counts over the bins of its reference, for each of several windows.

Where all rows are in one window, the values of a number are sorted and cut at the edges: a quarter of the time of
finding the bin of each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlnb.monitor.feature import HUGE, SAME, Categorical, Feature, Numeric, places, slack
from mlnb.monitor.values import Flags, Floats, Ints, Values, names, numbers

UNSEEN_NAMES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts of one column in one window, over the bins of its reference.

    Attributes
    ----------
    counts : ndarray of int64, shape (bins,)
        Rows per bin of a number; per category, and last of all other categories.
    sums : ndarray of float64, shape (bins,)
        Sum of the finite values in each bin; zeros for categories.
    missing, unusable : int
        Rows without a value; rows whose value is not a number where one is expected.
    below, above : int
        Rows outside the reference's range.
    minimum, maximum : float
        Of this window; ``nan`` where it has no number.
    unseen : mapping of str to int
        Categories that the reference does not list, at most 50 names.
    redacted : int
        Rows in which nobody may read the column; they are counted nowhere else.
    """

    counts: Ints
    sums: Floats
    missing: int = 0
    unusable: int = 0
    below: int = 0
    above: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    unseen: Mapping[str, int] = field(default_factory=dict)
    redacted: int = 0

    @property
    def rows(self) -> int:
        """Rows counted, those without a value included."""
        return int(self.counts.sum()) + self.missing + self.unusable

    def __add__(self, other: Tally) -> Tally:
        """Return the tally of both spans together."""
        unseen = Counter(self.unseen)
        unseen.update(other.unseen)
        return Tally(
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            missing=self.missing + other.missing,
            unusable=self.unusable + other.unusable,
            below=self.below + other.below,
            above=self.above + other.above,
            minimum=float(np.fmin(self.minimum, other.minimum)),
            maximum=float(np.fmax(self.maximum, other.maximum)),
            unseen=dict(unseen.most_common(UNSEEN_NAMES)),
            redacted=self.redacted + other.redacted,
        )


def merged_tallies(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all spans together; at least one is needed."""
    unseen = Counter[str]()
    for tally in tallies:
        if tally.unseen:
            unseen.update(tally.unseen)
    known = [tally for tally in tallies if not math.isnan(tally.minimum)]
    return Tally(
        counts=np.sum([tally.counts for tally in tallies], axis=0),
        sums=np.sum([tally.sums for tally in tallies], axis=0),
        missing=sum(tally.missing for tally in tallies),
        unusable=sum(tally.unusable for tally in tallies),
        below=sum(tally.below for tally in tallies),
        above=sum(tally.above for tally in tallies),
        minimum=min((tally.minimum for tally in known), default=math.nan),
        maximum=max((tally.maximum for tally in known), default=math.nan),
        unseen=dict(unseen.most_common(UNSEEN_NAMES)),
        redacted=sum(tally.redacted for tally in tallies),
    )


def empty_tally(feature: Feature) -> Tally:
    """Return the tally of no rows."""
    bins = len(feature.counts) if isinstance(feature, Numeric) else len(feature.categories) + 1
    return Tally(np.zeros(bins, dtype=np.int64), np.zeros(bins))


def tallies(feature: Feature, values: Values, member: Ints, windows: int) -> list[Tally]:
    """Return the tally of each window.

    Parameters
    ----------
    values : sequence, shape (rows,)
        As they were logged.
    member : ndarray of int64, shape (rows,)
        Which window each row is in, from 0.
    windows : int
        How many there are.
    """
    if isinstance(feature, Numeric):
        return [_cut(feature, values)] if windows == 1 else _tally_numbers(feature, values, member, windows)
    return [_named(feature, values)] if windows == 1 else _tally_names(feature, values, member, windows)


def _cut(feature: Numeric, values: Values) -> Tally:
    """Return the tally of numbers that are all in one window."""
    floats, unusable = numbers(values)
    floats.sort()  # nan comes last
    held = floats[: floats.size - np.count_nonzero(np.isnan(floats))]
    edges = np.array(feature.edges)
    ends = np.empty(edges.size + 2, dtype=np.int64)
    ends[0], ends[-1] = 0, held.size
    ends[1:-1] = np.searchsorted(held, edges + slack(edges), side="right")
    counts = ends[1:] - ends[:-1]
    small = not held.size or (held[0] > -HUGE and held[-1] < HUGE)
    finite = held if small else np.where(np.abs(held) < HUGE, held, 0.0)
    sums = np.zeros(counts.size)
    filled = np.flatnonzero(counts)
    if filled.size:
        sums[filled] = np.add.reduceat(finite, ends[filled])
    spare = SAME * max(abs(feature.minimum), abs(feature.maximum))
    ranged = not math.isnan(feature.minimum)
    wrong = int(unusable.sum())
    return Tally(
        counts=counts,
        sums=sums,
        missing=floats.size - held.size - wrong,
        unusable=wrong,
        below=int(np.searchsorted(held, feature.minimum - spare, side="left")) if ranged else 0,
        above=held.size - int(np.searchsorted(held, feature.maximum + spare, side="right")) if ranged else 0,
        minimum=float(held[0]) if held.size else math.nan,
        maximum=float(held[-1]) if held.size else math.nan,
    )


def _named(feature: Categorical, values: Values) -> Tally:
    """Return the tally of categories that are all in one window."""
    raw = values.tolist() if isinstance(values, np.ndarray) else values
    try:
        found = Counter[object](raw)
        plain = set(map(type, found)) <= {str, type(None)}  # else True, 1 and 1.0 are one key
    except TypeError:  # a list or an object
        plain = False
    if not plain:
        found = Counter[object](names(raw))
    missing = found.pop(None, 0)
    counts = [found.pop(category, 0) for category in feature.categories]
    unseen = Counter({str(name): rows for name, rows in found.items()})
    counted = np.array([*counts, unseen.total()], dtype=np.int64)
    return Tally(counted, np.zeros(counted.size), missing=missing, unseen=dict(unseen.most_common(UNSEEN_NAMES)))


def _tally_numbers(feature: Numeric, values: Values, member: Ints, windows: int) -> list[Tally]:
    floats, unusable = numbers(values)
    width = len(feature.counts)
    known = ~np.isnan(floats)
    held, at = floats[known], member[known]
    bins = at * width + places(np.array(feature.edges), held)
    finite = np.where(np.abs(held) < HUGE, held, 0.0)
    counts = np.bincount(bins, minlength=windows * width).reshape(windows, width)
    sums = np.bincount(bins, weights=finite, minlength=windows * width).reshape(windows, width)
    lowest, highest = np.full(windows, math.inf), np.full(windows, -math.inf)
    np.minimum.at(lowest, at, held)
    np.maximum.at(highest, at, held)
    some = counts.sum(axis=1) > 0
    missing = per_window(~known & ~unusable, member, windows)
    wrong = per_window(unusable, member, windows)
    spare = slack(np.array([feature.minimum, feature.maximum]))
    below = per_window(held < feature.minimum - spare, at, windows)
    above = per_window(held > feature.maximum + spare, at, windows)
    return [
        Tally(
            counts=counts[w],
            sums=sums[w],
            missing=missing[w],
            unusable=wrong[w],
            below=below[w],
            above=above[w],
            minimum=float(lowest[w]) if some[w] else math.nan,
            maximum=float(highest[w]) if some[w] else math.nan,
        )
        for w in range(windows)
    ]


def _tally_names(feature: Categorical, values: Values, member: Ints, windows: int) -> list[Tally]:
    known = {category: code for code, category in enumerate(feature.categories)}
    width = len(known) + 2  # the listed ones, any other, missing
    given = names(values)
    other, absent = len(known), len(known) + 1
    codes = np.array([absent if name is None else known.get(name, other) for name in given], dtype=np.int64)
    counts = np.bincount(member * width + codes, minlength=windows * width).reshape(windows, width)
    unseen: list[Counter[str]] = [Counter() for _ in range(windows)]
    for row in np.flatnonzero(codes == other).tolist():
        unseen[member[row]][str(given[row])] += 1
    return [
        Tally(
            counts=counts[w, :-1],
            sums=np.zeros(width - 1),
            missing=int(counts[w, -1]),
            unseen=dict(unseen[w].most_common(UNSEEN_NAMES)),
        )
        for w in range(windows)
    ]


def per_window(flags: Flags, member: Ints, windows: int) -> list[int]:
    """Return in how many rows of each window a flag is set."""
    return np.bincount(member[flags], minlength=windows).tolist()  # type: ignore[no-any-return]
