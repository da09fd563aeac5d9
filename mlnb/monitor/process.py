"""A reference and its windows become the processes that are watched: shares, their tolerances, their counts.

Each column has one for the distribution of its values and one for the share that is missing; a number one for values
outside the reference's range, categories one for those that the reference never had. The answers have one each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlnb.monitor.compare import cells
from mlnb.monitor.dispersion import CHUNKS, Scale, excess_of, factor_of, freedom_of, watched
from mlnb.monitor.feature import Feature, Numeric
from mlnb.monitor.reference import PREDICTION, SCORE, Reference
from mlnb.monitor.rules import Rules
from mlnb.monitor.values import Floats
from mlnb.monitor.window import Tally, Window

UNLUCKY = 0.05
"""Share of samples that may be further from their source than they are said to be."""

_LEFT_FOR_CHANGE = 1 / 3


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What is watched, as the reference has it.

    Attributes
    ----------
    feature : Numeric or Categorical
        The column.
    kind : str
        ``drift``, ``prediction``, ``missing``, ``range`` or ``unseen``.
    members : ndarray of float64, shape (shares, cells)
        Which cells make up each share.
    cells : ndarray of float64, shape (cells,)
        The reference's share of each cell.
    rows : float
        Rows of the reference that it was measured on.
    tolerance : float
        That was asked for.
    scales : tuple of Scale
        How the reference's chunks vary.
    """

    feature: Feature
    kind: str
    members: Floats
    cells: Floats
    rows: float
    tolerance: float
    scales: tuple[Scale, ...]

    @property
    def common(self) -> bool:
        """Whether it is a distribution, and not the share of something rare."""
        return self.kind in ("drift", "prediction")

    @property
    def shares(self) -> Floats:
        """The reference's watched shares, shape (shares,)."""
        found: Floats = self.members @ self.cells
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """What is watched, and what the windows have of it.

    Attributes
    ----------
    watched : Watched
        As the reference has it.
    counts : ndarray of float64, shape (windows, shares)
        Rows inside each share.
    rows : ndarray of float64, shape (windows,)
        Rows that were looked at.
    tolerance : ndarray of float64, shape (shares,)
        After widening.
    factors : ndarray of float64, shape (windows,)
        By which a window's evidence is divided.
    chunks : int
        Fewest chunks of the reference, at least as long as a window, that the factors were measured on; 0 for none.
    """

    watched: Watched
    counts: Floats
    rows: Floats
    tolerance: Floats
    factors: Floats
    chunks: int

    @property
    def place(self) -> tuple[str, str]:
        """The column's name, and the kind."""
        return self.watched.feature.name, self.watched.kind


def processes(reference: Reference, windows: Sequence[Window], rules: Rules) -> tuple[Process, ...]:
    """Return everything that is watched; how many there are depends on the reference alone."""
    found: list[tuple[Watched, Floats, Floats]] = []
    for place, feature in enumerate(reference.features):
        scales = reference.dispersion.get(feature.name, ())
        tallies = [window.features[place] for window in windows]
        found += _values(feature, "drift", tallies, scales, rules)
        found += _rare(feature, tallies, scales, rules)
    scales = reference.dispersion.get(PREDICTION, ())
    found += _values(reference.prediction, "prediction", [window.prediction for window in windows], scales, rules)
    if reference.score is not None:
        nothing = Tally(np.zeros(len(reference.score.counts), dtype=np.int64), np.zeros(len(reference.score.counts)))
        tallies = [window.score or nothing for window in windows]
        found += _values(reference.score, "prediction", tallies, reference.dispersion.get(SCORE, ()), rules)
    return tuple(
        _process(_calibrated(one, counts, rows, rules.calibrate), counts, rows, len(found))
        for one, counts, rows in found
    )


def _values(
    feature: Feature, kind: str, tallies: Sequence[Tally], scales: tuple[Scale, ...], rules: Rules
) -> Iterator[tuple[Watched, Floats, Floats]]:
    """Yield the distribution of a column's values, where the reference has one."""
    joined, current = cells(feature, tallies)
    total, members = float(joined[:-1].sum()), watched(feature)
    if not total or not len(members):
        return
    tolerance = rules.tolerance_of(feature.name)
    one = Watched(feature, kind, members, joined[:-1] / total, total, tolerance, scales)
    values = current[:, :-1].astype(np.float64)
    yield one, values @ members.T, values.sum(axis=1)


def _rare(
    feature: Feature, tallies: Sequence[Tally], scales: tuple[Scale, ...], rules: Rules
) -> Iterator[tuple[Watched, Floats, Floats]]:
    """Yield the share of missing values, and of those that the reference never had."""
    if not feature.rows:
        return

    def alone(kind: str, part: int, whole: int, counts: Sequence[int]) -> tuple[Watched, Floats]:
        share = part / whole
        one = Watched(feature, kind, np.array([[1.0, 0.0]]), np.array([share, 1.0 - share]), whole, rules.rare, scales)
        return one, np.array(counts, dtype=np.float64).reshape(-1, 1)

    everything = np.array([tally.rows for tally in tallies], dtype=np.float64)
    absent = [tally.missing + tally.unusable for tally in tallies]
    yield *alone("missing", feature.missing, feature.rows, absent), everything
    known = feature.rows - feature.missing
    present = everything - np.array(absent, dtype=np.float64)
    if not known:
        return
    if isinstance(feature, Numeric):
        yield *alone("range", 0, known, [tally.below + tally.above for tally in tallies]), present
    elif not feature.other:
        yield *alone("unseen", 0, known, [int(tally.counts[-1]) for tally in tallies]), present


def _calibrated(one: Watched, counts: Floats, rows: Floats, first: int) -> Watched:
    """Return what is watched with the first windows as further chunks, where enough of them have rows."""
    begin = rows[:first]
    chunks = int(np.count_nonzero(begin))
    if not first or len(begin) < first or chunks < CHUNKS:
        return one
    excess = excess_of(counts[:first], begin)
    return replace(one, scales=(*one.scales, Scale(int(begin.max()), chunks, excess, excess)))


def _process(one: Watched, counts: Floats, rows: Floats, together: int) -> Process:
    freedom = freedom_of(one.members, one.cells)
    missing = one.kind == "missing"
    sizes = {size: factor_of(one.scales, int(size), freedom, missing=missing) for size in set(rows.tolist()) if size}
    factors = np.array([sizes[size].value if size else 1.0 for size in rows.tolist()], dtype=np.float64)
    whole = max((factor_of(one.scales, 0, freedom, missing=missing).value, 1.0))
    return Process(
        watched=one,
        counts=counts,
        rows=rows,
        tolerance=_widened(one, whole, together),
        factors=factors,
        chunks=min((factor.chunks for factor in sizes.values()), default=0),
    )


def _widened(one: Watched, factor: float, together: int) -> Floats:
    """Return the tolerance of each share: as asked for, or as the size of the sample allows it.

    Shares that add up are all within the first bound together (Dvoretzky, Kiefer, Wolfowitz; Massart 1990), others each
    within the second (Bernstein).
    """
    rows, shares = one.rows / factor, one.shares
    if isinstance(one.feature, Numeric) and one.common:
        apart = np.full(shares.size, math.sqrt(math.log(2 * together / UNLUCKY) / (2 * rows)))
    else:
        chance = math.log(2 * together * shares.size / UNLUCKY) / rows
        apart = np.sqrt(2 * shares * (1 - shares) * chance) + chance
    return np.maximum(one.tolerance, apart + one.tolerance * _LEFT_FOR_CHANGE)
