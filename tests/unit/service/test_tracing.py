"""A traced request is one span with its stages, in the caller's trace, received by a collector as the protocol has it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tritonclient.grpc.service_pb2 import ModelInferRequest

from mlnb.model.export import export_model
from mlnb.service.bento import Bento
from mlnb.service.local import LocalTarget
from mlnb.service.log_reader import read_predictions
from mlnb.settings import Settings
from mlnb.store.folder import StateFolder
from tests.bench.client_case import free_port

ROW = {"age": 0.5, "wind": 0.5, "origin": "JFK"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
HOOKS = """
from urllib.request import Request, urlopen

from opentelemetry.propagate import inject


def preprocess(rows: list[dict]):
    if rows[0]["age"] == 9001:
        raise ValueError("no such age")
    headers = {}
    inject(headers)
    urlopen(Request("http://127.0.0.1:%d/asked-by-the-hook", headers=headers), timeout=10).close()
    return rows
"""


@dataclass
class Collector:
    """What a collector has received."""

    port: int = 0
    spans: list[Span] = field(default_factory=list)
    service: set[str] = field(default_factory=set)
    asked_by_hook: list[dict[str, str]] = field(default_factory=list)

    def of(self, trace: str, count: int) -> dict[str, Span]:
        """Wait for the spans of a trace, by name."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            found = {span.name: span for span in list(self.spans) if span.trace_id.hex() == trace}
            if len(found) >= count:
                return found
            time.sleep(0.02)
        raise AssertionError(f"The trace {trace} has {sorted(found)}")


@dataclass(frozen=True)
class Traced:
    port: int
    grpc_port: int
    predictions: Path
    log: Path
    collector: Collector

    def ask(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, json.dumps(body), sent)
            response = connection.getresponse()
            response.read()
            return response.status, {name.lower(): value for name, value in response.headers.items()}
        finally:
            connection.close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            asked = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in asked.resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                found.service.add(names["service.name"])
                for scope in resource.scope_spans:
                    found.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            found.asked_by_hook.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, bento: Bento, packages: dict[int, Path], collector: Collector
) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("hooked") / "2"
    estimator, sample = importlib.import_module("tests.unit.service.conftest")._fit(0)
    with pytest.MonkeyPatch.context() as environ:
        export_model(estimator, sample, folder, model="delays", hooks=HOOKS % collector.port)
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        environ.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        state = StateFolder.open(tmp_path_factory.mktemp("traced"))
        target = LocalTarget(state, Settings(service={"log_format": "json", "grpc_port": free_port()}))
        target.route("delays", {1: packages[1], 2: folder}, {"staging": 1, "production": 2})
        started = target.start("delays", bento.path)
        yield Traced(started.port, started.grpc_port, state.predictions / "delays", Path(started.log), collector)
        target.stop("delays")


def told(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


def test_a_request_is_a_span_below_its_callers_with_a_span_for_each_stage(traced: Traced) -> None:
    status, headers = traced.ask(
        "/aliases/staging/predict", {"rows": [ROW]}, traceparent=f"00-{TRACE}-{PARENT}-01", baggage="team=shop"
    )
    assert status == 200
    spans = traced.collector.of(TRACE, 5)
    request = spans["POST /aliases/{alias}/predict"]
    assert (request.parent_span_id.hex(), request.kind) == (PARENT, Span.SPAN_KIND_SERVER)
    known = told(request)
    assert known["http.request.method"] == "POST"
    assert known["http.route"] == "/aliases/{alias}/predict"
    assert known["url.path"] == "/aliases/staging/predict"
    assert known["url.scheme"] == "http"
    assert known["http.response.status_code"] == 200
    assert known["server.port"] == traced.port
    assert known["mlnb.version"] == "delays/1"
    stages = [spans[f"mlnb.{stage}"] for stage in ("receive", "parse", "score", "log")]
    assert all(span.parent_span_id == request.span_id for span in stages)
    times = [at for span in stages for at in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert times == sorted(times)
    assert request.start_time_unix_nano <= times[0] + 1_000_000
    assert times[-1] <= request.end_time_unix_nano
    assert traced.collector.service == {"delays"}
    assert headers["x-request-id"] == TRACE == known["mlnb.request_id"]
    requests = [one for batch in read_predictions(traced.predictions) for one in batch.request_id]
    assert TRACE in requests


def test_a_call_over_grpc_is_a_span_of_its_method_with_the_same_stages(traced: Traced) -> None:
    trace = "dddd2f3577b34da6a3ce929d0e0e4736"
    message = ModelInferRequest(model_name="delays", model_version="1")
    for name, value in ROW.items():
        tensor = message.inputs.add(name=name, datatype="BYTES" if name == "origin" else "FP64", shape=[1])
        if name == "origin":
            tensor.contents.bytes_contents.append(str(value).encode())
        else:
            tensor.contents.fp64_contents.append(float(value))  # type: ignore[arg-type]
    with grpc.insecure_channel(f"127.0.0.1:{traced.grpc_port}") as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        ask(message.SerializeToString(), timeout=20, metadata=[("traceparent", f"00-{trace}-{PARENT}-01")])
    spans = traced.collector.of(trace, 5)
    call = spans["inference.GRPCInferenceService/ModelInfer"]
    assert (call.parent_span_id.hex(), call.kind) == (PARENT, Span.SPAN_KIND_SERVER)
    known = told(call)
    expected = {"rpc.system": "grpc", "rpc.method": "ModelInfer", "rpc.grpc.status_code": 0, "mlnb.version": "delays/1"}
    assert expected.items() <= known.items()
    assert known["server.port"] == traced.grpc_port
    assert known["client.address"] == "127.0.0.1"
    assert not [name for name in known if name.startswith("http.")]
    assert all(spans[f"mlnb.{stage}"].parent_span_id == call.span_id for stage in ("receive", "parse", "score", "log"))


def test_what_a_hook_asks_belongs_to_the_trace_and_brings_its_baggage(traced: Traced) -> None:
    trace = "aaaa2f3577b34da6a3ce929d0e0e4736"
    status, headers = traced.ask(
        "/predict", {"rows": [ROW]}, traceparent=f"00-{trace}-{PARENT}-01", baggage="team=shop", X_Request_Id="mine"
    )
    assert (status, headers["x-request-id"]) == (200, "mine")
    request = traced.collector.of(trace, 5)["POST /predict"]
    asked = [one for one in traced.collector.asked_by_hook if trace in one.get("traceparent", "")]
    assert asked[0]["traceparent"] == f"00-{trace}-{request.span_id.hex()}-01"
    assert asked[0]["baggage"] == "team=shop"
    assert told(request)["mlnb.request_id"] == "mine"


def test_a_failure_is_an_error_in_the_trace_and_its_log_line_names_it(traced: Traced) -> None:
    trace = "bbbb2f3577b34da6a3ce929d0e0e4736"
    status, _ = traced.ask("/predict", {"rows": [{**ROW, "age": 9001}]}, traceparent=f"00-{trace}-{PARENT}-01")
    assert status == 500
    request = traced.collector.of(trace, 1)["POST /predict"]
    assert request.status.code == Status.STATUS_CODE_ERROR
    assert told(request)["error.type"] == "500"
    lines = [json.loads(line) for line in traced.log.read_text().splitlines() if line.startswith("{")]
    [about] = [line for line in lines if line.get("trace_id") == trace]
    assert about["request_id"] == trace
    assert "no such age" in about["message"]


def test_a_caller_that_does_not_sample_leaves_no_span_and_one_without_a_trace_begins_one(traced: Traced) -> None:
    silent = "cccc2f3577b34da6a3ce929d0e0e4736"
    assert traced.ask("/aliases/staging/predict", {"rows": [ROW]}, traceparent=f"00-{silent}-{PARENT}-00")[0] == 200
    _, headers = traced.ask("/nowhere", {}, traceparent="rubbish", X_Request_Id="x" * 129)
    request = traced.collector.of(headers["x-request-id"], 1)["POST other"]
    assert not request.parent_span_id
    assert told(request)["http.response.status_code"] == 404
    assert silent not in {span.trace_id.hex() for span in traced.collector.spans}


ASKED = """
import sys
from mlnb.service.tracing import tracing_of
import mlnb.service.app
print(tracing_of({variables}, "delays"), any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
    ],
)
def test_where_it_is_off_nothing_is_imported_and_where_it_is_missing_that_is_said(
    variables: dict[str, str], missing: bool
) -> None:
    code = ASKED.format(variables=variables)
    if missing:
        code = 'import sys\nsys.modules["opentelemetry.exporter"] = None\n' + code.replace(", any(", ", True or any(")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == (["None", "True"] if missing else ["None", "False"])
    assert ("Install mlnb[otel]" in done.stderr) == missing
