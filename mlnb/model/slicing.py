"""Columns of the scored rows become slices: which rows have which value, few enough to read.

A column of numbers with more than 20 different ones is cut at its quartiles (whole numbers: ``up to 6``, ``7 to 12``,
``13 to 18``, ``above 18``); of one with more than 20 texts the 19
commonest are kept and the rest is ``other values``. Missing values are a slice of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlnb.errors import UsageError
from mlnb.model.asked import asked
from mlnb.model.bootstrap import Ints
from mlnb.model.metric_names import remedy
from mlnb.model.naming import is_missing, name_of

MOST_VALUES = 20
MISSING = "missing"
OTHER = "other values"


@dataclass(frozen=True, slots=True)
class Slicing:
    """One column's values.

    Attributes
    ----------
    column : str
        Its name.
    names : tuple of str
        The slices; in order of the numbers, else of frequency.
    place : ndarray of int, shape (rows,)
        Which slice each row is in.
    """

    column: str
    names: tuple[str, ...]
    place: Ints


def slicings(slices: object, rows: object, size: int) -> tuple[Slicing, ...]:
    """Return how the rows are sliced.

    Parameters
    ----------
    slices : None, str, sequence of str, or mapping of str to values
        Columns of `rows`, or the values themselves; None for what the stage's ``--slices`` names.
    rows : frame, mapping or None
        The scored rows, for the columns.
    size : int
        Their number.

    Raises
    ------
    UsageError
        If a column is not there or has another length.
    """
    if isinstance(slices, Mapping):
        return tuple(_slicing(str(name), _values(column, str(name), size)) for name, column in slices.items())
    marked = slices is None
    names = asked() if marked else (slices,) if isinstance(slices, str) else tuple(_texts(slices))
    if names and rows is None:
        who = "`--slices` of the stage" if marked else "evaluate(..., slices=...)"
        raise UsageError(
            f"{who} names {', '.join(names)}, but evaluate() was not given the rows.",
            "Pass the scored rows as well: evaluate(truth, answers, rows=X_test).",
        )
    return tuple(_slicing(name, _values(_column(rows, name), name, size)) for name in names)


def _texts(slices: object) -> Sequence[str]:
    if isinstance(slices, Sequence) and all(isinstance(name, str) for name in slices):
        return slices
    raise UsageError(
        f"evaluate(..., slices={slices!r}) names no columns.", 'Write slices=["origin"], or slices={"origin": values}.'
    )


def _column(rows: Any, name: str) -> object:
    known = [str(column) for column in getattr(rows, "columns", rows)]
    if name not in known:
        raise UsageError(f"The rows have no column {name!r} to slice by.", remedy(name, known[:MOST_VALUES]))
    column: object = rows[name]
    return column


def _values(column: object, name: str, size: int) -> npt.NDArray[Any]:
    values = np.asarray(column)
    if values.shape == (size,):
        return values
    raise UsageError(
        f"The column {name!r} to slice by has shape {values.shape}, but there are {size} answers.",
        "Pass the rows that were scored, one for each answer.",
    )


def _slicing(column: str, values: npt.NDArray[Any]) -> Slicing:
    spelled = column.translate(str.maketrans("[]=", "()-"))
    if values.dtype.kind in "iuf":
        distinct = np.unique(values[~np.isnan(values)] if values.dtype.kind == "f" else values)
        if distinct.size > MOST_VALUES:
            return Slicing(spelled, *_quartiles(values.astype(np.float64), whole=values.dtype.kind in "iu"))
    if values.dtype.kind == "M":
        values = values.astype("datetime64[D]").astype(str)
    names = [MISSING if is_missing(value) else _spelled(value) for value in values.tolist()]
    found, place, counts = np.unique(np.array(names, dtype=object), return_inverse=True, return_counts=True)
    order = sorted(range(found.size), key=lambda one: (-counts[one], found[one]))
    if values.dtype.kind in "iuf":
        order = sorted(range(found.size), key=lambda one: float("inf") if found[one] == MISSING else float(found[one]))
    kept = order if len(order) <= MOST_VALUES else order[: MOST_VALUES - 1]
    where = np.full(found.size, len(kept))
    where[kept] = np.arange(len(kept))
    rest = () if len(kept) == len(order) else (OTHER,)
    return Slicing(spelled, (*(str(found[one]) for one in kept), *rest), where[place])


def _quartiles(values: npt.NDArray[np.float64], *, whole: bool) -> tuple[tuple[str, ...], Ints]:
    known = ~np.isnan(values)
    quartiles = np.quantile(values[known], (0.25, 0.5, 0.75))
    bounds = np.unique(np.floor(quartiles) if whole else quartiles)
    place = np.searchsorted(bounds, values)
    place[~known] = bounds.size + 1
    texts = [f"{bound:.0f}" if whole else f"{bound:.4g}" for bound in bounds]
    begins = [f"{bound + 1:.0f}" for bound in bounds] if whole else texts
    ranges = zip(begins, texts[1:], strict=False)
    between = [f"{low} to {high}" if low != high else high for low, high in ranges]
    names = (f"up to {texts[0]}", *between, f"above {texts[-1]}", MISSING)
    return names if not known.all() else names[:-1], place


def _spelled(value: object) -> str:
    """Return a value's name without the signs that gates part slices by."""
    return (name_of(value) or MISSING).translate(str.maketrans("[]", "()")) or "empty"
