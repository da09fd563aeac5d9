"""A running service becomes numbers that gates can judge: how long one row takes over one keep-alive connection."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from time import perf_counter

from mlnb.errors import ServiceError
from mlnb.service.client import Client, expect_ok

_WARM_UP = 20


def measure(url: str, rows: Sequence[Mapping[str, object]], requests: int) -> dict[str, float]:
    """Return the latency of single-row requests, sent one after the other.

    Parameters
    ----------
    url : str
        Of a service.
    rows : sequence of mapping
        Sent in turn, again from the first after the last.
    requests : int
        How many are measured, after 20 that are not.

    Returns
    -------
    dict of str to float
        ``latency_p50_ms``, ``latency_p95_ms``, ``latency_p99_ms``, ``latency_max_ms``, ``latency_mean_ms``: from
        sending to the decoded answer, in milliseconds; the quantiles are observed values (nearest rank).

    Raises
    ------
    ServiceError
        If there is no row, or a request is not answered.
    """
    if not rows or requests < 1:
        raise ServiceError("There is no row to measure the latency with.", "Give the model a sample of some rows.")
    bodies = [json.dumps({"rows": [row]}).encode() for row in rows[: _WARM_UP + requests]]
    taken_ms: list[float] = []
    with Client(url) as client:
        for number in range(_WARM_UP + requests):
            started = perf_counter()
            expect_ok(client.post("/predict", bodies[number % len(bodies)]), url)
            taken_ms.append((perf_counter() - started) * 1000)
    measured = sorted(taken_ms[_WARM_UP:])
    return {
        "latency_p50_ms": _quantile(measured, 50),
        "latency_p95_ms": _quantile(measured, 95),
        "latency_p99_ms": _quantile(measured, 99),
        "latency_max_ms": measured[-1],
        "latency_mean_ms": statistics.fmean(measured),
    }


def _quantile(ascending: Sequence[float], percent: int) -> float:
    return ascending[-(-percent * len(ascending) // 100) - 1]
