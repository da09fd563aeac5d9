"""Single-row requests to our local service, its durable log on, and to stock BentoML services of the same model."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import NamedTuple
from urllib.request import Request, urlopen

import psutil

from tests.bench.load import Load, drive, median_load
from tests.bench.peer import Peer, cpu_s
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.table import Table, ratio

_REQUESTS = 2000
_LIMIT_S = 15.0
_WARM_UP = 100
_CONNECTIONS = (1, 16)
_OURS = "mlnb, validated, logged (ONNX)"
_PEERS = {
    "BentoML, pandas (scikit-learn)": "PandasSklearn",
    "BentoML, pandas (ONNX)": "PandasOnnx",
    "BentoML, pydantic (ONNX)": "PydanticOnnx",
}


class _Server(NamedTuple):
    url: str
    process: psutil.Process


class _Found(NamedTuple):
    load: Load
    server_cpu_ms: float  # a request


def bench(place: Place) -> Table:
    """Measure; all servers are up at once, one is asked at a time."""
    rows = draw(200, seed=3)
    bodies = [json.dumps({"rows": [row]}).encode() for row in rows]
    found: dict[tuple[str, int], list[_Found]] = {}
    with ExitStack() as stack:
        deployed = place.deployed
        deployed.start()
        servers = {_OURS: _Server(deployed.url, deployed.process)}
        for name, service in _PEERS.items():
            peer = stack.enter_context(Peer(place, service))
            servers[name] = _Server(peer.url, peer.process)
        difference = _largest_difference(servers, json.dumps({"rows": rows}).encode())
        for _ in range(place.count):
            for connections in _CONNECTIONS:
                for name, server in servers.items():
                    found.setdefault((name, connections), []).append(_measure(server, bodies, connections))
    table = [[name, *(cell for n in _CONNECTIONS for cell in _cells(found, name, n))] for name in servers]
    busiest = found[_OURS, 16][-1].load
    return Table(
        f"service: one row a request, at most {_REQUESTS} requests or {_LIMIT_S:g} s each (medians of {place.count})",
        ["server, one worker", *(f"{n}: {word}" for n in _CONNECTIONS for word in _WORDS)],
        table,
        [
            "1: and 16: are keep-alive connections in a closed loop; 'gain' is our requests/s over theirs.",
            f"Largest difference between the answers to {len(rows)} rows: {difference:.1e}. Only mlnb logs them.",
            f"The load generator is Python on the same cores: {busiest.own_cpu_s:.2f} s CPU of {busiest.seconds:.2f} s "
            "against mlnb at 16, so our rate there is a lower bound.",
        ],
    )


_WORDS = ("req/s", "p50 ms", "p99 ms", "CPU ms", "gain")


def _measure(server: _Server, bodies: list[bytes], connections: int) -> _Found:
    asyncio.run(drive(server.url, bodies, connections=connections, requests=_WARM_UP, limit_s=_LIMIT_S))
    before = cpu_s(server.process)
    load = asyncio.run(drive(server.url, bodies, connections=connections, requests=_REQUESTS, limit_s=_LIMIT_S))
    if load.refused or not load.latencies_ms:
        raise RuntimeError(f"{server.url} refused {load.refused} of {len(load.latencies_ms)} requests.")
    return _Found(load, (cpu_s(server.process) - before) * 1000 / len(load.latencies_ms))


def _cells(found: dict[tuple[str, int], list[_Found]], name: str, connections: int) -> list[str]:
    loads = [each.load for each in found[name, connections]]
    ours = median_load([each.load for each in found[_OURS, connections]], lambda load: load.rate)
    rate = median_load(loads, lambda load: load.rate)
    cpu_ms = sorted(each.server_cpu_ms for each in found[name, connections])[len(loads) // 2]
    return [
        f"{rate:.0f}",
        f"{median_load(loads, lambda load: load.percentile(50)):.2f}",
        f"{median_load(loads, lambda load: load.percentile(99)):.2f}",
        f"{cpu_ms:.2f}",
        ratio(ours, rate),
    ]


def _largest_difference(servers: dict[str, _Server], body: bytes) -> float:
    scores = []
    for server in servers.values():
        with urlopen(Request(f"{server.url}/predict", body, {"Content-Type": "application/json"}), timeout=60) as reply:
            answer = json.load(reply)
        scores.append([each[1] for each in answer["probabilities"]] if isinstance(answer, dict) else answer)
    return max(abs(ours - theirs) for peer in scores[1:] for ours, theirs in zip(scores[0], peer, strict=True))
