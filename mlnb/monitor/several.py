"""Labels of answers of several values become metrics of each output, and of all of them.

Numbers: the mean absolute and the root mean squared error of each output; of all the mean over the outputs, as
scikit-learn's ``multioutput="uniform_average"``. Labels: the accuracy of each output, of all how often a whole answer
is right (`sklearn.metrics.accuracy_score`); for the flags of a multi-label the log loss and the area under the ROC
curve of each as well. A value that is not known yet is left out of its output alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from mlnb.errors import MonitorError
from mlnb.model.kinds import LABELLED
from mlnb.model.naming import is_missing, name_of
from mlnb.monitor.performance import Performance, class_index, classifier_performance, regressor_performance
from mlnb.monitor.values import Floats

_SHOWN = 6


def several_performance(
    task: str,
    names: Sequence[str],
    labels: Sequence[object],
    predictions: Sequence[object],
    probabilities: Sequence[object],
) -> Performance:
    """Return the metrics of answers of several values.

    Parameters
    ----------
    task : str
        One of `mlnb.model.kinds.NESTED`.
    names : sequence of str, length outputs
        Of the values of an answer; empty where they are not known, and then ``y0``, ``y1``, ...
    labels : sequence, length rows
        For each row a list with a value for each output, None where it is not known, or a mapping with some of them by
        name; either may be JSON text, as in a CSV file.
    predictions : sequence of list, length rows
        The answers.
    probabilities : sequence, length rows
        Of a multi-label the chances that the flags are set; else unused.

    Raises
    ------
    MonitorError
        If a label does not fit the outputs.
    """
    width = max((len(row) for row in predictions if isinstance(row, list)), default=0)
    known = list(names) if len(names) == width else [f"y{at}" for at in range(width)]
    told = [_values(label, known) for label in labels]
    rows = [row if isinstance(row, list) and len(row) == width else [None] * width for row in predictions]
    outputs: dict[str, Mapping[str, float]] = {}
    for at, name in enumerate(known):
        places = [row for row in range(len(rows)) if not is_missing(told[row][at]) and not is_missing(rows[row][at])]
        wanted, given = [told[row][at] for row in places], [rows[row][at] for row in places]
        if task in LABELLED:
            chances = [_chance(probabilities[row], at, width) for row in places] if task == "multilabel" else []
            outputs[name] = _labelled(wanted, given, chances)
        else:
            outputs[name] = regressor_performance(wanted, given).metrics
    measured = {name: metrics for name, metrics in outputs.items() if metrics}
    return Performance(len(labels), dict(_overall(task, told, rows, measured)), measured)


def by_output(performance: Performance) -> Iterator[str]:
    """Yield lines that name each output with its metrics; of many the worst ones."""
    if not performance.outputs:
        return
    first = next(iter(next(iter(performance.outputs.values()))))
    sign = 1 if first == "accuracy" else -1
    worst = sorted(performance.outputs.items(), key=lambda one: sign * one[1].get(first, math.inf * sign))[:_SHOWN]
    if len(performance.outputs) > _SHOWN:
        yield f"  the worst {_SHOWN} of {len(performance.outputs)} outputs:"
    for name, metrics in worst if len(performance.outputs) > _SHOWN else performance.outputs.items():
        yield f"  {name}: " + ", ".join(f"{metric} {value:.4g}" for metric, value in metrics.items())


def _values(label: object, names: Sequence[str]) -> list[object]:
    """Return a label as a list with a value, or None, for each output."""
    if isinstance(label, str) and label.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError):
            label = json.loads(label)
    if isinstance(label, list) and len(label) == len(names):
        return label
    if isinstance(label, Mapping) and label.keys() <= set(names):
        return [label.get(name) for name in names]
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    raise MonitorError(
        f"The label {str(label)[:60]!r} does not fit an answer of {len(names)} values ({shown}).",
        "Send the label of that id again, as a list with a value for each or as an object with some of them by name.",
    )


def _labelled(wanted: Sequence[object], given: Sequence[object], chances: Sequence[float]) -> Mapping[str, float]:
    flags = all(isinstance(one, bool) for one in given)
    if chances and not any(math.isnan(one) for one in chances):
        table: Floats = _two(chances)
        return classifier_performance(wanted, given, table, (False, True) if flags else (0, 1)).metrics
    classes = list(dict.fromkeys(str(name_of(one)) for one in given))
    return classifier_performance(wanted, given, None, classes).metrics


def _two(chances: Sequence[float]) -> Floats:
    second = np.asarray(chances, dtype=np.float64)
    return np.column_stack([1 - second, second])


def _chance(row: object, at: int, width: int) -> float:
    return float(row[at]) if isinstance(row, list) and len(row) == width else math.nan


def _overall(
    task: str,
    told: Sequence[Sequence[object]],
    rows: Sequence[Sequence[object]],
    outputs: Mapping[str, Mapping[str, float]],
) -> Iterator[tuple[str, float]]:
    if task in LABELLED:
        whole = [
            all(_same(*pair) for pair in zip(label, row, strict=True))
            for label, row in zip(told, rows, strict=True)
            if not any(is_missing(one) for one in label)
        ]
        if whole:
            yield "accuracy", sum(whole) / len(whole)
        return
    for name in ("mae", "rmse"):
        found = [metrics[name] for metrics in outputs.values() if name in metrics]
        if found:
            yield name, math.fsum(found) / len(found)


def _same(label: object, answer: object) -> bool:
    return class_index(label, {str(name_of(answer)): 0}) == 0
