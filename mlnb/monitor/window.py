"""Logged predictions become windows of counts, which can be merged, and are no larger for many rows than for few.

A row takes part in drift if the watched version answered it and its inputs were logged; volume, latency, versions and
errors count every row. A column that is redacted in a row is not compared there.
Values of a column that the row does not have are missing; extra columns are ignored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from mlnb.monitor.answer import watched as the_one
from mlnb.monitor.feature import HUGE, Categorical, Feature, Numeric, places, slack
from mlnb.monitor.reference import Reference, scores_of
from mlnb.monitor.span import Instants, Span, bounds, window_numbers
from mlnb.monitor.values import Flags, Floats, Ints, Values, names, numbers
from mlnb.service.log_content import REDACTED
from mlnb.service.log_reader import Batch

LATENCY_EDGES_MS: Floats = np.logspace(-2, 5, 7 * 32 + 1)
"""Upper ends of the latency bins: 32 a decade from 10 µs to 100 s, so a percentile is right within 8 %."""

REFUSED = 400
"""HTTP status from which a logged row is an error and holds no prediction."""

_UNSEEN_NAMES = 50
_MESSAGES = 5


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
            unseen=dict(unseen.most_common(_UNSEEN_NAMES)),
            redacted=self.redacted + other.redacted,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Counts of all predictions of a span.

    Attributes
    ----------
    start, end : int
        Bounds of the window, nanoseconds since 1970, UTC; the end is excluded. Of a window of rows those of its events.
    first, last : int
        Times of the first and last event; both are `start` where there is none.
    rows, errors : int
        Logged rows, and those among them that were refused or failed.
    latency : ndarray of int64
        Rows per bin of `LATENCY_EDGES_MS`; the last bin is open above. Errors are left out.
    slowest_ms : float
        Largest latency, ``nan`` for none.
    versions : mapping of int to int
        Answered rows by version number.
    statuses : mapping of int to int
        Errors by HTTP status.
    messages : tuple of str
        A few of the errors' texts.
    features : tuple of Tally
        In the order of the reference's features.
    prediction : Tally
    score : Tally or None
        None where the reference has no score.
    """

    start: int
    end: int
    first: int
    last: int
    rows: int
    errors: int
    latency: Ints
    slowest_ms: float
    versions: Mapping[int, int]
    statuses: Mapping[int, int]
    messages: tuple[str, ...]
    features: tuple[Tally, ...]
    prediction: Tally
    score: Tally | None

    def __add__(self, other: Window) -> Window:
        """Return the window over both spans."""
        held = [window for window in (self, other) if window.rows] or [self]
        both = [score for score in (self.score, other.score) if score is not None]
        return Window(
            start=min(self.start, other.start),
            end=max(self.end, other.end),
            first=min(window.first for window in held),
            last=max(window.last for window in held),
            rows=self.rows + other.rows,
            errors=self.errors + other.errors,
            latency=self.latency + other.latency,
            slowest_ms=float(np.fmax(self.slowest_ms, other.slowest_ms)),
            versions=dict(Counter(self.versions) + Counter(other.versions)),
            statuses=dict(Counter(self.statuses) + Counter(other.statuses)),
            messages=tuple(dict.fromkeys(self.messages + other.messages))[:_MESSAGES],
            features=tuple(one + two for one, two in zip(self.features, other.features, strict=True)),
            prediction=self.prediction + other.prediction,
            score=sum(both[1:], start=both[0]) if both else None,
        )

    def latency_ms(self, percent: float) -> float:
        """Return a percentile of the latency in milliseconds, within 8 %; ``nan`` where nothing was answered.

        Parameters
        ----------
        percent : float
            From 0 to 100.
        """
        total = int(self.latency.sum())
        if total == 0:
            return math.nan
        reached = np.cumsum(self.latency)
        position = total * percent / 100
        at = int(np.searchsorted(reached, max(position, 1)))
        if at >= LATENCY_EDGES_MS.size:
            return self.slowest_ms
        part = 1 - (reached[at] - position) / self.latency[at]
        return float(min(LATENCY_EDGES_MS[at] * 10 ** ((part - 1) / 32), self.slowest_ms))


def empty_window(reference: Reference, start: int, end: int) -> Window:
    """Return a window in which nothing was asked."""
    return Window(
        start=start,
        end=end,
        first=start,
        last=start,
        rows=0,
        errors=0,
        latency=np.zeros(LATENCY_EDGES_MS.size + 1, dtype=np.int64),
        slowest_ms=math.nan,
        versions={},
        statuses={},
        messages=(),
        features=tuple(_empty(feature) for feature in reference.features),
        prediction=_empty(reference.prediction),
        score=None if reference.score is None else _empty(reference.score),
    )


def count(reference: Reference, batch: Batch, span: Span, ranks: Instants, *, version: int) -> dict[int, Window]:
    """Return the windows of a batch by their number.

    Parameters
    ----------
    reference : Reference
        Gives the bins.
    batch : Batch
        Logged rows.
    span : Span
        Length of a window.
    ranks : ndarray of int64, shape (rows,)
        Position of each row in the order of event time over all batches; used for spans of rows.
    version : int
        The version whose inputs and predictions are counted.
    """
    event_at = np.array(batch.event_at, dtype=np.int64)
    keys, member = np.unique(window_numbers(span, event_at, ranks), return_inverse=True)
    statuses, versions = np.array(batch.status, dtype=np.int64), np.array(batch.version, dtype=np.int64)
    answered = statuses < REFUSED
    watched = np.flatnonzero(answered & (versions == version))
    inside = member[watched]
    tallies = _columns(reference, [batch.inputs[i] for i in watched], inside, keys.size)
    parsed = parse_texts([batch.prediction[i] for i in watched])
    predictions = [the_one(reference.task, one) for one in parsed]
    answers = _tallies(reference.prediction, predictions, inside, keys.size)
    scores = _scores(reference, [batch.probabilities[i] for i in watched], inside, keys.size)
    windows = {}
    for place, key in enumerate(keys.tolist()):
        here = np.flatnonzero(member == place)
        good = here[answered[here]]
        bad = here[~answered[here]]
        latency = np.array([batch.latency_ms[i] for i in good], dtype=np.float64)
        first, last = int(event_at[here].min()), int(event_at[here].max())
        start, end = (first, last + 1) if span.unit == "rows" else bounds(span, key)
        windows[key] = Window(
            start=start,
            end=end,
            first=first,
            last=last,
            rows=here.size,
            errors=bad.size,
            latency=np.bincount(np.searchsorted(LATENCY_EDGES_MS, latency), minlength=LATENCY_EDGES_MS.size + 1),
            slowest_ms=float(latency.max()) if latency.size else math.nan,
            versions=dict(Counter(versions[good].tolist())),
            statuses=dict(Counter(statuses[bad].tolist())),
            messages=_messages(batch.error[i] for i in bad),
            features=tuple(tally[place] for tally in tallies),
            prediction=answers[place],
            score=None if scores is None else scores[place],
        )
    return windows


def parse_texts(texts: Sequence[str | None]) -> list[object]:
    """Return the JSON values of many texts, None for a text that is missing or broken."""
    try:
        values: list[object] = msgspec.json.decode(f"[{','.join(text or 'null' for text in texts)}]")
    except msgspec.MsgspecError:
        values = []
    return values if len(values) == len(texts) else [_parse(text) for text in texts]


def _parse(text: str | None) -> object:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _columns(reference: Reference, texts: Sequence[str | None], member: Ints, windows: int) -> list[list[Tally]]:
    """Return the tallies of each column over the rows whose inputs were logged."""
    if None in texts:
        given = [place for place, text in enumerate(texts) if text is not None]
        texts, member = [texts[place] for place in given], member[given]
    rows = [row if isinstance(row, dict) else {} for row in parse_texts(texts)]
    hidden = [frozenset(row.get(REDACTED, ())) for row in rows]
    names = frozenset[object]().union(*hidden)
    found = []
    for feature in reference.features:
        if feature.name not in names:
            found.append(_tallies(feature, [row.get(feature.name) for row in rows], member, windows))
            continue
        open_to_all = np.array([feature.name not in one for one in hidden], dtype=np.bool_)
        values = [row.get(feature.name) for row, shown in zip(rows, open_to_all.tolist(), strict=True) if shown]
        counted = _per_window(~open_to_all, member, windows)
        plain = _tallies(feature, values, member[open_to_all], windows)
        found.append([replace(tally, redacted=count) for tally, count in zip(plain, counted, strict=True)])
    return found


def _scores(reference: Reference, texts: Sequence[str | None], member: Ints, windows: int) -> list[Tally] | None:
    if reference.score is None:
        return None
    width = len(reference.classes)
    parsed = [row if isinstance(row, list) and len(row) == width else [math.nan] * width for row in parse_texts(texts)]
    values = scores_of(np.array(parsed, dtype=np.float64).reshape(len(parsed), width))
    return _tallies(reference.score, values, member, windows)


def _messages(errors: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(error for error in errors if error))[:_MESSAGES]


def _empty(feature: Feature) -> Tally:
    bins = len(feature.counts) if isinstance(feature, Numeric) else len(feature.categories) + 1
    return Tally(np.zeros(bins, dtype=np.int64), np.zeros(bins))


def _tallies(feature: Feature, values: Values, member: Ints, windows: int) -> list[Tally]:
    if isinstance(feature, Numeric):
        return _tally_numbers(feature, values, member, windows)
    return _tally_names(feature, values, member, windows)


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
    missing = _per_window(~known & ~unusable, member, windows)
    wrong = _per_window(unusable, member, windows)
    spare = slack(np.array([feature.minimum, feature.maximum]))
    below = _per_window(held < feature.minimum - spare, at, windows)
    above = _per_window(held > feature.maximum + spare, at, windows)
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
            unseen=dict(unseen[w].most_common(_UNSEEN_NAMES)),
        )
        for w in range(windows)
    ]


def _per_window(flags: Flags, member: Ints, windows: int) -> list[int]:
    return np.bincount(member[flags], minlength=windows).tolist()  # type: ignore[no-any-return]
