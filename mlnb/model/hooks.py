"""The source of a deploy cell becomes the function that prepares a service's rows, given in the shape that it asks for.

Carried into the service: standard library, numpy, `mlnb.errors` and `mlnb.model.kinds`; pandas is imported only
for a hook that asks for a data frame, or for a model that takes one.

The source may define ``preprocess(rows)``. Its first parameter's annotation decides what it gets: a name ending in
``DataFrame`` a data frame with the sample's dtypes, anything else a list of dicts of plain values, where ``None`` is
missing and dates are ISO 8601 strings. A list column gives lists; in a data frame lists of numbers are arrays. It
returns as many rows as it got, as either.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mlnb.errors import ModelError
from mlnb.model.kinds import Column, Values

if TYPE_CHECKING:
    import pandas as pd

#: What code that others wrote is expected to raise.
USER_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_MODULE = "mlnb_hooks"


class Hooks:
    """What the deploy cell defines for the service.

    Parameters
    ----------
    function : callable
        The user's ``preprocess``.
    """

    __slots__ = ("_function", "wants_frame")

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function
        self.wants_frame = _wants_frame(function)

    def preprocess(self, columns: Mapping[str, Values], inputs: Sequence[Column]) -> dict[str, list[object]]:
        """Return the columns that the hook makes of the checked ones.

        Parameters
        ----------
        columns : mapping of str to array, each of shape (rows,)
            As `mlnb.model.signature.Table.check` gives them.
        inputs : sequence of Column
            Their types.

        Raises
        ------
        ModelError
            If the hook fails, or what it gives is no table of as many rows.
        """
        rows = len(next(iter(columns.values())))
        table = _by_column(self.call(columns, inputs))
        if any(len(values) != rows for values in table.values()) or not table:
            counts = sorted({len(values) for values in table.values()})
            raise _failed(f"gave {' and '.join(map(str, counts)) or 'no'} rows for {rows}")
        return table

    def call(self, columns: Mapping[str, Values], inputs: Sequence[Column]) -> object:
        """Return what the user's function gives, as it is.

        Raises
        ------
        ModelError
            If it fails.
        """
        given = build_frame(columns, inputs) if self.wants_frame else build_rows(columns)
        try:
            return self._function(given)
        except (*USER_FAULTS, SystemExit) as error:  # a hook that exits ends its request, not the service
            raise _failed(f"failed: {type(error).__name__}: {error}") from error


def compile_hooks(source: str, path: str = "hooks.py") -> Hooks | None:
    """Execute the source of a deploy cell; return None where it defines no ``preprocess``.

    Raises
    ------
    ModelError
        If executing it fails, or ``preprocess`` is not a function.
    """
    if not source.strip():
        return None
    module = ModuleType(_MODULE)
    module.__file__ = path
    before = sys.modules.get(_MODULE)
    sys.modules[_MODULE] = module  # dataclasses and typing look their module up
    try:
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 -- the caller has checked the signature
    except USER_FAULTS as error:
        raise ModelError(
            f"The code of the deploy cell fails when it is loaded: {type(error).__name__}: {error}.",
            "Keep in the deploy cell only what the service needs, with its imports in setup cells.",
            name="preprocess",
        ) from error
    finally:
        if before is None:
            del sys.modules[_MODULE]
        else:
            sys.modules[_MODULE] = before
    function = module.__dict__.get("preprocess")
    if function is None:
        return None
    if not callable(function):
        raise _failed(f"is of type {type(function).__name__}, not a function")
    return Hooks(function)


def build_rows(columns: Mapping[str, Values]) -> list[dict[str, object]]:
    """Return checked columns as the plain rows that a hook of ``list[dict]`` gets."""
    lists = [[plain(value) for value in values.tolist()] for values in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def build_frame(columns: Mapping[str, Values], inputs: Sequence[Column]) -> pd.DataFrame:
    """Return checked columns as a pandas DataFrame of the sample's dtypes."""
    import pandas as pd

    return pd.DataFrame({column.name: _series(pd, column, columns[column.name]) for column in inputs})


def plain(value: object) -> object:
    """Return a value of pandas, numpy or `datetime` as JSON would hold it; whatever means *missing* becomes None."""
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if isinstance(value, datetime) else value


def _series(pd: Any, column: Column, values: Values) -> Any:
    if column.many:
        listed = list(values) if column.dtype.startswith(("float", "int", "uint")) else [list(one) for one in values]
        return pd.Series(listed, dtype=object)
    if column.categories:
        places = {category: place for place, category in enumerate(column.categories)}
        codes = [places.get(value, -1) for value in values.tolist()]  # an unknown category is missing
        return pd.Series(pd.Categorical.from_codes(codes, categories=list(column.categories)))
    if column.dtype != "string":
        return pd.Series(values)
    if column.missing == "none":
        return pd.Series(values, dtype=object)
    if int(pd.__version__.partition(".")[0]) >= 3:
        return pd.Series(values, dtype="str")
    return pd.Series([np.nan if value is None else value for value in values], dtype=object)


def _wants_frame(function: Callable[[Any], object]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    if not parameters:
        raise _failed("takes no argument; it must take the rows")
    asked = parameters[0].annotation
    return (asked if isinstance(asked, str) else getattr(asked, "__name__", "")).rpartition(".")[2] == "DataFrame"


def _by_column(made: object) -> dict[str, list[object]]:
    if hasattr(made, "to_dict") and hasattr(made, "columns"):
        return {str(name): [plain(value) for value in made[name].tolist()] for name in made.columns}  # type: ignore[index]
    if not isinstance(made, list) or not all(isinstance(row, dict) for row in made):
        raise _failed(f"gave a {type(made).__name__}; it must give a list of dicts or a DataFrame")
    names = list(made[0]) if made else []
    for at, row in enumerate(made):
        if set(row) != set(names):
            raise _failed(f"gave row {at} other columns than row 0: {', '.join(sorted(set(row) ^ set(names)))}")
    return {str(name): [plain(row[name]) for row in made] for name in names}


def _failed(how: str) -> ModelError:
    return ModelError(f"The hook preprocess {how}.", "Correct preprocess in the deploy cell.", name="preprocess")
