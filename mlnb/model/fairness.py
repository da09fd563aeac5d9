"""Answers, truth and sensitive columns become metrics by group and their differences, by fairlearn (an extra).

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from mlnb.errors import UsageError
from mlnb.model.naming import name_of

if TYPE_CHECKING:
    from mlnb.model.scorer import Scores
    from mlnb.model.signature import Signature, Values

HOW_TO_GET = "Fairness by group needs fairlearn: pip install 'mlnb[fairness]', then deploy again."
SMALL = 50
_DISTINCT = 10
_GROUPS = 20
Judge: TypeAlias = "Callable[[Values, Values], float]"


@dataclass(frozen=True, slots=True)
class Group:
    """One group's metrics; NaN where one is not defined. `small` is one of fewer than 50 rows."""

    value: str
    rows: int
    small: bool
    metrics: Mapping[str, float]


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
            "groups": [
                {"value": one.value, "rows": one.rows, "small": one.small, "metrics": _nulls(one.metrics)}
                for one in self.groups
            ],
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
            tuple(
                Group(str(one["value"]), int(cast(int, one["rows"])), one["small"] is True, _floats(one["metrics"]))
                for one in groups
            ),
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
        If fairlearn is not installed, or the model is neither a classifier nor a regressor.
    """
    if not installed():
        raise UsageError("fairlearn is not installed.", HOW_TO_GET)
    if signature.task not in ("classifier", "regressor"):
        raise UsageError(
            f"Groups cannot be compared by the answers of a {signature.task}.",
            "Name sensitive columns for classifiers and regressors.",
        )
    from fairlearn.metrics import MetricFrame

    answers = np.asarray(scores.predictions)
    known = answers if truth is None else np.asarray(truth)
    judges, favourable = _judges(signature, answers, truth is not None)
    if favourable is not None:
        answers, known = answers == favourable, known == favourable
    groups, order = _groups(np.asarray(values))
    frame = MetricFrame(metrics=judges, y_true=known, y_pred=answers, sensitive_features=groups)
    by_group = frame.by_group
    names, counts = np.unique(groups, return_counts=True)
    rows = dict(zip(names.tolist(), counts.tolist(), strict=True))
    found = tuple(
        Group(name, rows[name], rows[name] < SMALL, {key: float(by_group.loc[name, key]) for key in judges})
        for name in sorted(rows, key=lambda one: (order.index(one) if one in order else len(order), -rows[one], one))
    )
    return Fairness(
        column,
        "" if favourable is None else str(name_of(favourable)),
        labels_from if truth is not None else "",
        found,
        _differences(found, tuple(judges)),
    )


def _judges(signature: Signature, answers: Values, known: bool) -> tuple[dict[str, Judge], object]:
    """Return the metrics by name, and the favourable class where there are two."""
    if signature.task == "regressor":
        numbers: dict[str, Judge] = {"mean_prediction": lambda _, got: float(np.mean(got))}
        if known:
            numbers["mean_absolute_error"] = lambda true, got: float(np.mean(np.abs(got - true)))
            numbers["bias"] = lambda true, got: float(np.mean(got - true))
        return numbers, None
    accuracy: dict[str, Judge] = {"accuracy": lambda true, got: float(np.mean(true == got))} if known else {}
    if len(signature.classes) != 2:
        shares = {f"share of {one}": _share_of(one) for one in signature.classes[:_DISTINCT]}
        return {**accuracy, **shares}, None
    from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate

    def hits(true: Values, got: Values) -> float:
        return float(true_positive_rate(true, got, pos_label=True)) if true.any() else math.nan

    def alarms(true: Values, got: Values) -> float:
        return float(false_positive_rate(true, got, pos_label=True)) if not true.all() else math.nan

    judges: dict[str, Judge] = {"selection_rate": lambda true, got: float(selection_rate(true, got, pos_label=True))}
    if known:
        judges |= {**accuracy, "true_positive_rate": hits, "false_positive_rate": alarms}
    return judges, signature.classes[1]


def _share_of(label: object) -> Judge:
    return lambda _, got: float(np.mean(got == label))


def _differences(groups: tuple[Group, ...], names: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name in names:
        defined = [one.metrics[name] for one in groups if not math.isnan(one.metrics[name])]
        found[name] = max(defined) - min(defined) if len(defined) > 1 else math.nan
    if "selection_rate" in found:
        found["demographic_parity_difference"] = found["selection_rate"]
    if "true_positive_rate" in found:
        odds = [found[name] for name in ("true_positive_rate", "false_positive_rate") if not math.isnan(found[name])]
        found["equalized_odds_difference"] = max(odds) if odds else math.nan
    return found


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
    return {
        name: math.nan if value is None else float(value)
        for name, value in cast("Mapping[str, float | None]", mapping).items()
    }
