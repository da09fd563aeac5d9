"""The windows of a report become as many periods as fit on a screen: neighbours are merged, nothing is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlnb.monitor import distance
from mlnb.monitor.compare import cells
from mlnb.monitor.performance import Performance
from mlnb.monitor.report import Column, Report
from mlnb.monitor.window import Tally, Window


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """Consecutive windows.

    Attributes
    ----------
    places : range
        Which windows of the report.
    window : Window
        Their counts.
    performance : Performance
        Of the labelled predictions. Accuracy, log loss, MAE and RMSE are exact; the area under the ROC curve, and
        what is a mean over several outputs, is the windows' mean, weighted with their rows.
    """

    places: range
    window: Window
    performance: Performance


def periods(report: Report, limit: int) -> tuple[Period, ...]:
    """Return at most `limit` periods that cover all windows in order."""
    size = math.ceil(len(report.windows) / limit)
    parts = [range(at, min(at + size, len(report.windows))) for at in range(0, len(report.windows), size)]
    return tuple(
        Period(part, _sum([report.windows[i] for i in part]), _pooled([report.performance[i] for i in part]))
        for part in parts
    )


def drift_over(column: Column, parts: Sequence[Period]) -> tuple[float, ...]:
    """Return a column's Jensen-Shannon distance in each period, ``nan`` where it is empty."""
    return tuple(drift for drift, _ in _compared(column, parts))


def evident_drift_over(column: Column, parts: Sequence[Period]) -> tuple[float, ...]:
    """Return the distances that are above what sampling alone would give, ``nan`` for the others.

    A period of three rows is far from any reference, and says nothing.
    """
    return tuple(drift if drift > chance else math.nan for drift, chance in _compared(column, parts))


def _compared(column: Column, parts: Sequence[Period]) -> Iterator[tuple[float, float]]:
    if all(len(part.places) == 1 for part in parts):
        yield from zip(column.trend, column.chance, strict=True)
        return
    tallies = [_total([column.tallies[i] for i in part.places]) for part in parts]
    reference, current = cells(column.feature, tallies)
    for row in current:
        yield distance.jensen_shannon(reference, row), distance.chance_level(reference, row)


def _sum(windows: Sequence[Window]) -> Window:
    return sum(windows[1:], start=windows[0])


def _total(tallies: Sequence[Tally]) -> Tally:
    return sum(tallies[1:], start=tallies[0])


def _pooled(parts: Sequence[Performance]) -> Performance:
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.metrics)
    return Performance(sum(part.rows for part in parts), {name: _mean(name, parts) for name in names})


def _mean(name: str, parts: Sequence[Performance]) -> float:
    power = 2 if name == "rmse" else 1
    known = [part for part in parts if name in part.metrics]
    rows = sum(part.rows for part in known)
    return float((sum(part.rows * part.metrics[name] ** power for part in known) / rows) ** (1 / power))
