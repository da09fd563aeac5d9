"""The sample rows of a version and their scores become the frozen summary that its predictions are compared with.

A `Reference` holds counts, not rows. It is written into the package as ``reference.json``, format 1. To raise the
number: write the new one here, keep reading the old one in `Reference.from_json`, and keep a file of each format
under tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from mlnb.errors import MonitorError, NewerFormatError
from mlnb.model.naming import name_of
from mlnb.model.signature import Column, Signature
from mlnb.monitor.answer import NAMED, SEVERAL, watched
from mlnb.monitor.dispersion import Scale, scales_of
from mlnb.monitor.feature import Categorical, Feature, Json, Numeric, categorical, numeric, parse_feature
from mlnb.monitor.values import Floats, Values

FORMAT = 1

PREDICTION, SCORE = "@prediction", "@score"
"""Under which the dispersion of the answers is written; no column of a signature is named so by a person."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a version's inputs and answers looked like when it was made.

    Attributes
    ----------
    rows : int
        Rows of the sample.
    task : str
        One of `mlnb.model.kinds.TASKS`.
    classes : tuple
        The classifier's classes in the order of its probabilities, else empty.
    features : tuple of Numeric or Categorical
        One for each input of the signature, in its order, but for dates, which always move, and for list columns.
    prediction : Numeric or Categorical
        The answers: classes, or numbers; of several values the one that `mlnb.monitor.answer.watched` says.
    score : Numeric or None
        Of a classifier with probabilities: of two classes that of the second one, of more the largest probability.
    dispersion : mapping of str to tuple of Scale
        By column, the prediction and the score among them as ``@prediction`` and ``@score``: how much chunks of the
        sample vary. Empty in a reference that was written before mlnb 0.3.
    """

    rows: int
    task: str
    classes: tuple[str | int | float | bool, ...]
    features: tuple[Feature, ...]
    prediction: Feature
    score: Numeric | None = field(default=None)
    dispersion: Mapping[str, tuple[Scale, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that is written as ``reference.json``."""
        return {
            "format": FORMAT,
            "rows": self.rows,
            "task": self.task,
            "classes": list(self.classes),
            "features": [feature.to_json() for feature in self.features],
            "prediction": self.prediction.to_json(),
            "score": None if self.score is None else self.score.to_json(),
            "dispersion": {name: [scale.to_json() for scale in scales] for name, scales in self.dispersion.items()},
        }

    @classmethod
    def from_json(cls, document: Json) -> Reference:
        """Return the reference written by `to_json`.

        Raises
        ------
        NewerFormatError
            If the format is newer than this program's.
        MonitorError
            If it is not a reference.
        """
        number = document.get("format")
        if isinstance(number, int):
            NewerFormatError.check("reference.json", number, FORMAT)
        try:
            return _parse(document)
        except (KeyError, TypeError, ValueError) as error:
            raise MonitorError(
                f"reference.json is not a reference summary of format {FORMAT}: {error!r}.",
                "Deploy the model again to write a new one.",
            ) from error


def summarise(
    signature: Signature,
    columns: Mapping[str, Values],
    predictions: Values,
    probabilities: Sequence[Sequence[float]] | Floats | None = None,
) -> Reference:
    """Return the reference of the sample rows and their scores.

    Parameters
    ----------
    signature : Signature
        Inputs, task and classes of the model.
    columns : mapping of str to sequence, each of shape (rows,)
        The raw sample by column, as a caller of the service would send it. A column of the signature that is not
        there counts as missing in every row.
    predictions : sequence, shape (rows,)
        The model's answers on the sample.
    probabilities : sequence of sequence of float, shape (rows, classes), optional
        A classifier's probabilities, columns in the order of ``signature.classes``.
    """
    rows = len(predictions)
    classes = tuple(signature.classes)
    plain = [column for column in signature.inputs if column.dtype != "datetime" and not column.many]
    features = tuple(_feature(column, columns.get(column.name, [None] * rows)) for column in plain)
    prediction: Feature
    if signature.task in SEVERAL:
        predictions = [watched(signature.task, one) for one in predictions]
    if signature.task in NAMED:
        prediction = categorical("prediction", predictions, tuple(str(name_of(value)) for value in classes))
    else:
        prediction = numeric("prediction", predictions)
    scored = probabilities is not None and len(probabilities) and signature.task not in SEVERAL
    score = numeric("score", scores_of(probabilities)) if scored and probabilities is not None else None
    dispersion = {one.name: scales_of(one, columns.get(one.name, [None] * rows)) for one in features}
    dispersion[PREDICTION] = scales_of(prediction, predictions)
    if score is not None and probabilities is not None:
        dispersion[SCORE] = scales_of(score, scores_of(probabilities))
    return Reference(rows, signature.task, classes, features, prediction, score, dispersion)


def scores_of(probabilities: Sequence[Sequence[float]] | Floats) -> Floats:
    """Return one number per row, shape (rows,): of two classes the second's probability, of more the largest."""
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim == 1:
        return table
    return cast(Floats, table[:, 1] if table.shape[1] == 2 else table.max(axis=1))


def is_numeric(column: Column) -> bool:
    """Return whether a signature's column is watched as a number rather than as categories."""
    return not column.categories and column.dtype.startswith(("float", "int", "uint"))


def _feature(column: Column, values: Values) -> Feature:
    if is_numeric(column):
        return numeric(column.name, values)
    return categorical(column.name, values, [str(name_of(category)) for category in column.categories])


def _parse(document: Json) -> Reference:
    score = document["score"]
    parsed = None if score is None else parse_feature(cast(Json, score))
    if isinstance(parsed, Categorical):
        raise TypeError("score")
    return Reference(
        rows=int(cast(int, document["rows"])),
        task=str(document["task"]),
        classes=tuple(cast("list[str | int | float | bool]", document["classes"])),
        features=tuple(parse_feature(feature) for feature in cast("list[Json]", document["features"])),
        prediction=parse_feature(cast(Json, document["prediction"])),
        score=parsed,
        dispersion={
            name: tuple(Scale.from_json(scale) for scale in scales)
            for name, scales in cast("dict[str, list[list[float]]]", document.get("dispersion", {})).items()
        },
    )
