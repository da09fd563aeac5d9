"""Answers become columns: one for the prediction, one for each probability, and one for each value of several outputs.

=====================  =================================================================================
task                   columns
=====================  =================================================================================
classifier             ``prediction``, ``probability_<class>`` for each class
regressor              ``prediction``
multilabel             ``prediction_<output>``, ``probability_<output>``
multiclassifier        ``prediction_<output>``, ``probability_<output>_<class>``
multioutput,           ``prediction_<output>``
forecaster,
transformer
ranker                 ``prediction``, the items in order, and ``score``, theirs: lists
=====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlnb.model.answers import Scores
from mlnb.model.kinds import NESTED, Label, Values
from mlnb.model.signature import Signature

_TYPES = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "string": pa.string()}


def answer_fields(signature: Signature) -> list[pa.Field]:
    """Return the columns that hold a model's answers; each is null where a row could not be scored."""
    return [pa.field(name, kind) for name, kind in _columns(signature)]


def arrays_of_scores(scores: Scores, signature: Signature) -> list[pa.Array]:
    """Return plain answers as the columns of `answer_fields`, each of as many values as there are rows."""
    if signature.task == "ranker":
        found: list[Sequence[Any]] = [scores.predictions, scores.scores or []]
    elif signature.task in NESTED:
        found = list(zip(*scores.predictions, strict=True))
        for column in _by_place(scores.probabilities, signature):
            found += list(zip(*column, strict=True)) if _nested(column) else [column]
    else:
        found = [scores.predictions, *zip(*(scores.probabilities or ()), strict=True)]
    return [pa.array(list(values), field.type) for values, field in zip(found, answer_fields(signature), strict=True)]


def arrays_of_tensors(labels: Values, chances: Values | None, signature: Signature) -> list[pa.Array]:
    """Return a graph's answers as the columns of `answer_fields`, without a Python object for each row.

    Parameters
    ----------
    labels : array, shape (rows,) or (rows, 1)
        A classifier's labels as the graph has them (those that ONNX has no type for by their number), or numbers.
    chances : array, shape (rows, classes), or None
        In the order of the signature's classes.
    """
    kind = _TYPES[signature.output]
    flat = labels.reshape(-1)
    if signature.task == "classifier" and not all(type(one) in (int, str) for one in signature.classes):
        flat = _named(flat, signature.classes)
    found = [pa.array(flat, kind) if flat.dtype != object else pa.array(flat.tolist(), kind)]
    if chances is not None:
        found += [pa.array(column, pa.float64()) for column in np.asarray(chances.T, dtype=np.float64)]
    return found


def _columns(signature: Signature) -> list[tuple[str, pa.DataType]]:
    number = pa.float64()
    kind = _TYPES[signature.output]
    if signature.task == "ranker":
        return [("prediction", pa.list_(kind)), ("score", pa.list_(number))]
    if signature.task in NESTED:
        made = [(f"prediction_{output.name}", _TYPES[output.dtype]) for output in signature.outputs]
        if signature.probabilities and signature.task == "multilabel":
            made += [(f"probability_{output.name}", number) for output in signature.outputs]
        elif signature.probabilities:
            pairs = [(output.name, label) for output in signature.outputs for label in output.classes]
            made += [(f"probability_{name}_{_text(label)}", number) for name, label in pairs]
        return made
    chances = signature.classes if signature.probabilities else ()
    return [("prediction", kind), *((f"probability_{_text(label)}", number) for label in chances)]


def _text(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def _by_place(chances: list[list[Any]] | None, signature: Signature) -> list[tuple[Any, ...]]:
    return list(zip(*chances, strict=True)) if chances is not None and signature.probabilities else []


def _nested(column: Sequence[Any]) -> bool:
    return bool(column) and isinstance(column[0], list)


def _named(numbers: Values, classes: Sequence[Label]) -> Values:
    known = np.array(classes, dtype=object)
    order = np.argsort([int(one) for one in classes])
    return known[order[np.searchsorted(np.array([int(one) for one in classes])[order], numbers.astype(np.int64))]]
