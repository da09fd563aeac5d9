"""What workers did becomes Prometheus text (exposition format 0.0.4) or OpenMetrics text (1.0).

A worker counts on its event loop only, so without locks, and reports flat sums: a sample's name with its labels, and
its value. The sums of all workers, those that have ended included, are added up and written by whichever is asked.
Routes and statuses are few; an alias or an unknown path never becomes a label value. Names: ``http_server_*`` as the
semantic conventions of OpenTelemetry have them for HTTP servers, ``process_*`` as Prometheus' own clients do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
_DURATION = "http_server_request_duration_seconds"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"})
# Name of a family, its type, what it tells; a counter's samples end in _total.
_FAMILIES = (
    ("http_server_active_requests", "gauge", "Requests that are being answered."),
    (_DURATION, "histogram", "From the request to its answer, logging included."),
    ("mlnb_http_requests", "counter", "Requests answered."),
    ("mlnb_warnings", "counter", "Values unlike what a version has seen, by column: unseen, below, above."),
    ("mlnb_connections_ended", "counter", "Connections ended for what they sent or did not send, by status."),
    ("mlnb_log_unlogged_rows", "counter", "Rows that were answered and could not be logged."),
    ("mlnb_requests_late", "counter", "Requests that were not scored because their deadline had passed."),
    ("mlnb_requests_shed", "counter", "Requests refused because too many were under way."),
    ("mlnb_rows", "counter", "Rows predicted."),
    ("mlnb_ready", "gauge", "Whether predictions are answered."),
    ("mlnb_routing_revision", "gauge", "Revision of the routing that all workers answer with."),
    ("mlnb_workers", "gauge", "Workers by their state."),
    ("mlnb_workers_wanted", "gauge", "Workers that there should be."),
    ("mlnb_worker_restarts", "counter", "Workers that were started again after they had ended by themselves."),
    ("process_cpu_seconds", "counter", "CPU time of all processes of the service."),
    ("process_max_fds", "gauge", "Largest number of open file descriptors, of one process."),
    ("process_open_fds", "gauge", "Open file descriptors of all processes of the service."),
    ("process_resident_memory_bytes", "gauge", "Resident memory of all processes of the service."),
    ("process_start_time_seconds", "gauge", "When the service was started, since the epoch."),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory of all processes of the service."),
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Samples of one process, or of several together.

    Attributes
    ----------
    totals : Mapping of str to float
        What only grows and outlives the process that counted it: counters and histograms.
    gauges : Mapping of str to float
        What is so now.
    """

    totals: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {"totals": dict(self.totals), "gauges": dict(self.gauges)}


class Metrics:
    """Counters of one worker, and one latency histogram for each route and status."""

    __slots__ = ("_counted", "_latency", "_requests")

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, int, str], list[int]] = defaultdict(lambda: [0, 0])
        self._latency: defaultdict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 2))
        self._counted: defaultdict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, version: str, rows: int, seconds: float, method: str = "POST") -> None:
        """Count one answered request; `version` is "" where none answered."""
        counted = self._requests[route, status, version]
        counted[0] += 1
        counted[1] += rows
        latency = self._latency[method, route, status]
        latency[bisect_left(BOUNDS_S, seconds)] += 1
        latency[-1] += seconds

    def count(self, sample: str, amount: float = 1) -> None:
        """Add to a counter, such as ``mlnb_log_rows_total{log="durable"}``."""
        self._counted[sample] += amount

    def sums(self) -> Sums:
        """Return everything counted so far."""
        totals: dict[str, float] = dict(self._counted)
        rows: defaultdict[str, int] = defaultdict(int)
        for (route, status, version), (count, predicted) in self._requests.items():
            totals[f'mlnb_http_requests_total{{route="{route}",status="{status}",version="{version}"}}'] = count
            if predicted:
                rows[version] += predicted
        totals |= {f'mlnb_rows_total{{version="{version}"}}': count for version, count in rows.items()}
        for (method, route, status), counts in self._latency.items():
            known = method if method in _METHODS else "_OTHER"
            named = f'http_request_method="{known}",http_response_status_code="{status}",http_route="{route}"'
            for sample, value in _histogram(named, counts):
                totals[sample] = totals.get(sample, 0) + value
        return Sums(totals)


def added(all_of_them: Iterable[Sums]) -> Sums:
    """Return the sum of several processes' samples."""
    totals: defaultdict[str, float] = defaultdict(float)
    gauges: defaultdict[str, float] = defaultdict(float)
    for one in all_of_them:
        for name, value in one.totals.items():
            totals[name] += value
        for name, value in one.gauges.items():
            gauges[name] = max(gauges[name], value) if name == "process_max_fds" else gauges[name] + value
    return Sums(totals, gauges)


def exposition(sums: Sums, *, openmetrics: bool) -> str:
    """Return samples as text, each family with its help and type."""
    samples: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for name, value in (*sums.totals.items(), *sums.gauges.items()):
        samples[_family(name, counts=name in sums.totals)].append((name, value))
    described = {name: (kind, told) for name, kind, told in _FAMILIES}
    lines: list[str] = []
    for family in sorted(samples):
        kind, told = described.get(family, ("counter", "") if samples[family][0][0] in sums.totals else ("gauge", ""))
        shown = f"{family}_total" if kind == "counter" and not openmetrics else family
        lines += [f"# HELP {shown} {told}"] if told else []
        lines.append(f"# TYPE {shown} {kind}")
        lines += [f"{name} {_number(value)}" for name, value in sorted(samples[family], key=_place)]
    return "\n".join([*lines, "# EOF"] if openmetrics else lines) + "\n"


def wants_openmetrics(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request's headers ask for OpenMetrics text."""
    return any(name == b"accept" and b"application/openmetrics-text" in value for name, value in headers)


def _histogram(labels: str, counts: list[float]) -> Iterable[tuple[str, float]]:
    total = 0.0
    for bound, count in zip((*BOUNDS_S, "+Inf"), counts[:-1], strict=True):
        total += count
        yield f'{_DURATION}_bucket{{{labels},le="{bound}"}}', total
    yield f"{_DURATION}_count{{{labels}}}", total
    yield f"{_DURATION}_sum{{{labels}}}", counts[-1]


def _family(sample: str, *, counts: bool) -> str:
    name = sample.partition("{")[0]
    for ending in ("_bucket", "_count", "_sum", "_total") if counts else ():
        name = name.removesuffix(ending)
    return name


def _place(sample: tuple[str, float]) -> tuple[str, float, str]:
    """Sort a histogram's buckets by their bound, before its count and sum; all else by its labels."""
    name, _, rest = sample[0].partition("{")
    labels, _, bound = rest.partition('le="')
    if not name.endswith(("_bucket", "_count", "_sum")):
        return rest, 0.0, name
    return labels.rstrip(",}"), float(bound.rstrip('"}')) if bound else float("inf"), name


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 9))
