"""Trees that take the columns as they are become an `Explanation` by shap's TreeExplainer (an extra).

Its shares are believed only if they add up to the package's answers, and agree with the shares that the package itself
gave for some of the rows: of some trees shap 0.51 gives other values than its own exact explainer does.

The only module that imports shap.

References
----------
Lundberg et al., From Local Explanations to Global Understanding with Explainable AI for Trees, Nature MI 2 (2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from mlnb.model.answer_numbers import Floats, answer_names, answer_numbers
from mlnb.model.explanation import Explanation
from mlnb.model.hooks import USER_FAULTS

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer
    from mlnb.model.shapley import Shapley
    from mlnb.model.signature import Values

_TREES = ("sklearn.ensemble.", "sklearn.tree.", "xgboost.", "lightgbm.", "catboost.")
_CLOSE = 1e-3
_SIGMAS = 4.0


def may_fit(scorer: Scorer, type_name: str) -> bool:
    """Say whether TreeExplainer is worth a try: shap is there, and a bare tree model takes numbers as they are sent.

    Parameters
    ----------
    scorer : Scorer
        The package.
    type_name : str
        ``module.Class`` of the estimator; that of a pipeline is none, because its trees see other columns.
    """
    numeric = all(column.dtype.startswith(("float", "int", "uint")) for column in scorer.signature.inputs)
    return numeric and scorer.hooks is None and type_name.startswith(_TREES) and find_spec("shap") is not None


def explain_trees(
    scorer: Scorer,
    estimator: Any,
    rows: Mapping[str, Values],
    background: Mapping[str, Values],
    own: Mapping[int, Shapley],
) -> Explanation | str:
    """Return the explanation, or a sentence that says why there is none.

    Parameters
    ----------
    scorer : Scorer
        The package.
    estimator : object
        What was packaged.
    rows, background : mapping of str to array
        As in `mlnb.model.explain.explain_rows`.
    own : mapping of int to Shapley
        Our shares of some rows by place, to compare with.
    """
    from shap import TreeExplainer
    from shap.utils._exceptions import ExplainerError, InvalidModelError

    chances = scorer.signature.probabilities
    try:
        explainer = TreeExplainer(
            estimator,
            _matrix(background),
            feature_perturbation="interventional",
            model_output="probability" if chances else "raw",
        )
        shares = np.asarray(explainer.shap_values(_matrix(rows), check_additivity=False), dtype=np.float64)
    except (ExplainerError, InvalidModelError, *USER_FAULTS) as error:
        said = (str(error).strip() or type(error).__name__).partition("\n")[0].rstrip(".")
        return f"shap's TreeExplainer was not used: {said}."
    answers = answer_numbers(scorer.score(rows), scorer.signature)
    values = _by_output(shares, answers.shape)
    base = np.broadcast_to(np.ravel(explainer.expected_value)[-answers.shape[1] :], answers.shape)
    doubt = _doubt(values, base, answers, own)
    if doubt:
        return f"shap's TreeExplainer was not used: {doubt}."
    count = len(background[next(iter(background))])
    names, outputs = tuple(rows), answer_names(scorer.signature)
    return Explanation(
        names,
        outputs,
        values,
        base,
        answers,
        np.zeros_like(values),
        rows,
        "shap trees",
        sum(one.evaluations for one in own.values()),
        count,
    )


def _matrix(columns: Mapping[str, Values]) -> Floats:
    return np.column_stack([np.asarray(values, dtype=np.float64) for values in columns.values()])


def _by_output(shares: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the shares as (rows, columns, outputs), of two classes those of the second."""
    table = shares if shares.ndim == 3 else shares[:, :, None]
    return table[:, :, -shape[1] :]


def _doubt(values: Floats, base: Floats, answers: Floats, own: Mapping[int, Shapley]) -> str:
    scale = max(float(np.abs(answers - base).max()), float(np.abs(answers).max()) * _CLOSE, 1e-12)
    gap = float(np.abs(base + values.sum(axis=1) - answers).max())
    if gap > _CLOSE * scale:
        return f"its shares do not add up to the package's answers (by {gap:.2g})"
    for row, ours in own.items():
        apart = np.abs(values[row] - ours.values)
        if (apart > _SIGMAS * np.nan_to_num(ours.error, nan=np.inf) + _CLOSE * scale).any():
            return f"its shares of a row differ from the package's own by {apart.max():.2g}"
    return ""
