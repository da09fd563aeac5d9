from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mlnb.service.bento import Bento
from mlnb.service.dashboard import grafana_dashboard
from mlnb.service.exported import scrape_config
from mlnb.service.local import LocalTarget
from mlnb.service.log import UNLOGGED
from mlnb.service.target import Deployment
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, bento: Bento) -> Iterator[Deployment]:
    target = LocalTarget(StateFolder.open(tmp_path_factory.mktemp("watched")), Settings())
    yield target.start("delays", bento.path)
    target.stop("delays")


def panels() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(grafana_dashboard("delays"))["panels"]
    return found


def queries() -> list[str]:
    """Return all PromQL of the dashboard, with Grafana's variables as Grafana replaces them."""
    dashboard = json.loads(grafana_dashboard("delays"))
    told = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    told += [one["expr"] for one in dashboard["annotations"]["list"]]
    return [
        one.replace("$__rate_interval", "1m").replace("$__interval", "15s").replace("$service", "x") for one in told
    ]


def wanted(query: str) -> dict[str, set[str]]:
    """Return the metrics that a query names, with the labels that it chooses them by or groups them by."""
    grouped: set[str] = set()
    selectors: list[promql_parser.VectorSelector] = []

    def seen(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), seen)
    return {one.name: {matcher.name for matcher in one.matchers.matchers} | grouped for one in selectors}


def test_every_metric_and_label_that_the_dashboard_names_is_told_by_a_service(deployed: Deployment) -> None:
    row = {"age": 0.5, "wind": 1.0, "origin": "ATLANTIS"}  # an origin that the model has not seen
    asked = Request(
        f"{deployed.url}/predict", json.dumps({"rows": [row]}).encode(), {"Content-Type": "application/json"}
    )
    assert json.load(urlopen(asked))["warnings"]
    with closing(socket.create_connection(("127.0.0.1", deployed.port))) as stranger:
        stranger.sendall(b"this is no HTTP\r\n\r\n")
        stranger.recv(4096)
    text = urlopen(f"{deployed.url}/metrics").read().decode()
    told: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            told.setdefault(sample.name, {"job"}).update(sample.labels)
    missing = set()
    for query in queries():
        for name, labels in wanted(query).items():
            if name in told:
                assert labels <= told[name], query
            else:
                missing.add(name)
    assert missing == {UNLOGGED}  # it is told once the log cannot be written: see test_log_modes


def test_the_panels_of_the_dashboard_cover_no_other_and_have_units_and_words() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert isinstance(place, dict)
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"] and panel["title"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_prometheus_scrapes_the_job_that_the_dashboard_shows_and_a_guarded_one_with_a_token(
    deployed: Deployment, tmp_path: Path
) -> None:
    plain = yaml.safe_load(scrape_config(deployed, tmp_path, tmp_path, Settings()))["scrape_configs"]
    assert plain == [{"job_name": "delays", "static_configs": [{"targets": [f"127.0.0.1:{deployed.port}"]}]}]
    chosen = json.loads(grafana_dashboard("delays"))["templating"]["list"][1]["current"]["value"]
    assert chosen == plain[0]["job_name"]
    (tmp_path / "tokens.json").write_text("{}")
    settings = Settings(service={"tls_cert": "cert.pem", "tokens_file": "tokens.json"})
    (guarded,) = yaml.safe_load(scrape_config(deployed, tmp_path, tmp_path, settings))["scrape_configs"]
    assert guarded["authorization"] == {"credentials_file": "/etc/prometheus/mlnb-delays.token"}
    assert (guarded["scheme"], guarded["tls_config"]) == ("https", {"ca_file": str(tmp_path / "cert.pem")})
    opened = Settings(service={"public": "metrics", "tokens_file": "tokens.json"})
    assert "authorization" not in scrape_config(deployed, tmp_path, tmp_path, opened)
