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
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from mlnb.monitor.answer import watched as the_one
from mlnb.monitor.reference import Reference, scores_of
from mlnb.monitor.span import Instants, Span, bounds, window_numbers
from mlnb.monitor.tally import Tally as Tally
from mlnb.monitor.tally import empty_tally, merged_tallies, per_window, tallies
from mlnb.monitor.values import Floats, Ints
from mlnb.service.log_content import REDACTED
from mlnb.service.log_reader import Batch

LATENCY_EDGES_MS: Floats = np.logspace(-2, 5, 7 * 32 + 1)
"""Upper ends of the latency bins: 32 a decade from 10 µs to 100 s, so a percentile is right within 8 %."""

REFUSED = 400
"""HTTP status from which a logged row is an error and holds no prediction."""

MESSAGES = 5


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
            messages=tuple(dict.fromkeys(self.messages + other.messages))[:MESSAGES],
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


def merged(windows: Sequence[Window]) -> Window:
    """Return the window over all spans; at least one is needed. Faster than adding one to another."""
    held = [window for window in windows if window.rows] or [windows[0]]
    versions, statuses = Counter[int](), Counter[int]()
    for window in held:
        versions.update(window.versions)
        statuses.update(window.statuses)
    scores = [window.score for window in held if window.score is not None]
    return Window(
        start=min(window.start for window in windows),
        end=max(window.end for window in windows),
        first=min(window.first for window in held),
        last=max(window.last for window in held),
        rows=sum(window.rows for window in held),
        errors=sum(window.errors for window in held),
        latency=np.sum([window.latency for window in held], axis=0),
        slowest_ms=float(np.fmax.reduce([window.slowest_ms for window in held])),
        versions=dict(versions),
        statuses=dict(statuses),
        messages=tuple(dict.fromkeys(text for window in held for text in window.messages))[:MESSAGES],
        features=tuple(merged_tallies(several) for several in zip(*(window.features for window in held), strict=True)),
        prediction=merged_tallies([window.prediction for window in held]),
        score=merged_tallies(scores) if scores else None,
    )


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
        features=tuple(empty_tally(feature) for feature in reference.features),
        prediction=empty_tally(reference.prediction),
        score=None if reference.score is None else empty_tally(reference.score),
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
    columns = _columns(reference, [batch.inputs[i] for i in watched], inside, keys.size)
    parsed = parse_texts([batch.prediction[i] for i in watched])
    predictions = [the_one(reference.task, one) for one in parsed]
    answers = tallies(reference.prediction, predictions, inside, keys.size)
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
            features=tuple(column[place] for column in columns),
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
            found.append(tallies(feature, [row.get(feature.name) for row in rows], member, windows))
            continue
        open_to_all = np.array([feature.name not in one for one in hidden], dtype=np.bool_)
        values = [row.get(feature.name) for row, shown in zip(rows, open_to_all.tolist(), strict=True) if shown]
        counted = per_window(~open_to_all, member, windows)
        plain = tallies(feature, values, member[open_to_all], windows)
        found.append([replace(tally, redacted=count) for tally, count in zip(plain, counted, strict=True)])
    return found


def _scores(reference: Reference, texts: Sequence[str | None], member: Ints, windows: int) -> list[Tally] | None:
    if reference.score is None:
        return None
    width = len(reference.classes)
    parsed = [row if isinstance(row, list) and len(row) == width else [math.nan] * width for row in parse_texts(texts)]
    values = scores_of(np.array(parsed, dtype=np.float64).reshape(len(parsed), width))
    return tallies(reference.score, values, member, windows)


def _messages(errors: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(error for error in errors if error))[:MESSAGES]
