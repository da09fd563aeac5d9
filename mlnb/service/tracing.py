"""Requests become spans of OpenTelemetry: one for each request, below it one for each of its stages.

Carried into the service: the standard library; opentelemetry (the extra ``mlnb[otel]``) is imported where an endpoint
is named by the standard variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) and neither
``OTEL_SDK_DISABLED`` nor ``OTEL_TRACES_EXPORTER=none`` says otherwise. Sampler, headers, timeouts, batches, limits,
resource and propagators are what the ``OTEL_*`` variables say; the protocol is always OTLP in protobuf over HTTP:
``OTEL_EXPORTER_OTLP_PROTOCOL``, every other exporter of traces, and what is said of metrics and logs are ignored. Where
they are not set, nothing is imported and a request pays one look at an attribute.

The context that a caller sends (W3C ``traceparent``, ``tracestate``, ``baggage``) is the parent of the request's span,
which is current while hooks run: what they trace, or what their HTTP client sends on, belongs to it. A request without
an ``X-Request-Id`` gets the trace's id as its id, so that the answer, the prediction log and the service's own log name
the trace; every line of that log has ``trace_id`` as well.

References
----------
W3C Trace Context; OpenTelemetry semantic conventions 1.3x, HTTP and gRPC server spans.
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

from mlnb.errors import RequestError
from mlnb.service.grpc_call import ROUTE, code_of
from mlnb.service.protocols import Route, request_id_of, route_of

T = TypeVar("T")
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Exchange: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LOGGER = logging.getLogger("mlnb.service")
_Marks: TypeAlias = "list[tuple[str, int]]"
_marks: contextvars.ContextVar[_Marks | None] = contextvars.ContextVar("mlnb_marks", default=None)


def wants_tracing(environ: Mapping[str, str]) -> bool:
    """Say whether the standard variables ask for traces."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(environ.get(name) for name in _ENDPOINTS)


def tracing_of(environ: Mapping[str, str], service: str) -> Tracing | None:
    """Return what traces a service, None where nothing asks for it, or what it needs is not installed."""
    if not wants_tracing(environ):
        return None
    try:
        return Tracing(service, environ)
    except ImportError as error:
        _LOGGER.warning(
            "OpenTelemetry's variables ask for traces, but %s is not installed: nothing is traced. "
            "Install mlnb[otel] in the service's environment.",
            error.name,
        )
        return None


class Switch:
    """Whether a `Tracing` is at work in this process; asked before each `mark`."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


switch = Switch()


class Tracing:
    """Traces the requests of one process.

    Parameters
    ----------
    service : str
        Its name, where ``OTEL_SERVICE_NAME`` does not say another.
    environ : Mapping of str to str
        The environment.
    """

    def __init__(self, service: str, environ: Mapping[str, str]) -> None:
        from opentelemetry import context, propagate, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create({} if named else {"service.name": service})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)  # for what hooks trace
        self._tracer = self._provider.get_tracer("mlnb")
        self._context, self._propagate, self._trace = context, propagate, trace
        _name_traces(trace)
        switch.on = True

    async def exchange(self, answer: Exchange, route: str, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request within its span.

        Parameters
        ----------
        answer : callable
            What answers.
        route : str
            Name of the request's route.
        """
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = self._propagate.extract(carrier)
        name = route[1:] if ROUTE in scope else f"{scope['method']} {route}"
        span = self._tracer.start_span(name, parent, self._trace.SpanKind.SERVER, _asked(scope, route, carrier))
        current = self._context.attach(self._trace.set_span_in_context(span, parent))
        marks: _Marks = [("", time.time_ns())]
        marking = _marks.set(marks)
        told = request_id_of(scope["headers"])
        if not told:
            told = f"{span.get_span_context().trace_id:032x}"
            scope["headers"] = [(b"x-request-id", told.encode()), *scope["headers"]]  # before one that is none
        span.set_attribute("mlnb.request_id", told)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if len(marks) > 1:
                    marks.append(("log", time.time_ns()))
                self._answered(span, message, called=ROUTE in scope)
            await send(message)

        try:
            await answer(scope, receive, sending)
        finally:
            _marks.reset(marking)
            self._context.detach(current)
            self._stages(span, marks)
            span.end()

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()

    def _answered(self, span: Any, message: Message, *, called: bool) -> None:
        status, headers = int(message["status"]), dict(message["headers"])
        if called:
            span.set_attribute("rpc.grpc.status_code", code_of(status))
        else:
            span.set_attribute("http.response.status_code", status)
        if b"x-model-version" in headers:
            span.set_attribute("mlnb.version", headers[b"x-model-version"].decode())
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(self._trace.StatusCode.ERROR)

    def _stages(self, span: Any, marks: _Marks) -> None:
        within = self._trace.set_span_in_context(span)
        for (_, began), (stage, ended) in pairwise(marks):
            self._tracer.start_span(f"mlnb.{stage}", within, start_time=began).end(ended)


def mark(stage: str) -> None:
    """Say that a stage of the present request has ended; it began where the one before has ended."""
    marks = _marks.get()
    if marks is not None:
        marks.append((stage, time.time_ns()))


def route_named(scope: Message, further: Mapping[str, Route]) -> str:
    """Return the name of a request's route, "other" for none."""
    if ROUTE in scope:
        return str(scope[ROUTE].name)
    try:
        return route_of(scope["method"], scope["path"].removeprefix(scope.get("root_path", "")), further).name
    except RequestError:
        return "other"


def carried(work: Callable[[], T]) -> Callable[[], T]:
    """Return work for another thread that belongs to the present request there, too."""
    within = contextvars.copy_context()
    return lambda: within.run(work)


def _asked(scope: Message, route: str, headers: Mapping[str, str]) -> dict[str, str | int]:
    server, client = scope.get("server") or ("", 0), scope.get("client") or ("", 0)
    found: dict[str, str | int | None] = {
        **_what(scope, route),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "server.address": server[0],
        "server.port": server[1],
        "client.address": client[0],
        "user_agent.original": headers.get("user-agent"),
    }
    return {name: value for name, value in found.items() if value}


def _what(scope: Message, route: str) -> dict[str, str | int | None]:
    if ROUTE in scope:
        service, _, method = route[1:].rpartition("/")
        return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    return {
        "http.request.method": scope["method"],
        "http.route": route,
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
    }


def _name_traces(trace: Any) -> None:
    """Let every line of this process's log name the trace that it belongs to."""
    make = logging.getLogRecordFactory()

    def named(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        found = trace.get_current_span().get_span_context()
        if found.is_valid:
            record.trace_id = f"{found.trace_id:032x}"
        return record

    logging.setLogRecordFactory(named)
