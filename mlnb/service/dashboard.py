"""The metrics of services become a dashboard for Grafana: one file, for every service that Prometheus knows.

Its variables choose the data source and the service, which is Prometheus's ``job``. A change of the routing (a
promotion, a rollback, a step of a canary) is a vertical line in every plot.

References
----------
Grafana's dashboard JSON model; Prometheus's functions ``rate`` and ``histogram_quantile``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

_SCHEMA = 39
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_OF = 'job="$service"'
_ASKED = f'{_OF},http_route!~"/(healthz|readyz|livez|metrics|docs|openapi.json)?"'
_SPAN = "[$__rate_interval]"
_ANSWERED = "http_server_request_duration_seconds"


@dataclass(frozen=True, slots=True)
class _Query:
    """One PromQL expression, and what its lines are called."""

    expression: str
    legend: str = "{{job}}"


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one panel shows: its place is given by its order, its size by `width` of 24 columns and `height`."""

    title: str
    unit: str
    queries: tuple[_Query, ...]
    tells: str
    kind: Literal["stat", "timeseries", "heatmap"] = "timeseries"
    width: int = 12
    height: int = 8
    stacked: bool = False


def _rate(metric: str, by: str, selector: str = _OF) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}{_SPAN}))"


def _quantile(q: float) -> _Query:
    return _Query(f"histogram_quantile({q}, {_rate(f'{_ANSWERED}_bucket', 'le', _ASKED)})", f"p{round(q * 100)}")


def _share(part: str) -> str:
    """Return the share of the answers whose labels are as `part` says; 0 where there was none of them."""
    some, all_of_them = (f"sum(rate({_ANSWERED}_count{{{one}}}{_SPAN}))" for one in (f"{_ASKED},{part}", _ASKED))
    return f"({some} or vector(0)) / {all_of_them}"


_PANELS = (
    _Panel("Ready", "bool_yes_no", (_Query(f"min(mlnb_ready{{{_OF}}})"),), "Whether it answers.", "stat", 4, 4),
    _Panel("Workers", "short", (_Query(f'sum(mlnb_workers{{{_OF},state="ready"}})', "ready"),), "Ready.", "stat", 4, 4),
    _Panel("Requests", "reqps", (_Query(f"sum(rate({_ANSWERED}_count{{{_ASKED}}}{_SPAN}))"),), "Now.", "stat", 4, 4),
    _Panel("Failed", "percentunit", (_Query(_share('http_response_status_code=~"5.."')),), "Share.", "stat", 4, 4),
    _Panel("p99", "s", (_quantile(0.99),), "Of all predictions and labels.", "stat", 4, 4),
    _Panel("Being answered", "short", (_Query(f"sum(http_server_active_requests{{{_OF}}})"),), "Now.", "stat", 4, 4),
    _Panel(
        "Requests by status",
        "reqps",
        (_Query(_rate(f"{_ANSWERED}_count", "http_response_status_code", _ASKED), "{{http_response_status_code}}"),),
        "Answers a second, without health and metrics.",
        stacked=True,
    ),
    _Panel("Latency", "s", (_quantile(0.5), _quantile(0.95), _quantile(0.99)), "From the request to its answer."),
    _Panel(
        "Rows by version",
        "rowsps",
        (_Query(_rate("mlnb_rows_total", "version"), "{{version}}"),),
        "Predicted rows a second; a split or a canary shows as two versions.",
        stacked=True,
    ),
    _Panel(
        "Latency, all of it",
        "s",
        (_Query(_rate(f"{_ANSWERED}_bucket", "le", _ASKED), "{{le}}"),),
        "How many answers took how long.",
        "heatmap",
    ),
    _Panel(
        "Refused",
        "reqps",
        (
            _Query(_rate("mlnb_requests_shed_total", "job"), "too many at once"),
            _Query(_rate("mlnb_requests_late_total", "job"), "past their deadline"),
            _Query(_rate("mlnb_connections_ended_total", "status"), "connection ended: {{status}}"),
        ),
        "Requests that were not answered, and why.",
    ),
    _Panel(
        "Unlike the training data",
        "cps",
        (_Query(_rate("mlnb_warnings_total", "column, problem"), "{{column}} {{problem}}"),),
        "Values a second that the version had not seen, by column; `mlnb monitor` says how far the data has drifted.",
    ),
    _Panel(
        "Answered and not logged",
        "rowsps",
        (_Query(_rate("mlnb_log_unlogged_rows_total", "job"), "rows"),),
        "Should stay empty: the prediction log could not be written.",
    ),
    _Panel(
        "Workers over time",
        "short",
        (
            _Query(f"sum by (state) (mlnb_workers{{{_OF}}})", "{{state}}"),
            _Query(f"sum(mlnb_workers_wanted{{{_OF}}})", "wanted"),
            _Query(f"sum(increase(mlnb_worker_restarts_total{{{_OF}}}{_SPAN}))", "restarts"),
        ),
        "Processes by state, and those that ended by themselves.",
    ),
    _Panel("CPU", "short", (_Query(_rate("process_cpu_seconds_total", "job"), "cores"),), "Cores in use.", width=8),
    _Panel(
        "Memory",
        "bytes",
        (
            _Query(f"sum(process_resident_memory_bytes{{{_OF}}})", "resident"),
            _Query(f"sum(process_virtual_memory_bytes{{{_OF}}})", "virtual"),
        ),
        "Of all processes of the service.",
        width=8,
    ),
    _Panel(
        "File descriptors",
        "short",
        (
            _Query(f"sum(process_open_fds{{{_OF}}})", "open"),
            _Query(f"max(process_max_fds{{{_OF}}})", "limit of a process"),
        ),
        "Connections, logs and segments.",
        width=8,
    ),
)


def grafana_dashboard(service: str) -> str:
    """Return the JSON of a dashboard that shows `service` first, and any other that is chosen in it.

    Parameters
    ----------
    service : str
        Prometheus's ``job`` of the service, by default its name (`mlnb.service.exported.scrape_config`).
    """
    now = {"text": service, "value": service}
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    choice = {
        "name": "service",
        "label": "Service",
        "type": "query",
        "datasource": _SOURCE,
        "definition": "label_values(mlnb_ready, job)",
        "query": {"query": "label_values(mlnb_ready, job)", "refId": "services"},
        "refresh": 2,
        "current": now,
    }
    moved = {
        "name": "Routing changed",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": f"changes(mlnb_routing_revision{{{_OF}}}[$__interval]) > 0",
        "titleFormat": "Routing changed",
        "textFormat": "mlnb audit log says who did it.",
    }
    dashboard = {
        "title": "mlnb services",
        "uid": "mlnb-services",
        "tags": ["mlnb"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, choice]},
        "annotations": {"list": [moved]},
        "panels": list(_laid_out(_PANELS)),
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _laid_out(panels: Sequence[_Panel]) -> Iterator[dict[str, object]]:
    """Yield the panels, from left to right in rows."""
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + panels[number - 2].height
        yield _drawn(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}}
        x += panel.width


def _drawn(panel: _Panel, number: int) -> dict[str, object]:
    heat = panel.kind == "heatmap"
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": _SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            "format": "heatmap" if heat else "time_series",
        }
        for place, query in enumerate(panel.queries)
    ]
    stacking = {"mode": "normal" if panel.stacked else "none"}
    custom = {"fillOpacity": 20 if panel.stacked else 0, "stacking": stacking, "showPoints": "never"}
    defaults: dict[str, object] = {"unit": panel.unit, "min": 0}
    options: dict[str, object] = {}
    if panel.kind == "timeseries":
        defaults["custom"] = custom
        options = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}}
    elif heat:
        options = {"calculate": False, "yAxis": {"unit": panel.unit}, "color": {"scheme": "Blues"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }
