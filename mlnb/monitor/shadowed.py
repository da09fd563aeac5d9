"""Answers and what a shadow would have answered instead become agreement, differences and latencies."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from mlnb.model.naming import name_of
from mlnb.monitor.values import Floats
from mlnb.monitor.window import REFUSED, parse_texts
from mlnb.service.log_reader import read_predictions

_NEWEST = 100_000
_PERCENTS = (50.0, 90.0, 99.0, 100.0)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the answers of a shadow compare with those that were sent.

    Attributes
    ----------
    pairs : int
        Rows that both have answered, of the newest 100,000 of the shadow.
    failed : int
        Rows that the shadow refused or failed on.
    agree : float
        Share of the pairs with the same prediction.
    differences : tuple of float
        Largest difference of a row's probabilities, or where there are none of its numbers: median, 90th and 99th
        percentile, maximum; empty where an answer is no number.
    latency_ms, shadow_ms : tuple of float
        Median and 99th percentile of the answers, and of the shadow's.
    """

    pairs: int
    failed: int
    agree: float
    differences: tuple[float, ...]
    latency_ms: tuple[float, float]
    shadow_ms: tuple[float, float]

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        names = ("p50", "p90", "p99", "max")
        return {
            "pairs": self.pairs,
            "failed": self.failed,
            "agree": self.agree if self.pairs else None,
            "differences": dict(zip(names, self.differences, strict=False)),
            "latency_ms": dict(zip(("p50", "p99"), self.latency_ms, strict=True)) if self.pairs else {},
            "shadow_ms": dict(zip(("p50", "p99"), self.shadow_ms, strict=True)) if self.pairs else {},
        }

    def sentence(self) -> str:
        """Return the comparison in one line."""
        if not self.pairs:
            return f"no answers to compare yet, {self.failed:,} failed"
        told = [f"{self.agree:.2%} of {self.pairs:,} answers agree"]
        if self.differences:
            median, _, high, most = self.differences
            told.append(f"difference p50 {median:.3g}, p99 {high:.3g}, largest {most:.3g}")
        told.append(f"p50 {self.shadow_ms[0]:.2f} ms beside {self.latency_ms[0]:.2f} ms")
        return "; ".join([*told, *([f"{self.failed:,} failed"] if self.failed else [])])


def shadowed(folder: Path, version: int) -> Agreement:
    """Compare what a version answered as a shadow with what was sent instead.

    Parameters
    ----------
    folder : Path
        The prediction log.
    version : int
        The shadow.
    """
    newest: deque[tuple[str, str | None, str | None, float]] = deque(maxlen=_NEWEST)
    failed = 0
    for batch in read_predictions(folder, version=version, shadow=True):
        for place, role in enumerate(batch.role):
            if role == "shadow" and batch.status[place] >= REFUSED:
                failed += 1
            elif role == "shadow":
                told = batch.prediction[place], batch.probabilities[place], batch.latency_ms[place]
                newest.append((str(batch.shadow_of[place]), *told))
    shadows = {of: told for of, *told in newest}
    found: list[tuple[object, ...]] = []
    for batch in read_predictions(folder) if shadows else ():
        for place, key in enumerate(batch.id):
            if key in shadows and batch.status[place] < REFUSED:
                mine = batch.prediction[place], batch.probabilities[place], batch.latency_ms[place]
                found.append((*mine, *shadows[key]))
    return _compared(found, failed)


def _compared(found: list[tuple[object, ...]], failed: int) -> Agreement:
    if not found:
        return Agreement(0, failed, math.nan, (), (math.nan, math.nan), (math.nan, math.nan))
    answers, chances, took, others, other_chances, other_took = zip(*found, strict=True)
    sent, given = parse_texts(list(map(_text, answers))), parse_texts(list(map(_text, others)))
    agree = [_same(one, other) for one, other in zip(sent, given, strict=True)]
    pairs = zip(parse_texts(list(map(_text, chances))), parse_texts(list(map(_text, other_chances))), strict=True)
    apart = [_apart(*pair) for pair in pairs]
    if any(map(math.isnan, apart)):  # no probabilities
        apart = [_apart(one, other) for one, other in zip(sent, given, strict=True)]
    known = np.array([one for one in apart if not math.isnan(one)])
    differences = tuple(np.percentile(known, _PERCENTS).tolist()) if known.size == len(apart) else ()
    return Agreement(
        len(found), failed, sum(agree) / len(agree), differences, _percentiles(took), _percentiles(other_took)
    )


def _same(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return name_of(one) == name_of(other)


def _apart(one: object, other: object) -> float:
    """Return the largest difference between two numbers, or lists of as many; NaN where they are none."""
    mine, theirs = list(_numbers(one)), list(_numbers(other))
    if not mine or len(mine) != len(theirs):
        return math.nan
    return max(abs(a - b) for a, b in zip(mine, theirs, strict=True))


def _numbers(value: object) -> chain[float]:
    if isinstance(value, list):
        return chain.from_iterable(_numbers(one) for one in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return chain([float(value)] if number else [])  # type: ignore[arg-type]  # mypy does not follow `number`


def _percentiles(values: tuple[object, ...]) -> tuple[float, float]:
    known: Floats = np.array(values, dtype=np.float64)
    median, high = np.percentile(known, (50.0, 99.0)).tolist()
    return float(median), float(high)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
