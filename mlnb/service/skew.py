"""A running service and a package become a verdict: whether HTTP gives what the pipeline's own stages gave.

The package keeps the sample as a caller would send it (``sample.json``) and what the estimator answered to it in the
pipeline (``expected.json``). Both travel different roads: training code and arrays here; JSON, hooks, signature and the
exported model there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlnb.model.parity import measure
from mlnb.model.scorer import Scores
from mlnb.service.client import Client, expect_ok
from mlnb.service.protocols import encode

_ROWS_A_REQUEST = 500


@dataclass(frozen=True, slots=True)
class Skew:
    """How far a service is from the pipeline.

    Attributes
    ----------
    rows : int
        Rows of the sample.
    max_abs : float
        Largest difference, as `mlnb.model.parity` defines it; infinite where answers are missing.
    flips : int
        Labels that differ, ties excepted.
    limit : float
        Largest accepted difference.
    passed : bool
        No flip, and no difference above the limit.
    """

    rows: int
    max_abs: float
    flips: int
    limit: float
    passed: bool

    def sentence(self) -> str:
        """Say the verdict in words."""
        verdict = "answers as the pipeline did" if self.passed else "does not answer as the pipeline did"
        return (
            f"The service {verdict}: on {self.rows} rows of the sample the largest difference is {self.max_abs:.2g} "
            f"(limit {self.limit:g}) and {self.flips} labels differ."
        )

    def to_json(self) -> dict[str, object]:
        """Return the verdict as JSON; an infinite difference is null."""
        return {
            "rows": self.rows,
            "max_abs": self.max_abs if self.max_abs != float("inf") else None,
            "flips": self.flips,
            "limit": self.limit,
            "passed": self.passed,
        }


def replay(url: str, package: Path, limit: float) -> Skew:
    """Send a package's sample to a service and compare the answers.

    Parameters
    ----------
    url : str
        Of a service whose default alias answers with this package.
    package : Path
        The package's folder.
    limit : float
        Largest accepted difference.

    Raises
    ------
    ServiceError
        If the service refuses the sample or does not answer.
    """
    rows = read_sample(package)
    expected = Scores.from_json(_read(package / "expected.json"))
    predictions: list[Any] = []
    probabilities: list[list[float]] = []
    scores: list[list[float]] = []
    with Client(url) as client:
        for start in range(0, len(rows), _ROWS_A_REQUEST):
            body = encode({"rows": rows[start : start + _ROWS_A_REQUEST]})
            answer = Scores.from_json({"probabilities": None, **expect_ok(client.post("/predict", body), url)})
            predictions += answer.predictions
            probabilities += answer.probabilities or []
            scores += answer.scores or []
    task = str(_read(package / "package.json")["task"])
    parity = measure(expected, Scores(predictions, probabilities or None, scores or None), task, limit)
    return Skew(parity.rows, parity.max_abs, parity.flips, limit, parity.passed)


def read_sample(package: Path) -> list[dict[str, object]]:
    """Return the rows of a package's sample, as a caller sends them."""
    sample = _read(package / "sample.json")
    return [dict(zip(sample["columns"], row, strict=True)) for row in sample["data"]]


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())
