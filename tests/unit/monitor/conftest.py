"""A small model's sample and log, made without any service: ages, prices with many zeros, cities."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mlnb.model.signature import Column, Signature
from mlnb.monitor.reference import Reference, summarise
from mlnb.service.log_reader import Batch

DAY = 24 * 3_600_000_000_000
START = 1_356_998_400_000_000_000  # 2013-01-01T00:00:00Z

Row = dict[str, object]
Rows = Sequence[Row]


@pytest.fixture
def signature() -> Signature:
    inputs = (Column("age", "float64", True), Column("price", "float64", True), Column("city", "string", True))
    return Signature(inputs, "classifier", ("no", "yes"), True, "string")


@pytest.fixture
def draw() -> Callable[..., list[Row]]:
    """Return rows drawn with a seed; `older` moves the ages."""

    def rows(count: int, seed: int, *, older: float = 0.0, cities: str = "AABC") -> list[Row]:
        random = np.random.default_rng(seed)
        ages = random.normal(40 + older, 10, count).round(3)
        prices = np.where(random.random(count) < 0.6, 0.0, random.exponential(5, count).round(3))
        places = random.integers(0, len(cities), count)
        return [
            {"age": age, "price": price, "city": cities[place]}
            for age, price, place in zip(ages.tolist(), prices.tolist(), places.tolist(), strict=True)
        ]

    return rows


@pytest.fixture
def reference(signature: Signature, draw: Callable[..., list[Row]]) -> Reference:
    rows = draw(2000, 1)
    columns = {name: [row[name] for row in rows] for name in ("age", "price", "city")}
    scores = np.array([score_of(row) for row in rows])
    answers = ["yes" if score > 0.5 else "no" for score in scores]
    return summarise(signature, columns, answers, np.column_stack([1 - scores, scores]))


def score_of(row: Row) -> float:
    age = row.get("age")
    return float(1 / (1 + np.exp(np.clip(40 - age, -400, 400) / 10))) if isinstance(age, int | float) else 0.5


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Return a batch of the log that holds the rows, `per_day` of them on each day from 2013-01-01."""

    def log(
        rows: Rows,
        *,
        per_day: int = 100,
        version: int = 7,
        status: int = 200,
        error: str | None = None,
        prefix: str = "p",
    ) -> Batch:
        count = len(rows)
        at = tuple(START + place // per_day * DAY + place % per_day * 1_000_000 for place in range(count))
        scores = [score_of(row) for row in rows]
        return Batch(
            id=tuple(f"{prefix}{place}" for place in range(count)),
            request_id=tuple(f"r{place}" for place in range(count)),
            event_at=at,
            logged_at=at,
            model=("delays",) * count,
            version=(version,) * count,
            alias=("production",) * count,
            status=(status,) * count,
            latency_ms=tuple(1.0 + place % 10 for place in range(count)),
            inputs=tuple(json.dumps(row) for row in rows),
            prediction=tuple(json.dumps("yes" if score > 0.5 else "no") for score in scores),
            probabilities=tuple(json.dumps([1 - score, score]) for score in scores),
            error=(error,) * count,
            role=("",) * count,
            caller=(None,) * count,
            shadow_of=(None,) * count,
            warnings=(None,) * count,
        )

    return log
