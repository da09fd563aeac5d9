"""Logged answers and the labels that came later become pairs by window, and pairs become realised metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlnb.model.kinds import NESTED
from mlnb.monitor.answer import ranker_performance
from mlnb.monitor.performance import Performance, classifier_performance, regressor_performance
from mlnb.monitor.reference import Reference
from mlnb.monitor.several import several_performance
from mlnb.monitor.span import Instants
from mlnb.monitor.values import Floats
from mlnb.monitor.window import REFUSED, parse_texts
from mlnb.service.log_reader import Batch, LabelValue


@dataclass(slots=True)
class Joined:
    """Labels and the answers they belong to."""

    labels: list[LabelValue] = field(default_factory=list)
    predictions: list[object] = field(default_factory=list)
    probabilities: list[object] = field(default_factory=list)

    def extend(self, other: Joined) -> None:
        """Add the pairs of another one."""
        self.labels += other.labels
        self.predictions += other.predictions
        self.probabilities += other.probabilities

    def measure(self, reference: Reference, outputs: Sequence[str]) -> Performance:
        """Return the metrics of the pairs; `outputs` names the values of an answer, where it has several."""
        if not self.labels:
            return Performance(0, {})
        if reference.task == "ranker":
            return ranker_performance(self.labels, self.predictions)
        if reference.task in NESTED:
            return several_performance(reference.task, outputs, self.labels, self.predictions, self.probabilities)
        if reference.task != "classifier":
            return regressor_performance(self.labels, self.predictions)
        return classifier_performance(
            self.labels, self.predictions, self._table(len(reference.classes)), reference.classes
        )

    def _table(self, width: int) -> Floats:
        unknown = [math.nan] * width
        rows = [row if isinstance(row, list) and len(row) == width else unknown for row in self.probabilities]
        return np.array(rows, dtype=np.float64).reshape(len(rows), width)


@dataclass(slots=True)
class Realised:
    """The labelled answers of a report.

    Attributes
    ----------
    given : int
        Labels that are known.
    found : int
        Those among them whose prediction is in the log.
    pairs : dict of int to Joined
        By the number of the window.
    """

    given: int = 0
    found: int = 0
    pairs: dict[int, Joined] = field(default_factory=dict)


def join(
    joined: dict[int, Joined], batch: Batch, numbers: Instants, labels: Mapping[str, LabelValue], version: int
) -> None:
    """Add the labelled answers of a version to the pairs of their windows.

    Parameters
    ----------
    joined : dict of int to Joined
        By the number of the window; changed.
    batch : Batch
        Rows of the log.
    numbers : array, shape (rows,)
        The window of each row.
    labels : mapping of str to label
        By prediction id.
    version : int
        Whose answers.
    """
    places = [
        place
        for place, key in enumerate(batch.id)
        if key in labels and batch.status[place] < REFUSED and batch.version[place] == version
    ]
    pair(
        joined,
        [int(numbers[place]) for place in places],
        [labels[batch.id[place]] for place in places],
        [batch.prediction[place] for place in places],
        [batch.probabilities[place] for place in places],
    )


def pair(
    joined: dict[int, Joined],
    numbers: Sequence[int],
    labels: Sequence[LabelValue],
    predictions: Sequence[str | None],
    probabilities: Sequence[str | None],
) -> None:
    """Add labels and the answers they belong to, JSON texts as they were logged, to the pairs of their windows."""
    found = zip(numbers, labels, parse_texts(predictions), parse_texts(probabilities), strict=True)
    for number, label, prediction, probability in found:
        pairs = joined.setdefault(number, Joined())
        pairs.labels.append(label)
        pairs.predictions.append(prediction)
        pairs.probabilities.append(probability)
