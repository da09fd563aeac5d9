"""A model file that was written and loaded again is asked what the estimator was asked, and becomes a `Parity`.

First the sample's real rows: an export that fails them is not asked further. Then one row at a time, 10,000 rows in one
request, and the rows of `mlnb.model.edges`, which are made once for all exporters.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from mlnb.errors import MlnbError
from mlnb.model.answers import Scores
from mlnb.model.edges import TOLD, Edge, faults, joined, make_edges, quiet
from mlnb.model.inference import Specimen
from mlnb.model.kinds import Values
from mlnb.model.parity import Parity, Part, measure, measure_part
from mlnb.model.scorer import Runtime

MANY = 10_000
_SINGLE = 16
_MANY_AT_MOST_S = 30.0


class Trial:
    """What every export of one estimator has to answer.

    Parameters
    ----------
    estimator : object
        The fitted one.
    specimen : Specimen
        Its sample and its answers.
    limit : float
        The largest accepted difference.
    """

    def __init__(self, estimator: Any, specimen: Specimen, limit: float) -> None:
        self._estimator = estimator
        self._specimen = specimen
        self._limit = limit
        self._made: tuple[Edge, ...] | None = None

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Return the generated rows, with the estimator's answers."""
        if self._made is None:
            self._made = make_edges(self._estimator, self._specimen)
        return self._made

    def judge(self, runtime: Runtime) -> Parity:
        """Ask a loaded model file.

        Raises
        ------
        Exception
            Whatever the runtime raises on real rows.
        """
        specimen, task = self._specimen, self._specimen.signature.task
        started = perf_counter()
        got = runtime.score(specimen.features)
        each = (perf_counter() - started) / max(1, len(specimen.expected.predictions))
        parity = measure(specimen.expected, got, task, self._limit, columns=specimen.features)
        if not parity.passed:
            return parity
        with quiet():
            parts = [self._singles(runtime), self._many(runtime, each), *(self._edge(runtime, e) for e in self.edges)]
        return parity.with_parts(parts)

    def _singles(self, runtime: Runtime) -> Part:
        at = _spread(len(self._specimen.expected.predictions), _SINGLE)
        got = [runtime.score(_rows(self._specimen.features, [one])) for one in at]
        return self._part("one row", self._specimen.expected.take(at), joined(got), _rows(self._specimen.features, at))

    def _many(self, runtime: Runtime, each: float) -> Part:
        count = len(self._specimen.expected.predictions)
        name = f"{MANY:,} rows"
        if each * MANY > _MANY_AT_MOST_S:
            return _nothing(name, "not asked, because it answers so slowly")
        at = [place % count for place in range(MANY)]
        rows = _rows(self._specimen.features, at)
        return self._part(name, self._specimen.expected.take(at), runtime.score(rows), rows)

    def _edge(self, runtime: Runtime, edge: Edge) -> Part:
        if not edge.expected.predictions and edge.note:
            return _nothing(edge.kind, edge.note)
        refusing: tuple[type[Exception], ...] = (MlnbError, *faults(), *_runtime_faults())
        try:
            got = runtime.score(edge.columns)
        except refusing as error:
            told = (
                f"the estimator answers, the export raises {type(error).__name__}: {' '.join(str(error).split())[:120]}"
            )
            rows = len(edge.expected.predictions)
            judged = edge.kind not in TOLD and rows > 0
            return Part(edge.kind, rows, float("inf"), {}, rows, 0, False, judged, told)
        return self._part(edge.kind, edge.expected, got, edge.columns, edge.note)

    def _part(self, name: str, expected: Scores, got: Scores, columns: Mapping[str, Values], note: str = "") -> Part:
        task = self._specimen.signature.task
        whole = "; ".join(one for one in (TOLD.get(name, ""), note) if one)
        judged = name not in TOLD
        return measure_part(name, expected, got, task, self._limit, columns=columns, judged=judged, note=whole)


def _rows(columns: Mapping[str, Values], at: list[int]) -> dict[str, Values]:
    return {name: values[np.asarray(at, dtype=np.int64)] for name, values in columns.items()}


def _spread(count: int, wanted: int) -> list[int]:
    return list(range(count)) if count <= wanted else [at * count // wanted for at in range(wanted)]


def _nothing(name: str, note: str) -> Part:
    return Part(name, 0, 0.0, {}, 0, 0, True, True, note)


def _runtime_faults() -> tuple[type[Exception], ...]:
    from mlnb.model.onnx_convert import faults as onnx_faults

    return onnx_faults()
