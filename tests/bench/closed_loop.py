"""Request bodies become the rate and the latency of a closed loop, made by wrk where it is installed.

wrk (Apache-2.0, Debian's package of the name) is written in C and takes a fifth of the CPU of `tests.bench.load`, which
stands in for it elsewhere: the loop shares the cores with the server that it asks.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import drive

WRK = shutil.which("wrk")
"""The program; None where it is not installed."""

_SCRIPT = """
local asked, at = {}, 0
init = function(arguments)
  wrk.headers["Content-Type"] = "application/json"
  for body in io.lines(arguments[1]) do
    asked[#asked + 1] = wrk.format("POST", nil, nil, body)
  end
end
request = function()
  at = at % #asked + 1
  return asked[at]
end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\n{"answered": %d, "microseconds": %d, "p99": %d, "refused": %d, "lost": %d}\\n',
    summary.requests, summary.duration, latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Loop:
    """What a loop has met.

    Attributes
    ----------
    answered : int
        Requests that were answered with 200.
    refused : int
        Others.
    rate : float
        Answers a second.
    p99_ms : float
        The 99th percentile of the latency in milliseconds.
    """

    answered: int
    refused: int
    rate: float
    p99_ms: float


def closed_loop(url: str, path: str, bodies: Sequence[bytes], *, connections: int, seconds: float) -> Loop:
    """Post `bodies` in turn over keep-alive connections, each the next one when the last is answered.

    Parameters
    ----------
    bodies : sequence of bytes
        JSON without line breaks.
    connections : int
        As many requests are under way at once.
    """
    if WRK is None:
        load = asyncio.run(drive(url, bodies, connections=connections, requests=10**9, limit_s=seconds, path=path))
        return Loop(len(load.latencies_ms), load.refused, load.rate, load.percentile(99))
    with tempfile.TemporaryDirectory(prefix="mlnb-wrk-") as name:
        script, lines = Path(name) / "wrk.lua", Path(name) / "bodies"
        script.write_text(_SCRIPT)
        lines.write_bytes(b"\n".join(bodies) + b"\n")
        words = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", script]
        done = subprocess.run(
            [*map(str, words), url + path, "--", str(lines)], capture_output=True, text=True, check=True
        )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    refused = told["refused"] + told["lost"]
    return Loop(
        told["answered"] - told["refused"], refused, told["answered"] * 1e6 / told["microseconds"], told["p99"] / 1000
    )
