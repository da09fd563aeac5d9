"""An estimator, its answers to the sample and the sample's columns become the task: what the model is for.

Where an answer is one value, it is a label (`classifier`) or a number (`regressor`). Where it is a list:

- `ranker`: the rows have a list column of texts or whole numbers, different ones in each row, and an answer holds as
  many numbers as the row has items;
- `forecaster`: the rows have another list column, the history, and all answers have one length, the horizon;
- `multilabel`, `multiclassifier`: scikit-learn's several outputs of a classifier, all of 0 and 1 or not;
- `multioutput`: numbers of any other estimator; `transformer` those of what has ``transform`` and no ``predict``.

An estimator may say what it is: ``_estimator_type = "ranker"`` or ``"forecaster"``, as scikit-learn's own do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlnb.errors import ModelError
from mlnb.model.answers import Scores
from mlnb.model.kinds import Column, Label, Output, Values, lists_of

_KINDS: Mapping[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64"}


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a model is for: the fields of the same names of `mlnb.model.signature.Signature`."""

    task: str
    output: str
    classes: tuple[Label, ...] = ()
    outputs: tuple[Output, ...] = ()
    items: str = ""


def purpose_of(
    estimator: Any,
    raw: Any,
    answer: Scores,
    taken: tuple[Column, ...],
    inputs: tuple[Column, ...],
    columns: Mapping[str, Values],
    variable: str,
) -> Purpose:
    """Return what the model is for.

    Parameters
    ----------
    estimator : object
        Fitted.
    raw : object
        What it gave for the sample.
    answer : Scores
        The same by row.
    taken, inputs : tuple of Column
        The columns that the estimator takes, and those that a caller sends.
    columns : mapping of str to array
        What it was given, by column.
    variable : str
        Its name in the notebook, for messages.

    Raises
    ------
    ModelError
        If its answers are lists that mean nothing here.
    """
    predictions = answer.predictions
    kind = _kind_of(estimator)
    nested = [isinstance(row, list) for row in predictions]
    items = _items(taken, columns, predictions) if kind not in {"forecaster", "classifier"} else ""
    if items and (any(nested) or kind == "ranker"):
        return Purpose("ranker", _dtype_of(columns[items]), items=items)
    if not any(nested):
        return _single(estimator, kind, predictions)
    lengths = {len(row) if isinstance(row, list) else 1 for row in predictions}
    if len(lengths) > 1 or any(isinstance(one, list) for row in predictions for one in row):
        raise ModelError(
            f"{variable} answers lists of different lengths, but no list column of the sample has as many items.",
            "Give each row the items to rank as a list of texts or whole numbers, and answer a number for each.",
            name=variable,
        )
    names = _names(estimator, raw, lengths.pop())
    if not hasattr(estimator, "predict"):
        return _numbers("transformer", names, predictions, variable)
    if kind == "classifier":
        return _several(estimator, names, predictions)
    if kind == "forecaster" or any(one.dtype not in {"string", "bool"} for one in lists_of(inputs)):
        steps = names if hasattr(raw, "columns") else [f"h{at}" for at in range(1, len(names) + 1)]
        return _numbers("forecaster", steps, predictions, variable)
    return _numbers("multioutput", names, predictions, variable)


def _kind_of(estimator: Any) -> str:
    from sklearn.base import is_classifier, is_regressor

    told = getattr(estimator, "_estimator_type", None)
    if isinstance(told, str):
        return told
    if len(getattr(estimator, "classes_", ())):  # CatBoost's regressors have none of them
        return "classifier"
    if not hasattr(estimator, "__sklearn_tags__"):
        return ""
    return "classifier" if is_classifier(estimator) else "regressor" if is_regressor(estimator) else ""


def _single(estimator: Any, kind: str, predictions: list[Any]) -> Purpose:
    if kind == "classifier" or (kind != "regressor" and np.asarray(predictions).dtype.kind != "f"):
        classes = tuple(np.asarray(getattr(estimator, "classes_", np.unique(predictions))).tolist())
        return Purpose("classifier", _output(classes), classes)
    return Purpose("regressor", _output(predictions))


def _several(estimator: Any, names: Sequence[str], predictions: list[Any]) -> Purpose:
    known = getattr(estimator, "classes_", None)
    if not isinstance(known, list) or len(known) != len(names):
        known = [np.unique([row[at] for row in predictions] + _both(predictions)) for at in range(len(names))]
    classes = [tuple(np.asarray(one).tolist()) for one in known]
    outputs = tuple(Output(name, _output(one), one) for name, one in zip(names, classes, strict=True))
    binary = all(set(one) <= {0, 1} for one in classes)
    kinds = {output.dtype for output in outputs}
    return Purpose("multilabel" if binary else "multiclassifier", kinds.pop() if len(kinds) == 1 else "", (), outputs)


def _both(predictions: list[Any]) -> list[Any]:
    """Return 0 and 1 where the answers hold nothing else: a label that no row of the sample has is a label."""
    found = {one for row in predictions for one in row}
    kind = type(next(iter(found)))
    return [kind(0), kind(1)] if found <= {0, 1} else []


def _numbers(task: str, names: Sequence[str], predictions: list[Any], variable: str) -> Purpose:
    kinds = {_output([row[at] for row in predictions]) for at in range(len(names))}
    if not kinds <= {"float64", "int64"}:
        raise ModelError(
            f"{variable} answers several values that are no numbers, but is no classifier.",
            "Answer numbers, or derive it from scikit-learn's ClassifierMixin.",
            name=variable,
        )
    output = "int64" if kinds == {"int64"} else "float64"
    return Purpose(task, output, (), tuple(Output(name, output) for name in names))


def _names(estimator: Any, raw: Any, count: int) -> list[str]:
    if hasattr(raw, "columns"):
        return [str(name) for name in raw.columns]
    if not hasattr(estimator, "predict") and hasattr(estimator, "get_feature_names_out"):
        return [str(name) for name in estimator.get_feature_names_out()]
    return [f"y{at}" for at in range(count)]


def _items(taken: tuple[Column, ...], columns: Mapping[str, Values], predictions: list[Any]) -> str:
    """Return the only list column that can be what is ranked; "" where there is none."""
    found = [
        one.name
        for one in lists_of(taken)
        if one.dtype == "string" or not one.dtype.startswith(("float", "bool", "datetime"))
        if _agree(columns[one.name], predictions)
    ]
    return found[0] if len(found) == 1 else ""


def _agree(listed: Values, predictions: list[Any]) -> bool:
    pairs = zip(listed.tolist(), predictions, strict=True)
    return all(len(set(one)) == len(one) == (len(row) if isinstance(row, list) else 1) for one, row in pairs)


def _dtype_of(listed: Values) -> str:
    return _output([one for row in listed.tolist() for one in row])


def _output(values: Sequence[object]) -> str:
    kinds = {type(value.item() if isinstance(value, np.generic) else value) for value in values}
    return _KINDS.get(kinds.pop(), "float64") if len(kinds) == 1 else "float64"
