from __future__ import annotations

from mlnb.service.metrics import BOUNDS_S, Metrics


def test_requests_are_counted_by_route_status_and_version() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.observe("/predict", 200, "delays/7", 2, 0.001)
    metrics.observe("/predict", 422, "", 0, 0.002)
    lines = metrics.text(revision=5, ready=True).splitlines()
    assert 'mlnb_http_requests_total{route="/predict",status="200",version="delays/7"} 3' in lines
    assert 'mlnb_http_requests_total{route="/predict",status="422",version=""} 1' in lines
    assert 'mlnb_rows_total{version="delays/7"} 6' in lines
    assert "mlnb_routing_revision 5" in lines
    assert "mlnb_ready 1" in lines


def test_a_latency_on_a_bound_counts_at_that_bound_and_buckets_accumulate() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.0006, 99.0):
        metrics.observe("/predict", 200, "", 0, seconds)
    lines = metrics.text(revision=0, ready=False).splitlines()
    name = "mlnb_http_request_duration_seconds"
    assert f'{name}_bucket{{route="/predict",le="0.0005"}} 1' in lines
    assert f'{name}_bucket{{route="/predict",le="0.001"}} 2' in lines
    assert f'{name}_bucket{{route="/predict",le="{BOUNDS_S[-1]}"}} 2' in lines
    assert f'{name}_bucket{{route="/predict",le="+Inf"}} 3' in lines
    assert f'{name}_count{{route="/predict"}} 3' in lines


def test_prometheus_own_parser_reads_the_text() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    metrics = Metrics()
    metrics.observe("/predict", 200, "delays/1", 4, 0.003)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text(revision=1, ready=True))}
    assert families["mlnb_http_requests"].type == "counter"
    assert families["mlnb_http_request_duration_seconds"].type == "histogram"
    assert families["mlnb_rows"].samples[0].value == 4
