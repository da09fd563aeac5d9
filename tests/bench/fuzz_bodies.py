"""A seed becomes a request, right, odd or spoiled; and an answered body becomes the rows that it means, by other code.

The forms are all that a service takes. What is spoiled: values (huge, tiny, of another type, surrogates), the structure
of the JSON, its text (truncated, changed bytes, doubled keys, deep nesting, NaN, other encodings), tensors' sizes,
headers, methods and paths. `rows_of` reads bodies with the standard library and numpy alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Row = dict[str, Any]
MODEL = "delays"
KINDS = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT8": "i1",
    "UINT8": "u1",
    "BOOL": "?",
}
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.0,
        1.5,
        -0.0,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**64,
        10**30,
        1e308,
        -1e308,
    ),
    *(
        5e-324,
        3.4e38,
        3.5e38,
        1e-40,
        "",
        "JFK",
        "1",
        "true",
        "x" * 3000,
        "é",
        "\u0000",
        "\U0001f600",
        'a,b\n"c"',
        "NaN",
    ),
    *(
        [],
        {},
        [1],
        [[]],
        [None],
        {"a": 1},
        "2020-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ),
)
PATHS = (
    *(
        "/%70redict",
        "/predict/",
        "//predict",
        "/predict%00",
        "/predict?x=%ff",
        "/../predict",
        "/aliases/%2e%2e/predict",
    ),
    *(
        "/aliases//predict",
        "/aliases/é/predict".encode().decode("latin-1"),
        "/aliases/" + "a" * 3000 + "/predict",
        "/v2/",
    ),
    *(
        "/v2/models/delays/versions/99999999999999999999/infer",
        "/v1/models/delays:predict:predict",
        "/v2/models/%00/infer",
    ),
    *(
        "/v1/models/delays/labels/production",
        "/v2/models/delays/versions/-1",
        "/openapi.json",
        "/metrics",
        "/docs",
        "/",
        "*",
    ),
    *("/explain", "/readyz", "/v2/repository/index", "/v1/models/delays/versions/1"),
)
METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "POST", "BREW")
TYPES = (
    *("application/json", "application/json; charset=utf-16", "text/csv", "application/jsonlines", "application/x-npy"),
    *("", "text/csv;header=present", "multipart/form-data; boundary=x", "\xff", "application/xml", "text/plain"),
)


@dataclass(frozen=True)
class Request:
    """What is sent; `form` names how it was made."""

    form: str
    path: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


class Requests:
    """Draws requests from a package's sample.

    Parameters
    ----------
    rows : list of dict
        The sample.
    inputs : list of dict
        The columns as ``signature.json`` has them.
    """

    def __init__(self, rows: list[Row], inputs: list[Mapping[str, Any]]) -> None:
        self.rows, self.inputs = rows, inputs
        self.names = [str(one["name"]) for one in inputs]
        self.dtypes = {str(one["name"]): str(one["dtype"]) for one in inputs}

    def draw(self, seed: int) -> Request:
        """Return the request of a seed."""
        draw = random.Random(seed)
        rows = [dict(draw.choice(self.rows)) for _ in range(draw.choice((1, 1, 1, 2, 5)))]
        if draw.random() < 0.5:
            rows[draw.randrange(len(rows))][draw.choice(self.names)] = draw.choice(VALUES)
        form = draw.choice(list(FORMS))
        request = FORMS[form](self, rows, draw)
        how = draw.random()
        if how < 0.25:
            return request
        if how < 0.5 and request.headers.get("Content-Type") == "application/json":
            document = json.loads(request.body)
            for _ in range(draw.choice((1, 1, 2))):
                document = replaced(document, draw)
            return _with(request, body=json.dumps(document).encode())
        if how < 0.85:
            return _with(request, body=_spoilt(request.body, draw))
        return _redirected(request, draw)


def replaced(told: Any, draw: random.Random) -> Any:
    """Return JSON with one value or name replaced or removed, at a random depth."""
    if isinstance(told, dict) and told and draw.random() < 0.85:
        name, how = draw.choice(sorted(told)), draw.random()
        if how < 0.7:
            return {**told, name: replaced(told[name], draw)}
        left = {one: value for one, value in told.items() if one != name}
        return left if how < 0.85 else {**left, draw.choice(("", "rows", "data", "x" * 300, "é", "params")): told[name]}
    if isinstance(told, list) and told and draw.random() < 0.75:
        at = draw.randrange(len(told))
        if draw.random() < 0.2:
            return told[:at] + told[at + 1 :]
        return [*told[:at], replaced(told[at], draw), *told[at + 1 :]]
    return draw.choice(VALUES)


def rows_of(request: Request, requests: Requests) -> list[Row] | None:
    """Return the rows that a body means; None where it means none that this code can tell."""
    names = requests.names
    length = request.headers.get("Inference-Header-Content-Length") if request.path.startswith("/v2/") else None
    kind = request.headers.get("Content-Type", "").partition(";")[0].lower()
    if request.path == "/invocations" and kind == "text/csv":
        return _csv_rows(request.body, requests)
    if request.path == "/invocations" and kind == "application/jsonlines":
        lines = [_loads(line) for line in re.split(rb"\r\n|\r|\n", request.body) if line.strip()]
        lines = [one["features"] if isinstance(one, dict) and set(one) == {"features"} else one for one in lines]
        return _listed(lines, names)
    document = _loads(request.body if length is None else request.body[: int(length)])
    if request.path.startswith("/v2/"):
        return _tensor_rows(document["inputs"], request.body[int(length) :] if length else b"", names)
    for key in ("rows", "dataframe_records", "instances"):
        if key in document:
            return _by_column(document[key], names)
    if "dataframe_split" in document:
        return _framed(document["dataframe_split"], names)
    if "input_data" in document:
        told = document["input_data"]
        return (
            _framed(told, names)
            if isinstance(told, dict) and {"columns", "data"} <= set(told)
            else _by_column(told, names)
        )
    return _by_column(document["inputs"], names) if "inputs" in document else _framed(document, names)


def _loads(text: bytes) -> Any:
    def constant(word: str) -> None:
        if word != "NaN":
            raise ValueError(word)

    return json.loads(text.decode("utf-8"), parse_constant=constant)


def _listed(told: list[Any], names: list[str]) -> list[Row]:
    return [one if isinstance(one, dict) else dict(zip(names, one, strict=True)) for one in told]


def _by_column(told: Any, names: list[str]) -> list[Row]:
    if isinstance(told, list):
        return _listed(told, names)
    columns = {name: one if isinstance(one, list) else [one] for name, one in told.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _framed(told: Any, names: list[str]) -> list[Row]:
    if told.get("columns") is None:
        return _listed(told["data"], names)
    return [dict(zip(told["columns"], row, strict=True)) for row in told["data"]]


def _csv_rows(body: bytes, requests: Requests) -> list[Row]:
    lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"))) if line]
    names = requests.names
    if lines and sorted(lines[0]) == sorted(names):
        names = lines.pop(0)

    def value(name: str, text: str) -> Any:
        if not text:
            return None
        if requests.dtypes[name] == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if requests.dtypes[name] == "string":
            return text
        try:
            return int(text)
        except ValueError:
            return float(text)

    return [{name: value(name, text) for name, text in zip(names, line, strict=True)} for line in lines]


def _tensor_rows(tensors: list[Any], binary: bytes, names: list[str]) -> list[Row]:
    columns: dict[str, list[Any]] = {}
    for one in tensors:
        size = (one.get("parameters") or {}).get("binary_data_size")
        if size is None:
            flat = list(_leaves(one["data"]))
        else:
            blob, binary = binary[:size], binary[size:]
            flat = _texts(blob) if one["datatype"] == "BYTES" else np.frombuffer(blob, KINDS[one["datatype"]]).tolist()
        flat = [None if isinstance(leaf, float) and math.isnan(leaf) else leaf for leaf in flat]
        count = one["shape"][0]
        if one["name"] not in names and len(tensors) == 1:
            return [dict(zip(names, flat[at * len(names) : (at + 1) * len(names)], strict=True)) for at in range(count)]
        columns[one["name"]] = flat
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _leaves(data: Any) -> Any:
    for one in data:
        yield from _leaves(one) if isinstance(one, list) else [one]


def _texts(blob: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "little")
        texts.append(blob[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return texts


def _with(request: Request, **changed: Any) -> Request:
    return Request(**{**{name: getattr(request, name) for name in Request.__dataclass_fields__}, **changed})


def _spoilt(body: bytes, draw: random.Random) -> bytes:
    """Return a body whose text is damaged or unusual."""
    match draw.randrange(9):
        case 0:
            return body[: draw.randrange(len(body) + 1)]
        case 1:
            return body.decode("utf-8", "replace").encode(draw.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le")))
        case 2:
            return draw.choice((b"[", b'{"rows":', b'{"a":')) * draw.choice((50, 2000, 100_000)) + body
        case 3:
            return re.sub(
                rb"-?\d+(\.\d+)?",
                draw.choice((b"NaN", b"Infinity", b"-Infinity", b"1e400", b"01", b"1" * 5000)),
                body,
                count=1,
            )
        case 4:
            return re.sub(
                rb'"[a-z]+"',
                draw.choice((rb'"\\ud800"', rb'"\\udc00x"', b'"\xff"', b'"\xed\xa0\x80"', rb'"\\x"')),
                body,
                count=draw.choice((1, 3)),
            )
        case 5:
            return b"{" + body[1:-1] + b"," + body[1:] if body[:1] == b"{" else body + body
        case 6:
            return draw.choice(
                (b"", b" ", b"null", b"0", b"[]", b"{}", b'""', b"\x00", b"\xff" * 40, draw.randbytes(200))
            )
        case _:
            made = bytearray(body or b"x")
            for _ in range(draw.choice((1, 1, 3, 20))):
                at, how = draw.randrange(len(made)), draw.random()
                if how < 0.5:
                    made[at] = draw.randrange(256)
                elif how < 0.75 and len(made) > 1:
                    del made[at]
                else:
                    made[at:at] = draw.randbytes(draw.randrange(1, 5))
            return bytes(made)


def _redirected(request: Request, draw: random.Random) -> Request:
    """Return the same body by another method, at another path or under other headers."""
    match draw.randrange(6):
        case 0:
            return _with(request, method=draw.choice(METHODS))
        case 1 | 2:
            return _with(request, path=draw.choice(PATHS), method=draw.choice(("POST", "GET")))
        case 3:
            return _with(request, headers={**request.headers, "Content-Type": draw.choice(TYPES)})
        case 4:
            lengths = ("0", "1", "-1", "99999999999999999999", "x", " 7", "²", str(len(request.body)))
            return _with(request, headers={**request.headers, "Inference-Header-Content-Length": draw.choice(lengths)})
        case _:
            name, told = draw.choice(
                (
                    *(("Content-Encoding", "gzip"), ("Content-Encoding", "identity"), ("Accept", "text/csv")),
                    *(("Accept", "application/jsonlines"), ("X-Request-Id", "x" * 5000), ("X-Request-Id", "\xff")),
                    *(("Expect", "100-continue"), ("Authorization", "Bearer \xff"), ("Cookie", "a" * 7000)),
                    *(("X-HTTP-Method-Override", "DELETE"), ("Host", "")),
                )
            )
            return _with(request, headers={**request.headers, name: told})


_JSON = {"Content-Type": "application/json"}


def _json(form: str, path: str, document: object) -> Request:
    return Request(form, path, json.dumps(document).encode(), headers=_JSON)


def _split(requests: Requests, rows: list[Row], draw: random.Random) -> dict[str, Any]:
    names = draw.sample(requests.names, len(requests.names))
    return {"columns": names, "data": [[row[name] for name in names] for row in rows]}


def _lists(requests: Requests, rows: list[Row]) -> list[list[Any]]:
    return [[row[name] for name in requests.names] for row in rows]


def _columns(requests: Requests, rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in requests.names}


def _timed(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    told = (
        "2013-04-01T05:15:00Z",
        "1700-01-01T00:00:00+14:00",
        "2199-12-31T23:59:59-14:00",
        "2263-01-01T00:00:00Z",
        "x",
        5,
    )
    return _json("timestamps", "/predict", {"rows": rows, "timestamps": [draw.choice((told[0], *told)) for _ in rows]})


def _csv(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    text = io.StringIO()
    writer = csv.writer(text)
    if draw.random() < 0.5:
        writer.writerow(requests.names)
    writer.writerows([["" if one is None else one for one in row] for row in _lists(requests, rows)])
    return Request(
        "CSV", "/invocations", text.getvalue().encode("utf-8", "replace"), headers={"Content-Type": "text/csv"}
    )


def _lines(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    lines = [json.dumps(draw.choice((row, {"features": _lists(requests, [row])[0]}))) for row in rows]
    return Request(
        "JSON lines", "/invocations", "\n".join(lines).encode(), headers={"Content-Type": "application/jsonlines"}
    )


def _tensors(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    kinds = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "string": "BYTES", "bool": "BOOL"}
    inputs = [
        {"name": name, "datatype": kinds[requests.dtypes[name]], "shape": [len(rows)], "data": values}
        for name, values in _columns(requests, rows).items()
    ]
    return _json("tensors", f"/v2/models/{MODEL}/infer", {"id": "7", "inputs": inputs})


def _binary(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    """Return binary tensors, some of them with wrong sizes, shapes or datatypes."""
    inputs: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, dtype in requests.dtypes.items():
        values = [draw.choice(requests.rows)[name] for _ in rows]
        if dtype == "string":
            blob = b"".join(len(one.encode()).to_bytes(4, "little") + one.encode() for one in values)
            datatype = "BYTES"
        else:
            choices = {
                "float64": ("FP64", "FP32"),
                "float32": ("FP32", "FP64", "FP16"),
                "int64": ("INT64", "INT8"),
                "bool": ("BOOL",),
            }
            datatype = draw.choice(choices[dtype])
            blob = np.array([math.nan if one is None else one for one in values], KINDS[datatype]).tobytes()
        size: Any = len(blob)
        shape: Any = draw.choice(([len(rows)], [len(rows), 1]))
        if draw.random() < 0.04:
            size = draw.choice((0, size + 1, size - 1, -1, 10**12, None, "8", True, 1.0))
        if draw.random() < 0.04:
            shape = draw.choice(([0], [2**40, 2**40], [len(rows) + 1], [-1], [], [1.0], None, [1] * 60))
        if draw.random() < 0.04:
            datatype = draw.choice((*KINDS, "BYTES", "FP128", "", None, 7, "BF16"))
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}})
        blobs.append(draw.randbytes(len(blob)) if draw.random() < 0.06 else blob)
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": draw.random() < 0.5}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Request("binary", f"/v2/models/{MODEL}/infer", b"".join([head, *blobs]), headers=headers)


def _labels(requests: Requests, rows: list[Row], draw: random.Random) -> Request:
    ids = {draw.choice((f"{draw.randrange(16**24):024x}", "x", "0" * 24)): draw.choice(VALUES) for _ in rows}
    return _json("labels", "/labels", {"labels": ids})


FORMS: Mapping[str, Callable[[Requests, list[Row], random.Random], Request]] = {
    "rows": lambda requests, rows, draw: _json(
        "rows", draw.choice(("/predict", "/aliases/production/predict")), {"rows": rows}
    ),
    "columns": lambda requests, rows, draw: _json("columns", "/predict", _split(requests, rows, draw)),
    "timestamps": _timed,
    "split": lambda requests, rows, draw: _json(
        "split", "/invocations", {"dataframe_split": _split(requests, rows, draw)}
    ),
    "records": lambda requests, rows, draw: _json("records", "/invocations", {"dataframe_records": rows}),
    "inputs": lambda requests, rows, draw: _json("inputs", "/invocations", {"inputs": _columns(requests, rows)}),
    "CSV": _csv,
    "JSON lines": _lines,
    "instances": lambda requests, rows, draw: _json(
        "instances", f"/v1/models/{MODEL}:predict", {"instances": draw.choice((rows, _lists(requests, rows)))}
    ),
    "score": lambda requests, rows, draw: _json("score", "/score", {"input_data": _split(requests, rows, draw)}),
    "tensors": _tensors,
    "binary": _binary,
    "labels": _labels,
}
