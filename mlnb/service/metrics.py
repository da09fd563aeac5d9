"""What a worker did becomes Prometheus text (exposition format 0.0.4).

Counted on the event loop only, so without locks. Routes and statuses are few; an alias or an unknown path never becomes
a label value.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and one latency histogram per route."""

    __slots__ = ("_latency", "_latency_sum", "_requests", "_rows")

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, int, str], int] = defaultdict(int)
        self._rows: defaultdict[str, int] = defaultdict(int)
        self._latency: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._latency_sum: defaultdict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, version: str, rows: int, seconds: float) -> None:
        """Count one answered request; `version` is "" where none answered."""
        self._requests[route, status, version] += 1
        if rows:
            self._rows[version] += rows
        self._latency[route][bisect_left(BOUNDS_S, seconds)] += 1
        self._latency_sum[route] += seconds

    def text(self, *, revision: int, ready: bool) -> str:
        """Return everything counted so far."""
        lines = [
            "# HELP mlnb_http_requests_total Requests answered.",
            "# TYPE mlnb_http_requests_total counter",
        ]
        lines += [
            f'mlnb_http_requests_total{{route="{route}",status="{status}",version="{version}"}} {count}'
            for (route, status, version), count in sorted(self._requests.items())
        ]
        lines += ["# HELP mlnb_rows_total Rows predicted.", "# TYPE mlnb_rows_total counter"]
        lines += [f'mlnb_rows_total{{version="{version}"}} {count}' for version, count in sorted(self._rows.items())]
        lines += [
            "# HELP mlnb_http_request_duration_seconds From the request to its answer, logging included.",
            "# TYPE mlnb_http_request_duration_seconds histogram",
        ]
        for route, counts in sorted(self._latency.items()):
            lines += self._histogram(route, counts)
        lines += [
            "# HELP mlnb_routing_revision Revision of the routing that answers.",
            "# TYPE mlnb_routing_revision gauge",
            f"mlnb_routing_revision {revision}",
            "# HELP mlnb_ready Whether predictions are answered.",
            "# TYPE mlnb_ready gauge",
            f"mlnb_ready {int(ready)}",
        ]
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str, counts: list[int]) -> list[str]:
        name = "mlnb_http_request_duration_seconds"
        lines: list[str] = []
        total = 0
        for bound, count in zip((*BOUNDS_S, "+Inf"), counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{route="{route}",le="{bound}"}} {total}')
        return [
            *lines,
            f'{name}_sum{{route="{route}"}} {self._latency_sum[route]:.6f}',
            f'{name}_count{{route="{route}"}} {total}',
        ]
