"""Odd and spoiled messages over gRPC, many of them: refused or answered, and the service is afterwards as it was."""

from __future__ import annotations

from random import Random

from tests.bench.client_case import WideService, client_case
from tests.bench.fuzz_service import used
from tests.bench.grpc_fuzz import Fuzzed
from tests.bench.place import Place
from tests.bench.table import Table

_MESSAGES = 20_000
_GROWTH_MB = 24


def bench(place: Place) -> Table:
    """Send 20,000 messages for each repetition."""
    import grpc

    with WideService(place.make("calls")) as service:
        case = client_case(service.port, service.package)
        with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
            fuzzed = Fuzzed(channel, case)
            for seed in range(_MESSAGES * place.count):
                if seed == _MESSAGES // 10:
                    before = used(service.pid)
                fuzzed.attempt(Random(seed))
        after = used(service.pid)
    held = not fuzzed.wrong and after[0] - before[0] < _GROWTH_MB and after[1] <= before[1] + 2
    rows = [[code, f"{count:,}"] for code, count in fuzzed.counts.most_common()]
    notes = [
        f"Nothing is answered that should not be, resident memory grows by {after[0] - before[0]:.0f} MB "
        f"(less than {_GROWTH_MB}), descriptors from {before[1]} to {after[1]}: {'holds' if held else 'DOES NOT HOLD'}.",
        *fuzzed.wrong[:20],
    ]
    return Table("fuzz_calls: odd and spoiled messages over gRPC", ["code", "calls"], rows, notes, held)
