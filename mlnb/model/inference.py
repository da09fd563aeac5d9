"""A sample of real rows and a fitted estimator become a `Signature`, and the sample's checked columns.

A sample is a pandas DataFrame or a two-dimensional array, whose columns are then called ``x0``, ``x1``, ... as
scikit-learn calls them. A column whose cells are lists, tuples or arrays is a list column: of fixed length where all of
the sample's lists have one length, else of any. The estimator gets its lists of numbers as arrays, in the service and
here. Where it was fitted with an array as wide as the lists of fixed length laid side by side, it gets that.

A column is nullable if the sample lacks a value in it: who wants the service to accept
``null``, deploys with a sample that holds such rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from mlnb.errors import ModelError
from mlnb.model.answers import Scores, answer_of, as_estimator, plain_answers, plain_chances, settle
from mlnb.model.boosters import fitted_names
from mlnb.model.hooks import USER_FAULTS, Hooks, build_frame, plain
from mlnb.model.kinds import laid_out, lay_out, lists_of
from mlnb.model.purpose import Purpose, purpose_of
from mlnb.model.signature import Column, Signature, Table, Values

_LISTS = (list, tuple, np.ndarray)
_KINDS: Mapping[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64"}


@dataclass(frozen=True, slots=True)
class Specimen:
    """The sample, looked at once.

    Attributes
    ----------
    signature : Signature
        What it says of the model.
    rows : mapping of str to list
        The raw sample by column, each value as JSON holds it.
    columns : mapping of str to array
        The same, checked: what the service makes of it.
    features : mapping of str to array
        What the estimator takes: the same, or what the hook made of it.
    expected : Scores
        The estimator's own answers.
    """

    signature: Signature
    rows: Mapping[str, list[object]]
    columns: Mapping[str, Values]
    features: Mapping[str, Values]
    expected: Scores


def examine(
    sample: object, estimator: Any, *, hooks: Hooks | None = None, variable: str = "model", sample_name: str = "sample"
) -> Specimen:
    """Look at a sample: signature, checked columns and the estimator's answers.

    Parameters
    ----------
    sample : DataFrame or array, shape (rows, columns)
        Rows as a caller of the service will send them.
    estimator : object
        Fitted, with ``predict``.
    hooks : Hooks, optional
        Prepares the rows for the estimator.
    variable, sample_name : str
        The names of both in the notebook, for messages.

    Raises
    ------
    ModelError
        If the estimator is no fitted model, or the sample's columns are not those that it was fitted with.
    """
    estimator = as_estimator(estimator)
    check_estimator(estimator, variable)
    given = as_frame(sample, sample_name)
    inputs = infer_columns(given, sample_name)
    flat = hooks is None and _fits_laid_out(estimator, inputs)
    if hooks is None and not flat:
        given = fitted_columns(given, estimator, variable, sample_name)
        inputs = tuple(sorted(inputs, key=lambda column: given.columns.get_loc(column.name)))
    rows, columns = plain_values(given, inputs), checked_columns(given, inputs)
    made, table = given, columns
    features: tuple[Column, ...] = laid_out(inputs) if flat else ()
    if flat:
        table = lay_out(columns, inputs)
    elif hooks is not None:
        prepared, told = hooks.call(columns, inputs), f"preprocess({sample_name})"
        made = as_frame(pd.DataFrame(prepared) if isinstance(prepared, list) else prepared, told)
        made = fitted_columns(made, estimator, variable, told)
        features = infer_columns(made, told)
        table = Table(features).check_columns(hooks.preprocess(columns, inputs))
    frame = not flat and takes_frame(estimator, made if hooks is not None else sample)
    asked: object = np.column_stack(list(table.values())) if flat else made if frame else made.to_numpy()
    if frame and lists_of(features or inputs):
        asked = build_frame(table, features or inputs)
    raw, answer = _answer(estimator, asked, variable, sample_name)
    purpose = purpose_of(estimator, raw, answer, features or inputs, inputs, table, variable)
    signature = _signature(purpose, _free(inputs, purpose), _free(features, purpose), answer, frame)
    return Specimen(signature, rows, columns, table, settle(answer, signature, table))


def _signature(
    purpose: Purpose, inputs: tuple[Column, ...], features: tuple[Column, ...], answer: Scores, frame: bool
) -> Signature:
    return Signature(
        inputs,
        purpose.task,
        purpose.classes,
        answer.probabilities is not None,
        purpose.output,
        features,
        frame,
        purpose.outputs,
        purpose.items,
    )


def _free(columns: tuple[Column, ...], purpose: Purpose) -> tuple[Column, ...]:
    """Return the columns with the ranker's items of any number: it orders as many as it is given."""
    return tuple(replace(one, length=None) if one.name == purpose.items else one for one in columns)


def _fits_laid_out(estimator: Any, inputs: tuple[Column, ...]) -> bool:
    """Say whether the estimator was fitted with an array in which the lists' values stand side by side."""
    lists = lists_of(inputs)
    if not lists or any(one.length is None for one in lists) or hasattr(estimator, "feature_names_in_"):
        return False
    return getattr(estimator, "n_features_in_", -1) == sum(one.width for one in inputs)


def infer_signature(sample: object, estimator: Any, *, hooks: Hooks | None = None) -> Signature:
    """Return the signature alone of `examine`."""
    return examine(sample, estimator, hooks=hooks).signature


def check_estimator(estimator: object, variable: str) -> None:
    """Raise `ModelError` if the value is not a model."""
    kind = f"{type(estimator).__module__}.{type(estimator).__qualname__}".removeprefix("builtins.")
    if isinstance(estimator, type):
        raise ModelError(
            f"{variable} is the class {estimator.__qualname__}, not a fitted model.",
            "Deploy an instance, after calling its fit.",
            name=variable,
        )
    transforms = all(callable(getattr(estimator, name, None)) for name in ("fit", "transform"))
    if not transforms and not callable(getattr(estimator, "predict", None)):
        raise ModelError(
            f"{variable} is not a model: it is of type {kind} and has no predict.",
            "Name a fitted estimator with --model.",
            name=variable,
        )


def as_frame(sample: object, name: str) -> pd.DataFrame:
    """Return the sample as a DataFrame with a default index and columns whose names are strings.

    Raises
    ------
    ModelError
        If it is no table, holds no rows, or two of its columns have one name.
    """
    if isinstance(sample, np.ndarray) and sample.ndim == 2:
        frame = pd.DataFrame(sample, columns=[f"x{at}" for at in range(sample.shape[1])])
    elif isinstance(sample, pd.DataFrame):
        frame = sample.set_axis([str(column) for column in sample.columns], axis=1).reset_index(drop=True)
    else:
        shape = f" of shape {sample.shape}" if isinstance(sample, np.ndarray) else ""
        raise ModelError(
            f"{name} is of type {type(sample).__name__}{shape}, which is not a table.",
            "Give a pandas DataFrame or a two-dimensional array of real rows with --sample.",
            name=name,
        )
    if frame.empty:
        raise ModelError(f"{name} holds no rows or no columns.", "Give real rows with --sample.", name=name)
    if not frame.columns.is_unique:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        raise ModelError(
            f"{name} has two columns called {', '.join(twice)}.", "Give each column its own name.", name=name
        )
    return frame


def fitted_columns(frame: pd.DataFrame, estimator: Any, variable: str, sample_name: str) -> pd.DataFrame:
    """Return the columns in the order of the fit.

    Raises
    ------
    ModelError
        If columns are missing or there are more; both are named.
    """
    names = fitted_names(estimator, list(frame.columns))
    if names is None:
        wanted = getattr(estimator, "n_features_in_", frame.shape[1])
        if frame.shape[1] != wanted:
            raise ModelError(
                f"{sample_name} has {frame.shape[1]} columns, but {variable} was fitted with {wanted}.",
                f"Give {variable} the columns that it was fitted with.",
                name=sample_name,
            )
        return frame
    missing = [name for name in names if name not in frame.columns]
    extra = [name for name in frame.columns if name not in names]
    if missing or extra:
        told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} too much"] * bool(extra)
        raise ModelError(
            f"{sample_name} {' and '.join(told)}: other columns than {variable} was fitted with.",
            f"Give exactly the columns of the fit: {', '.join(names)}.",
            name=sample_name,
        )
    return frame[list(names)]


def takes_frame(estimator: object, sample: object) -> bool:
    """Say whether the estimator was fitted with a data frame."""
    if not isinstance(sample, pd.DataFrame):
        return False
    return hasattr(estimator, "feature_names_in_") or not hasattr(estimator, "n_features_in_")


def infer_columns(frame: pd.DataFrame, sample_name: str) -> tuple[Column, ...]:
    """Return the type of each column.

    Raises
    ------
    ModelError
        If a column holds what JSON cannot, or mixes types.
    """
    return tuple(_column(str(name), frame[name], sample_name) for name in frame.columns)


def checked_columns(frame: pd.DataFrame, inputs: Sequence[Column]) -> dict[str, Values]:
    """Return the columns of a frame from `as_frame` as the service would see them after JSON.

    Raises
    ------
    SignatureError
        If a value does not survive it, such as an infinity.
    """
    return Table(tuple(inputs)).check_columns(plain_values(frame, inputs))


def plain_values(frame: pd.DataFrame, inputs: Sequence[Column]) -> dict[str, list[object]]:
    """Return the frame's values by column, each as JSON holds it."""
    return {column.name: _values(column, frame[column.name]) for column in inputs}


def _answer(estimator: Any, rows: object, variable: str, sample_name: str) -> tuple[Any, Scores]:
    """Return what the estimator gives for the sample: as it is, and as `mlnb.model.answers.ask` would."""
    try:
        raw = answer_of(estimator, rows)
        chances = estimator.predict_proba(rows) if _has_chances(estimator) else None
        return raw, Scores(plain_answers(raw), None if chances is None else plain_chances(chances))
    except NotFittedError as error:
        raise ModelError(f"{variable} is not fitted.", "Call its fit in a stage before.", name=variable) from error
    except USER_FAULTS as error:
        raise ModelError(
            f"{variable} fails on {sample_name}: {type(error).__name__}: {error}.",
            "Give a sample that the model can predict.",
            name=variable,
        ) from error


def _has_chances(estimator: Any) -> bool:
    return hasattr(estimator, "predict") and hasattr(estimator, "predict_proba")


def _values(column: Column, series: pd.Series) -> list[object]:
    """Return a column's values; those of numpy's own kinds without looking at each by itself."""
    values: list[object] = series.tolist()
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
    if kind in ("b", "i", "u"):
        return values
    if isinstance(series.dtype, pd.StringDtype) and column.dtype == "string":
        return [value if isinstance(value, str) else None for value in values]
    if kind == "f" and column.dtype.startswith("float"):
        return [None if value != value else value for value in values] if column.nullable else values
    return [_value(column, value) for value in values]


def _value(column: Column, value: object) -> object:
    value = plain(value)
    if isinstance(value, list):
        return [_value(column, one) for one in value]
    if isinstance(value, float) and column.dtype.startswith(("int", "uint")) and value.is_integer():
        return int(value)
    return value


def _column(name: str, series: pd.Series, sample_name: str) -> Column:
    nullable = bool(series.isna().any())
    dtype = series.dtype
    if pd.api.types.is_object_dtype(dtype) and any(isinstance(one, _LISTS) for one in series):
        return _list_column(name, series, sample_name)
    if isinstance(dtype, pd.CategoricalDtype):
        known = [plain(one) for one in dtype.categories.tolist()]
        kind = _kind(name, pd.Series(known, dtype=object), sample_name)
        return Column(name, kind, nullable, tuple(known))  # type: ignore[arg-type]  # _kind has refused other labels
    kind = _dtype(name, series, sample_name)
    types = pd.api.types
    missing = "none" if types.is_object_dtype(dtype) and any(value is None for value in series) else "nan"
    if kind in {"string", "bool", "datetime"}:
        return Column(name, kind, nullable, (), None, None, missing)
    numbers = pd.to_numeric(series.dropna()).to_numpy(dtype=np.float64)
    if not numbers.size:
        return Column(name, kind, nullable)
    return Column(name, kind, nullable, (), float(numbers.min()), float(numbers.max()))


def _list_column(name: str, series: pd.Series, sample_name: str) -> Column:
    """Return the column of a series whose cells are lists, as that of all their values; a numpy dtype is kept."""
    cells = series.tolist()
    strays = [at for at, one in enumerate(cells) if not isinstance(one, _LISTS)]
    if strays or any(np.ndim(one) > 1 for one in cells if isinstance(one, np.ndarray)):
        told = f"row {strays[0]} holds {type(cells[strays[0]]).__name__}" if strays else "some hold several axes"
        raise ModelError(
            f"The column {name!r} of {sample_name} holds lists, but {told}.",
            "Give every row a plain list, an empty one where there is nothing.",
            name=sample_name,
        )
    kinds = {one.dtype for one in cells if isinstance(one, np.ndarray) and one.size}
    kept = kinds.pop() if len(kinds) == 1 and all(isinstance(one, np.ndarray) for one in cells) else None
    values = pd.Series([value for one in cells for value in one], dtype=kept or object)
    lengths = {len(one) for one in cells}
    found = _column(name, values.infer_objects() if kept is None else values, sample_name)
    return replace(found, many=True, length=lengths.pop() if len(lengths) == 1 else None, empty=0 in lengths)


def _dtype(name: str, series: pd.Series, sample_name: str) -> str:
    dtype: Any = series.dtype
    types = pd.api.types
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_integer_dtype(dtype):
        return str(dtype).lower().partition("[")[0]
    if types.is_float_dtype(dtype):
        return "float32" if str(dtype).lower() == "float32" else "float64"
    if types.is_datetime64_any_dtype(dtype):
        return "datetime"
    if types.is_string_dtype(dtype) and not types.is_object_dtype(dtype):
        return "string"
    return _kind(name, series, sample_name)


def _kind(name: str, series: pd.Series, sample_name: str) -> str:
    kinds = {type(plain(value)) for value in series if plain(value) is not None}
    if kinds == {int, float}:
        return "float64"
    if pd.api.types.is_object_dtype(series.dtype) and len(kinds) <= 1 and kinds <= _KINDS.keys():
        return _KINDS[kinds.pop()] if kinds else "string"
    told = (
        ", ".join(sorted(kind.__name__ for kind in kinds))
        if pd.api.types.is_object_dtype(series.dtype)
        else str(series.dtype)
    )
    raise ModelError(
        f"The column {name!r} of {sample_name} holds {told}, which cannot be sent as JSON.",
        "Convert it to numbers, strings, booleans or dates before the model, or leave it out.",
        name=sample_name,
    )
