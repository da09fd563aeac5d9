"""The ASGI application inside the Bento.

Way of a prediction: body -> `protocols` -> `router` -> `answering` (scorer, `log`) -> answer. Nothing is answered that
is not committed. `mlnb.service.serve` is the process that serves it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter, time_ns
from types import MappingProxyType
from typing import TypeAlias

from mlnb.errors import RequestError
from mlnb.service.access import access_of
from mlnb.service.admission import ARRIVED, Admission
from mlnb.service.answering import Answering, committed
from mlnb.service.body import Message, Receive, read_body
from mlnb.service.configuration import Configuration, read_configuration
from mlnb.service.crew import METRICS, READINESS, Crew, service_readiness, service_samples, worker_samples
from mlnb.service.described import Described
from mlnb.service.grpc_call import ROUTE
from mlnb.service.log import PredictionLog
from mlnb.service.log_content import warn_of_strangers
from mlnb.service.messages import log_access
from mlnb.service.metrics import OPENMETRICS, TEXT, Metrics, exposition, wants_openmetrics
from mlnb.service.protocols import Route, encode, named_routes, parse_labels, request_id_of, route_of
from mlnb.service.reply import Answer, broken, refused
from mlnb.service.router import Router
from mlnb.service.tls import check_certificate
from mlnb.service.tracing import Tracing, route_named, tracing_of

Send: TypeAlias = Callable[[Message], Awaitable[None]]
Sent: TypeAlias = tuple[int, list[tuple[bytes, bytes]], bytes]

_LOGGER = logging.getLogger("mlnb.service")
_PLAIN = ("/v1/", "/v2/")  # whose protocols know errors as one text
_AGAIN_S = 0.5


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
        self.configuration = configuration
        self.admission = Admission(configuration.queue, configuration.wait_s, configuration.answer_s)
        self.access = access_of(state, configuration)
        self._routes = routes
        self._described = Described(configuration, routes)
        self._metrics = Metrics()
        self._crew: Crew | None = None
        self._following: list[asyncio.Task[None]] = []
        self._answering = Answering(state or bento, self._router, self.admission, configuration, self._metrics)
        self._tracing: Tracing | None = None

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
        log = self._answering.log
        return bool(self._router.routing.default) and log is not None and not log.stopped

    def open(self) -> None:
        """Load the routing and open the log; nothing happens the second time.

        Raises
        ------
        MlnbError
            If a version cannot be loaded or the log cannot be written.
        """
        if self._answering.log is None:
            self.access.load()
            check_certificate(self.configuration)
            self._router.load()
            self._tracing = tracing_of(os.environ, self._router.routing.model)
            folder = self._predictions or _default_folder(self._router.routing.model)
            loaded = self._router.routing.loaded.values()
            warn_of_strangers(
                self.configuration.log_redact, {column.name for one in loaded for column in one.scorer.signature.inputs}
            )
            self._answering.log = PredictionLog(folder, self.configuration, self._metrics.count)

    async def join(self, crew: Crew) -> None:
        """Answer for all workers of a service what is asked about it, with the routing that they have by now."""
        self._crew = crew
        await self._router.look()

    def report(self, what: str) -> Mapping[str, object]:
        """Return this worker's own readiness or samples; see `mlnb.service.crew`."""
        if what == READINESS:
            if self._answering.log is not None and self._answering.log.problem:  # so that the next one who asks knows
                _probe(self._answering.log)
            return self._readiness()
        routing = self._router.routing
        return worker_samples(self._metrics, self.admission, routing.revision, ready=self.ready).to_json()

    def close(self) -> None:
        """Commit what is queued and let go of the log."""
        self._answering.close()
        if self._tracing is not None:
            self._tracing.close()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection: HTTP, or the server's life span; websockets are closed."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            try:
                if self._tracing is None:
                    await self._exchange(scope, receive, send)
                else:
                    await self._tracing.exchange(self._exchange, route_named(scope, self._routes), scope, receive, send)
            finally:
                if ARRIVED in scope:
                    self.admission.leave(scope[ARRIVED])

    @property
    def direct(self) -> bool:
        """Whether `respond` may be asked instead of ASGI: nothing looks at ASGI's messages on their way."""
        return self._tracing is None

    async def respond(self, scope: Message, receive: Receive) -> Sent:
        """Return status, headers and body of the answer to an HTTP request that has arrived whole."""
        try:
            return await self._responded(scope, receive)
        finally:
            if ARRIVED in scope:
                self.admission.leave(scope[ARRIVED])

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start()
            else:
                for task in self._following:
                    task.cancel()
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _start(self) -> None:
        """Start what needs the running loop: at life span, or at the first request where a host sends none."""
        self.open()
        if not self._following:
            experiments = partial(self._answering.experiments.follow, self._router)
            follows = (self._router.follow, experiments, self.access.follow)
            self._following = [asyncio.create_task(kept_up(follow)) for follow in follows]

    async def _exchange(self, scope: Message, receive: Receive, send: Send) -> None:
        status, headers, body = await self._responded(scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _responded(self, scope: Message, receive: Receive) -> Sent:
        started = perf_counter()
        request_id = request_id_of(scope["headers"]) or self._answering.ids.take(1)[0]
        name, plain = "other", False
        try:
            if not self._following:
                self._start()
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            plain = path.startswith(_PLAIN) or ROUTE in scope
            route = scope.get(ROUTE) or route_of(scope["method"], path, self._routes)
            name = route.name
            if not self.access.guarded:
                answer = await self._answer(route, scope, receive, request_id)
            else:
                token = self.access.admit(route, scope["headers"])
                answer = await self._answer(route, scope, receive, request_id)
                self.access.charge(token, answer.rows)
        except RequestError as error:
            answer = refused(error, plain, request_id)
        except Exception:  # the outermost face of the service: the stack trace goes to its log, never to a client
            _LOGGER.exception("Request %s failed.", request_id, extra={"request_id": request_id})
            answer = broken(request_id, plain)
        headers = [
            (b"content-type", answer.kind),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", request_id.encode()),
            *answer.headers,
        ]
        if answer.version:
            headers.append((b"x-model-version", answer.version.encode()))
        if answer.allow:
            headers.append((b"allow", answer.allow.encode()))
        seconds = perf_counter() - started
        self._metrics.observe(name, answer.status, answer.version, answer.rows, seconds, scope["method"])
        if self.configuration.access_log:
            log_access(scope["method"], name, answer.status, answer.version, seconds, request_id)
        return answer.status, headers, answer.body

    async def _answer(self, route: Route, scope: Message, receive: Receive, request_id: str) -> Answer:
        if route.name == "/healthz":
            return Answer(200, b'{"alive":true}')
        if route.name == "/readyz":
            if self._answering.log is not None and self._answering.log.problem:
                await asyncio.wait([_probe(self._answering.log)])
            told = await service_readiness(self._crew, self._readiness)
            return Answer(200 if told["ready"] else 503, encode(told))
        if route.name == "/metrics":
            samples = await service_samples(self._crew, partial(self.report, METRICS))
            openmetrics = wants_openmetrics(scope["headers"])
            text = exposition(samples, openmetrics=openmetrics)
            return Answer(200, text.encode(), kind=OPENMETRICS if openmetrics else TEXT)
        if route.name in ("/labels", "/explain"):
            body = await read_body(scope, receive, self.configuration)
            with self.admission.apart(scope):
                return await (self._label(body) if route.name == "/labels" else self._explain(body, scope))
        if route.path:
            routing = self._router.routing
            needs = self.access.needs if self.access.guarded else None
            page = self._described.at(route.path, routing, ready=self.ready, needs=needs)
            return Answer(200, page.body, page.kind, page.headers)
        return await self._answering.predict(route, scope, receive, request_id)

    async def _label(self, body: bytes) -> Answer:
        if self.configuration.log == "off":
            raise RequestError("This service keeps no log, so no labels.", "Set another log for it.", status=404)
        labels = parse_labels(body, self.configuration.max_rows, self._router.routing.outputs)
        await committed(self._answering.opened_log().label(labels, time_ns()))
        return Answer(200, encode({"accepted": len(labels)}))

    async def _explain(self, body: bytes, scope: Message) -> Answer:
        budget = self.configuration.explain_evaluations
        if not budget:
            raise RequestError(
                "This service does not explain.",
                "Set explain_evaluations in [tool.mlnb.service], or MLNB_EXPLAIN_EVALUATIONS, and start it again.",
                status=404,
            )
        from mlnb.service.explain import explain

        _, version = self._router.routing.version_of("")
        now = perf_counter()
        allowed = self.admission.deadline(scope["headers"], now) - now
        try:
            async with asyncio.timeout(allowed):
                told = await self._answering.in_thread(explain, body, version, budget)
        except TimeoutError as error:
            raise RequestError(
                f"The explanation took more than {allowed:g} seconds.", "Send fewer rows.", status=503
            ) from error
        return Answer(200, told, version=version.ref)

    def _readiness(self) -> dict[str, object]:
        routing, refused = self._router.routing, self._router.refused
        log_problem = self._answering.log.problem if self._answering.log else "not open"
        return {
            "ready": self.ready,
            "model": routing.model,
            "revision": routing.revision,
            "default": routing.default,
            "aliases": {alias: version.ref for alias, version in routing.aliases.items()},
            "versions": sorted({version.ref for version in routing.aliases.values()}),
            "log": log_problem or "ok",
            "logging": self._answering.log.told if self._answering.log else {"mode": self.configuration.log},
            "refused": None if refused is None else {"revision": refused.revision, "problem": refused.problem},
            "pid": os.getpid(),
        }


def _probe(log: PredictionLog) -> asyncio.Future[None]:
    """Try to write into a log; its `problem` tells what became of it."""
    probe = log.probe()
    probe.add_done_callback(lambda probed: probed.cancelled() or probed.exception())
    return probe


async def kept_up(follow: Callable[[], Awaitable[None]]) -> None:
    """Follow something for ever: where that fails, its stack trace goes to the log and it begins again."""
    while True:
        try:
            await follow()
        except Exception:  # what is live must not be left as it is without a word
            _LOGGER.exception("What is followed could not be looked at; it is tried again.")
        await asyncio.sleep(_AGAIN_S)


def _default_folder(model: str) -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mlnb" / "predictions" / model
