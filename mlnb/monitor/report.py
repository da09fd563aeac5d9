"""A reference and the prediction log of a service become a `Report`: what came in, how far it drifted, how good it was.

Everything is derived from counts; labels are joined by prediction id. `Report.to_json` is format 1: keys are only
added under this number; a key whose meaning changes raises it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from mlnb.errors import MonitorError
from mlnb.monitor import distance
from mlnb.monitor.compare import Drift, cells, compare
from mlnb.monitor.concept import Change
from mlnb.monitor.estimate import Estimates
from mlnb.monitor.feature import Feature
from mlnb.monitor.findings import Finding, error_findings, feature_findings, label_findings
from mlnb.monitor.joined import Joined, Realised, join
from mlnb.monitor.joint import Joint
from mlnb.monitor.performance import Performance
from mlnb.monitor.reference import Reference
from mlnb.monitor.span import Instants, Span, bounds, days, instant, parse_span, window_numbers
from mlnb.monitor.text import counted
from mlnb.monitor.window import Tally, Window, count, empty_window, merged
from mlnb.registry.alarms import Alarm
from mlnb.service.log_reader import Batch, LabelValue

FORMAT = 1
_GAPS = 2_000


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One watched column: an input, or the answers.

    Attributes
    ----------
    feature : Numeric or Categorical
        The reference.
    tally : Tally
        Counts over all windows.
    drift : Drift
        Over all windows.
    trend, chance : tuple of float, shape (windows,)
        Jensen-Shannon distance of each window from the reference, and what sampling alone would give; ``nan`` where a
        window is empty.
    tallies : tuple of Tally, shape (windows,)
        Counts of each window.
    """

    feature: Feature
    tally: Tally
    drift: Drift
    trend: tuple[float, ...]
    chance: tuple[float, ...]
    tallies: tuple[Tally, ...]

    @property
    def name(self) -> str:
        """The column's name."""
        return self.feature.name


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a version was asked and answered, beside its reference.

    Attributes
    ----------
    model, version : str, int
        The version that is watched: ``delays``, 7.
    span : str
        Length of a window.
    made_at : datetime
        When the report was made.
    reference : Reference
    windows : tuple of Window
        In order of time; windows of time without predictions are there, empty.
    total : Window
        All windows together.
    features : tuple of Column
        The inputs, largest drift first.
    answers : tuple of Column
        The prediction and, for a classifier with probabilities, the score.
    performance : tuple of Performance, shape (windows,)
        Realised, of the labelled predictions; ``rows`` is 0 where no label is known.
    overall : Performance
        Realised over all windows.
    findings : tuple of Finding
    importance : mapping of str to float, each feature's share of the model's, by which `mlnb.monitor.weight` ranks.
    estimates : Estimates, of the performance without labels; empty where the reference's labels are not known.
    changes : tuple of Change, the rises of the realised error that detectors have told of.
    alarms : tuple of Alarm
        Raised for this version, acknowledged ones among them, oldest first.
    joint : Joint or None
        Of all columns together, where that was asked for.
    """

    model: str
    version: int
    span: str
    made_at: datetime
    reference: Reference
    windows: tuple[Window, ...]
    total: Window
    features: tuple[Column, ...]
    answers: tuple[Column, ...]
    performance: tuple[Performance, ...]
    overall: Performance
    findings: tuple[Finding, ...]
    importance: Mapping[str, float] = field(default_factory=dict)
    estimates: Estimates = field(default_factory=Estimates)
    changes: tuple[Change, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    joint: Joint | None = None

    @property
    def ref(self) -> str:
        """The version as people write it: ``delays/7``."""
        return f"{self.model}/{self.version}"

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """Alarms that nobody has acknowledged."""
        return tuple(alarm for alarm in self.alarms if alarm.open)

    @property
    def drifted(self) -> tuple[Column, ...]:
        """Inputs whose change is larger than the tolerance and than chance, largest first."""
        return tuple(column for column in self.features if column.drift.drifted)

    def summary(self) -> str:
        """Return the report in two sentences."""
        scored = self.total.prediction.rows
        asked = f"{self.ref} answered {counted(scored, 'row')} {days(self.total.first, self.total.last)}"
        names = [column.name for column in self.drifted]
        features = counted(len(self.features), "feature")
        share = f"{len(names)} of {features} drifted"
        if not scored:
            return f"{asked}. There is nothing to compare with the reference."
        if not names:
            return f"{asked}. None of its {features} drifted by more than {distance.TOLERANCE:.2f} and above chance."
        return f"{asked}. {share} by more than {distance.TOLERANCE:.2f}, most of all {names[0]}."

    def to_json(self) -> dict[str, object]:
        """Return the report as a JSON object: distances and shares, no counts of single bins; ``nan`` is null."""
        return {
            "format": FORMAT,
            "model": self.model,
            "version": self.ref,
            "span": self.span,
            "made_at": _iso(self.made_at),
            "summary": self.summary(),
            "tolerance": distance.TOLERANCE,
            "reference_rows": self.reference.rows,
            "rows": self.total.rows,
            "errors": self.total.errors,
            "features": [_column_json(column) for column in self.features],
            "importance": dict(self.importance),
            **({} if self.joint is None else {"joint": self.joint.to_json()}),
            "answers": [_column_json(column) for column in self.answers],
            "performance": self.overall.to_json(),
            "estimates": self.estimates.to_json(),
            "concept": [change.to_json() for change in self.changes],
            "windows": [
                _window_json(window, realised) for window, realised in zip(self.windows, self.performance, strict=True)
            ],
            "findings": [
                {"kind": finding.kind, "feature": finding.feature, "sentence": finding.sentence}
                for finding in self.findings
            ],
            "alarms": [alarm.to_json() for alarm in self.alarms],
        }


def build_report(
    reference: Reference,
    batches: Iterable[Batch],
    *,
    model: str,
    version: int,
    at: datetime,
    span: str = "day",
    labels: Mapping[str, LabelValue] | None = None,
    outputs: Sequence[str] = (),
) -> Report:
    """Return the report of a service's logged rows.

    Parameters
    ----------
    reference : Reference
        Of the watched version.
    batches : iterable of Batch
        Rows of the log, all versions. Inputs and answers of other versions are not compared, but they count in
        volume, latency, errors and traffic shares.
    model, version : str, int
        The watched version.
    at : datetime
        The time of making, aware.
    span : str
        ``hour``, ``day``, ``week``, ``month``, or a number of rows such as ``500 rows``, by event time.
    labels : mapping of str to label, optional
        Labels by prediction id.
    outputs : sequence of str, optional
        The names of the values of an answer, where it has several.

    Raises
    ------
    MonitorError
        If the span cannot be read, or if nothing has been logged.
    """
    length = parse_span(span)
    known = labels or {}
    counted: dict[int, Window] = {}
    realised = Realised(len(known))
    for batch, ranks in _ranked(length, batches):
        for number, window in count(reference, batch, length, ranks, version=version).items():
            counted[number] = counted[number] + window if number in counted else window
        if known:
            realised.found += sum(key in known for key in batch.id)
            event_at = np.array(batch.event_at, dtype=np.int64)
            join(realised.pairs, batch, window_numbers(length, event_at, ranks), known, version)
    return make_report(reference, length, counted, realised, model=model, version=version, at=at, outputs=outputs)


def make_report(
    reference: Reference,
    span: Span,
    counted: Mapping[int, Window],
    realised: Realised,
    *,
    model: str,
    version: int,
    at: datetime,
    outputs: Sequence[str] = (),
) -> Report:
    """Return the report of windows that are counted already; see `build_report`.

    Parameters
    ----------
    counted : mapping of int to Window
        By number, in order.
    realised : Realised
        The labelled answers by number.

    Raises
    ------
    MonitorError
        If there is no window.
    """
    if not counted:
        raise MonitorError(
            f"No prediction of {model} has been logged in this time.",
            "Send rows to its /predict, or choose a longer time.",
            model=model,
        )
    numbered = _filled(reference, span, counted)
    windows = tuple(numbered.values())
    total = merged(windows)
    features = _ranking(reference, windows, total)
    answers = tuple(_answers(reference, windows, total))
    everything = Joined()
    for pairs in realised.pairs.values():
        everything.extend(pairs)
    return Report(
        model=model,
        version=version,
        span=str(span),
        made_at=at,
        reference=reference,
        windows=windows,
        total=total,
        features=tuple(features),
        answers=answers,
        performance=tuple(realised.pairs.get(number, Joined()).measure(reference, outputs) for number in numbered),
        overall=everything.measure(reference, outputs),
        findings=tuple(_findings(features, answers, total, realised.given, realised.found)),
    )


def _ranked(span: Span, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Instants]]:
    """Yield batches with their rows' places in the order of event time; only spans of rows need all at once."""
    if span.unit != "rows":
        yield from ((batch, np.empty(0, dtype=np.int64)) for batch in batches)
        return
    held = [batch for batch in batches if len(batch)]
    if not held:
        return
    event_at = np.concatenate([np.array(batch.event_at, dtype=np.int64) for batch in held])
    ranks = np.empty(event_at.size, dtype=np.int64)
    ranks[np.argsort(event_at, kind="stable")] = np.arange(event_at.size)
    yield from zip(held, np.split(ranks, np.cumsum([len(batch) for batch in held])[:-1]), strict=True)


def _filled(reference: Reference, span: Span, counted: Mapping[int, Window]) -> dict[int, Window]:
    """Put empty windows between those counted, unless one stray event time would make thousands of them."""
    first, last = min(counted), max(counted)
    if span.unit == "rows" or last - first >= _GAPS:
        return {number: counted[number] for number in sorted(counted)}
    from_to = range(first, last + 1)
    return {number: counted.get(number) or empty_window(reference, *bounds(span, number)) for number in from_to}


def _ranking(reference: Reference, windows: tuple[Window, ...], total: Window) -> list[Column]:
    columns = [
        _column(feature, [window.features[place] for window in windows], total.features[place])
        for place, feature in enumerate(reference.features)
    ]
    return sorted(columns, key=lambda column: (-_or(column.drift.distance, -1.0), column.name))


def _answers(reference: Reference, windows: tuple[Window, ...], total: Window) -> Iterator[Column]:
    yield _column(reference.prediction, [window.prediction for window in windows], total.prediction)
    if reference.score is not None and total.score is not None:
        yield _column(reference.score, [window.score for window in windows if window.score is not None], total.score)


def _column(feature: Feature, tallies: list[Tally], tally: Tally) -> Column:
    reference, current = cells(feature, tallies)
    return Column(
        feature=feature,
        tally=tally,
        drift=compare(feature, tally),
        trend=tuple(distance.each_jensen_shannon(reference, current).tolist()),
        chance=tuple(distance.each_chance_level(reference, current).tolist()),
        tallies=tuple(tallies),
    )


def _findings(
    features: Iterable[Column], answers: Iterable[Column], total: Window, given: int, joined: int
) -> Iterator[Finding]:
    yield from error_findings(total)
    for column in answers:
        yield from feature_findings(column.feature, column.tally, column.drift, kind="prediction")
    for column in features:
        yield from feature_findings(column.feature, column.tally, column.drift)
    yield from label_findings(given, joined)


def _column_json(column: Column) -> dict[str, object]:
    feature, tally, drift = column.feature, column.tally, column.drift
    return {
        "name": column.name,
        "drifted": drift.drifted,
        "jensen_shannon": _null(drift.distance),
        "chance": _null(drift.chance),
        "psi": _null(drift.psi),
        "hellinger": _null(drift.hellinger),
        "total_variation": _null(drift.total_variation),
        "ks": _null(drift.ks),
        "wasserstein_sd": _null(drift.wasserstein),
        "chi_square": {"statistic": _null(drift.chi_square.statistic), "freedom": drift.chi_square.freedom},
        "missing": {"reference": _share(feature.missing, feature.rows), "current": _share(tally.missing, tally.rows)},
        "unseen": dict(tally.unseen),
        "trend": [_null(value) for value in column.trend],
    }


def _window_json(window: Window, realised: Performance) -> dict[str, object]:
    return {
        "start": _iso(instant(window.start)),
        "end": _iso(instant(window.end)),
        "rows": window.rows,
        "errors": window.errors,
        "versions": {str(version): rows for version, rows in sorted(window.versions.items())},
        "latency_p50_ms": _null(window.latency_ms(50)),
        "latency_p95_ms": _null(window.latency_ms(95)),
        "latency_p99_ms": _null(window.latency_ms(99)),
        "performance": realised.to_json(),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or(value: float, instead: float) -> float:
    return instead if math.isnan(value) else value


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
