"""What an estimator or an ONNX graph gives for some rows becomes plain answers, one for each row.

Carried into the service: the standard library, numpy, msgspec, `mlnb.model.kinds` and `mlnb.model.signature`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from mlnb.model.kinds import Output, Values
from mlnb.model.signature import Signature

FORMAT = 2


class Scores(Struct, frozen=True):
    """A model's answers, one for each row, in the order of the rows, as JSON holds them.

    What they are depends on the task of the signature (``k`` values for each of ``Signature.outputs``):

    ===============  ========================  ==========================================  =====================
    task             predictions[row]          probabilities[row]                          scores[row]
    ===============  ========================  ==========================================  =====================
    classifier       label                     one for each of ``Signature.classes``
    regressor        number
    multilabel       k of 0 and 1 (or bool)    k chances that the label is set
    multiclassifier  k labels                  k lists, one chance for each of its classes
    multioutput      k numbers
    forecaster       k numbers, one a step
    transformer      k numbers
    ranker           the row's items, ordered                                              theirs, falling
    ===============  ========================  ==========================================  =====================

    Attributes
    ----------
    predictions : list, length rows
        Labels in their own type, numbers, or lists of either.
    probabilities : list of list, length rows, or None
        None where the model gives none (``Signature.probabilities``) or the task has none.
    scores : list of list of float, length rows, or None
        A ranker's; as many in each row as there are items. None for every other task.
    """

    predictions: list[Any]
    probabilities: list[list[Any]] | None = None
    scores: list[list[float]] | None = None

    def to_json(self) -> dict[str, object]:
        """Return the answers as JSON, format 2: what ``expected.json`` holds."""
        told: dict[str, object] = {"format": FORMAT, "predictions": self.predictions}
        return {**told, "probabilities": self.probabilities, "scores": self.scores}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Scores:
        """Return the answers that `to_json` wrote; those of format 1, and of the service, may lack the scores."""
        return cls(list(mapping["predictions"]), mapping["probabilities"], mapping.get("scores"))

    def take(self, rows: Sequence[int]) -> Scores:
        """Return the answers to some of the rows."""
        parts = (self.predictions, self.probabilities, self.scores)
        predictions, probabilities, scores = (None if part is None else [part[at] for at in rows] for part in parts)
        return Scores(predictions or [], probabilities, scores)


class Network:
    """A module of PyTorch as an estimator: its own copy, on the CPU and in evaluation, which answers with numbers.

    Parameters
    ----------
    module : torch.nn.Module
        Takes one tensor of float32, shape (rows, columns); of several results the first counts.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def __repr__(self) -> str:
        """Tell the module."""
        return repr(self.module)

    def predict(self, rows: object) -> Values:
        """Return the module's numbers, of shape (rows,) or (rows, outputs)."""
        import torch

        with torch.inference_mode():
            made = self.module(torch.from_numpy(np.array(rows, dtype=np.float32)))
            return (made[0] if isinstance(made, tuple) else made).numpy()  # type: ignore[no-any-return]


def as_estimator(value: Any) -> Any:
    """Return a module of PyTorch as a `Network`, and everything else as it is; PyTorch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.nn.Module) or hasattr(value, "predict"):
        return value
    from copy import deepcopy

    return Network(deepcopy(value).to("cpu").eval())


def ask(estimator: Any, rows: object, probabilities: bool) -> Scores:
    """Return what an estimator gives for a data frame or an array, its columns where it has no ``predict``."""
    made = answer_of(estimator, rows)
    return Scores(plain_answers(made), plain_chances(estimator.predict_proba(rows)) if probabilities else None)


def answer_of(estimator: Any, rows: object) -> Any:
    """Return ``predict``, or ``transform`` of what has no other."""
    return estimator.predict(rows) if hasattr(estimator, "predict") else estimator.transform(rows)


def plain_answers(made: Any) -> list[Any]:
    """Return an array, a frame, a sparse matrix or lists of any lengths as lists; a single column as its values."""
    if hasattr(made, "toarray"):
        made = made.toarray()
    try:
        found = np.asarray(made)
    except ValueError:  # rows of different lengths
        return [np.asarray(row).tolist() for row in made]
    if found.dtype == object:
        rows = [row.tolist() if isinstance(row, np.ndarray | np.generic) else row for row in found.tolist()]
        return [list(row) if isinstance(row, tuple) else row for row in rows]
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    return found.tolist()  # type: ignore[no-any-return]


def plain_chances(made: Any) -> list[list[Any]]:
    """Return probabilities by row: of several outputs (an array for each, or one of three axes) lists of lists."""
    if isinstance(made, list) or np.ndim(made) == 3:
        each = [np.asarray(one).tolist() for one in made]
        return [list(row) for row in zip(*each, strict=True)]
    return np.asarray(made).tolist()  # type: ignore[no-any-return]


def settle(scores: Scores, signature: Signature, columns: Mapping[str, Values]) -> Scores:
    """Return what an estimator gave as its task has it.

    Parameters
    ----------
    scores : Scores
        As `ask` gives them.
    signature : Signature
        Task, outputs and the column of the items.
    columns : mapping of str to array
        What the estimator was given.
    """
    match signature.task:
        case "ranker":
            return _ranked(scores.predictions, columns[signature.items])
        case "multilabel" if scores.probabilities is not None:
            return Scores(scores.predictions, [_set(row, signature.outputs) for row in scores.probabilities])
        case _:
            return scores


def _ranked(scored: list[Any], items: Values) -> Scores:
    """Return the items of each row by falling score; equal ones stay in the order of the request."""
    names: list[Any] = []
    scores: list[list[float]] = []
    for row, listed in zip(scored, items.tolist(), strict=True):
        found = [float(one) for one in (row if isinstance(row, list) else [row])]
        plain = listed.tolist() if isinstance(listed, np.ndarray) else list(listed)
        order = sorted(range(len(found)), key=lambda at: (np.isnan(found[at]), -found[at]))
        names.append([plain[at] for at in order])
        scores.append([found[at] for at in order])
    return Scores(names, None, scores)


def _set(row: list[Any], outputs: tuple[Output, ...]) -> list[float]:
    """Return each label's chance to be set, from its chance or from the chances of its classes."""
    chances: list[float] = []
    for one, output in zip(row, outputs, strict=True):
        if isinstance(one, list):
            known = dict(zip(output.classes, one, strict=True))
            chances.append(float(known.get(1, 0.0)))
        else:
            chances.append(float(one))
    return chances
