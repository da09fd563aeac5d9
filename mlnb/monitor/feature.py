"""A column of raw values becomes a summary: bins of a number, or counts of categories; counts, never rows.

Bins of a number are half-open, ``(edge before, edge]``; the first and the last are open outwards. Where the reference
has at most 24 distinct values each is its own bin. Else the edges are quantiles that occur in the data (all values, if
there are no more than 40), and a value that alone weighs more than a quantile step gets a bin of its own, so that many
equal values neither vanish nor pull their neighbours along. Across them lies a grid of half standard deviations, to six
on either side of the mean: it keeps the shape of what drifts to where the reference is sparse or ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mlnb.monitor.values import Floats, Ints, Values, names, numbers

DISCRETE = 24
STEPS = 40
GRID = 12
CATEGORIES = 200
HUGE = 1e150
SAME = 1e-9

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Numeric:
    """Summary of a numeric column.

    Attributes
    ----------
    name : str
        The column.
    rows, missing : int
        Rows in all, and those without a usable value.
    edges : tuple of float, shape (bins - 1,)
        Upper ends of the bins, ascending. Empty where the column has no value at all: then there is one bin.
    counts : tuple of int, shape (bins,)
        Rows per bin.
    means : tuple of float, shape (bins,)
        Mean of the values in each bin, ``nan`` where empty.
    mean, deviation, minimum, maximum : float
        Moments and range of the finite values, in the column's unit; ``nan`` where there are none.
    whole : bool
        Whether all values are whole numbers. For display.
    """

    name: str
    rows: int
    missing: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    means: tuple[float, ...]
    mean: float
    deviation: float
    minimum: float
    maximum: float
    whole: bool = False

    def to_json(self) -> dict[str, object]:
        """Return a JSON object in which ``nan`` is null."""
        return {
            "kind": "numeric",
            "name": self.name,
            "rows": self.rows,
            "missing": self.missing,
            "edges": list(self.edges),
            "counts": list(self.counts),
            "means": [_or_null(value) for value in self.means],
            "mean": _or_null(self.mean),
            "deviation": _or_null(self.deviation),
            "minimum": _or_null(self.minimum),
            "maximum": _or_null(self.maximum),
            "whole": self.whole,
        }


@dataclass(frozen=True, slots=True)
class Categorical:
    """Summary of a column of categories.

    Attributes
    ----------
    name : str
        The column.
    rows, missing : int
        Rows in all, and those without a value.
    categories : tuple of str
        The most frequent ones, at most 200, most frequent first; those that the signature lists but no row has are
        last.
    counts : tuple of int
        Rows per category.
    other : int
        Rows of categories beyond the 200. Above 0 the list is not complete, and no value can be called unseen.
    """

    name: str
    rows: int
    missing: int
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    other: int = 0

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            "kind": "categorical",
            "name": self.name,
            "rows": self.rows,
            "missing": self.missing,
            "categories": list(self.categories),
            "counts": list(self.counts),
            "other": self.other,
        }


Feature = Numeric | Categorical


def numeric(name: str, values: Values) -> Numeric:
    """Return the summary of a column of numbers; those beyond 1e150 count in the outer bins, but not in the moments."""
    floats, _ = numbers(values)
    known = floats[~np.isnan(floats)]
    finite = known[np.abs(known) < HUGE]
    edges = _edges(finite)
    bins = places(edges, known)
    counts = np.bincount(bins, minlength=edges.size + 1)
    inside = places(edges, finite)
    sums = np.bincount(inside, weights=finite, minlength=edges.size + 1)
    held = np.bincount(inside, minlength=edges.size + 1)
    means = np.divide(sums, held, out=np.full(sums.size, math.nan), where=held > 0)
    return Numeric(
        name=name,
        rows=len(values),
        missing=int(floats.size - known.size),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        means=tuple(means.tolist()),
        mean=float(finite.mean()) if finite.size else math.nan,
        deviation=float(finite.std()) if finite.size else math.nan,
        minimum=float(finite.min()) if finite.size else math.nan,
        maximum=float(finite.max()) if finite.size else math.nan,
        whole=bool(finite.size and (finite == np.floor(finite)).all()),
    )


def places(edges: Floats, values: Floats) -> Ints:
    """Return the bin of each value: the first whose upper edge it does not exceed.

    Edges are values of the reference, so a value stands for its edge as long as both agree in nine digits: 6.90468 and
    6.904679999999999 are the same number that has travelled two ways, through CSV and through JSON.
    """
    return np.searchsorted(edges + slack(edges), values, side="left")


def slack(values: Floats) -> float:
    """Return by how much numbers of this size may differ only because of how they were written and read."""
    return SAME * float(np.abs(values).max(initial=0.0))


def categorical(name: str, values: Values, listed: Sequence[str] = ()) -> Categorical:
    """Return the summary of a column of categories; `listed` ones are known even if no row has them."""
    found = Counter(names(values))
    missing = found.pop(None, 0)
    ranked = sorted(((str(key), count) for key, count in found.items()), key=lambda pair: (-pair[1], pair[0]))
    kept = ranked[:CATEGORIES]
    kept += [(category, 0) for category in listed if category not in found][: max(0, CATEGORIES - len(kept))]
    return Categorical(
        name=name,
        rows=len(values),
        missing=missing,
        categories=tuple(category for category, _ in kept),
        counts=tuple(count for _, count in kept),
        other=sum(count for _, count in ranked[CATEGORIES:]),
    )


def parse_feature(document: Json) -> Feature:
    """Return the summary that `to_json` wrote; raise KeyError, TypeError or ValueError if it is none."""
    name, rows, missing = str(document["name"]), cast(int, document["rows"]), cast(int, document["missing"])
    counts = tuple(int(count) for count in cast("list[int]", document["counts"]))
    if document["kind"] == "categorical":
        categories = tuple(str(category) for category in cast("list[str]", document["categories"]))
        return Categorical(name, rows, missing, categories, counts, cast(int, document["other"]))

    def moment(key: str) -> float:
        return _float(document[key])

    return Numeric(
        name=name,
        rows=rows,
        missing=missing,
        edges=tuple(float(edge) for edge in cast("list[float]", document["edges"])),
        counts=counts,
        means=tuple(_float(value) for value in cast("list[object]", document["means"])),
        mean=moment("mean"),
        deviation=moment("deviation"),
        minimum=moment("minimum"),
        maximum=moment("maximum"),
        whole=bool(document["whole"]),
    )


def _float(value: object) -> float:
    return math.nan if value is None else float(cast(float, value))


def _edges(values: Floats) -> Floats:
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= DISCRETE:
        return distinct
    kept = np.arange(distinct.size)
    if distinct.size > STEPS:
        step = values.size / STEPS
        ends = np.searchsorted(np.cumsum(counts), np.arange(1, STEPS + 1) * step, side="left")
        heavy = np.flatnonzero(counts > step)
        kept = np.unique(np.clip(np.concatenate([ends, heavy, heavy - 1]), 0, distinct.size - 1))
    grid = values.mean() + np.arange(-GRID, GRID + 1) * values.std() / 2
    return np.unique(np.concatenate([distinct[kept], grid]))


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
