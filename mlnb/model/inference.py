"""A sample of real rows and a fitted estimator become a `Signature`, and the sample's checked columns.

A sample is a pandas DataFrame or a two-dimensional array, whose columns are then called ``x0``, ``x1``, ... as
scikit-learn calls them. A column is nullable if the sample lacks a value in it: who wants the service to accept
``null``, deploys with a sample that holds such rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import NotFittedError

from mlnb.errors import ModelError
from mlnb.model.hooks import USER_FAULTS, Hooks, plain
from mlnb.model.scorer import Scores, ask
from mlnb.model.signature import Column, Label, Signature, Table, Values

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
    check_estimator(estimator, variable)
    given = as_frame(sample, sample_name)
    if hooks is None:
        given = fitted_columns(given, estimator, variable, sample_name)
    inputs = infer_columns(given, sample_name)
    rows, columns = plain_values(given, inputs), checked_columns(given, inputs)
    made, table = given, columns
    features: tuple[Column, ...] = ()
    if hooks is not None:
        prepared, told = hooks.call(columns, inputs), f"preprocess({sample_name})"
        made = as_frame(pd.DataFrame(prepared) if isinstance(prepared, list) else prepared, told)
        made = fitted_columns(made, estimator, variable, told)
        features = infer_columns(made, told)
        table = Table(features).check_columns(hooks.preprocess(columns, inputs))
    frame = takes_frame(estimator, made if hooks is not None else sample)
    expected = _answer(estimator, made if frame else made.to_numpy(), variable, sample_name)
    task, classes = _task(estimator, expected, variable)
    output = _output(classes or expected.predictions)
    signature = Signature(inputs, task, classes, expected.probabilities is not None, output, features, frame)
    return Specimen(signature, rows, columns, table, expected)


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
    if not callable(getattr(estimator, "predict", None)):
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
    names = getattr(estimator, "feature_names_in_", None)
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
    return {column.name: [_value(column, value) for value in frame[column.name].tolist()] for column in inputs}


def _answer(estimator: Any, rows: object, variable: str, sample_name: str) -> Scores:
    try:
        return ask(estimator, rows, hasattr(estimator, "predict_proba"))
    except NotFittedError as error:
        raise ModelError(f"{variable} is not fitted.", "Call its fit in a stage before.", name=variable) from error
    except USER_FAULTS as error:
        raise ModelError(
            f"{variable} fails on {sample_name}: {type(error).__name__}: {error}.",
            "Give a sample that the model can predict.",
            name=variable,
        ) from error


def _value(column: Column, value: object) -> object:
    value = plain(value)
    if isinstance(value, float) and column.dtype.startswith(("int", "uint")) and value.is_integer():
        return int(value)
    return value


def _column(name: str, series: pd.Series, sample_name: str) -> Column:
    nullable = bool(series.isna().any())
    dtype = series.dtype
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


def _task(estimator: Any, scores: Scores, variable: str) -> tuple[str, tuple[Label, ...]]:
    predictions = np.asarray(scores.predictions)
    if hasattr(estimator, "classes_") or is_classifier(estimator):
        if predictions.ndim > 1 or np.ndim(scores.probabilities or [[]]) != 2:
            raise ModelError(
                f"{variable} is a classifier with several outputs.", "Deploy one model for each output.", name=variable
            )
        return "classifier", _labels(getattr(estimator, "classes_", np.unique(predictions)))
    if is_regressor(estimator) or predictions.dtype.kind == "f":
        return "regressor", ()
    return "classifier", _labels(np.unique(predictions))


def _labels(classes: Any) -> tuple[Label, ...]:
    return tuple(np.asarray(classes).tolist())


def _output(values: Sequence[object]) -> str:
    kinds = {type(value) for value in values}
    return _KINDS.get(kinds.pop(), "float64") if len(kinds) == 1 else "float64"
