"""Probabilities of answers whose labels are not known yet become the metrics that are to be expected of them: CBPE.

On the reference, whose labels are known, each class's probability is calibrated by isotonic regression; on new rows the
calibrated probability is how often the class is right. What follows from that for accuracy, log loss and the area under
the ROC curve are sums over the rows. The interval has two parts: labels fall one way or the other (the variance given
the probabilities, by the gradient of the metric), and the calibration was learned from a limited reference (its spread
over `RESAMPLED` resamples of it).

References
----------
Kivimäki, Białek, Nurminen, Kuberski: "Confidence-based Estimators for Predictive Performance in Model Monitoring",
JAIR 82, 2025 (arXiv:2407.08649); NannyML, "How it works: estimating performance", section CBPE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.values import Floats, Ints

RESAMPLED = 20
_CLIP = float(np.finfo(np.float64).eps)
_SEED = 0
_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric that is to be expected.

    Attributes
    ----------
    value, lower, upper : float
        The estimate and its interval of 95 %.
    """

    value: float
    lower: float
    upper: float

    @classmethod
    def around(cls, value: float, variance: float, least: float = 0.0, most: float = np.inf) -> Estimate:
        """Return the estimate with this variance, its interval within the metric's range."""
        half = 1.959964 * float(np.sqrt(max(variance, 0.0)))
        return cls(value, max(value - half, least), min(value + half, most))


@dataclass(frozen=True, slots=True)
class Step:
    """An isotonic regression.

    Attributes
    ----------
    x, y : tuple of float
        Its corners; between them it is linear, outside it is constant.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def at(self, values: Floats) -> Floats:
        """Return the calibrated probabilities."""
        found: Floats = np.interp(values, self.x, self.y)
        return found


Calibration = tuple[Step, ...]
"""One for each class; of two classes that of the second one alone."""


def calibrate(probabilities: Floats, labels: Ints) -> tuple[Calibration, ...]:
    """Return the calibration of the reference, then those of resamples of it.

    Parameters
    ----------
    probabilities : ndarray of float, shape (rows, classes)
    labels : ndarray of int, shape (rows,)
        The class of each row, by its column; -1 for none of them.
    """
    random = np.random.default_rng(_SEED)
    rows = labels.size
    chosen = [np.arange(rows), *(random.integers(0, rows, rows) for _ in range(RESAMPLED))]
    return tuple(_calibration(probabilities[rows_of], labels[rows_of]) for rows_of in chosen)


def expect(calibrations: Sequence[Calibration], probabilities: Floats, predicted: Ints) -> dict[str, Estimate]:
    """Return the expected ``accuracy``, ``log_loss`` and, of two classes, ``auc``; empty for no row.

    Parameters
    ----------
    calibrations : sequence of Calibration
        As `calibrate` gives them.
    probabilities : ndarray of float, shape (rows, classes)
    predicted : ndarray of int, shape (rows,)
        The class that was answered, -1 for none of them.

    Notes
    -----
    Rows whose probabilities are missing are left out. Equal scores count half in the area. The area is left out where
    all rows are expected to be of one class.
    """
    known = ~np.isnan(probabilities).any(axis=1)
    given, answered = probabilities[known], predicted[known]
    if not answered.size:
        return {}
    tables = [_calibrated(one, given) for one in calibrations]
    found = [_metrics(table, given, answered) for table in tables]
    first = found[0]
    estimates = {}
    for name, (value, variance) in first.items():
        spread = float(np.var([one[name][0] for one in found[1:] if name in one])) if len(found) > 1 else 0.0
        estimates[name] = Estimate.around(value, variance + spread, most=np.inf if name == "log_loss" else 1.0)
    return estimates


def expected_auc(scores: Floats, truth: Floats) -> tuple[float, float]:
    """Return the area that is to be expected, and its variance.

    Parameters
    ----------
    scores : ndarray of float, shape (rows,)
    truth : ndarray of float, shape (rows,)
        The probability that a row is of the second class.

    Notes
    -----
    With s the scores and p the probabilities: the sum over pairs i != j of p_i (1 - p_j) w_ij, divided by the same sum
    without w; w is 1 where s_i > s_j, 1/2 where they are equal. With probabilities 0 and 1 this is the area itself.
    """
    _, place = np.unique(scores, return_inverse=True)
    ones, zeros = np.bincount(place, weights=truth), np.bincount(place, weights=1.0 - truth)
    own = truth * (1.0 - truth)
    behind = (np.cumsum(zeros) - zeros / 2)[place]  # negatives below each row, those beside it half
    ahead = (ones.sum() - np.cumsum(ones) + ones / 2)[place]
    pairs = float(truth.sum() * (1.0 - truth).sum() - own.sum())
    if pairs <= _CLIP * truth.size:
        return np.nan, np.nan
    area = float((truth * behind).sum() - own.sum() / 2) / pairs
    positive, negative = float(truth.sum()), float((1.0 - truth).sum())
    slope = (behind - ahead - area * (negative - positive)) / pairs
    return area, float((slope**2 * own).sum())


def _calibration(probabilities: Floats, labels: Ints) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    columns = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    steps = []
    for column in columns:
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        fitted.fit(probabilities[:, column], (labels == column).astype(np.float64))
        x, y = (np.round(values, _DIGITS).tolist() for values in (fitted.X_thresholds_, fitted.y_thresholds_))
        steps.append(Step(tuple(x), tuple(y)))
    return tuple(steps)


def _calibrated(calibration: Calibration, probabilities: Floats) -> Floats:
    if len(calibration) == 1:
        second = calibration[0].at(probabilities[:, 1])
        return np.column_stack([1.0 - second, second])
    table = np.column_stack([step.at(probabilities[:, place]) for place, step in enumerate(calibration)])
    sums = table.sum(axis=1, keepdims=True)
    found: Floats = np.where(sums > 0, table / np.where(sums > 0, sums, 1.0), probabilities)
    return found


def _metrics(truth: Floats, given: Floats, answered: Ints) -> Mapping[str, tuple[float, float]]:
    rows = answered.size
    right = np.where(answered >= 0, truth[np.arange(rows), np.maximum(answered, 0)], 0.0)
    losses = -np.log(np.clip(given, _CLIP, 1.0 - _CLIP))
    loss = (truth * losses).sum(axis=1)
    of_loss = (truth * losses**2).sum(axis=1) - loss**2
    found = {
        "accuracy": (float(right.mean()), float((right * (1.0 - right)).sum()) / rows**2),
        "log_loss": (float(loss.mean()), float(of_loss.sum()) / rows**2),
    }
    if truth.shape[1] == 2:
        area, variance = expected_auc(given[:, 1], truth[:, 1])
        if not np.isnan(area):
            found["auc"] = (area, variance)
    return found
