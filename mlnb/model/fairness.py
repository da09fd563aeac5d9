"""Answers, truth and sensitive columns become metrics by group, with intervals, and their differences.

Each metric is a mean over some of a group's rows; its interval is that of the BCa bootstrap over the group's rows, at
95 %. With fairlearn (an extra) the metrics are its own, and the differences have the names that fairness has for them;
without it they are the same numbers, counted here, and the plain differences.

Of two classes the second is the favourable one: the selection rate is the share that is answered so. The difference is
the largest between any two groups; that of the selection rates is the demographic parity difference, the larger one of
those of hits and false alarms the equalized odds difference. A number with more than ten values is cut at its
quartiles. A group in which a metric is not defined (no positives, say) has none.

The only module that imports fairlearn.

References
----------
Agarwal et al., A Reductions Approach to Fair Classification, ICML 2018; fairlearn's user guide, "Assessment".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np

from mlnb.errors import UsageError
from mlnb.model.bootstrap import Floats, Ints, Resampling, exact, intervals
from mlnb.model.naming import name_of

if TYPE_CHECKING:
    from mlnb.model.scorer import Scores
    from mlnb.model.signature import Signature, Values

HOW_TO_GET = (
    "The differences that fairness has names for (demographic parity, equalized odds) need fairlearn: "
    "pip install 'mlnb[fairness]', then deploy again."
)
SMALL = 50
_HOW = Resampling(1_000, 0.95, 0)
_DISTINCT = 10
_GROUPS = 20
_KINDS = 2_000


@dataclass(frozen=True, slots=True)
class Group:
    """One group's metrics; NaN where one is not defined. `small` is one of fewer than 50 rows.

    `intervals` holds the ends of each metric's interval, NaN where none can be given; empty as older versions have it.
    """

    value: str
    rows: int
    small: bool
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return it as JSON; NaN is null."""
        ends = {name: list(_nulls({"low": low, "high": high}).values()) for name, (low, high) in self.intervals.items()}
        told: dict[str, object] = {"value": self.value, "rows": self.rows, "small": self.small}
        return {**told, "metrics": _nulls(self.metrics), "intervals": ends}

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Group:
        """Return what `to_json` wrote."""
        ends = {
            name: (_float(pair[0]), _float(pair[1]))
            for name, pair in cast("Mapping[str, list[float | None]]", fields.get("intervals", {})).items()
        }
        rows = int(cast(int, fields["rows"]))
        return cls(str(fields["value"]), rows, fields["small"] is True, _floats(fields["metrics"]), ends)


@dataclass(frozen=True, slots=True)
class Fairness:
    """The metrics by the groups of one sensitive column.

    Attributes
    ----------
    column : str
        The sensitive column.
    favourable : str
        The class that counts as the favourable one; empty where there is none.
    labels : str
        Where the labels come from; empty where only the answers are compared.
    groups : tuple of Group
        Largest first, those of a number from low to high.
    differences : mapping of str to float
        Largest difference between two groups, by metric, and by the names that fairness has for them.
    """

    column: str
    favourable: str
    labels: str
    groups: tuple[Group, ...]
    differences: Mapping[str, float]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON; NaN is null."""
        return {
            "column": self.column,
            "favourable": self.favourable,
            "labels": self.labels,
            "groups": [one.to_json() for one in self.groups],
            "differences": _nulls(self.differences),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> Fairness:
        """Return what `to_json` wrote."""
        groups = cast("list[Mapping[str, object]]", fields["groups"])
        return cls(
            str(fields["column"]),
            str(fields["favourable"]),
            str(fields["labels"]),
            tuple(Group.from_json(one) for one in groups),
            _floats(fields["differences"]),
        )


def installed() -> bool:
    """Say whether fairlearn is there."""
    return find_spec("fairlearn") is not None


def measure_fairness(
    signature: Signature,
    scores: Scores,
    column: str,
    values: Values,
    truth: Values | None = None,
    labels_from: str = "",
) -> Fairness:
    """Compare the groups of one column.

    Parameters
    ----------
    signature : Signature
        A classifier's or a regressor's.
    scores : Scores
        The answers.
    column : str
        Name of the sensitive column.
    values : array, shape (rows,)
        Its values; missing ones are a group.
    truth : array, shape (rows,), optional
        Labels in the answers' own kind.
    labels_from : str
        What to call them.

    Raises
    ------
    UsageError
        If the model is neither a classifier nor a regressor.
    """
    if signature.task not in ("classifier", "regressor"):
        raise UsageError(
            f"Groups cannot be compared by the answers of a {signature.task}.",
            "Name sensitive columns for classifiers and regressors.",
        )
    answers = np.asarray(scores.predictions)
    known = None if truth is None else np.asarray(truth)
    favourable = signature.classes[1] if signature.task == "classifier" and len(signature.classes) == 2 else None
    if favourable is not None:
        answers, known = answers == favourable, None if known is None else known == favourable
    groups, order = _groups(np.asarray(values))
    means = _means(signature, answers, known)
    names, counts = np.unique(groups, return_counts=True)
    rows = dict(zip(names.tolist(), counts.tolist(), strict=True))
    found = tuple(
        _group(name, means, groups == name)
        for name in sorted(rows, key=lambda one: (order.index(one) if one in order else len(order), -rows[one], one))
    )
    return Fairness(
        column,
        "" if favourable is None else str(name_of(favourable)),
        labels_from if truth is not None else "",
        found,
        _differences(found, tuple(means)) | (_named(answers, known, groups) if favourable is not None else {}),
    )


@dataclass(frozen=True, slots=True)
class Mean:
    """A metric as a mean over some of the rows: numbers, shape (rows,), and which rows count."""

    numbers: Floats
    counted: Floats


class _Means:
    """The means of one group, as the bootstrap takes them; equal rows are one unit where there are few kinds."""

    block = 1

    def __init__(self, means: Mapping[str, Mean], chosen: Values) -> None:
        self.names = tuple(means)
        table = np.column_stack([part[chosen] for one in means.values() for part in (one.numbers, one.counted)])
        kinds, counts = np.unique(table, axis=0, return_counts=True)
        few = len(kinds) <= _KINDS
        self.rows = len(table)
        self.sizes: Ints | None = counts if few else None
        self._table: Floats = kinds if few else table
        self.units, self.cost = len(self._table), self._table.size

    def values(self, weights: Floats) -> Floats:
        """Return the means, shape (resamples, metrics)."""
        above, below = weights @ (self._table[:, ::2] * self._table[:, 1::2]), weights @ self._table[:, 1::2]
        means: Floats = np.divide(above, below, out=np.full(above.shape, math.nan), where=below > 0)
        return means


def _group(name: str, means: Mapping[str, Mean], chosen: Values) -> Group:
    sample = _Means(means, chosen)
    low, high = intervals(sample, _HOW)
    values = dict(zip(sample.names, exact(sample).tolist(), strict=True))
    ends = dict(zip(sample.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    return Group(name, sample.rows, sample.rows < SMALL, values, ends)


def _means(signature: Signature, answers: Values, known: Values | None) -> dict[str, Mean]:
    """Return the metrics by name; `answers` and `known` of two classes are whether each is the favourable one."""
    every = np.ones(len(answers))
    if signature.task == "regressor":
        got = answers.astype(np.float64)
        numbers = {"mean_prediction": Mean(got, every)}
        if known is not None:
            off = got - known.astype(np.float64)
            numbers |= {"mean_absolute_error": Mean(np.abs(off), every), "bias": Mean(off, every)}
        return numbers
    right = {} if known is None else {"accuracy": Mean((known == answers).astype(np.float64), every)}
    if len(signature.classes) != 2:
        shown = signature.classes[:_DISTINCT]
        return right | {f"share of {one}": Mean((answers == one).astype(np.float64), every) for one in shown}
    chosen = answers.astype(np.float64)
    selected = {"selection_rate": Mean(chosen, every)}
    if known is None:
        return selected
    true = known.astype(np.float64)
    rates = {"true_positive_rate": Mean(chosen, true), "false_positive_rate": Mean(chosen, 1 - true)}
    return selected | right | rates


def _named(answers: Values, known: Values | None, groups: Values) -> dict[str, float]:
    """Return fairlearn's differences between the groups in which they are defined, where it is installed."""
    if not installed():
        return {}
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    def hits(true: Values, got: Values) -> float:
        return float(true_positive_rate(true, got, pos_label=True)) if true.any() else math.nan

    def alarms(true: Values, got: Values) -> float:
        return float(false_positive_rate(true, got, pos_label=True)) if not true.all() else math.nan

    rates = {"selected": lambda true, got: float(selection_rate(true, got, pos_label=True))}
    if known is not None:
        rates |= {"hits": hits, "alarms": alarms}
    truth = answers if known is None else known
    by_group = MetricFrame(metrics=rates, y_true=truth, y_pred=answers, sensitive_features=groups).by_group
    gaps = {name: _gap([float(value) for value in by_group[name]]) for name in rates}
    found = {"demographic_parity_difference": gaps["selected"]}
    if known is not None:
        odds = [gaps[name] for name in ("hits", "alarms") if not math.isnan(gaps[name])]
        found["equalized_odds_difference"] = max(odds) if odds else math.nan
    return found


def _differences(groups: tuple[Group, ...], names: tuple[str, ...]) -> dict[str, float]:
    return {name: _gap([one.metrics[name] for one in groups]) for name in names}


def _gap(values: Sequence[float]) -> float:
    """Return the largest difference between values that are defined; NaN for fewer than two."""
    defined = [value for value in values if not math.isnan(value)]
    return max(defined) - min(defined) if len(defined) > 1 else math.nan


def _groups(values: Values) -> tuple[Values, list[str]]:
    """Return the name of each row's group, and the groups that have an order of their own."""
    names = np.array([name_of(value) or "missing" for value in values.tolist()], dtype=object)
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if np.unique(finite).size > _DISTINCT:
            return _quarters(numbers, finite)
    found, counts = np.unique(names.astype(str), return_counts=True)
    if found.size <= _GROUPS:
        return names.astype(str), []
    kept = set(found[np.argsort(-counts, kind="stable")][: _GROUPS - 1].tolist())
    return np.array([name if name in kept else "other values" for name in names.tolist()]), []


def _quarters(numbers: Values, finite: Values) -> tuple[Values, list[str]]:
    edges = np.unique(np.quantile(finite, (0.25, 0.5, 0.75)))
    ends = [f"{edge:.4g}" for edge in edges]
    names = [f"up to {ends[0]}", *(f"{low} to {high}" for low, high in pairwise(ends))]
    names.append(f"above {ends[-1]}")
    places = np.searchsorted(edges, numbers, side="left")
    told = ["missing" if math.isnan(value) else names[at] for value, at in zip(numbers, places, strict=True)]
    return np.array(told), names


def _nulls(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def _floats(mapping: object) -> dict[str, float]:
    return {name: _float(value) for name, value in cast("Mapping[str, float | None]", mapping).items()}


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
