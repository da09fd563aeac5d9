"""A packaged model, rows and a background become an explanation: how much of each answer is owed to which column.

The shares are Shapley values of the interventional game against the background rows (`mlnb.model.shapley`), asked of
the package itself, hooks included: what is explained is what the service answers, by the columns that a caller sends.
With shap installed, trees that take the columns as they are are explained by its TreeExplainer, which needs no
sampling, as long as its shares add up to the package's answers and agree with ours on some of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlnb.errors import UsageError
from mlnb.model.answer_numbers import answer_names, answer_numbers
from mlnb.model.explanation import Explanation
from mlnb.model.shapley import least_budget, shapley

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer
    from mlnb.model.signature import Values

BACKGROUND = 25
BUDGET = 50_000
#: Rows whose shares by TreeExplainer are compared with the package's own before the rest is believed.
CHECKED = 8


def explain_rows(
    scorer: Scorer,
    rows: Mapping[str, Values],
    background: Mapping[str, Values],
    *,
    budget: int = BUDGET,
    seed: int = 0,
    estimator: object = None,
) -> Explanation:
    """Explain the package's answers.

    Parameters
    ----------
    scorer : Scorer
        The package, loaded.
    rows, background : mapping of str to array, each of shape (rows, ...)
        Checked rows: those to explain, and those to compare with.
    budget : int
        Rows that the package may be asked about in all.
    seed : int
        Of the samples.
    estimator : object, optional
        The estimator that was packaged, for shap's TreeExplainer.

    Raises
    ------
    ModelError
        If the answers are no numbers.
    UsageError
        If the budget is too small for so many rows and columns.
    """
    outputs = answer_names(scorer.signature)
    names = tuple(rows)
    count = len(rows[names[0]])
    each, least = budget // count, least_budget(len(names))
    if each < least:
        raise UsageError(
            f"A budget of {budget:,} evaluations is too small for {count:,} rows of {len(names)} columns.",
            f"Explain fewer rows, or allow at least {least * count:,} evaluations.",
        )
    asked = range(count) if estimator is None else sorted({at * count // CHECKED for at in range(min(CHECKED, count))})
    found = [
        shapley(
            lambda columns: answer_numbers(scorer.score(columns), scorer.signature),
            {name: values[at : at + 1] for name, values in rows.items()},
            background,
            budget=each,
            seed=seed + at,
        )
        for at in asked
    ]
    if estimator is not None:
        from mlnb.model.explain_trees import explain_trees

        trees = explain_trees(scorer, estimator, rows, background, dict(zip(asked, found, strict=True)))
        if isinstance(trees, Explanation):
            return trees
        again = explain_rows(scorer, rows, background, budget=budget, seed=seed)
        return replace(again, note=trees)
    return Explanation(
        names,
        outputs,
        np.stack([one.values for one in found]),
        np.stack([one.base for one in found]),
        np.stack([one.answer for one in found]),
        np.stack([one.error for one in found]),
        rows,
        "exact" if all(one.exact for one in found) else "sampled",
        sum(one.evaluations for one in found),
        found[0].background,
    )
