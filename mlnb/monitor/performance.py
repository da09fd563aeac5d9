"""Answers joined with the labels that came later become realised metrics.

Classifiers: accuracy, log loss, and for two classes with probabilities the area under the ROC curve of the second
class. Regressors: mean absolute error and root mean squared error. A metric that cannot be computed is left out: no
area where only one class occurred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlnb.errors import MonitorError
from mlnb.model.bootstrap import exact
from mlnb.model.metrics_classes import log_losses, roc_auc
from mlnb.model.metrics_numbers import NumberSample
from mlnb.model.naming import name_of
from mlnb.monitor.values import Floats, Ints, numbers


@dataclass(frozen=True, slots=True)
class Performance:
    """Realised metrics of the labelled predictions of a span.

    Attributes
    ----------
    rows : int
        Labelled predictions.
    metrics : mapping of str to float
        ``accuracy``, ``log_loss``, ``auc``; or ``mae``, ``rmse`` in the label's unit.
    outputs : mapping of str to mapping of str to float
        The same of each value of an answer of several (`mlnb.monitor.several`); else empty.
    """

    rows: int
    metrics: Mapping[str, float]
    outputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the metrics as JSON, beside the number of rows."""
        told: dict[str, object] = {"rows": self.rows, **self.metrics}
        return {**told, "outputs": self.outputs} if self.outputs else told


def classifier_performance(
    labels: Sequence[object],
    predictions: Sequence[object],
    probabilities: Floats | None,
    classes: Sequence[str | int | float | bool],
) -> Performance:
    """Return accuracy, log loss and area under the ROC curve.

    Parameters
    ----------
    labels, predictions : sequence, shape (rows,)
        Classes. Labels may be texts, as in a CSV file: ``"1"`` is the class 1, ``"true"`` the class True.
    probabilities : ndarray of float, shape (rows, classes), optional
        ``nan`` rows (no probabilities logged) are left out of log loss and area.
    classes : sequence
        In the order of the probabilities.

    Notes
    -----
    A label that is none of the classes counts as wrong, and as probability 0 in the log loss. Probabilities are
    clipped to [eps, 1 - eps], eps = 2.2e-16, as scikit-learn does. Equal scores share their mean rank (Mann-Whitney).
    """
    wanted, given = class_indices(labels, classes), class_indices(predictions, classes)
    if not wanted.size:
        return Performance(0, {})
    metrics = {"accuracy": float(np.mean((wanted == given) & (wanted >= 0)))}
    if probabilities is not None and probabilities.shape == (wanted.size, len(classes)):
        known = ~np.isnan(probabilities).any(axis=1)
        if known.any():
            metrics |= _probabilistic(wanted[known], probabilities[known])
    return Performance(wanted.size, metrics)


def regressor_performance(labels: Sequence[object], predictions: Sequence[object]) -> Performance:
    """Return mean absolute error and root mean squared error; labels may be texts, as in a CSV file.

    Raises
    ------
    MonitorError
        If a label is not a number.
    """
    wanted, wrong = numbers([as_number(label) for label in labels])
    if wrong.any():
        label = labels[int(np.flatnonzero(wrong)[0])]
        raise MonitorError(f"The label {label!r} is not a number, but the model is a regressor.", "Correct the labels.")
    given, _ = numbers(predictions)
    known = ~np.isnan(wanted) & ~np.isnan(given)
    if not known.any():
        return Performance(0, {})
    sample = NumberSample(wanted[known], given[known])
    found = dict(zip(sample.names, exact(sample).tolist(), strict=True))
    return Performance(int(known.sum()), {name: found[name] for name in ("mae", "rmse")})


def class_index(value: object, index: Mapping[str, int]) -> int:
    """Return the place of a class, given as itself or as its text; -1 if it is none of them.

    Examples
    --------
    >>> class_index("1.0", {"0": 0, "1": 1}), class_index("True", {"false": 0, "true": 1}), class_index("x", {})
    (1, 1, -1)
    """
    name = str(name_of(value))
    if name in index:
        return index[name]
    if isinstance(value, str):
        for other in (str(name_of(as_number(value))), value.strip(), value.strip().lower()):
            if other in index:
                return index[other]
    return -1


def class_indices(values: Sequence[object], classes: Sequence[str | int | float | bool]) -> Ints:
    """Return the place of each class among `classes`, shape (rows,); -1 for what is none of them."""
    index = {str(name_of(value)): place for place, value in enumerate(classes)}
    known: dict[tuple[type, object], int] = {}
    places = []
    for value in values:
        key = (type(value), value if isinstance(value, str | int | float) else str(value))
        if key not in known:
            known[key] = class_index(value, index)
        places.append(known[key])
    return np.array(places, dtype=np.int64)


def _probabilistic(wanted: Ints, probabilities: Floats) -> dict[str, float]:
    chosen = np.where(wanted >= 0, probabilities[np.arange(wanted.size), np.maximum(wanted, 0)], 0.0)
    metrics = {"log_loss": float(log_losses(chosen).mean())}
    if probabilities.shape[1] == 2:
        area = roc_auc(wanted == 1, probabilities[:, 1])
        if not np.isnan(area):
            metrics["auc"] = area
    return metrics


def as_number(value: object) -> object:
    """Return the number that a text spells; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
