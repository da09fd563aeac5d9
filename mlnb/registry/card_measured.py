"""Evaluations, comparisons of groups and importances become the blocks of a card that show them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlnb.model.card import Block, Bullets, Drawing, Sentence, Table
from mlnb.model.evaluation_figures import plotly_figure, svg
from mlnb.model.explain_figures import Bar, bars_figure, bars_svg

if TYPE_CHECKING:
    from mlnb.model.evaluation import Evaluation, Metric, Slice
    from mlnb.model.fairness import Fairness, Group
    from mlnb.model.importance import Importance

_TOLD = 3
_DRAWN = 20


def analyses(evaluations: Mapping[str, Evaluation]) -> Iterator[Block]:
    """Yield metrics with intervals, those of slices, and the curves, of each evaluation."""
    for name, evaluation in evaluations.items():
        how = evaluation.interval
        intervals = f"{how.level:.0%} intervals by {how.method}" if how.resamples else "without intervals"
        yield Sentence(f"{name}: {evaluation.task} on {evaluation.rows:,} rows, {intervals}.")
        rows = tuple((one.name, _value(one.value), _interval(one)) for one in evaluation.metrics)
        yield Table(("metric", "value", "interval"), rows, numbers=(1, 2))
        by_column: dict[str, list[Slice]] = {}
        for part in evaluation.slices:
            by_column.setdefault(part.column, []).append(part)
        for column, parts in by_column.items():
            yield _slices(column, parts)
        drawn = svg(evaluation)
        if drawn:
            yield Drawing(f"Curves of {name}", drawn, plotly_figure(evaluation))
        if evaluation.notes:
            yield Bullets(evaluation.notes)


def compared(found: Sequence[Fairness]) -> Iterator[Block]:
    """Yield the metrics by group of each sensitive column, and the differences."""
    for one in found:
        names = list(one.groups[0].metrics) if one.groups else []
        favour = f"; the favourable answer is {one.favourable}" if one.favourable else ""
        truth = f"against {one.labels}" if one.labels else "of the answers alone, because no labels were known"
        rows = tuple(
            (
                f"{group.value}{' (small)' if group.small else ''}",
                f"{group.rows:,}",
                *(_between(group, name) for name in names),
            )
            for group in one.groups
        )
        caption = f"By {one.column}, {truth}{favour}"
        yield Table(
            ("group", "rows", *(_spelt(name) for name in names)), rows, caption, tuple(range(1, len(names) + 2))
        )
        gaps = tuple((_spelt(name), _value(value)) for name, value in one.differences.items())
        yield Table(("largest difference between groups", ""), gaps, numbers=(1,))


def _between(group: Group, name: str) -> str:
    low, high = group.intervals.get(name, (math.nan, math.nan))
    ends = "" if math.isnan(low) or math.isnan(high) else f" [{_value(low)}, {_value(high)}]"
    return f"{_value(group.metrics[name])}{ends}"


def explained(importance: Importance | None) -> Iterator[Block]:
    """Yield what shuffling each column costs."""
    if importance is None:
        yield Sentence("The importance of the columns was not measured for this version.")
        return
    yield Sentence(importance.sentence())
    bars = [Bar(one.name, one.value, one.deviation) for one in importance.columns[:_DRAWN]]
    title = "Importance of the columns"
    yield Drawing(title, bars_svg(bars, title, importance.unit), bars_figure(bars, title, importance.unit))
    rows = tuple((one.name, _value(one.value), _value(one.deviation)) for one in importance.columns)
    yield Table(("column", "importance", "deviation of the shuffles"), rows, numbers=(1, 2))


def _slices(column: str, parts: Sequence[Slice]) -> Table:
    names = [one.name for one in parts[0].metrics[:_TOLD]]
    rows = []
    for part in parts:
        known = {one.name: one for one in part.metrics}
        cells = tuple(_with_interval(known[name]) if name in known else "-" for name in names)
        rows.append((f"{part.value}{' (small)' if part.small else ''}", f"{part.rows:,}", *cells))
    return Table((column, "rows", *names), tuple(rows), f"By {column}", (1,))


def _with_interval(metric: Metric) -> str:
    interval = _interval(metric)
    return _value(metric.value) if interval == "-" else f"{_value(metric.value)} {interval}"


def _interval(metric: Metric) -> str:
    return "-" if math.isnan(metric.low) else f"[{_value(metric.low)}, {_value(metric.high)}]"


def _value(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _spelt(name: str) -> str:
    return name.replace("_", " ")
