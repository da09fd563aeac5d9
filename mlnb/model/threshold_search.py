"""Splits of trees become the raw numbers around which they change their minds, found for all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.model.hooks import USER_FAULTS, build_frame
from mlnb.model.kinds import Column, Values

_SECANTS = 4
_NARROW = 1e-12
_PARTS = 8
_ROUNDS = 22  # 8 ** 22 = 2 ** 66, more than there are numbers
_STEPS = 18  # each eight times as wide: from the last digit to ten times the number
_SURE = 1e-9
Floats = npt.NDArray[np.float64]
Rows = dict[str, Values]


@dataclass(frozen=True, slots=True)
class Split:
    """One comparison in a fitted tree.

    Attributes
    ----------
    feature : int
        Which number of those that the tree takes.
    threshold : float
        What it is compared with.
    single : bool
        Whether the number is rounded to float32 first.
    row : int
        A row, of those that were given, that reaches the node; -1 where that is not known.
    """

    feature: int
    threshold: float
    single: bool
    row: int = -1


class Through:
    """Raw columns through the steps before the trees."""

    def __init__(self, steps: Sequence[Any], columns: Sequence[Column], *, frame: bool) -> None:
        self.columns = columns
        self._steps = steps
        self._frame = frame

    def see(self, rows: Mapping[str, Values]) -> Floats:
        """Return what the trees see, of shape (rows, features)."""
        if not self._steps and not any(one.categories or one.dtype == "string" for one in self.columns):
            return np.column_stack([rows[one.name].astype(np.float64) for one in self.columns])
        made: Any = build_frame(rows, self.columns)
        if not self._frame:
            made = np.column_stack([rows[one.name] for one in self.columns])
        if not self._steps:
            made = made.apply(lambda one: one.cat.codes if one.dtype == "category" else one)
        return _after(self._steps, made)

    def moving(self, names: Iterable[str], base: Rows) -> Callable[[Rows, int], Floats]:
        """Return what sees `base`, repeated some times below itself, with other numbers in the columns `names` only.

        A column transformer gives each of its parts some columns; the parts that get none of `names` are asked once.
        """
        first = self._steps[0] if self._steps and self._frame else None
        parts = _parts_with(first, set(names))
        still = first.transform(build_frame(base, self.columns)) if first is not None and parts is not None else None
        if parts is None or not (isinstance(still, np.ndarray) or hasattr(still, "toarray")):
            return lambda rows, times: self.see(rows)
        once = _dense(still)
        needed = {name for _, taken, _ in parts for name in taken}
        columns = [one for one in self.columns if one.name in needed]

        def see(rows: Rows, times: int) -> Floats:
            frame, made = build_frame(rows, columns), np.tile(once, (times, 1))
            for part, taken, places in parts:
                made[:, places] = _dense(part.transform(frame[taken]))
            return _after(self._steps[1:], made)

        return see


def _after(steps: Sequence[Any], made: Any) -> Floats:
    for step in steps:
        made = step.transform(made)
    return np.asarray(_dense(made), dtype=np.float64)


def _dense(made: Any) -> Any:
    return made.toarray() if hasattr(made, "toarray") else made


def _parts_with(first: Any, names: set[str]) -> list[tuple[Any, list[str], slice]] | None:
    """Return the parts of a fitted column transformer that get one of the columns: their columns, their places after.

    None where it is no such, or names its columns in another way.
    """
    if type(first).__name__ != "ColumnTransformer" or not hasattr(first, "output_indices_"):
        return None
    found = []
    for name, part, taken in first.transformers_:
        listed = [taken] if isinstance(taken, str) else taken
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            return None
        if names.isdisjoint(listed) or isinstance(part, str):
            continue
        if isinstance(taken, str):
            return None
        found.append((part, listed, first.output_indices_[name]))
    return found


class Search:
    """Looks for the raw numbers between which splits change their minds, all at once.

    Numbers of a column of float32 stay such numbers; those of whole numbers may lie between them.
    """

    def __init__(self, splits: Sequence[Split], rows: Rows, names: Sequence[str], through: Through) -> None:
        self._features = np.array([one.feature for one in splits])
        self._thresholds = np.array([one.threshold for one in splits])
        self._single = np.array([one.single for one in splits])
        self._turns = np.where(self._single, _rounding_turns(self._thresholds), self._thresholds)
        self._rows = rows
        self._names = np.array(names)
        short = [one.name for one in through.columns if one.dtype == "float32"]
        self._short = np.isin(self._names, short)
        self._see = through.moving(names, rows)

    def bracket(self) -> tuple[Floats, Floats]:
        """Return two raw numbers for each split, on either side of it where such were found."""
        try:
            low, high = self._ends(1.0)
            self._made(np.stack([low, high]))
        except USER_FAULTS:  # such as a step that takes no logarithm of a negative number
            low, high = self._ends(0.0)
        for _ in range(_SECANTS):  # most steps are linear in one column: the crossing is found at once
            one, other = self._made(np.vstack([low, high]))
            with np.errstate(all="ignore"):
                guess = low + (self._turns - one) * (high - low) / (other - one)
            guess = np.where((guess > low) & (guess < high), guess, low + (high - low) / 2)
            done = np.abs(high - low) <= _NARROW * np.abs(guess)
            for share in (_NARROW, 1e-3):
                margin = np.maximum(np.abs(guess) * _NARROW, np.abs(high - low) * share)
                tried = np.maximum(guess - margin, low), np.minimum(guess + margin, high)
                sides = self._goes_left(np.vstack(tried))
                hit = ~done & (sides[0] != sides[1])
                low, high, done = np.where(hit, tried[0], low), np.where(hit, tried[1], high), done | hit
                if done.all():
                    break
            if (np.abs(high - low) <= 4 * _NARROW * np.maximum(np.abs(guess), 1e-300)).all():
                break
        return self._held(low), self._held(high)

    def narrow(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Return the two neighbouring numbers between which each split changes its mind; NaN where there are none."""
        start, end = self._goes_left(np.vstack([low, high]))
        crossing = start != end
        left, right = np.where(crossing, low, np.nan), np.where(crossing, high, np.nan)
        places = np.arange(len(start))
        shares = np.arange(1, _PARTS)[:, None] / _PARTS
        for _ in range(_ROUNDS):
            tried = self._held(np.where(crossing, left + (right - left) * shares, low))
            turned = np.vstack([self._goes_left(tried) != start, np.ones(len(start), dtype=bool)]).argmax(axis=0)
            points = np.vstack([left, tried, right])
            closer = points[turned, places], points[turned + 1, places]
            if np.array_equal(left, closer[0], equal_nan=True) and np.array_equal(right, closer[1], equal_nan=True):
                break
            left, right = np.where(crossing, closer[0], np.nan), np.where(crossing, closer[1], np.nan)
        return left, right

    def widen(self, left: Floats, right: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Return numbers further out, whose split is sure although the steps' last digits are not; NaN where none are.

        Parameters
        ----------
        left, right : array
            What `narrow` gave.
        scale : array
            How large each split's numbers usually are: sure is what lies a thousand-millionth of it off.
        """
        sure = _SURE * np.maximum(scale, np.abs(self._turns))
        return self._outward(left, -1.0, sure), self._outward(right, 1.0, sure)

    def _ends(self, beyond: float) -> tuple[Floats, Floats]:
        """Return the least and the largest number of each split's column, that many ranges further out."""
        low, high = np.empty(len(self._names)), np.empty(len(self._names))
        for name in np.unique(self._names):
            found = self._rows[name].astype(np.float64)
            known = found[np.isfinite(found)]
            ends = (known.min(), known.max()) if known.size else (0.0, 1.0)
            span = beyond * ((ends[1] - ends[0]) or max(1.0, abs(ends[1])))
            low[self._names == name], high[self._names == name] = ends[0] - span, ends[1] + span
        return low, high

    def _outward(self, start: Floats, sign: float, sure: Floats) -> Floats:
        known = np.isfinite(start)
        start = np.where(known, start, self._ends(0.0)[0])
        side = self._goes_left(start)
        found = np.full(len(start), np.nan)
        gap = np.maximum(np.abs(start), 1e-300) * np.where(self._short, 1e-7, 1e-15)
        for _ in range(_STEPS):
            tried = self._held(start + sign * gap)
            with np.errstate(all="ignore"):
                far = np.abs(self._made(tried) - self._turns) > sure
            hit = np.isnan(found) & known & far & (self._goes_left(tried) == side)
            found = np.where(hit, tried, found)
            if (np.isfinite(found) | ~known).all():
                break
            gap = np.where(np.isnan(found) & known, gap * 8, gap)
        return found

    def _held(self, values: Floats) -> Floats:
        """Return the numbers as the columns can hold them."""
        with np.errstate(over="ignore"):
            return np.where(self._short, values.astype(np.float32).astype(np.float64), values)

    def _made(self, values: Floats) -> Floats:
        """Return what the trees see of raw numbers, of shape (splits,) or (tries, splits)."""
        times = values.size // len(self._names)
        names = np.tile(self._names, times)
        rows = {name: np.concatenate([held] * times) for name, held in self._rows.items()}
        for name in np.unique(self._names):
            dtype = np.float32 if rows[name].dtype == np.float32 else np.float64
            rows[name] = np.where(names == name, values.ravel(), rows[name].astype(np.float64)).astype(dtype)
        seen = self._see(rows, times)
        return np.asarray(seen[np.arange(len(seen)), np.tile(self._features, times)]).reshape(values.shape)

    def _goes_left(self, values: Floats) -> npt.NDArray[np.bool_]:
        made = self._made(values)
        with np.errstate(all="ignore"):
            rounded = np.where(self._single, made.astype(np.float32).astype(np.float64), made)
        return np.asarray(rounded <= self._thresholds)


def _rounding_turns(thresholds: Floats) -> Floats:
    """Return the numbers beyond which rounding to float32 leads above the thresholds."""
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below, np.float32(np.inf))
    return np.asarray((below.astype(np.float64) + above.astype(np.float64)) / 2)
