"""Calls over gRPC become requests of the application, and what it answers becomes their answers.

Carried into the service, and loaded only where ``grpc_port`` is set: grpcio (the extra ``mlnb[grpc]``) and protobuf.
One server in each worker, on its event loop; the workers share the port by SO_REUSEPORT, so that the kernel gives each
new connection to one of them. After ``grpc_age_s`` a connection is told to come anew (GOAWAY, with its calls answered),
so that callers spread over the workers, and leave one that is to end before it ends. Messages pass through grpcio as
bytes: who asks, and whether there is room, is looked at before they are parsed.

``inference.GRPCInferenceService``: ``ModelInfer``, ``ServerLive``, ``ServerReady``, ``ModelReady``, ``ServerMetadata``,
``ModelMetadata`` and Triton's ``RepositoryIndex``. ``grpc.health.v1.Health/Check`` is what Kubernetes probes ask.
Tokens come as ``authorization`` metadata, request ids as ``x-request-id``, a deadline as gRPC's own; the answer's
``x-request-id``, ``x-model-version`` and ``x-prediction-warnings`` are in the trailing metadata.

References
----------
Open Inference Protocol v2, gRPC; gRPC Health Checking Protocol; gRPC A6, "Client Retries" (``grpc-retry-pushback-ms``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import unquote

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # callers that speak no HTTP/2 are no news
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # a worker forks nothing that would ask

import grpc
import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from mlnb.errors import ServiceError
from mlnb.service.app import Application
from mlnb.service.body import Message as AsgiMessage
from mlnb.service.configuration import Configuration
from mlnb.service.forms import Headers
from mlnb.service.grpc_call import INFER, ROUTE, SERVICE, code_of
from mlnb.service.grpc_messages import HEALTH, INFERENCE
from mlnb.service.grpc_sockets import close_listeners, has_connections
from mlnb.service.grpc_tensors import warned
from mlnb.service.protocols import Route
from mlnb.service.reserved import LINGERS
from mlnb.service.tracing import switch as tracing

_HEALTH = "grpc.health.v1.Health"
_SERVES, _DOES_NOT = 1, 2
_READY, _MODELS = "/v2/health/ready", "/v2/models"
_DESCRIBED = {
    "ServerLive": "/v2/health/live",
    "ServerReady": _READY,
    "ModelReady": f"{_MODELS}/{{model}}/ready",
    "ServerMetadata": "/v2",
    "ModelMetadata": f"{_MODELS}/{{model}}",
    "RepositoryIndex": "/v2/repository/index",
}
_DETAILS = 2000  # characters: a client takes 8 KiB of metadata
_STREAMS = 1024
_SMALL_BYTES = 4096  # of what asks for no prediction
_LOOK_S = 0.1
_PING_S = 10.0
_LONGEST_MS = 999_999_999
_CODES = {int(one.value[0]): one for one in grpc.StatusCode}
_TELLS = (b"x-request-id", b"x-model-version", b"x-prediction-warnings", b"www-authenticate")
_Context: TypeAlias = Any  # grpcio's types are not followed
_Behaviour: TypeAlias = Callable[[bytes, Any], Awaitable[bytes]]


@dataclass(slots=True)
class _Exchange:
    """One call on its way through the application: an ASGI request of one message each way."""

    body: bytes
    status: int = 0
    headers: Headers = ()
    answer: bytes = b""

    async def receive(self) -> AsgiMessage:
        """Return the message, once; then nothing more comes."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: AsgiMessage) -> None:
        """Take the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], tuple(message["headers"])
        else:
            self.answer = message["body"]


class GrpcServer:
    """The gRPC face of one worker; made on its event loop. It is bound at once and accepts once it is started.

    Parameters
    ----------
    application : Application
        What answers; opened.
    configuration : Configuration
        The service's.
    host : str
        The address of this machine that HTTP listens on as well.

    Raises
    ------
    ServiceError
        If the port cannot be listened on.
    SettingsError
        If the certificate cannot be used.
    """

    def __init__(self, application: Application, configuration: Configuration, host: str) -> None:
        self._application = application
        self._configuration = configuration
        self._host = host
        self._running: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self._server: Any = grpc.aio.server(
            options=_options(configuration), maximum_concurrent_rpcs=configuration.max_connections
        )
        self._server.add_generic_rpc_handlers((_Methods(self._methods()),))
        self._bind(f"[{host}]:{configuration.grpc_port}" if ":" in host else f"{host}:{configuration.grpc_port}")

    async def start(self) -> None:
        """Begin to accept."""
        await self._server.start()

    def drain(self, *, at_once: bool) -> None:
        """Accept no more, and end.

        Parameters
        ----------
        at_once : bool
            Whether callers are cut off; what runs has ``drain_s`` seconds. Otherwise each connection is served until it
            is ``grpc_age_s`` old, when its caller goes over to another worker.
        """
        if at_once:
            self._hurried.set()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def stopped(self) -> None:
        """Return when all has ended that was told to, what the callers have given up included."""
        self.drain(at_once=False)
        if self._ending is not None:
            await self._ending
        if self._running:
            await asyncio.wait(self._running, timeout=self._configuration.drain_s)

    async def _end(self) -> None:
        """End: grpcio cancels calls that reach it while it stops, so that it is not stopped while it has callers."""
        port, loop = self._configuration.grpc_port, asyncio.get_running_loop()
        close_listeners(port)
        deadline = loop.time() + self._configuration.grpc_age_s * LINGERS
        while not self._hurried.is_set() and loop.time() < deadline and has_connections(port):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), _LOOK_S)
        await self._server.stop(self._configuration.drain_s)

    def _bind(self, address: str) -> None:
        try:
            if self._configuration.tls_cert:
                from mlnb.service.grpc_tls import credentials_of

                self._server.add_secure_port(address, credentials_of(self._configuration))
            else:
                self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ServiceError(
                f"The service cannot answer gRPC at {address}: {error}.", "Choose another grpc_port."
            ) from error

    def _methods(self) -> dict[str, _Behaviour]:
        described: dict[str, _Behaviour] = {
            f"/{SERVICE}/{name}": partial(self._describe, name, path) for name, path in _DESCRIBED.items()
        }
        return {INFER.name: self._infer, f"/{_HEALTH}/Check": self._check, **described}

    async def _infer(self, body: bytes, context: _Context) -> bytes:
        exchange = await self._exchange(INFER, body, context)
        if exchange.status != 200:
            await _abort(context, exchange)
        told = _told(exchange.headers)
        context.set_trailing_metadata(told)
        warnings = next((text for name, text in told if name == "x-prediction-warnings"), "")
        return warned(exchange.answer, warnings) if warnings else exchange.answer

    async def _describe(self, name: str, path: str, body: bytes, context: _Context) -> bytes:
        asked = await _asked(INFERENCE, f"{name}Request", body, context)
        if "{model}" in path:
            version = f"/versions/{asked.version}" if asked.version else ""
            path = path.format(model=f"{asked.name}{version}") if "/" not in asked.name + asked.version else _MODELS
        exchange = await self._exchange(Route(f"/{SERVICE}/{name}", "", "POST", path), body, context)
        made = INFERENCE[f"{name}Response"]()
        if exchange.status == 200:
            found = msgspec.json.decode(exchange.answer)
            ParseDict({"models": found} if isinstance(found, list) else found, made, ignore_unknown_fields=True)
        elif exchange.status != 503 or "ready" not in made.DESCRIPTOR.fields_by_name:  # which are false where unset
            await _abort(context, exchange)
        context.set_trailing_metadata(_told(exchange.headers))
        return bytes(made.SerializeToString())

    async def _check(self, body: bytes, context: _Context) -> bytes:
        asked = await _asked(HEALTH, "HealthCheckRequest", body, context)
        if asked.service not in ("", SERVICE):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {asked.service[:100]!r} here.")
        exchange = await self._exchange(Route(f"/{_HEALTH}/Check", "", "POST", _READY), body, context)
        status = _SERVES if exchange.status == 200 else _DOES_NOT
        return bytes(HEALTH["HealthCheckResponse"](status=status).SerializeToString())

    async def _exchange(self, route: Route, body: bytes, context: _Context) -> _Exchange:
        """Let the application answer; a caller that gives up ends its call, not what the log is told of it."""
        exchange = _Exchange(body)
        scope: AsgiMessage = {
            "type": "http",
            "http_version": "2",
            "method": "POST",
            "scheme": "https" if self._configuration.tls_cert else "http",
            "path": route.name,
            "query_string": b"",
            "root_path": "",
            "headers": _headers(context),
            "server": (self._host, self._configuration.grpc_port),
            "client": _peer(context.peer()) if tracing.on else None,
            ROUTE: route,
        }
        task = asyncio.get_running_loop().create_task(self._application(scope, exchange.receive, exchange.send))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)
        return exchange


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio's types are not followed
    """Says which method answers a path."""

    def __init__(self, methods: Mapping[str, _Behaviour]) -> None:
        self._methods = {path: grpc.unary_unary_rpc_method_handler(one) for path, one in methods.items()}

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call; None where nothing does, which grpcio says itself."""
        return self._methods.get(handler_call_details.method)


def _options(configuration: Configuration) -> list[tuple[str, int]]:
    age_ms = int(configuration.grpc_age_s * 1000)
    return [
        *([("grpc.max_connection_age_ms", age_ms)] if age_ms else []),
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", configuration.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", configuration.max_header_bytes),
        ("grpc.absolute_max_metadata_size", configuration.max_header_bytes),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_connection_idle_ms", configuration.idle_s * 1000),
        ("grpc.server_handshake_timeout_ms", int(configuration.header_s * 1000)),
        ("grpc.keepalive_time_ms", int(configuration.send_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(_PING_S * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", int(_PING_S * 1000)),
    ]


def _headers(context: _Context) -> list[tuple[bytes, bytes]]:
    """Return the metadata of a call as headers; its deadline is the first of them."""
    given = context.invocation_metadata() or ()
    found = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in given
    ]
    left = context.time_remaining()
    if left is not None:
        found.insert(0, (b"x-request-timeout-ms", str(min(max(int(left * 1000), 1), _LONGEST_MS)).encode()))
    return found


def _told(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), text.decode("latin-1")) for name, text in headers if name in _TELLS)


async def _asked(messages: Mapping[str, Any], name: str, body: bytes, context: _Context) -> Any:
    """Return the message of a call that names something at the most; a large one is not even parsed."""
    if len(body) > _SMALL_BYTES:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"A {name} has {_SMALL_BYTES} bytes at the most.")
    try:
        return messages[name].FromString(body)
    except DecodeError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"The message is no {name}: {error}.")


async def _abort(context: _Context, exchange: _Exchange) -> None:
    """End a call as the application has refused it."""
    details = str(msgspec.json.decode(exchange.answer)["error"])[:_DETAILS]
    told = _told(exchange.headers)
    wait = next((int(text) for name, text in exchange.headers if name == b"retry-after"), 0)
    if wait:
        told = (*told, ("retry-after", str(wait)), ("grpc-retry-pushback-ms", str(wait * 1000)))
    await context.abort(_CODES[code_of(exchange.status)], details, told)


def _peer(told: str) -> tuple[str, int] | None:
    """Return the address and port of ``ipv4:127.0.0.1:1234`` or ``ipv6:%5B::1%5D:1234``."""
    host, _, port = unquote(told).partition(":")[2].rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdigit() else None
