"""The rows of a log that a version answered become one table in the order of event time, with labels where known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlnb.monitor.span import Instants
from mlnb.monitor.values import Floats
from mlnb.monitor.window import REFUSED, parse_texts
from mlnb.service.log_content import REDACTED
from mlnb.service.log_reader import Batch, LabelValue


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Answered rows.

    Attributes
    ----------
    event_at : ndarray of int64, shape (rows,)
        Nanoseconds since 1970, ascending.
    inputs : list
        A JSON object for each row; None where it was not logged, or a column of it may not be read.
    predictions : list
    probabilities : ndarray of float, shape (rows, classes)
        ``nan`` where there are none.
    labels : list
        None where it is not known.
    """

    event_at: Instants
    inputs: Sequence[Mapping[str, object] | None]
    predictions: Sequence[object]
    probabilities: Floats
    labels: Sequence[LabelValue | None]


def answered(batches: Iterable[Batch], version: int, classes: int, labels: Mapping[str, LabelValue]) -> Answered:
    """Return the rows that a version answered; `classes` is how many probabilities an answer has."""
    rows: list[tuple[int, str | None, str | None, str | None, LabelValue | None]] = []
    for batch in batches:
        rows += [
            (batch.event_at[at], batch.inputs[at], batch.prediction[at], batch.probabilities[at], labels.get(key))
            for at, key in enumerate(batch.id)
            if batch.status[at] < REFUSED and batch.version[at] == version
        ]
    rows.sort(key=lambda row: row[0])
    unknown = [math.nan] * classes
    table = [
        row if isinstance(row, list) and len(row) == classes else unknown for row in parse_texts([r[3] for r in rows])
    ]
    inputs = [
        row if isinstance(row, dict) and not row.get(REDACTED) else None for row in parse_texts([r[1] for r in rows])
    ]
    return Answered(
        event_at=np.array([row[0] for row in rows], dtype=np.int64),
        inputs=inputs,
        predictions=parse_texts([row[2] for row in rows]),
        probabilities=np.array(table, dtype=np.float64).reshape(len(rows), classes),
        labels=[row[4] for row in rows],
    )
