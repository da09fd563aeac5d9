"""The ASGI application inside the Bento.

Route of a prediction: body -> `protocols` -> `router` -> scorer -> `log` -> answer. Nothing is answered that is not
committed. Small requests are scored on the event loop (ONNX needs 0.1 ms, a thread hop as much); large ones, and those
of a version with hooks or another runtime, in a few threads. `mlnb.service.serve` is the process that serves it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time_ns
from types import MappingProxyType
from typing import TypeAlias

from mlnb.errors import RequestError, StorageError
from mlnb.service.body import Message, Receive, read_body
from mlnb.service.configuration import Configuration, read_configuration
from mlnb.service.described import describe
from mlnb.service.forms import JSON, Form, Headers
from mlnb.service.log import Ids, PredictionLog
from mlnb.service.metrics import Metrics
from mlnb.service.predict import Predicted, form_of, predict, refusal
from mlnb.service.protocols import Route, encode, encode_refusal, named_routes, parse_labels, request_id_of, route_of
from mlnb.service.router import Router, Routing

Send: TypeAlias = Callable[[Message], Awaitable[None]]

_LOGGER = logging.getLogger("mlnb.service")
_PLAIN = ("/v1/", "/v2/")  # whose protocols know errors as one text
_INLINE_BYTES = 16_384
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent; `version` and `rows` are counted in the metrics."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: Headers = ()
    version: str = ""
    rows: int = 0
    allow: str = ""


class Application:
    """ASGI application of one service.

    Parameters
    ----------
    bento : Path
        The Bento's source folder: ``aliases.json`` and ``versions/`` that it was built with.
    state : Path or None
        Folder whose ``aliases.json`` and ``versions/`` are followed as soon as they exist.
    predictions : Path or None
        Folder of the prediction log; by default ``~/.local/state/mlnb/predictions/<model>``.
    configuration : Configuration
        What one request may ask for, among others.
    routes : Mapping of str to Route
        Further paths, as a platform names them.
    """

    def __init__(
        self,
        bento: Path,
        state: Path | None,
        predictions: Path | None,
        configuration: Configuration,
        routes: Mapping[str, Route] = MappingProxyType({}),
    ) -> None:
        self._router = Router(state, bento)
        self._predictions = predictions
        self._configuration = configuration
        self._routes = routes
        self._metrics = Metrics()
        self._ids = Ids()
        self._log: PredictionLog | None = None
        self._follower: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(_THREADS, "mlnb-predict")

    @classmethod
    def from_environment(cls, bento: Path, environ: Mapping[str, str]) -> Application:
        """Return the application that the environment describes; nothing is loaded yet.

        Read are ``MLNB_SERVICE_STATE``, ``MLNB_PREDICTIONS``, ``AIP_PREDICT_ROUTE`` and ``AIP_HEALTH_ROUTE``, which
        Vertex AI sets, and what `mlnb.service.configuration` reads.
        """
        state, predictions = environ.get("MLNB_SERVICE_STATE"), environ.get("MLNB_PREDICTIONS")
        followed = Path(state) if state else None
        configuration = read_configuration(followed, environ)
        routes = named_routes(environ.get("AIP_PREDICT_ROUTE", ""), environ.get("AIP_HEALTH_ROUTE", ""))
        return cls(bento, followed, Path(predictions) if predictions else None, configuration, routes)

    @property
    def ready(self) -> bool:
        """Whether predictions are answered."""
        return bool(self._router.routing.default) and self._log is not None and not self._log.problem

    def open(self) -> None:
        """Load the routing and open the log; nothing happens the second time.

        Raises
        ------
        MlnbError
            If a version cannot be loaded or the log cannot be written.
        """
        if self._log is None:
            self._router.load()
            self._log = PredictionLog(self._predictions or _default_folder(self._router.routing.model))

    def close(self) -> None:
        """Commit what is queued and let go of the log."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._log is not None:
            self._log.close()
            self._log = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection: HTTP, or the server's life span; websockets are closed."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._exchange(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start()
            else:
                if self._follower is not None:
                    self._follower.cancel()
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _start(self) -> None:
        """Start what needs the running loop: at life span, or at the first request where a host sends none."""
        self.open()
        if self._follower is None:
            self._follower = asyncio.get_running_loop().create_task(self._router.follow())

    async def _exchange(self, scope: Message, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request_id = request_id_of(scope["headers"]) or self._ids.take(1)[0]
        name, plain = "other", False
        try:
            if self._follower is None:
                self._start()
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            plain = path.startswith(_PLAIN)
            route = route_of(scope["method"], path, self._routes)
            name = route.name
            answer = await self._answer(route, scope, receive, request_id)
        except RequestError as error:
            answer = _refused(error, plain)
        except Exception:  # the outermost face of the service: the stack trace goes to its log, never to a client
            _LOGGER.exception("Request %s failed.", request_id)
            answer = _refused(_broken(request_id), plain)
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", request_id.encode()),
            *answer.headers,
        ]
        if answer.version:
            headers.append((b"x-model-version", answer.version.encode()))
        if answer.status == 405:
            headers.append((b"allow", b"GET, HEAD" if scope["method"] == "POST" else b"POST"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
        self._metrics.observe(name, answer.status, answer.version, answer.rows, perf_counter() - started)

    async def _answer(self, route: Route, scope: Message, receive: Receive, request_id: str) -> Answer:
        if route.name == "/healthz":
            return Answer(200, b'{"alive":true}')
        if route.name == "/readyz":
            if self._log is not None and self._log.problem:
                await asyncio.wait([self._log.probe()])
            return Answer(200 if self.ready else 503, encode(self._readiness()))
        if route.name == "/metrics":
            text = self._metrics.text(revision=self._router.routing.revision, ready=self.ready)
            return Answer(200, text.encode(), kind=b"text/plain; version=0.0.4; charset=utf-8")
        if route.name == "/labels":
            return await self._label(await read_body(scope, receive, self._configuration))
        if route.name == "/explain":
            return await self._explain(await read_body(scope, receive, self._configuration))
        if route.path:
            explains = bool(self._configuration.explain_evaluations)
            return Answer(200, encode(describe(route.path, self._router.routing, ready=self.ready, explains=explains)))
        return await self._predict(route, scope, receive, request_id)

    async def _predict(self, route: Route, scope: Message, receive: Receive, request_id: str) -> Answer:
        arrived, body = perf_counter(), b""
        try:
            body = await read_body(scope, receive, self._configuration)
            arrived, routing = perf_counter(), self._router.routing
            alias = routing.alias_of(route.model, route.number) or route.alias
            form = form_of(route, scope["headers"])
            predicted = await self._scored(body, routing, alias, form, request_id, arrived)
        except RequestError as error:
            await self._commit_refusal(error, body, route.alias, request_id, arrived)
            raise
        if predicted.records:
            await self._committed(self._opened_log().append(predicted.records))
        written, rows = predicted.written, len(predicted.records)
        return Answer(200, written.body, written.kind, written.headers, predicted.version, rows)

    async def _scored(
        self, body: bytes, routing: Routing, alias: str, form: Form, request_id: str, arrived: float
    ) -> Predicted:
        def work() -> Predicted:
            return predict(
                body,
                routing,
                alias,
                form,
                request_id=request_id,
                arrived=arrived,
                max_rows=self._configuration.max_rows,
                ids=self._ids,
            )

        scorer = routing.version_of(alias)[1].scorer
        if scorer.exporter == "onnx" and scorer.hooks is None and len(body) <= _INLINE_BYTES:
            return work()
        try:
            async with asyncio.timeout(self._configuration.answer_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise RequestError(
                f"The answer took more than {self._configuration.answer_s:g} seconds.", "Send fewer rows.", status=503
            ) from error

    async def _commit_refusal(
        self, error: RequestError, body: bytes, alias: str, request_id: str, arrived: float
    ) -> None:
        routing = self._router.routing
        record = refusal(error, body, routing, alias, request_id=request_id, arrived=arrived, ids=self._ids)
        await self._committed(self._opened_log().append([record]))

    async def _label(self, body: bytes) -> Answer:
        labels = parse_labels(body, self._configuration.max_rows, self._router.routing.outputs)
        await self._committed(self._opened_log().label(labels, time_ns()))
        return Answer(200, encode({"accepted": len(labels)}))

    async def _explain(self, body: bytes) -> Answer:
        budget = self._configuration.explain_evaluations
        if not budget:
            raise RequestError(
                "This service does not explain.",
                "Set explain_evaluations in [tool.mlnb.service], or MLNB_EXPLAIN_EVALUATIONS, and start it again.",
                status=404,
            )
        from mlnb.service.explain import explain

        _, version = self._router.routing.version_of("")
        work = asyncio.get_running_loop().run_in_executor(self._pool, explain, body, version, budget)
        return Answer(200, await work, version=version.ref)

    async def _committed(self, commit: asyncio.Future[None]) -> None:
        try:
            await commit
        except StorageError as error:
            raise RequestError(error.problem, error.remedy, status=503) from error

    def _opened_log(self) -> PredictionLog:
        if self._log is None:
            raise RequestError("The service is shutting down.", "Send the request again.", status=503)
        return self._log

    def _readiness(self) -> dict[str, object]:
        routing, refused = self._router.routing, self._router.refused
        log_problem = self._log.problem if self._log else "not open"
        return {
            "ready": self.ready,
            "model": routing.model,
            "revision": routing.revision,
            "default": routing.default,
            "aliases": {alias: version.ref for alias, version in routing.aliases.items()},
            "versions": sorted({version.ref for version in routing.aliases.values()}),
            "log": log_problem or "ok",
            "refused": None if refused is None else {"revision": refused.revision, "problem": refused.problem},
            "pid": os.getpid(),
        }


def _refused(error: RequestError, plain: bool) -> Answer:
    return Answer(error.status, encode_refusal(error, plain=plain))


def _broken(request_id: str) -> RequestError:
    return RequestError(
        "The service failed on this request.", f"Look for request {request_id} in the service's log.", status=500
    )


def _default_folder(model: str) -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mlnb" / "predictions" / model
