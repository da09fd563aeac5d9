"""Single rows and batches through every server that people put one model behind, all in one run."""

from __future__ import annotations

import importlib
import json
import os
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from urllib.request import Request, urlopen

from tests.bench import servers
from tests.bench.closed_loop import WRK, Loop, closed_loop
from tests.bench.peer import cpu_s
from tests.bench.place import Place
from tests.bench.rows import draw
from tests.bench.servers import Contestant, rows_body
from tests.bench.table import Table

_SECONDS = 4.0
_WARM_UP_S = 1.0
_CONNECTIONS = 16
_BATCH = 1000
_OFF, _DURABLE = "mlnb, validated, not logged", "mlnb, validated, durable log"
_BENTOML = "mlnb through bentoml serve, durable log"
_STOCK = "BentoML, pydantic, async (ONNX)"
_MLFLOW, _MLSERVER = "mlflow models serve (scikit-learn)", "MLServer (scikit-learn)"
_BARE = "Starlette + onnxruntime by hand"
_LIMITS = (
    (_OFF, _MLFLOW, 100.0),
    (_OFF, _MLSERVER, 50.0),
    (_OFF, _STOCK, 7.0),
    (_OFF, _BARE, 0.9),
    (_DURABLE, _MLFLOW, 80.0),
    (_DURABLE, _MLSERVER, 35.0),
    (_DURABLE, _STOCK, 4.0),
    (_BENTOML, _MLFLOW, 15.0),
)
_P99_MS = 5.0


@dataclass(slots=True)
class _Found:
    """What was measured of one server; a load and its CPU milliseconds a request for each repetition."""

    one: list[Loop] = field(default_factory=list)
    many: list[Loop] = field(default_factory=list)
    batch: list[Loop] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def rate(self, loads: list[Loop]) -> float:
        return statistics.median(load.rate for load in loads)

    def p99(self) -> float:
        return statistics.median(load.p99_ms for load in self.many)


def bench(place: Place) -> Table:
    """Measure; all servers are up at once, one is asked at a time."""
    rows = draw(_BATCH, seed=3)
    found: dict[str, _Found] = {}
    with ExitStack() as stack:
        contestants = _contestants(place)
        for one in contestants:
            stack.enter_context(one.server)
        difference = _largest_difference(contestants, rows[:200])
        for _ in range(place.count):
            for one in contestants:
                _measure(one, rows, found.setdefault(one.name, _Found()))
        floor_s = _in_process_s(place, rows_body(rows))
    base = found[_MLFLOW].rate(found[_MLFLOW].many)
    table = [[one.name, *_cells(found[one.name], base)] for one in contestants]
    notes, held = _limits(found, floor_s)
    return Table(
        f"service: {_SECONDS:g} s each, {os.cpu_count()} cores shared with {'wrk' if WRK else 'a load made by Python'}, one worker "
        f"(medians of {place.count})",
        ["server", "1: req/s", "16: req/s", "of MLflow", "p99 ms", "CPU ms", f"{_BATCH} rows: req/s"],
        table,
        [
            "1: and 16: are keep-alive connections in a closed loop of single rows; the batch goes over one connection.",
            f"Largest difference between the answers to 200 rows: {difference:.1e}. Only mlnb checks, counts and logs.",
            *notes,
        ],
        held,
    )


def _contestants(place: Place) -> list[Contestant]:
    place.deployed.stop()
    return [
        servers.ours(place, _OFF, MLNB_LOG="off"),
        servers.ours(place, _DURABLE),
        servers.ours_through_bentoml(place),
        servers.bare(place),
        servers.stock_bento(place, "PydanticOnnxAsync", "pydantic, async (ONNX)"),
        servers.stock_bento(place, "PandasSklearn", "pandas (scikit-learn)"),
        servers.mlserver(place),
        servers.mlflow(place),
    ]


def _measure(one: Contestant, rows: servers.Rows, found: _Found) -> None:
    singles = [one.body([row]) for row in rows[:200]]
    _drive(one, singles, 1, _WARM_UP_S)
    found.one.append(_drive(one, singles, 1))
    before = cpu_s(one.server.process)
    load = _drive(one, singles, _CONNECTIONS)
    found.cpu_ms.append((cpu_s(one.server.process) - before) * 1000 / load.answered)
    found.many.append(load)
    _drive(one, [one.body(rows)], 1, _WARM_UP_S)
    found.batch.append(_drive(one, [one.body(rows)], 1))


def _drive(one: Contestant, bodies: list[bytes], connections: int, seconds: float = _SECONDS) -> Loop:
    loop = closed_loop(one.server.url, one.path, bodies, connections=connections, seconds=seconds)
    if loop.refused or not loop.answered:
        raise RuntimeError(f"{one.name} answered {loop.answered} requests and refused {loop.refused}.")
    return loop


def _cells(found: _Found, base: float) -> list[str]:
    rate = found.rate(found.many)
    return [
        f"{found.rate(found.one):.0f}",
        f"{rate:.0f}",
        f"{rate / base:.1f}x",
        f"{found.p99():.2f}",
        f"{statistics.median(found.cpu_ms):.3f}",
        f"{found.rate(found.batch):.1f}",
    ]


def _limits(found: dict[str, _Found], floor_s: float) -> tuple[list[str], bool]:
    notes, held = [], True
    for ours, theirs, limit in _LIMITS:
        gain = found[ours].rate(found[ours].many) / found[theirs].rate(found[theirs].many)
        notes.append(f"{_verdict(gain >= limit)}: {ours} {gain:.1f}x {theirs} (limit {limit:g}x)")
        held = held and gain >= limit
    p99 = found[_DURABLE].p99()
    batch = found[_OFF].rate(found[_OFF].batch)
    gain, cost = batch / found[_MLFLOW].rate(found[_MLFLOW].batch), 1 / batch / floor_s
    for good, told in (
        (p99 < _P99_MS, f"p99 with the durable log {p99:.2f} ms (limit {_P99_MS:g} ms)"),
        (gain >= 2, f"{_BATCH} rows: {gain:.1f}x MLflow (limit 2x)"),
        (cost <= 1.5, f"{_BATCH} rows: {cost:.2f}x decode + session + encode in process (limit 1.5x)"),
    ):
        notes.append(f"{_verdict(good)}: {told}")
        held = held and good
    return notes, held


def _verdict(good: bool) -> str:
    return "holds" if good else "MISSED"


def _in_process_s(place: Place, body: bytes) -> float:
    """Return the seconds of decode + session + encode of one batch in this process, the median of many."""
    os.environ["ONNX"] = str(place.deployed.onnx)
    answer = importlib.import_module("tests.bench.bare_starlette").answer
    taken = []
    for _ in range(60):
        began = perf_counter()
        answer(body)
        taken.append(perf_counter() - began)
    return statistics.median(taken)


def _largest_difference(contestants: list[Contestant], rows: servers.Rows) -> float:
    scores = []
    for one in contestants:
        asked = Request(one.server.url + one.path, one.body(rows), {"Content-Type": "application/json"})
        with urlopen(asked, timeout=60) as reply:
            scores.append(one.chances(json.load(reply)))
    return max(abs(ours - theirs) for peer in scores[1:] for ours, theirs in zip(scores[0], peer, strict=True))
