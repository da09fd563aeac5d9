"""The estimator's and an export's answers to the same rows become one verdict: how far apart, how often flipped.

What a difference, a flip and a tie are, `mlnb.model.difference` defines. The verdict's own numbers are those of the
real rows; rows that were made to be difficult are *parts* of it, each with its own numbers, and one part that fails
fails the whole. No real rows are no parity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlnb.model.answers import Scores
from mlnb.model.difference import Apart, compare
from mlnb.model.kinds import Values

REAL = "real"
_QUANTILES = (0.5, 0.9, 0.99, 0.999)
_WORST = 5


@dataclass(frozen=True, slots=True)
class WorstRow:
    """One of the rows that differ most.

    Attributes
    ----------
    row : int
        Its position in its part, from 0; of the real rows its position in the sample.
    difference : float
        As `mlnb.model.difference` defines it.
    expected, got : object
        Both answers: probabilities where there are any, a ranker's scores, else predictions.
    values : mapping of str to object
        What the model was given; empty where that was not told.
    """

    row: int
    difference: float
    expected: object
    got: object
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Part:
    """How faithful an export is on one kind of rows.

    Attributes
    ----------
    name : str
        ``real``, ``one row``, ``10,000 rows``, or a kind of `mlnb.model.edges`.
    rows : int
        Rows compared.
    max_abs : float
        The largest difference; 0 where no rows were compared.
    quantiles : mapping of str to float
        ``"0.5"``, ``"0.9"``, ``"0.99"`` and ``"0.999"`` of the differences.
    flips, ties : int
        Labels or orders that differ; those of them that are ties count in `ties` only.
    passed : bool
        No flip, and no difference above the limit.
    judged : bool
        Whether `passed` counts: not where the rows are beyond anything that a model is asked.
    note : str
        What is to be said of it, such as why the estimator itself has no answer.
    worst : tuple of WorstRow
        At most five.
    """

    name: str
    rows: int
    max_abs: float
    quantiles: Mapping[str, float]
    flips: int
    ties: int
    passed: bool
    judged: bool = True
    note: str = ""
    worst: tuple[WorstRow, ...] = ()

    def sentence(self) -> str:
        """Say the part in words."""
        if not self.rows:
            return f"{self.name}: {self.note or 'nothing to compare'}"
        ties = f", {self.ties} ties" * bool(self.ties)
        told = f"{self.name}: {self.rows} rows, {self.max_abs:.2g} at most, {self.flips} labels differ{ties}"
        return told + f" ({self.note})" * bool(self.note)

    def to_json(self) -> dict[str, object]:
        """Return the part as JSON; an infinite difference is null."""
        return {
            "name": self.name,
            "rows": self.rows,
            "max_abs": _finite(self.max_abs),
            "quantiles": {name: _finite(value) for name, value in self.quantiles.items()},
            "flips": self.flips,
            "ties": self.ties,
            "passed": self.passed,
            "judged": self.judged,
            "note": self.note,
            "worst": [_worst_json(row) for row in self.worst],
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Part:
        """Return the part that `to_json` wrote."""
        return cls(
            mapping["name"],
            mapping["rows"],
            _infinite(mapping["max_abs"]),
            {name: _infinite(value) for name, value in mapping["quantiles"].items()},
            mapping["flips"],
            mapping["ties"],
            mapping["passed"],
            mapping["judged"],
            mapping["note"],
            tuple(_worst_from(row) for row in mapping["worst"]),
        )


@dataclass(frozen=True, slots=True)
class Parity:
    """How faithful an export is.

    Attributes
    ----------
    rows : int
        Real rows compared.
    max_abs : float
        The largest difference of the real rows; `largest` has that of all parts.
    quantiles : mapping of str to float
        ``"0.5"``, ``"0.9"``, ``"0.99"`` and ``"0.999"`` of the real rows' differences.
    flips, ties : int
        Labels of real rows that differ; those of them that are ties count in `ties` only.
    limit : float
        The largest accepted difference.
    passed : bool
        No flip and no difference above the limit, in every part that is judged.
    worst : tuple of WorstRow
        At most five real rows.
    parts : tuple of Part
        The generated rows; empty in a verdict of format 1.
    """

    rows: int
    max_abs: float
    quantiles: Mapping[str, float]
    flips: int
    ties: int
    limit: float
    passed: bool
    worst: tuple[WorstRow, ...]
    parts: tuple[Part, ...] = ()

    @property
    def largest(self) -> float:
        """Return the largest difference of all that is judged: what the gate ``parity_max_abs`` looks at."""
        return max([self.max_abs, *(part.max_abs for part in self.parts if part.judged)])

    @property
    def flipped(self) -> int:
        """Return the flips of all that is judged: what the gate ``parity_flips`` looks at."""
        return self.flips + sum(part.flips for part in self.parts if part.judged)

    def sentence(self) -> str:
        """Say the verdict in words."""
        ties = f", {self.ties} ties" if self.ties else ""
        told = (
            f"on {self.rows} rows the largest difference is {self.max_abs:.2g} (limit {self.limit:g}) "
            f"and {self.flips} labels differ{ties}"
        )
        failed = [part.sentence() for part in self.parts if part.judged and not part.passed]
        if failed:
            return f"{told}; {'; '.join(failed)}"
        made = [part for part in self.parts if part.judged and part.rows]
        if not made:
            return told
        most = max(part.max_abs for part in made)
        return f"{told}; on {sum(part.rows for part in made)} further rows {most:.2g} and 0"

    def evidence(self) -> dict[str, float]:
        """Return what gates may name."""
        return {"parity_max_abs": self.largest, "parity_flips": float(self.flipped)}

    def with_parts(self, parts: Sequence[Part]) -> Parity:
        """Return the verdict over the real rows and these parts."""
        whole = (*self.parts, *parts)
        passed = self.passed and all(part.passed for part in whole if part.judged)
        return replace(self, parts=whole, passed=passed)

    def to_json(self) -> dict[str, object]:
        """Return the verdict as JSON; an infinite difference is null."""
        return {
            "rows": self.rows,
            "max_abs": _finite(self.max_abs),
            "quantiles": {name: _finite(value) for name, value in self.quantiles.items()},
            "flips": self.flips,
            "ties": self.ties,
            "limit": self.limit,
            "passed": self.passed,
            "worst": [_worst_json(row) for row in self.worst],
            "parts": [part.to_json() for part in self.parts],
        }

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Parity:
        """Return the verdict that `to_json` wrote; one of format 1 has no parts."""
        return cls(
            mapping["rows"],
            _infinite(mapping["max_abs"]),
            {name: _infinite(value) for name, value in mapping["quantiles"].items()},
            mapping["flips"],
            mapping["ties"],
            mapping["limit"],
            mapping["passed"],
            tuple(_worst_from(row) for row in mapping["worst"]),
            tuple(Part.from_json(part) for part in mapping.get("parts", ())),
        )


def measure(
    expected: Scores, got: Scores, task: str, limit: float, *, columns: Mapping[str, Values] | None = None
) -> Parity:
    """Compare two answers to the same real rows.

    Parameters
    ----------
    expected, got : Scores
        The estimator's answers and the export's.
    task : str
        One of `mlnb.model.kinds.TASKS`.
    limit : float
        The largest accepted difference.
    columns : mapping of str to array, optional
        What both were given, for the rows that differ.
    """
    rows = len(expected.predictions)
    if len(got.predictions) != rows or rows == 0:
        return Parity(rows, math.inf, {}, rows, 0, limit, False, ())
    part = measure_part(REAL, expected, got, task, limit, columns=columns)
    return Parity(rows, part.max_abs, part.quantiles, part.flips, part.ties, limit, part.passed, part.worst)


def measure_part(
    name: str,
    expected: Scores,
    got: Scores,
    task: str,
    limit: float,
    *,
    columns: Mapping[str, Values] | None = None,
    judged: bool = True,
    note: str = "",
) -> Part:
    """Compare two answers to the same rows of one kind; no rows on both sides agree."""
    rows = len(expected.predictions)
    if len(got.predictions) != rows:
        told = f"{len(got.predictions)} answers to {rows} rows"
        return Part(name, rows, math.inf, {}, rows, 0, False, judged, told)
    if not rows:
        return Part(name, 0, 0.0, {}, 0, 0, True, judged, note or "no answers, as the estimator")
    apart = compare(expected, got, task)
    flips = int((apart.flipped & ~apart.tied).sum())
    largest = float(apart.differences.max())
    return Part(
        name,
        rows,
        largest,
        {str(q): float(np.quantile(apart.differences, q, method="higher")) for q in _QUANTILES},
        flips,
        int(apart.tied.sum()),
        flips == 0 and largest <= limit,
        judged,
        note,
        tuple(_worst(expected, got, apart, columns or {})),
    )


def _worst(expected: Scores, got: Scores, apart: Apart, columns: Mapping[str, Values]) -> list[WorstRow]:
    flipped = apart.flipped & ~apart.tied
    order = np.lexsort((-apart.differences, ~flipped))[:_WORST]
    shown = [row for row in order.tolist() if flipped[row] or apart.differences[row] > 0]
    one, other = _telling(expected, got)
    return [
        WorstRow(
            row,
            float(apart.differences[row]),
            one[row],
            other[row],
            {name: _value(values[row]) for name, values in columns.items()},
        )
        for row in shown
    ]


def _telling(expected: Scores, got: Scores) -> tuple[list[Any], list[Any]]:
    if expected.probabilities is not None and got.probabilities is not None:
        return expected.probabilities, got.probabilities
    if expected.scores is not None and got.scores is not None:
        return expected.scores, got.scores
    return expected.predictions, got.predictions


def _value(value: object) -> object:
    if isinstance(value, np.datetime64):
        return str(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _worst_json(row: WorstRow) -> dict[str, object]:
    return {
        "row": row.row,
        "difference": _finite(row.difference),
        "expected": _plain(row.expected),
        "got": _plain(row.got),
        "values": {name: _plain(value) for name, value in row.values.items()},
    }


def _worst_from(row: Mapping[str, Any]) -> WorstRow:
    return WorstRow(row["row"], _infinite(row["difference"]), row["expected"], row["got"], row.get("values", {}))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: float | None) -> float:
    return math.inf if value is None else value


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _finite(value) if isinstance(value, float) else value
