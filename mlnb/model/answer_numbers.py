"""A model's answers become a table of numbers, one column for each thing that can be explained.

Carried into the service that explains: the standard library, numpy, `mlnb.errors` and the signature.

- a classifier with probabilities: the chance of each class, of two classes that of the second alone;
- a classifier without: 1 for the answered class and 0 for the others;
- a regressor, multi-output, forecaster or transformer: its numbers; multi-label: the chance that each label is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from mlnb.errors import ModelError

if TYPE_CHECKING:
    from mlnb.model.scorer import Scores
    from mlnb.model.signature import Signature

_NAMED = ("multilabel", "multioutput", "forecaster", "transformer")
Floats: TypeAlias = npt.NDArray[np.float64]


def explained(signature: Signature) -> bool:
    """Say whether the answers are a fixed list of numbers, which can be shared out among the columns."""
    return signature.task in ("classifier", "regressor", *_NAMED)


def answer_names(signature: Signature) -> tuple[str, ...]:
    """Return the columns of `answer_numbers`.

    Raises
    ------
    ModelError
        If the answers are no fixed list of numbers, as a ranker's.
    """
    match signature.task:
        case "classifier":
            shown = signature.classes[1:] if len(signature.classes) == 2 else signature.classes
            return tuple(str(one) for one in shown)
        case "regressor":
            return ("prediction",)
        case task if task in _NAMED:
            return tuple(one.name for one in signature.outputs)
        case _:
            raise ModelError(
                f"The answers of a {signature.task} are not numbers that can be shared out among the columns.",
                "Explain a classifier, a regressor or a model with several numbers.",
                name=signature.task,
            )


def answer_numbers(scores: Scores, signature: Signature) -> Floats:
    """Return the answers, shape (rows, len(answer_names(signature)))."""
    names = answer_names(signature)
    if scores.probabilities is not None:
        table = np.asarray(scores.probabilities, dtype=np.float64)
        return table[:, 1:] if signature.task == "classifier" and len(signature.classes) == 2 else table
    if signature.task == "classifier":
        shown = signature.classes[1:] if len(signature.classes) == 2 else signature.classes
        return np.array([[float(answer == one) for one in shown] for answer in scores.predictions], dtype=np.float64)
    return np.asarray(scores.predictions, dtype=np.float64).reshape(-1, len(names))
