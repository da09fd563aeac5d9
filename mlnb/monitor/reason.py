"""What an alarm rests on becomes one sentence that a person reads without knowing the method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.cells import cell_of_bins
from mlnb.monitor.dispersion import CHUNKS
from mlnb.monitor.feature import Categorical, Numeric
from mlnb.monitor.process import Process, Watched
from mlnb.monitor.rules import Rules
from mlnb.monitor.span import days, instant
from mlnb.monitor.text import counted, number, percent
from mlnb.monitor.window import Window


@dataclass(frozen=True, slots=True)
class Change:
    """A share that has left its tolerance.

    Attributes
    ----------
    what : str
        The share, as it stands before "is": ``age at most 38.2``.
    before, after : float
        In the reference and since the change began, 0 to 1.
    tolerance, asked : float
        By how much it may differ, and what was asked for before the reference's size widened it.
    rows, windows : int
        Rows and windows since the change began.
    log_e, limit : float
        Natural logarithm of the evidence, and of what it had to reach.
    """

    what: str
    before: float
    after: float
    tolerance: float
    asked: float
    rows: int
    windows: int
    log_e: float
    limit: float

    @property
    def effect(self) -> float:
        """By how much the share differs, 0 to 1."""
        return abs(self.after - self.before)


def change_of(process: Process, share: int, begun: int, at: int, log_e: float, limit: float) -> Change:
    """Return what happened to a share in the windows from `begun` to `at`, both included."""
    stretch = slice(begun, at + 1)
    rows = float(process.rows[stretch].sum())
    return Change(
        what=_share(process.watched, share),
        before=float(process.watched.shares[share]),
        after=float(process.counts[stretch, share].sum() / rows),
        tolerance=float(process.tolerance[share]),
        asked=process.watched.tolerance,
        rows=int(rows),
        windows=int(np.count_nonzero(process.rows[stretch])),
        log_e=log_e,
        limit=limit,
    )


def sentence(change: Change, since: Window, *, bounded: bool) -> str:
    """Return the reason of an alarm."""
    widened = (
        ""
        if change.tolerance <= change.asked
        else f", widened from {_points(change.asked)} because the sample is small"
    )
    claim = "" if bounded else "; no bound on false alarms can be claimed"
    return (
        f"{change.what} in {percent(change.after)} of {counted(change.rows, 'value')} since {_day(since)}, against "
        f"{percent(change.before)} in the reference: {_points(change.effect)} apart where {_points(change.tolerance)} "
        f"are tolerated{widened} (e-value {_large(change.log_e)} in {counted(change.windows, 'window')}, "
        f"{_large(change.limit)} were needed{claim})."
    )


def bound_sentence(
    longest: int, reference_rows: int, watched: int, rules: Rules, *, frozen: bool, bounded: bool
) -> str:
    """Return which bound on false alarms can be claimed.

    Parameters
    ----------
    longest : int
        Rows of the largest window.
    reference_rows, watched : int
        Rows of the sample, and processes that share the budget.
    frozen : bool
        Whether the reference says how its chunks vary.
    bounded : bool
        Whether a bound can be claimed.
    """
    if bounded:
        first = f", or the first {rules.calibrate} windows," if rules.calibrate else ""
        chunks = f"the sample's chunks{first}"
        return (
            f"At least {number(1 / rules.budget)} windows pass on average until a false alarm among {watched} watched "
            f"processes, as long as windows vary independently and no more than {chunks} did."
        )
    if not longest:
        return "No bound on false alarms can be claimed before a window has rows."
    if not frozen:
        return (
            f"No bound on false alarms can be claimed: the reference does not say how its chunks vary, because its "
            f"sample has only {counted(reference_rows, 'row')} or was frozen by an mlnb before 0.3."
        )
    return (
        f"No bound on false alarms can be claimed: that takes {CHUNKS} chunks of the sample as long as a window, and "
        f"its {counted(reference_rows, 'row')} are {reference_rows // longest} of {longest:,}."
    )


def calibrating_sentence(windows: int, rules: Rules) -> str:
    """Return that nothing is judged before enough windows have said how windows vary."""
    return (
        f"No bound on false alarms can be claimed, and nothing but plain rules is judged, before {rules.calibrate} "
        f"windows have said how windows vary; {windows} have."
    )


def _share(watched: Watched, place: int) -> str:
    feature = watched.feature
    if watched.kind == "missing":
        return f"{feature.name} is missing"
    if watched.kind == "unseen":
        return f"{feature.name} is a value that the reference never had"
    if watched.kind == "range":
        known = f"{number(feature.minimum)} to {number(feature.maximum)}" if isinstance(feature, Numeric) else ""
        return f"{feature.name} is outside the reference's range of {known}"
    if isinstance(feature, Categorical):
        named = feature.categories[place] if place < len(feature.categories) else ""
        last = place == len(watched.cells) - 1 and len(watched.cells) < len(feature.categories) + 1
        return f"{feature.name} is another value" if last or not named else f"{feature.name} is {named!r}"
    last_bin = int(np.flatnonzero(cell_of_bins(feature) == place)[-1])
    return f"{feature.name} is at most {number(feature.edges[last_bin])}"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _day(window: Window) -> str:
    return (
        f"{instant(window.first):%Y-%m-%d %H:%M}"
        if window.end - window.start < 86_400_000_000_000
        else days(window.start, window.start).removeprefix("on ")
    )


def _large(log: float) -> str:
    """Return e to a power, which may be too large for a float."""
    power = log / math.log(10.0)
    if power < 6:
        return f"{10**power:,.0f}"
    whole = math.floor(power)
    return f"{10 ** (power - whole):.1f}e{whole}"
