"""What there is to say of one column of the rows, of one of several outputs, and of what a model is for.

Carried into the service: the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Label: TypeAlias = str | int | float | bool
Values: TypeAlias = npt.NDArray[Any]

#: What a model is for, and what its answer to one row then is; `mlnb.model.answers.Scores` says it in full.
TASKS: Mapping[str, str] = {
    "classifier": "a label (clusters and outliers are labels too)",
    "regressor": "a number",
    "multilabel": "for each label whether it is set",
    "multiclassifier": "a label for each output",
    "multioutput": "a number for each output",
    "ranker": "its items in order, the best first",
    "forecaster": "a number for each step of the horizon",
    "transformer": "a number for each column that it makes",
}
#: Tasks whose answer to one row is a list with one value for each of `Signature.outputs`.
NESTED = ("multilabel", "multiclassifier", "multioutput", "forecaster", "transformer")
#: Tasks whose answers are labels, which agree or do not, rather than numbers.
LABELLED = ("classifier", "multilabel", "multiclassifier")
#: What a column's values can be.
DTYPES = frozenset(
    {"string", "bool", "datetime", "float64", "float32"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_COLUMN = ("name", "dtype", "nullable", "categories", "minimum", "maximum", "missing")
_LISTED: Mapping[str, Any] = {"many": False, "length": None, "empty": False}
_NUMBER = (int, float, type(None))
_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("name", "dtype", "missing"), str),
    **dict.fromkeys(("nullable", "many", "empty"), bool),
    **dict.fromkeys(("minimum", "maximum"), _NUMBER),
    "categories": list | tuple,
    "length": int | None,
}
_DTYPES = re.compile(r"float(32|64)|u?int(8|16|32|64)|bool|string|datetime")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the rows.

    Attributes
    ----------
    name : str
        Its name.
    dtype : str
        ``float64``, ``float32``, ``int64``, ... ``uint8``, ``bool``, ``string`` or ``datetime``; of a list column that
        of the lists' values.
    nullable : bool
        Whether ``null`` is accepted: the sample had a missing value here. In a list column a value of a list may be
        ``null`` then, never a list.
    categories : tuple of str, int, float or bool
        The known ones of a categorical column, in order; empty if it is not categorical.
    minimum, maximum : float or None
        Of the sample's numbers; told, not enforced.
    missing : str
        What the estimator saw for a missing text: ``nan`` or ``none``.
    many : bool
        Whether it is a list column: each row holds a list of values, such as a history or candidates.
    length : int or None
        How many values each list must hold; None where that is free.
    empty : bool
        Whether a list may hold nothing: one of the sample did not.
    """

    name: str
    dtype: str
    nullable: bool = False
    categories: tuple[Label, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    missing: str = "nan"
    many: bool = False
    length: int | None = None
    empty: bool = False

    @property
    def width(self) -> int:
        """Numbers that one row of this column lays out side by side: the length of its lists, else 1."""
        return self.length or 1

    def to_json(self) -> dict[str, object]:
        """Return the column as JSON."""
        told: dict[str, object] = {name: getattr(self, name) for name in (*_COLUMN, *_LISTED)}
        return {**told, "categories": list(self.categories)}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Column:
        """Return the column that `to_json` wrote; a column of format 1 is never a list.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        told = {name: mapping[name] for name in _COLUMN} | {
            **_LISTED,
            **{n: mapping[n] for n in _LISTED if n in mapping},
        }
        if not all(isinstance(told[name], kinds) for name, kinds in _TYPES.items()):
            raise TypeError(f"in the column {told['name']!r}")
        if not _DTYPES.fullmatch(told["dtype"]):
            raise ValueError(f"dtype {told['dtype']!r}")
        if told["dtype"] not in DTYPES or not isinstance(told["length"], int | None):
            raise ValueError(f"column {told['name']!r} of type {told['dtype']!r}")
        return cls(**{**told, "categories": tuple(mapping["categories"])})


@dataclass(frozen=True, slots=True)
class Output:
    """One of several values of an answer.

    Attributes
    ----------
    name : str
        The column's, where the estimator answers with a data frame; else ``y0``, ``y1``, ... or, in a forecast, ``h1``,
        ``h2``, ... steps ahead.
    dtype : str
        ``float64``, ``int64``, ``bool`` or ``string``.
    classes : tuple of str, int, float or bool
        Its labels, in the order of its probabilities; empty for a number.
    """

    name: str
    dtype: str = "float64"
    classes: tuple[Label, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the output as JSON."""
        return {"name": self.name, "dtype": self.dtype, "classes": list(self.classes)}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Output:
        """Return the output that `to_json` wrote."""
        return cls(str(mapping["name"]), str(mapping["dtype"]), tuple(mapping["classes"]))


def lists_of(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the list columns."""
    return tuple(column for column in columns if column.many)


def laid_out(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the columns with each list column of fixed length as that many plain ones: ``history[0]``, ..."""
    made: list[Column] = []
    for one in columns:
        if one.many and one.length is not None:
            names = [f"{one.name}[{at}]" for at in range(one.length)]
            made += [Column(name, one.dtype, one.nullable, (), one.minimum, one.maximum) for name in names]
        else:
            made.append(one)
    return tuple(made)


def lay_out(columns: Mapping[str, Values], inputs: tuple[Column, ...]) -> dict[str, Values]:
    """Return checked columns as `laid_out` names them."""
    made: dict[str, Values] = {}
    for one in inputs:
        values = columns[one.name]
        if one.many and one.length is not None:
            made |= {f"{one.name}[{at}]": np.ascontiguousarray(values[:, at]) for at in range(one.length)}
        else:
            made[one.name] = values
    return made
