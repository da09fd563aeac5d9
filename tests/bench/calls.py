"""The same model is asked over gRPC and over HTTP, and MLServer over gRPC beside it: rates, and the server's CPU time.

One worker each, 16 connections, no log. The caller shares the two cores and may itself be what is slow; the server's
CPU time for each answer does not depend on that. What HTTP pays for gRPC being on is the ratio of the first two rows,
whose servers are asked in turn.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time

import psutil
import uvloop

from tests.bench import servers
from tests.bench.client_case import free_port
from tests.bench.load import Load, drive
from tests.bench.place import Place
from tests.bench.rows import WORDS, draw
from tests.bench.servers import Contestant, Rows
from tests.bench.table import Table, ratio

_CONNECTIONS = 16
_SECONDS = 3.0
_BATCH = 1000
_REST_KEPT = 0.95
_INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(slots=True)
class _Way:
    """One way to ask one server; `ask` drives it."""

    name: str
    server: Contestant
    ask: Callable[[Rows, int], Load]
    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    batches_ms: list[float] = field(default_factory=list)
    refused: int = 0

    def measure(self) -> None:
        """Ask single rows, then batches."""
        spent = _cpu_s(self.server)
        load = self.ask(draw(64, seed=3), 1)
        count = len(load.latencies_ms)
        self.cpu_us.append((_cpu_s(self.server) - spent) / count * 1e6)
        self.rates.append(load.rate)
        self.p99s.append(load.percentile(99))
        batch = self.ask(draw(_BATCH, seed=4), _BATCH)
        self.batches_ms.append(batch.percentile(50))
        self.refused += load.refused + batch.refused

    def cells(self, first: float) -> list[str]:
        """Return the medians."""
        rate, p99, cpu, batch = map(statistics.median, (self.rates, self.p99s, self.cpu_us, self.batches_ms))
        return [self.name, f"{rate:,.0f}", ratio(rate, first), f"{p99:.2f}", f"{cpu:.0f}", f"{batch:.1f}"]


def bench(place: Place) -> Table:
    """Ask in each way, in turn, for each repetition."""
    port, peers_port = free_port(), free_port()
    off = servers.ours(place, "calls off", MLNB_LOG="off")
    on = servers.ours(place, "calls on", MLNB_LOG="off", MLNB_GRPC_PORT=str(port))
    mlserver = servers.mlserver(place, grpc_port=peers_port)
    ways = [
        _Way("HTTP, own form, gRPC off", off, _http(off)),
        _Way("HTTP, own form, gRPC on", on, _http(on)),
        _Way("HTTP, Open Inference, JSON", on, _http(on, "/v2/models/late/infer", _rest_message)),
        _Way("gRPC, typed contents", on, _grpc(port, raw=False)),
        _Way("gRPC, raw contents", on, _grpc(port, raw=True)),
        _Way("MLServer, gRPC, typed contents", mlserver, _grpc(peers_port, raw=False, peer=True)),
    ]
    with off.server, on.server, mlserver.server:
        for _ in range(place.count):
            for way in ways:
                way.measure()
    rest, kept = (statistics.median(way.rates) for way in ways[:2])
    typed, peer = (statistics.median(ways[at].rates) for at in (3, 5))
    refused = sum(way.refused for way in ways)
    held = kept >= _REST_KEPT * rest and typed > peer and not refused
    notes = [
        f"HTTP keeps {kept / rest:.0%} of its rate where gRPC is on (at least {_REST_KEPT:.0%}); "
        f"gRPC is {typed / peer:.1f}x MLServer's; {refused} refused: {'holds' if held else 'DOES NOT HOLD'}."
    ]
    columns = ["asked", "rows/s", "x first", "p99 ms", "server CPU us", f"{_BATCH:,} rows ms"]
    return Table("calls: gRPC beside HTTP, 16 connections", columns, [way.cells(rest) for way in ways], notes, held)


def _cpu_s(contestant: Contestant) -> float:
    process = contestant.server.process
    times = [one.cpu_times() for one in (process, *process.children(recursive=True)) if _runs(one)]
    return sum(one.user + one.system for one in times)


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _http(
    contestant: Contestant, path: str = "/predict", body: Callable[[Rows], bytes] = servers.rows_body
) -> Callable[[Rows, int], Load]:
    def ask(rows: Rows, width: int) -> Load:
        bodies = [body(rows[at : at + width]) for at in range(0, len(rows), width)]
        url, count = contestant.server.url, _CONNECTIONS if width == 1 else 1
        return uvloop.run(
            drive(url, bodies, connections=count, requests=10**9, limit_s=_SECONDS / min(width, 3), path=path)
        )

    return ask


def _grpc(port: int, *, raw: bool, peer: bool = False) -> Callable[[Rows, int], Load]:
    def ask(rows: Rows, width: int) -> Load:
        bodies = [_message(rows[at : at + width], raw=raw, peer=peer) for at in range(0, len(rows), width)]
        return uvloop.run(_call(port, bodies, _CONNECTIONS if width == 1 else 1, _SECONDS / min(width, 3)))

    return ask


async def _call(port: int, bodies: Sequence[bytes], connections: int, limit_s: float) -> Load:
    """Call in a closed loop on each of several connections."""
    import grpc

    latencies, refused = list[float](), 0
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(connections)]

    async def caller(channel: grpc.aio.Channel, at: int) -> None:
        nonlocal refused
        ask = channel.unary_unary(_INFER)
        while perf_counter() < deadline:
            began = perf_counter()
            try:
                await ask(bodies[at % len(bodies)])
            except grpc.aio.AioRpcError:
                refused += 1
            latencies.append((perf_counter() - began) * 1000)
            at += 1

    for channel in channels:
        await channel.channel_ready()
    cpu, started = process_time(), perf_counter()
    deadline = started + limit_s
    await asyncio.gather(*(caller(channel, at) for at, channel in enumerate(channels)))
    seconds = perf_counter() - started
    for channel in channels:
        await channel.close()
    return Load(tuple(sorted(latencies)), refused, seconds, process_time() - cpu)


def _message(rows: Rows, *, raw: bool, peer: bool) -> bytes:
    """Return a ``ModelInferRequest`` of Triton's own definition."""
    import numpy as np
    from tritonclient.grpc.service_pb2 import ModelInferRequest
    from tritonclient.utils import serialize_byte_tensor

    message = ModelInferRequest(model_name="late")
    for name in rows[0]:
        words, values = name in WORDS, [row[name] for row in rows]
        tensor = message.inputs.add(name=name, datatype="BYTES" if words else "FP64", shape=[len(rows), 1])
        if raw and words:
            message.raw_input_contents.append(serialize_byte_tensor(np.array(values, dtype=np.object_)).item())
        elif raw:
            message.raw_input_contents.append(np.array(values, dtype=np.float64).tobytes())
        elif words:
            tensor.contents.bytes_contents.extend(str(one).encode() for one in values)
        else:
            tensor.contents.fp64_contents.extend(float(one) for one in values)
        if peer and words:
            tensor.parameters["content_type"].string_param = "str"
    if peer:
        message.parameters["content_type"].string_param = "pd"
        message.outputs.add(name="predict_proba")
    return bytes(message.SerializeToString())


def _rest_message(rows: Rows) -> bytes:
    return servers.tensors_body(rows, peer=False)
