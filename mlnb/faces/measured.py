"""Evaluations become lines of text for the terminal, each under its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlnb.model.evaluation import Evaluation


def evaluation_lines(evaluations: Mapping[str, Evaluation]) -> Iterator[str]:
    """Yield the tables of each evaluation."""
    for name, evaluation in evaluations.items():
        yield ""
        head, *rest = str(evaluation).split("\n")
        yield f"{name}: {head}"
        yield from rest
