"""Errors of labelled answers, in the order of their time, become the moments since which a model errs more.

Every detector reads the stream once and tells of the first rise; it is latched. Ours (`mlnb.monitor.rise`) is wrong in
one stream of 1,000 at most (`ALPHA`), however long the stream is. Beside it, where ``mlnb[river]`` is installed, are
river's ADWIN, Page-Hinkley, DDM and HDDM-A with their own settings. ADWIN is the quickest of those that are silent
where nothing changes (``python -m tests.bench streams``), so it comes first where river is there.

A classifier's error is 0 or 1. A regressor's absolute error e becomes e / (e + m), m the reference's mean error, for
ADWIN and Page-Hinkley, and "larger than m" for those that read zeros and ones. The moment of the change is the split of
what was seen at which the means before and after differ most for their numbers (Hinkley's estimate); detectors notice
it later.

References
----------
Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007 (ADWIN). Page, "Continuous
inspection schemes", Biometrika 41, 1954. Gama et al., "Learning with drift detection", SBIA 2004 (DDM). Frías-Blanco
et al., "Online and non-parametric drift detection methods based on Hoeffding's bounds", IEEE TKDE 27, 2015 (HDDM).
Hinkley, "Inference about the change-point in a sequence of random variables", Biometrika 57, 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from mlnb.monitor.answered import Answered
from mlnb.monitor.findings import Finding
from mlnb.monitor.performance import as_number, class_indices
from mlnb.monitor.reference import Reference
from mlnb.monitor.rise import certain_at
from mlnb.monitor.span import Instants, instant
from mlnb.monitor.text import number, percent
from mlnb.monitor.values import Floats, numbers

ALPHA = 0.001
FEWEST = 60
"""Labelled answers below which nothing is looked for."""

OURS = "sequential"


@dataclass(frozen=True, slots=True)
class Change:
    """A rise of the error.

    Attributes
    ----------
    detector : str
        ``sequential``, ``ADWIN``, ``Page-Hinkley``, ``DDM`` or ``HDDM``.
    seen : int
        Labelled answers after which it was told.
    told_at, since : int
        The times of that answer and of the first one after the change: nanoseconds since 1970.
    before, after : float
        The mean error before the change, and from then until it was told: a share of wrong answers, or an absolute
        error.
    share : bool
        Which of the two.
    """

    detector: str
    seen: int
    told_at: int
    since: int
    before: float
    after: float
    share: bool

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            "detector": self.detector,
            "seen": self.seen,
            "told_at": f"{instant(self.told_at):%Y-%m-%dT%H:%M:%S.%fZ}",
            "since": f"{instant(self.since):%Y-%m-%dT%H:%M:%S.%fZ}",
            "before": self.before,
            "after": self.after,
        }

    def finding(self) -> Finding:
        """Return it as a sentence."""
        if self.share:
            what = f"wrong answers went from {percent(self.before)} to {percent(self.after)}"
        else:
            what = f"the mean absolute error went from {number(self.before)} to {number(self.after)}"
        since = f"{instant(self.since):%Y-%m-%d %H:%M}"
        told = f"told by {self.detector} after {self.seen:,} labelled answers"
        return Finding("concept", "", f"Concept drift since about {since}: {what} ({told}).")


class _Detector(Protocol):
    drift_detected: bool

    def update(self, x: float) -> object: ...


def errors_of(reference: Reference, rows: Answered) -> tuple[Floats, Instants, bool]:
    """Return the errors of the labelled answers, their times, and whether they are zeros and ones.

    Of other tasks than classifiers and regressors there are none.
    """
    labelled = [place for place, label in enumerate(rows.labels) if label is not None]
    labels, answers = [rows.labels[place] for place in labelled], [rows.predictions[place] for place in labelled]
    at = rows.event_at[labelled]
    if reference.task == "classifier":
        wanted, given = class_indices(labels, reference.classes), class_indices(answers, reference.classes)
        return ((wanted != given) | (wanted < 0)).astype(np.float64), at, True
    if reference.task != "regressor":
        return np.empty(0), np.empty(0, dtype=np.int64), False
    errors = np.abs(numbers([as_number(label) for label in labels])[0] - numbers(answers)[0])
    known = np.isfinite(errors)
    return errors[known], at[known], False


def find_changes(errors: Floats, at: Instants, *, share: bool, usual: float) -> tuple[Change, ...]:
    """Return the first rise that each detector tells of.

    Parameters
    ----------
    errors : ndarray of float, shape (rows,)
        Zeros and ones where `share`, else absolute errors.
    at : ndarray of int64, shape (rows,)
        Their times, ascending.
    usual : float
        The mean absolute error of the reference, by which those of a regressor are scaled; ``nan`` where it is not
        known: then that of the first `FEWEST` answers.
    """
    if errors.size < FEWEST:
        return ()
    usual = usual if usual > 0 else float(errors[:FEWEST].mean())
    flags = errors if share else (errors > usual).astype(np.float64)
    smooth = errors if share else np.divide(errors, errors + usual, out=np.zeros(errors.size), where=errors + usual > 0)
    told = [(name, _first(make(), flags if binary else smooth)) for name, make, binary in _of_river()]
    told.insert(1, (OURS, _ours(flags)))
    return tuple(_change(name, seen, start, errors, at, share) for name, (seen, start) in told if seen)


def _change(name: str, seen: int, start: int, errors: Floats, at: Instants, share: bool) -> Change:
    split = start + _split(errors[start:seen])
    before, after = float(errors[start:split].mean()), float(errors[split:seen].mean())
    return Change(name, seen, int(at[seen - 1]), int(at[split]), before, after, share)


def _ours(values: Floats) -> tuple[int, int]:
    """Return after how many values a rise is certain, 0 for never, and where what it is compared with begins."""
    start = 0
    while values.size - start >= FEWEST:
        broken = certain_at(values[start:], ALPHA)
        if not broken:
            return 0, 0
        if _rises(values[start : start + broken]):
            return start + broken, start
        start += max(_split(values[start : start + broken]), 1)
    return 0, 0


def _first(detector: _Detector, values: Floats) -> tuple[int, int]:
    start = 0
    for place, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            if _rises(values[start : place + 1]):
                return place + 1, start
            start += _split(values[start : place + 1])
    return 0, 0


def _split(values: Floats) -> int:
    """Return where the means before and after differ most, for their numbers; at least 1."""
    if values.size < 2:
        return 0
    counts = np.arange(1, values.size)
    gaps = np.cumsum(values)[:-1] - counts * values.mean()
    weight = np.sqrt(counts * (values.size - counts))
    return int(np.argmax(np.abs(gaps) / weight)) + 1


def _rises(values: Floats) -> bool:
    split = _split(values)
    return split > 0 and bool(values[split:].mean() > values[:split].mean())


def _of_river() -> Sequence[tuple[str, Callable[[], _Detector], bool]]:
    if find_spec("river") is None:
        return ()
    from river import drift
    from river.drift import binary

    return (
        ("ADWIN", drift.ADWIN, False),
        ("Page-Hinkley", lambda: drift.PageHinkley(mode="up"), False),
        ("DDM", binary.DDM, True),
        ("HDDM", binary.HDDMA, True),
    )
