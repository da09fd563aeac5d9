"""A service is sent thousands of odd and spoiled requests: each must be refused, or answered as the scorer itself does.

Bodies, headers, methods and paths go through kept connections (`tests.bench.fuzz_bodies`); what breaks HTTP itself
(lying lengths, broken chunks, pipelining, halves of requests) through sockets of their own. No answer may be 5xx, no
request may remain without one that is whole, and neither memory nor descriptors of the service's processes may grow.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mlnb.errors import SignatureError
from mlnb.model.scorer import load_scorer
from tests.bench.fuzz_bodies import MODEL, Request, Requests, rows_of
from tests.bench.place import Place
from tests.bench.table import Table

BODIES = 20_000
_RAW_EVERY = 20
_GROWTH_MB = 24
_TOLERANCE = 1e-6


class Fuzzed:
    """A service under odd requests.

    Parameters
    ----------
    port : int
        Where it listens, on loopback.
    package : Path
        The version behind its default alias.

    Attributes
    ----------
    counts : Counter of (str, str)
        What became of each form: ``answered``, ``refused``, ``closed`` or ``wrong``.
    wrong : list of str
        What must not be.
    """

    def __init__(self, port: int, package: Path) -> None:
        self.port = port
        self.scorer = load_scorer(package)
        sample = json.loads((package / "sample.json").read_bytes())
        rows = [dict(zip(sample["columns"], row, strict=True)) for row in sample["data"]]
        self.requests = Requests(rows, json.loads((package / "signature.json").read_bytes())["inputs"])
        self.counts: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def attempt(self, seed: int) -> None:
        """Send the request of a seed and judge what comes back."""
        if seed % _RAW_EVERY == 0:
            form, outcome = "broken HTTP", self._raw(seed)
        else:
            request = self.requests.draw(seed)
            form, outcome = request.form, self._asked(request)
        if outcome not in ("answered", "refused", "closed"):
            self.wrong.append(f"seed {seed}, {form}: {outcome}"[:400])
            outcome = "wrong"
        self.counts[form, outcome] += 1

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _asked(self, request: Request) -> str:
        try:
            status, headers, body = self._exchange(request)
        except UnicodeEncodeError:
            self._connection.close()
            return "refused"  # by http.client: it cannot be said in HTTP
        except (OSError, HTTPException) as error:
            self._connection.close()
            return f"no answer: {error!r}"
        if 400 <= status < 500:
            return (
                "refused"
                if request.method == "HEAD" or _is_refusal(status, headers, body)
                else f"{status} {body[:200]!r}"
            )
        if status != 200:
            return f"{status} {body[:200]!r}"
        predicts = request.method == "POST" and request.form != "labels" and request.path.endswith(_PREDICTS)
        return self._judged(request, headers, body) if predicts else "answered"

    def _exchange(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection
        connection.putrequest(request.method, request.path, skip_host="Host" in request.headers)
        for name, value in {"Content-Length": str(len(request.body)), **request.headers}.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        content = response.read()
        if response.will_close:
            connection.close()
        return response.status, {name.lower(): told for name, told in response.headers.items()}, content

    def _judged(self, request: Request, headers: dict[str, str], body: bytes) -> str:
        """Compare a service's answer with the scorer's to the rows that other code reads from the same body."""
        try:
            rows = rows_of(request, self.requests)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            return f"answered what means nothing: {error!r} {request.body[:200]!r}"
        signature = self.scorer.signature
        known = {column.name: column for column in signature.inputs}
        fit = [{name: _whole(one, known[name].dtype) for name, one in row.items()} for row in rows or []]
        try:
            scores = self.scorer.score(signature.check(fit))
        except SignatureError as error:
            return f"answered what does not fit: {error} {request.body[:200]!r}"
        predictions, chances = _answered(headers, body)
        if list(map(str, predictions)) != list(map(str, scores.predictions)):
            return f"answered {predictions}, not {scores.predictions} to {request.body[:200]!r}"
        if chances is None:
            return "answered"
        wanted = [[math.nan if one is None else one for one in row] for row in scores.probabilities or []]
        close = np.allclose(chances, wanted, rtol=_TOLERANCE, atol=1e-9, equal_nan=True)
        return "answered" if close else f"answered {chances}, not {wanted}"

    def _raw(self, seed: int) -> str:
        """Send what breaks HTTP; return how the service bore it."""
        draw = random.Random(seed)
        row = json.dumps({"rows": [draw.choice(self.requests.rows)]}).encode()
        sent, answers = _broken(row, draw)
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as plug:
            try:
                plug.sendall(sent)
                if not answers:
                    plug.shutdown(socket.SHUT_WR)
                heard = b""
                while (piece := plug.recv(65_536)) and not (answers and len(_statuses(heard + piece)) >= answers):
                    heard += piece
                heard += piece
            except TimeoutError:
                return f"hangs on {sent[:120]!r}"
            except OSError:  # it was let go of while we still wrote
                return "closed"
        statuses = _statuses(heard)
        if any(status >= 500 for status in statuses):
            return f"{statuses} to {sent[:200]!r}"
        if answers and statuses[:answers] != [200] * answers:
            return f"{statuses}, not {answers} times 200 to {sent[:200]!r}"
        return "closed" if not statuses else "answered" if statuses[0] == 200 else "refused"


_PREDICTS = ("predict", "/infer", "/invocations", "/score")


def bench(place: Place) -> Table:
    """Send 20,000 requests for each repetition."""
    from tests.bench.client_case import WideService

    with WideService(place.make("fuzzed")) as service:
        fuzzed = Fuzzed(service.port, service.package)
        total = BODIES * place.count
        before = 0.0, 0
        for seed in range(total):
            fuzzed.attempt(seed)
            if seed == total // 5:
                fuzzed.close()
                before = used(service.pid)
        fuzzed.close()
        after = used(service.pid)
    forms = sorted({form for form, _ in fuzzed.counts})
    names = ("answered", "refused", "closed", "wrong")
    grown = after[0] - before[0]
    held = not fuzzed.wrong and grown <= _GROWTH_MB and after[1] <= before[1] + 2
    return Table(
        f"fuzz_service: odd and spoiled requests (sent: {total:,})",
        ["form", *names],
        [[form, *(f"{fuzzed.counts[form, name]:,}" for name in names)] for form in forms],
        [
            f"No 5xx, every 200 as the scorer answers, nothing unanswered: {'holds' if not fuzzed.wrong else 'DOES NOT'}.",
            f"Growth after the first fifth: {grown:+.1f} MB (at most {_GROWTH_MB}), {after[1] - before[1]:+d} descriptors.",
            *fuzzed.wrong[:10],
        ],
        held,
    )


def used(pid: int) -> tuple[float, int]:
    """Return the memory, in MB, and the descriptors of a process and its descendants."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in processes) / 1e6, sum(one.num_fds() for one in processes)


def _is_refusal(status: int, headers: dict[str, str], body: bytes) -> bool:
    """Say whether a refusal is of the documented form, or the HTTP server's own; none shows a trace."""
    if b"Traceback" in body:
        return False
    if not headers.get("content-type", "").startswith("application/json"):
        return status == 400 and headers.get("content-type", "").startswith("text/plain")
    error = json.loads(body)["error"]
    return isinstance(error, str) or error.keys() == {"problem", "remedy", "faults"}


def _whole(value: Any, dtype: str) -> Any:
    return int(value) if isinstance(value, float) and "int" in dtype and value.is_integer() else value


def _answered(headers: dict[str, str], body: bytes) -> tuple[list[Any], Any]:
    """Return the predictions and probabilities of an answer in any form."""
    kind = headers["content-type"].partition(";")[0]
    if kind == "text/csv":
        return [row[0] for row in csv.reader(io.StringIO(body.decode()))], None
    if kind == "application/jsonlines":
        return [json.loads(line)["prediction"] for line in body.splitlines()], None
    length = int(headers.get("inference-header-content-length", len(body)))
    told, binary = json.loads(body[:length]), body[length:]
    if isinstance(told, list):
        return told, None
    if "outputs" in told and isinstance(told["outputs"][0], dict):
        return _tensors(told["outputs"], binary)
    chances = told.get("probabilities")
    filled = chances and [[math.nan if one is None else one for one in row] for row in chances]
    return told.get("predictions", told.get("outputs")), filled


def _tensors(outputs: list[dict[str, Any]], binary: bytes) -> tuple[list[Any], Any]:
    predictions: list[Any] = []
    chances = None
    for one in outputs:
        size = one.get("parameters", {}).get("binary_data_size", 0)
        blob, binary = binary[:size], binary[size:]
        if one["name"] == "predictions":
            predictions = list(_texts(blob)) if size else one["data"]
        else:
            flat = np.frombuffer(blob, "<f8") if size else [math.nan if x is None else x for x in one["data"]]
            chances = np.reshape(flat, one["shape"])
    return predictions, chances


def _texts(blob: bytes) -> Iterator[str]:
    at = 0
    while at < len(blob):
        (size,) = struct.unpack_from("<I", blob, at)
        yield blob[at + 4 : at + 4 + size].decode()
        at += 4 + size


def _head(row: bytes, *lines: bytes, path: bytes = b"/predict") -> bytes:
    return b"\r\n".join(
        [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Type: application/json", *lines, b"", b""]
    )


def _chunks(row: bytes, draw: random.Random) -> bytes:
    made, at = [], 0
    while at < len(row):
        size = draw.randrange(1, 40)
        piece = row[at : at + size]
        made.append(f"{len(piece):x}".encode() + draw.choice((b"", b";a=b")) + b"\r\n" + piece + b"\r\n")
        at += size
    return b"".join(made) + b"0\r\n\r\n"


def _broken(row: bytes, draw: random.Random) -> tuple[bytes, int]:
    """Return bytes for a socket, and how many of the first answers must be 200."""
    length = b"Content-Length: %d" % len(row)
    whole = _head(row, length) + row
    chunked = _head(row, b"Transfer-Encoding: chunked")
    choices: tuple[tuple[bytes, int], ...] = (
        (chunked + _chunks(row, draw), 1),
        (whole * draw.randrange(2, 6), 2),
        (whole + chunked + _chunks(row, draw), 2),
        (_head(row, b"Content-Length: %d" % (len(row) + draw.choice((1, 100, 10**9)))) + row, 0),
        (_head(row, b"Content-Length: %d" % draw.randrange(len(row))) + row, 0),
        (_head(row, draw.choice((b"Content-Length: -1", b"Content-Length: x", b"Content-Length: 1, 2"))) + row, 0),
        (_head(row, length, b"Content-Length: 3") + row, 0),
        (_head(row, length, b"Transfer-Encoding: chunked") + _chunks(row, draw), 0),
        (chunked + draw.choice((b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab")) + row, 0),
        (whole[: draw.randrange(len(whole))], 0),
        (draw.randbytes(draw.randrange(1, 400)), 0),
        (b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 0),
        (_head(row, *(b"X-%d: %s" % (at, b"y" * 500) for at in range(300)), length) + row, 0),
        (whole.replace(b"HTTP/1.1", draw.choice((b"HTTP/1.0", b"HTTP/9.9", b"HTTP/2.0", b"")), 1), 0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        (whole.replace(b"Host: x", draw.choice((b"Host : x", b" Host: x", b"Host: \x00", b"Ho\xffst: x")), 1), 0),
        (_head(row, length, b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: eA==") + row, 0),
        (_head(row, length, path=draw.choice((b"/%zz", b"/%ff%fe", b"http://x/predict", b"*", b"/\xff\xfe"))) + row, 0),
    )
    return draw.choice(choices)


def _statuses(heard: bytes) -> list[int]:
    """Return the statuses of the answers in what a socket gave; their bodies have no line like that."""
    lines = heard.split(b"HTTP/1.1 ")[1:]
    return [int(line[:3]) for line in lines if line[:3].isdigit()]


__all__ = ["BODIES", "MODEL", "Fuzzed", "bench", "used"]
