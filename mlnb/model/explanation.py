"""The shares that columns have in some answers become one `Explanation`, however they were found.

`Explanation.to_json` is format 1: keys are added under this number; a key whose meaning changes raises it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlnb.model.answer_numbers import Floats
    from mlnb.model.signature import Values

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The shares of some answers.

    Attributes
    ----------
    columns, outputs : tuple of str
        What the shares belong to: the columns, and the parts of an answer (see `mlnb.model.answer_numbers`).
    values : array, shape (rows, columns, outputs)
        The shares, in the unit of the answer.
    base : array, shape (rows, outputs)
        The mean answer to the background: ``base + values.sum(axis=1)`` is the answer.
    answers : array, shape (rows, outputs)
    error : array, shape (rows, columns, outputs)
        Standard errors; 0 where a share is exact.
    inputs : mapping of str to array, each of shape (rows, ...)
        The rows.
    method : str
        ``exact``, ``sampled`` or ``shap trees``.
    evaluations, background : int
        Rows that the model was asked about, and background rows.
    note : str
        Why not another method; empty where there is nothing to say.
    """

    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    values: Floats
    base: Floats
    answers: Floats
    error: Floats
    inputs: Mapping[str, Values]
    method: str
    evaluations: int
    background: int
    note: str = ""

    def ranking(self, output: int = 0) -> list[tuple[str, float]]:
        """Return the columns by their mean absolute share, largest first."""
        size = np.abs(self.values[:, :, output]).mean(axis=0)
        return sorted(zip(self.columns, size.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))

    def sentence(self) -> str:
        """Say how the shares were found, and how exact they are."""
        how = {
            "exact": "all sets of columns were asked about: the shares are exact",
            "sampled": f"sampled; the largest standard error of a share is {self._worst():.2g}",
            "shap trees": "by shap's TreeExplainer",
        }[self.method]
        rows = f"{len(self.answers):,} {'row' if len(self.answers) == 1 else 'rows'}"
        asked = f"{self.background:,} background rows, {self.evaluations:,} evaluations"
        return f"{rows} against {asked}; {how}.{f' {self.note}' if self.note else ''}"

    def to_json(self) -> dict[str, object]:
        """Return it as JSON, format 1; arrays as lists in the order of their shape."""
        return {
            "format": FORMAT,
            "method": self.method,
            "exact": self.method == "exact",
            "evaluations": self.evaluations,
            "background": self.background,
            "note": self.note,
            "outputs": list(self.outputs),
            "columns": list(self.columns),
            "base": self.base.tolist(),
            "answers": self.answers.tolist(),
            "values": self.values.tolist(),
            "error": self.error.tolist(),
            "mean_absolute": {name: dict(self.ranking(place)) for place, name in enumerate(self.outputs)},
        }

    def _worst(self) -> float:
        return float(np.nanmax(self.error)) if np.isfinite(self.error).any() else float("nan")
