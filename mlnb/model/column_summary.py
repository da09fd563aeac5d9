"""The sample's columns become one line each for a model card: counts, range, commonest values; never rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mlnb.model.naming import name_of

if TYPE_CHECKING:
    from mlnb.model.signature import Column, Values

TOP = 5


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What the sample holds in one column.

    Attributes
    ----------
    name, dtype : str
        As in the signature; a list column is ``list of <dtype>``.
    rows, missing : int
        Values in all (of lists: all their values), and those of them that are missing.
    mean, deviation, minimum, maximum : float
        Of a column of numbers, else NaN.
    distinct : int
        Different values, missing not counted.
    top : tuple of (str, int)
        The five commonest values of a column that is no number, with how often they occur.
    """

    name: str
    dtype: str
    rows: int
    missing: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    distinct: int
    top: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON; NaN is null."""
        moments = {name: getattr(self, name) for name in ("mean", "deviation", "minimum", "maximum")}
        return {
            "name": self.name,
            "dtype": self.dtype,
            "rows": self.rows,
            "missing": self.missing,
            **{name: None if math.isnan(value) else value for name, value in moments.items()},
            "distinct": self.distinct,
            "top": [list(pair) for pair in self.top],
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> ColumnSummary:
        """Return what `to_json` wrote."""
        moments = [fields[name] for name in ("mean", "deviation", "minimum", "maximum")]
        mean, deviation, low, high = (math.nan if one is None else float(cast(float, one)) for one in moments)
        return cls(
            str(fields["name"]),
            str(fields["dtype"]),
            int(cast(int, fields["rows"])),
            int(cast(int, fields["missing"])),
            mean,
            deviation,
            low,
            high,
            int(cast(int, fields["distinct"])),
            tuple((str(value), int(count)) for value, count in cast("list[tuple[str, int]]", fields["top"])),
        )


def summarise_columns(inputs: tuple[Column, ...], columns: Mapping[str, Values]) -> tuple[ColumnSummary, ...]:
    """Return one summary for each column of checked rows."""
    return tuple(_summary(column, columns[column.name]) for column in inputs)


def _summary(column: Column, values: Values) -> ColumnSummary:
    many = getattr(column, "many", False)
    flat = _flat(values) if many else np.asarray(values)
    dtype = f"list of {column.dtype}" if many else column.dtype
    numeric = column.dtype.startswith(("float", "int", "uint")) and not column.categories
    if numeric:
        known = flat.astype(np.float64)
        known = known[np.isfinite(known)]
        return ColumnSummary(
            column.name, dtype, flat.size, flat.size - known.size, *_moments(known), _distinct(known), ()
        )
    counts = Counter(str(value) if flat.dtype.kind == "M" else name_of(value) for value in flat.tolist())
    missing = counts.pop(None, 0) + counts.pop("None", 0) * (flat.dtype.kind == "M")
    ranked = sorted(((str(value), count) for value, count in counts.items()), key=lambda pair: (-pair[1], pair[0]))
    nothing = (math.nan,) * 4
    return ColumnSummary(column.name, dtype, flat.size, missing, *nothing, len(counts), tuple(ranked[:TOP]))


def _moments(known: Values) -> tuple[float, float, float, float]:
    if not known.size:
        return (math.nan,) * 4
    return float(known.mean()), float(known.std()), float(known.min()), float(known.max())


def _distinct(known: Values) -> int:
    return int(np.unique(known).size)


def _flat(values: Values) -> Values:
    rows = [np.asarray(row).ravel() for row in values]
    return np.concatenate(rows) if rows else np.array([])
