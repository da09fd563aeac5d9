"""Truth and answers become the few points that draw them: ROC, calibration, residuals, cut-offs."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from mlnb.model.bootstrap import Flags, Floats, Ints
from mlnb.model.evaluation import Confusion, Curve
from mlnb.model.metrics_classes import BINS, BinarySample, ClassSample, bin_of
from mlnb.model.metrics_numbers import NumberSample
from mlnb.model.metrics_ranking import ndcg
from mlnb.model.sums import threshold_counts

POINTS = 101
_BARS = 40
_DIGITS = 12
_MOST_CURVES = 10
_NORMAL = NormalDist()


def of_binary(sample: BinarySample, label: str = "") -> tuple[Curve, ...]:
    """Return ROC and precision-recall curves, and calibration where the scores are probabilities."""
    if sample.scores is None or not sample.scarcest():
        return ()
    curves = [_roc(sample.positive, sample.scores, label), _precision_recall(sample.positive, sample.scores, label)]
    if sample.chances:
        curves.append(_calibration(sample.positive, sample.scores, label))
    return tuple(curves)


def of_classes(sample: ClassSample) -> tuple[Curve, ...]:
    """Return a ROC and a calibration curve for each class against the others, of the first ten classes."""
    found: list[Curve] = []
    for place, name in enumerate(sample.classes[:_MOST_CURVES] if sample.probabilities is not None else ()):
        positive = sample.truth == place
        if sample.probabilities is not None and positive.any() and not positive.all():
            scores = sample.probabilities[:, place]
            found += [_roc(positive, scores, name), _calibration(positive, scores, name)]
    return tuple(found)


def of_numbers(sample: NumberSample) -> tuple[Curve, ...]:
    """Return the residuals as bars and against the normal distribution, and mean truth by twentieth of the answers."""
    if sample.answers is None or sample.truth.size < 2:
        return ()
    residuals = sample.truth - sample.answers
    curves = [_bars(residuals)]
    spread = float(residuals.std())
    if spread > 0:
        shares = (np.arange(POINTS) + 0.5) / POINTS
        normal = np.array([_NORMAL.inv_cdf(float(share)) for share in shares])
        curves.append(_curve("qq", "", normal, np.quantile((residuals - residuals.mean()) / spread, shares)))
    parts = min(20, sample.truth.size)
    order = np.argsort(sample.answers, kind="stable")
    part = np.arange(order.size) * parts // order.size
    counts = np.bincount(part)
    said, seen = (np.bincount(part, weights=values[order]) / counts for values in (sample.answers, sample.truth))
    curves.append(_curve("binned", "", said, seen, counts))
    return tuple(curves)


def of_queries(relevance: Floats, scores: Floats, query: Ints) -> tuple[Curve, ...]:
    """Return nDCG by cut-off, up to the longest query or 50."""
    longest = min(int(np.bincount(query).max()), 50)
    cuts = tuple(range(1, longest + 1))
    return (_curve("cut_off", "ndcg", np.array(cuts, dtype=float), ndcg(relevance, scores, query, cuts).mean(axis=0)),)


def confusion(truth: Ints, answers: Ints, classes: tuple[str, ...]) -> Confusion:
    """Return how often each class was answered as each."""
    size = len(classes)
    table = np.bincount(truth * size + answers, minlength=size * size).reshape(size, size)
    return Confusion(classes, tuple(tuple(int(count) for count in row) for row in table))


def _roc(positive: Flags, scores: Floats, label: str) -> Curve:
    _, good, bad = threshold_counts(positive, scores)
    hits, alarms = np.concatenate([[0], good]) / good[-1], np.concatenate([[0], bad]) / bad[-1]
    kept = _thinned((hits + alarms) / 2)
    return _curve("roc", label, alarms[kept], hits[kept])


def _precision_recall(positive: Flags, scores: Floats, label: str) -> Curve:
    _, good, bad = threshold_counts(positive, scores)
    recall, precision = good / good[-1], good / (good + bad)
    kept = _thinned(recall)
    return _curve("precision_recall", label, recall[kept], precision[kept])


def _calibration(positive: Flags, scores: Floats, label: str) -> Curve:
    place = bin_of(scores)
    counts = np.bincount(place, minlength=BINS)
    there = counts > 0
    said = np.bincount(place, weights=scores, minlength=BINS)[there] / counts[there]
    seen = np.bincount(place, weights=positive, minlength=BINS)[there] / counts[there]
    return _curve("calibration", label, said, seen, counts[there])


def _bars(residuals: Floats) -> Curve:
    low, high = np.quantile(residuals, (0.005, 0.995))
    if high <= low:
        low, high = float(residuals.min()) - 0.5, float(residuals.max()) + 0.5
    counts, edges = np.histogram(np.clip(residuals, low, high), bins=_BARS, range=(low, high))
    return _curve("residuals", "", (edges[1:] + edges[:-1]) / 2, counts.astype(float), counts)


def _thinned(along: Floats) -> Ints:
    """Return at most 101 places, the ends among them, evenly spread along what rises."""
    wanted = np.linspace(along[0], along[-1], POINTS)
    return np.unique(np.concatenate([[0], np.minimum(np.searchsorted(along, wanted), along.size - 1)]))[-POINTS:]


def _curve(kind: str, label: str, x: Floats, y: Floats, rows: Ints | None = None) -> Curve:
    counts = () if rows is None else tuple(int(count) for count in rows)
    return Curve(kind, label, _rounded(x), _rounded(y), counts)


def _rounded(values: Floats) -> tuple[float, ...]:
    """Return floats with 12 digits: more would make the same curve differ between two machines."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
