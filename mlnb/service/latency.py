"""A running service becomes numbers that gates can judge: what it can answer, and how long one row takes under load."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence

from mlnb.errors import ServiceError
from mlnb.service.load import drive

_WARM_UP = 20
_MOST_RPS = 500.0
_LIMIT_S = 10.0


def measure(url: str, rows: Sequence[Mapping[str, object]], requests: int, load_rps: float = 0) -> dict[str, float]:
    """Return the throughput of a service, and its latency for single-row requests at a steady rate.

    Parameters
    ----------
    url : str
        Of a service on this machine.
    rows : sequence of mapping
        Sent in turn, again from the first after the last.
    requests : int
        How many are measured, twice: all due at once, then at `load_rps`; each part takes at most 10 seconds.
    load_rps : float
        Requests a second; 0 for half of the throughput, at most 500.

    Returns
    -------
    dict of str to float
        ``throughput_rps``: answers a second where more is asked than the service can do. ``latency_p50_ms``,
        ``latency_p95_ms``, ``latency_p99_ms``, ``latency_max_ms``, ``latency_mean_ms``: from when a request was due to
        the end of its answer, at ``load_rps``; the quantiles are observed values (nearest rank).

    Raises
    ------
    ServiceError
        If there is no row, or a request is refused.
    """
    if not rows or requests < 1:
        raise ServiceError("There is no row to measure the latency with.", "Give the model a sample of some rows.")
    bodies = [json.dumps({"rows": [row]}).encode() for row in rows[:requests]]
    drive(url, bodies, requests=_WARM_UP, rate=math.inf, limit_s=_LIMIT_S)
    full = drive(url, bodies, requests=requests, rate=math.inf, limit_s=_LIMIT_S)
    rate = load_rps or min(full.rate / 2, _MOST_RPS)
    load = drive(url, bodies, requests=min(requests, math.ceil(rate * _LIMIT_S)), rate=rate, limit_s=2 * _LIMIT_S)
    if full.refused or load.refused:
        raise ServiceError(
            f"The service refused {full.refused + load.refused} of {len(full.latencies_ms) + len(load.latencies_ms)} "
            "requests that were rows of the sample.",
            "See `mlnb services logs NAME`.",
        )
    return {
        "latency_p50_ms": load.percentile(50),
        "latency_p95_ms": load.percentile(95),
        "latency_p99_ms": load.percentile(99),
        "latency_max_ms": load.latencies_ms[-1],
        "latency_mean_ms": statistics.fmean(load.latencies_ms),
        "load_rps": rate,
        "throughput_rps": full.rate,
    }
