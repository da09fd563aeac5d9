"""The labelled sample of a version becomes ``estimate.json``, by which its performance is estimated without labels.

The file, format 1, lies in the package of versions whose labels were known when they were registered: of classifiers
with probabilities (`mlnb.monitor.cbpe`) and of regressors (`mlnb.monitor.dle`). It holds no rows. To raise the number:
write the new one in `Estimator.to_json`, keep reading the old one in `Estimator.from_json`.

What no such estimate can see is a change of what is right for the same rows: concept drift. `CAUTION` says so wherever
one is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from mlnb.errors import MonitorError, NewerFormatError
from mlnb.monitor.answered import Answered
from mlnb.monitor.cbpe import Calibration, Estimate, Step, calibrate, expect
from mlnb.monitor.dle import Loss, Tree, encoded, expect_errors, learn
from mlnb.monitor.performance import class_indices, classifier_performance, regressor_performance
from mlnb.monitor.reference import Reference
from mlnb.monitor.span import Instants
from mlnb.monitor.values import Floats, Ints, Values, numbers
from mlnb.store.manifest import write_json

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer

FORMAT = 1
FILE, REFERENCE = "estimate.json", "reference.json"
FEWEST = 100
"""Labelled rows below which nothing is learned."""

MOST = 20_000
"""So many rows, spread evenly, are learned from at the most; more would hardly narrow an interval."""

FEWEST_OF_CLASS = 10
CAUTION = (
    "Estimated without labels, from what the reference's labels have taught: it cannot see concept drift, that is, a "
    "change of what is right for the same rows."
)

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Estimator:
    """What estimates a version's metrics.

    Attributes
    ----------
    rows : int
        Labelled rows of the reference.
    unchanged : mapping of str to float
        The metrics realised on them: what is to be expected if nothing has changed.
    calibrations : tuple of Calibration
        Of a classifier, else empty.
    losses : tuple of Loss
        Of a regressor those of the absolute and the squared error, else empty.
    """

    rows: int
    unchanged: Mapping[str, float]
    calibrations: tuple[Calibration, ...] = ()
    losses: tuple[Loss, ...] = ()

    def estimate(
        self, reference: Reference, columns: Mapping[str, Values], predictions: Sequence[object], probabilities: Floats
    ) -> dict[str, Estimate]:
        """Return the expected metrics of answered rows, by name.

        Parameters
        ----------
        reference : Reference
            Of the same version.
        columns : mapping of str to sequence, each of shape (rows,)
            The raw inputs; needed of regressors.
        predictions : sequence, shape (rows,)
        probabilities : ndarray of float, shape (rows, classes)
            ``nan`` where there are none.
        """
        if self.losses:
            table = encoded(reference.features, columns, predictions)
            return expect_errors(self.losses[0], self.losses[1], table, self.rows)
        return expect(self.calibrations, probabilities, class_indices(predictions, reference.classes))

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that is written as ``estimate.json``."""
        return {
            "format": FORMAT,
            "rows": self.rows,
            "unchanged": dict(self.unchanged),
            "calibrations": [[{"x": step.x, "y": step.y} for step in one] for one in self.calibrations],
            "losses": [asdict(loss) for loss in self.losses],
        }

    @classmethod
    def from_json(cls, document: Json) -> Estimator:
        """Return what `to_json` wrote.

        Raises
        ------
        NewerFormatError
            If the format is newer than this program's.
        MonitorError
            If it is something else.
        """
        number = document.get("format")
        if isinstance(number, int):
            NewerFormatError.check(FILE, number, FORMAT)
        try:
            return cls(
                rows=int(cast(int, document["rows"])),
                unchanged={str(k): float(v) for k, v in cast("dict[str, float]", document["unchanged"]).items()},
                calibrations=tuple(
                    tuple(Step(tuple(step["x"]), tuple(step["y"])) for step in one)
                    for one in cast("list[list[dict[str, list[float]]]]", document["calibrations"])
                ),
                losses=tuple(_loss(one) for one in cast("list[Json]", document["losses"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MonitorError(
                f"{FILE} is not an estimator of format {FORMAT}: {error!r}.",
                "Deploy the model again to write a new one.",
            ) from error


@dataclass(frozen=True, slots=True)
class Estimates:
    """The estimated metrics of a report.

    Attributes
    ----------
    windows : tuple of mapping of str to Estimate, shape (windows,)
        By metric; empty where a window has no rows.
    overall : mapping of str to Estimate
        Over all windows.
    unchanged : mapping of str to float
        The reference's own metrics.
    reference_rows : int
        How many labelled rows those are of.
    """

    windows: tuple[Mapping[str, Estimate], ...] = ()
    overall: Mapping[str, Estimate] = field(default_factory=dict)
    unchanged: Mapping[str, float] = field(default_factory=dict)
    reference_rows: int = 0

    def to_json(self) -> dict[str, object]:
        """Return a JSON object, with the sentence of what it cannot see."""
        return {
            "caution": CAUTION,
            "reference_rows": self.reference_rows,
            "unchanged": dict(self.unchanged),
            "overall": _spelt(self.overall),
            "windows": [_spelt(one) for one in self.windows],
        }


def estimate_windows(estimator: Estimator, reference: Reference, rows: Answered, starts: Instants) -> Estimates:
    """Return what is to be expected of each window and of all.

    Parameters
    ----------
    rows : Answered
        What the version answered; of regressors those whose inputs were logged whole count.
    starts : ndarray of int64, shape (windows,)
        When each window begins, ascending.
    """

    def of(places: Ints) -> dict[str, Estimate]:
        if not places.size:
            return {}
        inputs = [rows.inputs[place] or {} for place in places] if estimator.losses else []
        columns = {one.name: [row.get(one.name) for row in inputs] for one in reference.features}
        predictions = [rows.predictions[place] for place in places]
        return estimator.estimate(reference, columns, predictions, rows.probabilities[places])

    window = np.searchsorted(starts, rows.event_at, side="right") - 1
    whole = np.array([bool(estimator.calibrations) or row is not None for row in rows.inputs], dtype=np.bool_)
    each = tuple(of(np.flatnonzero(whole & (window == number))) for number in range(starts.size))
    return Estimates(each, of(np.flatnonzero(whole)), dict(estimator.unchanged), estimator.rows)


def freeze_estimator(package: Path, scorer: Scorer, columns: Mapping[str, Values], labels: Values | None) -> None:
    """Write ``estimate.json`` beside ``reference.json`` where the sample's labels are known and teach something.

    Parameters
    ----------
    package : Path
        The package's folder.
    scorer : Scorer
        The package, loaded.
    columns : mapping of str to sequence, each of shape (rows,)
        The sample.
    labels : sequence, shape (rows,), or None
        Its truth.
    """
    if labels is None:
        return
    reference = Reference.from_json(json.loads((package / REFERENCE).read_bytes()))
    kept = np.arange(min(len(labels), MOST)) * len(labels) // min(len(labels), MOST)
    part = {name: np.asarray(values)[kept] for name, values in columns.items()}
    scores = scorer.score(part)
    table = None if scores.probabilities is None else np.asarray(scores.probabilities, dtype=np.float64)
    learned = learn_estimator(reference, part, scores.predictions, table, np.asarray(labels)[kept])
    if learned is not None:
        write_json(package / FILE, learned.to_json())


def learn_estimator(
    reference: Reference,
    columns: Mapping[str, Values],
    predictions: Values,
    probabilities: Floats | None,
    labels: Values,
) -> Estimator | None:
    """Return what can be learned of a labelled sample; None where that is nothing.

    Parameters
    ----------
    reference : Reference
        The summary of the sample.
    columns, predictions, probabilities
        The sample and the model's answers to it.
    labels : sequence, shape (rows,)
        The truth.
    """
    truth, given = np.asarray(labels).tolist(), np.asarray(predictions).tolist()
    if len(truth) < FEWEST:
        return None
    if reference.task == "regressor":
        return _of_errors(reference, columns, given, truth)
    if reference.task == "classifier" and probabilities is not None and len(reference.classes) > 1:
        return _of_probabilities(reference, given, probabilities, truth)
    return None


def _of_errors(
    reference: Reference, columns: Mapping[str, Values], given: list[object], truth: list[object]
) -> Estimator | None:
    errors = np.abs(numbers(truth)[0] - numbers(given)[0])
    known = np.isfinite(errors)
    if known.sum() < FEWEST:
        return None
    table = encoded(reference.features, columns, given)[known]
    realised = regressor_performance(truth, given)
    losses = (learn(table, errors[known]), learn(table, errors[known] ** 2))
    return Estimator(realised.rows, realised.metrics, losses=losses)


def _of_probabilities(
    reference: Reference, given: list[object], probabilities: Floats, truth: list[object]
) -> Estimator | None:
    wanted = class_indices(truth, reference.classes)
    counts = np.bincount(wanted[wanted >= 0], minlength=len(reference.classes))
    if counts.min() < FEWEST_OF_CLASS or np.isnan(probabilities).any():
        return None
    realised = classifier_performance(truth, given, probabilities, reference.classes)
    return Estimator(realised.rows, realised.metrics, calibrations=calibrate(probabilities, wanted))


def _loss(document: Json) -> Loss:
    def numbered(one: Mapping[str, list[float]], name: str) -> tuple[int, ...]:
        return tuple(int(value) for value in one[name])

    trees = tuple(
        Tree(
            feature=numbered(one, "feature"),
            threshold=tuple(one["threshold"]),
            left=numbered(one, "left"),
            right=numbered(one, "right"),
            value=tuple(one["value"]),
        )
        for one in cast("list[dict[str, list[float]]]", document["trees"])
    )
    start, rate, deviation = (float(cast(float, document[name])) for name in ("start", "rate", "deviation"))
    return Loss(start, trees, rate, deviation)


def _spelt(estimates: Mapping[str, Estimate]) -> dict[str, object]:
    return {name: {"value": one.value, "lower": one.lower, "upper": one.upper} for name, one in estimates.items()}
