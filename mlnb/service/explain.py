"""A request to explain and one loaded version become the shares of its answers: ``POST /explain``.

Carried into the service, but loaded with the first such request: numpy and the scorer that is there. The background is
the frozen sample of the package, at most 25 of its rows. The budget is the number of rows that the model may be asked
about for one request, shared out among the rows of the request; each explanation says how many it took, whether it is
exact, and else how large the standard error of each share is. Nothing is logged: to explain is not to predict.

The body is that of ``/predict``; the answer is ``{"version", "budget", "explanations": [...]}`` with, for each row,
``{"exact", "evaluations", "background", "answers": {name: {"answer", "base", "shares", "standard_errors"}}}``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from mlnb.errors import ModelError, RequestError, SignatureError
from mlnb.model.answer_numbers import answer_names, answer_numbers
from mlnb.model.scorer import Scorer
from mlnb.model.shapley import Arrays, Shapley, least_budget, shapley
from mlnb.service.protocols import encode, parse_predict
from mlnb.service.router import LoadedVersion

ROWS = 20
BACKGROUND = 25


def explain(body: bytes, version: LoadedVersion, budget: int) -> bytes:
    """Answer one request.

    Parameters
    ----------
    body : bytes
        As received.
    version : LoadedVersion
        What explains itself.
    budget : int
        Rows that the model may be asked about.

    Raises
    ------
    RequestError
        400 or 422 for a body or rows that do not fit, 413 for more than 20 rows or too many for the budget.
    """
    rows = parse_predict(body, ROWS).rows
    scorer = version.scorer
    try:
        columns, names = scorer.signature.check(rows), answer_names(scorer.signature)
        each, least = budget // len(rows), least_budget(len(columns))
        if each < least:
            most = budget // least
            raise RequestError(
                f"{len(rows)} rows of {len(columns)} columns take more than the {budget:,} evaluations that this "
                "service spends on a request.",
                f"Send at most {most} rows." if most else f"Start the service with a budget of at least {least}.",
                status=413,
            )
        background = _background(version.package, version.digest, scorer)
        found = [
            shapley(
                lambda mixed: answer_numbers(scorer.score(mixed), scorer.signature),
                {name: values[at : at + 1] for name, values in columns.items()},
                background,
                budget=each,
            )
            for at in range(len(rows))
        ]
    except SignatureError as error:
        raise RequestError(error.problem, error.remedy, status=422, faults=error.faults) from error
    except ModelError as error:
        raise RequestError(error.problem, error.remedy, status=501) from error
    told = [_told(one, names) for one in found]
    return encode({"version": version.ref, "budget": budget, "explanations": told})


@lru_cache(maxsize=8)
def _background(package: Path, digest: str, scorer: Scorer) -> Arrays:
    """Return the frozen sample's rows, spread evenly; `digest` tells packages at the same place apart."""
    sample = json.loads((package / "sample.json").read_bytes())
    data = sample["data"]
    kept = [data[at * len(data) // BACKGROUND] for at in range(BACKGROUND)] if len(data) > BACKGROUND else data
    return scorer.signature.check([dict(zip(sample["columns"], row, strict=True)) for row in kept])


def _told(one: Shapley, names: tuple[str, ...]) -> dict[str, object]:
    def by_column(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, float | None]:
        return {
            name: None if value != value else value for name, value in zip(one.columns, values.tolist(), strict=True)
        }

    answers = {
        name: {
            "answer": float(one.answer[at]),
            "base": float(one.base[at]),
            "shares": by_column(one.values[:, at]),
            "standard_errors": by_column(one.error[:, at]),
        }
        for at, name in enumerate(names)
    }
    return {"exact": one.exact, "evaluations": one.evaluations, "background": one.background, "answers": answers}
