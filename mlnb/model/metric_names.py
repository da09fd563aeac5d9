"""What a person calls a metric, ``auc``, ``ndcg@10`` or ``auc_low[origin=JFK]``, becomes the names it may have.

The names are scikit-learn's where it has one. ``@`` stands before a cut-off, or a
quantile or nominal level in per cent; ``_low``
and ``_high`` are the ends of the interval; ``[column=value]`` is a slice. Gates, marks and `Evaluation` share this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

METRICS: Mapping[str, str] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "ece": "lower",
    "accuracy": "higher",
    "balanced_accuracy": "higher",
    "precision": "higher",
    "recall": "higher",
    "f1": "higher",
    "mcc": "higher",
    "roc_auc_ovr": "higher",
    "precision_macro": "higher",
    "f1_macro": "higher",
    "rmse": "lower",
    "mae": "lower",
    "mape": "lower",
    "r2": "higher",
    "bias": "nought",
    "pinball": "lower",
    "coverage": "nominal",
    "mase": "lower",
    "smape": "lower",
    "wape": "lower",
    "ndcg": "higher",
    "map": "higher",
    "mrr": "higher",
    "hit_rate": "higher",
}
"""Every metric, and which value is the better one: ``higher``, ``lower``, the nearer to ``nought`` or ``nominal``."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "auc": ("roc_auc", "roc_auc_ovr"),
    "roc_auc": ("roc_auc_ovr",),
    "auprc": ("average_precision",),
    "ap": ("average_precision",),
    "acc": ("accuracy",),
    "logloss": ("log_loss",),
    "brier_score": ("brier",),
    "f1": ("f1_macro",),
    "precision": ("precision_macro",),
}
"""Other names, and what they stand for: the first that an evaluation has."""

PATTERN = r"[A-Za-z_][A-Za-z0-9_-]*(?:@[0-9]+(?:\.[0-9]+)?)?"
"""A metric's name without a slice, as a regular expression."""

SLICE = r"\[[^\[\]=]+=[^\[\]]+\]"
"""A slice behind it."""

_NAME = re.compile(rf"(?P<base>[A-Za-z_][A-Za-z0-9_-]*?)(?P<bound>_low|_high)?(?P<at>@[0-9.]+)?(?P<slice>{SLICE})?")


def candidates(name: str) -> tuple[str, ...]:
    """Return the names under which an evaluation may hold what `name` says, the likeliest first.

    Examples
    --------
    >>> candidates("auc_low[origin=JFK]")
    ('auc_low[origin=JFK]', 'roc_auc_low[origin=JFK]', 'roc_auc_ovr_low[origin=JFK]')
    >>> candidates("ndcg@10")
    ('ndcg@10',)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return (name,)
    bound, at, part = found["bound"] or "", found["at"] or "", found["slice"] or ""
    return (name, *(f"{other}{bound}{at}{part}" for other in ALIASES.get(found["base"], ())))


def is_metric(name: str) -> bool:
    """Say whether some evaluation may have a number of that name."""
    found = _NAME.fullmatch(name)
    return found is not None and (found["base"] in METRICS or found["base"] in ALIASES)


def better(name: str) -> str:
    """Return which value of a metric is better; ``""`` for what is no metric of ours."""
    found = _NAME.fullmatch(name)
    return METRICS.get(found["base"], "") if found else ""


def bounded(name: str, bound: str) -> str:
    """Return the name of an end of a metric's interval.

    Examples
    --------
    >>> bounded("roc_auc", "low"), bounded("ndcg@10", "high")
    ('roc_auc_low', 'ndcg_high@10')
    """
    base, at, level = name.partition("@")
    return f"{base}_{bound}{at}{level}"


def remedy(name: str, known: Iterable[str]) -> str:
    """Return the sentence for a metric that is not among the known ones."""
    names = list(known)
    near = get_close_matches(name, [*names, *ALIASES], n=1)
    known_names = ", ".join(names) or "none"
    return f"Did you mean {near[0]!r}? The known ones are: {known_names}." if near else f"Known are: {known_names}."
