from __future__ import annotations

import math

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from mlnb.service.metrics import BOUNDS_S, Metrics, Sums, added, exposition, wants_openmetrics

NAME = "http_server_request_duration_seconds"


def observed() -> Metrics:
    metrics = Metrics()
    for seconds in (0.0005, 0.0006, 99.0):
        metrics.observe("/predict", 200, "delays/7", 2, seconds)
    metrics.observe("/predict", 422, "", 0, 0.002)
    metrics.observe("/readyz", 200, "", 0, 0.25, "GET")
    metrics.observe("other", 404, "", 0, 0.25, "BREW")
    metrics.count('mlnb_log_unlogged_rows_total{log="fast"}', 3)
    return metrics


def test_requests_are_counted_by_route_status_and_version() -> None:
    lines = exposition(observed().sums(), openmetrics=False).splitlines()
    assert 'mlnb_http_requests_total{route="/predict",status="200",version="delays/7"} 3' in lines
    assert 'mlnb_http_requests_total{route="/predict",status="422",version=""} 1' in lines
    assert 'mlnb_rows_total{version="delays/7"} 6' in lines


def test_a_latency_on_a_bound_counts_at_that_bound_and_buckets_accumulate() -> None:
    lines = exposition(observed().sums(), openmetrics=False).splitlines()
    labels = 'http_request_method="POST",http_response_status_code="200",http_route="/predict"'
    assert f'{NAME}_bucket{{{labels},le="0.0005"}} 1' in lines
    assert f'{NAME}_bucket{{{labels},le="0.001"}} 2' in lines
    assert f'{NAME}_bucket{{{labels},le="{BOUNDS_S[-1]}"}} 2' in lines
    assert f'{NAME}_bucket{{{labels},le="+Inf"}} 3' in lines
    assert f"{NAME}_count{{{labels}}} 3" in lines


def test_prometheus_own_parsers_read_both_texts_alike() -> None:
    sums = Sums(observed().sums().totals, {"mlnb_ready": 1, 'mlnb_workers{state="ready"}': 2})
    plain = {family.name: family for family in text_string_to_metric_families(exposition(sums, openmetrics=False))}
    other = {family.name: family for family in openmetrics_families(exposition(sums, openmetrics=True))}
    kinds = {name: family.type for name, family in plain.items()}
    assert kinds == {name: family.type for name, family in other.items()}
    assert kinds == {
        NAME: "histogram",
        "mlnb_http_requests": "counter",
        "mlnb_log_unlogged_rows": "counter",
        "mlnb_ready": "gauge",
        "mlnb_rows": "counter",
        "mlnb_workers": "gauge",
    }
    for name, family in plain.items():
        both = [
            {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in one.samples}
            for one in (family, other[name])
        ]
        assert both[0] == both[1]
    methods = {sample.labels["http_request_method"] for sample in plain[NAME].samples}
    assert methods == {"POST", "GET", "_OTHER"}


def test_several_workers_add_up() -> None:
    one = added([observed().sums(), observed().sums(), Sums({}, {"process_open_fds": 3, "process_max_fds": 9})])
    assert one.totals['mlnb_rows_total{version="delays/7"}'] == 12
    labels = 'http_request_method="POST",http_response_status_code="200",http_route="/predict"'
    assert one.totals[f'{NAME}_bucket{{{labels},le="0.001"}}'] == 4
    assert math.isclose(one.totals[f"{NAME}_sum{{{labels}}}"], 2 * 99.0011)
    both = added([one, Sums({}, {"process_open_fds": 4, "process_max_fds": 7})])
    assert both.gauges == {"process_open_fds": 7, "process_max_fds": 9}


def test_openmetrics_is_written_for_who_asks_for_it() -> None:
    accepted = b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    assert wants_openmetrics([(b"host", b"x"), (b"accept", accepted)])
    assert not wants_openmetrics([(b"accept", b"*/*")])
