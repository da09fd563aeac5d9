"""A predict request becomes an answer that is committed: choose the version, score, log.

Small requests are scored on the event loop (ONNX needs 0.1 ms, a thread hop as much), those that come together in one
call; large ones, and those of a version with hooks or another runtime, in a few threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from msgspec.structs import replace

from mlnb.errors import RequestError, StorageError
from mlnb.service.admission import RETRY_AFTER_S, Admission
from mlnb.service.batching import Batcher
from mlnb.service.body import Message, Receive, read_body
from mlnb.service.configuration import Configuration
from mlnb.service.experiments import Choice, Experiments
from mlnb.service.forms import Form
from mlnb.service.log import Ids, PredictionLog, Record
from mlnb.service.metrics import Metrics
from mlnb.service.predict import Predicted, answer, opened, predict, read, refusal
from mlnb.service.protocols import Route
from mlnb.service.reply import Answer
from mlnb.service.router import Router, Routing
from mlnb.service.tracing import carried
from mlnb.service.tracing import switch as tracing
from mlnb.service.unusual import count_warnings

Made = TypeVar("Made")

_INLINE_BYTES = 16_384
_THREADS = 4
_FAILED = RequestError("The service failed on this request.", "Look for its id in the service's log.", status=500)


class Answering:
    """Answers the predict requests of one process.

    Parameters
    ----------
    state : Path
        Folder of the service's files, where an experiment's counts are.
    router : Router
        Says which versions are live.
    admission : Admission
        Says how long a request may take.
    configuration : Configuration
        The service's.
    metrics : Metrics
        Where warnings are counted.

    Attributes
    ----------
    log : PredictionLog or None
        None until it is opened, and once this is closed.
    ids : Ids
        Maker of the ids of predictions and requests.
    experiments : Experiments
        The traffic between versions.
    """

    def __init__(
        self, state: Path, router: Router, admission: Admission, configuration: Configuration, metrics: Metrics
    ) -> None:
        self.log: PredictionLog | None = None
        self.ids = Ids()
        self.experiments = Experiments(state, self.ids, self._shadowed, configuration)
        self._router = router
        self._admission = admission
        self._configuration = configuration
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(_THREADS, "mlnb-predict")
        self._batcher = Batcher(admission.charge) if configuration.batching else None
        self._logged = configuration.log != "off"

    def close(self) -> None:
        """Commit what is queued and let go of the log."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        log, self.log = self.log, None
        if log is not None:
            log.close()
        self.experiments.close()  # last: a shadow that hangs holds it up

    def opened_log(self) -> PredictionLog:
        """Return the log.

        Raises
        ------
        RequestError
            503, once it is closed.
        """
        if self.log is None:
            raise RequestError("The service is shutting down.", "Send the request again.", status=503)
        return self.log

    async def in_thread(self, work: Callable[..., Made], *arguments: object) -> Made:
        """Return what `work` returns, from a thread beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def predict(self, route: Route, scope: Message, receive: Receive, request_id: str) -> Answer:
        """Return the answer to a request, or raise why there is none; either is committed.

        Parameters
        ----------
        route : Route
            Where it was sent.
        scope, receive : Message, Receive
            ASGI's.
        request_id : str
            Goes into each record.

        Raises
        ------
        RequestError
            Why nothing is answered.
        """
        arrived, body = perf_counter(), b""
        routing, alias = self._router.routing, route.alias
        choice: Choice | None = None
        try:
            body = await read_body(scope, receive, self._configuration)
            arrived, routing = self._admission.arrive(scope), self._router.routing
            if len(body) > _INLINE_BYTES and route.form == "message":
                route, form = await self.in_thread(opened, route, scope["headers"], body)
            else:
                route, form = opened(route, scope["headers"], body)
            alias = routing.alias_of(route.model, route.number) or route.alias
            deadline = self._admission.deadline(scope["headers"], arrived)
            if routing.traffic and not route.number:
                choice = await self._choice(routing, alias, form, scope, body, request_id)
            if choice is None:
                predicted = await self._scored(body, routing, alias, form, request_id, arrived, deadline)
            else:
                routing = choice.routing
                predicted = await self._chosen(choice, body, form, request_id, arrived, deadline)
        except Exception as error:
            known = error if isinstance(error, RequestError) else _FAILED
            if not known.retry_after_s:  # what is refused for its number alone is counted, not logged
                record = refusal(known, body, routing, alias, request_id=request_id, arrived=arrived, ids=self.ids)
                try:
                    await committed(self.opened_log().append(choice.marked([record]) if choice else [record]))
                except RequestError as unlogged:
                    raise (unlogged if error is known else error) from unlogged
            raise
        if predicted.records:
            await committed(self.opened_log().append(predicted.records))
        if predicted.unusual:
            count_warnings(predicted.unusual, self._metrics.count)
        written = predicted.written
        return Answer(200, written.body, written.kind, written.headers, predicted.version, predicted.rows)

    async def _choice(
        self, routing: Routing, alias: str, form: Form, scope: Message, body: bytes, request_id: str
    ) -> Choice | None:
        """Return who answers where versions share the traffic; a column may name the caller, so the rows are read."""
        asked = (routing, alias, form, scope["headers"], body, request_id)
        if len(body) > _INLINE_BYTES:
            return await self.in_thread(self.experiments.choose, *asked)
        return self.experiments.choose(*asked)

    async def _chosen(
        self, choice: Choice, body: bytes, form: Form, request_id: str, arrived: float, deadline: float
    ) -> Predicted:
        with self.experiments.counted(choice, arrived):
            predicted = await self._scored(body, choice.routing, choice.alias, form, request_id, arrived, deadline)
        self.experiments.copy(choice, form, body, request_id, predicted.records)
        return replace(predicted, records=choice.marked(predicted.records))

    async def _scored(
        self, body: bytes, routing: Routing, alias: str, form: Form, request_id: str, arrived: float, deadline: float
    ) -> Predicted:
        scorer, max_rows = routing.version_of(alias)[1].scorer, self._configuration.max_rows
        inline = scorer.exporter == "onnx" and scorer.hooks is None and len(body) <= _INLINE_BYTES
        ids, logged = self.ids, self._logged
        if inline and self._batcher is not None and self._admission.under_way > 1:
            began = self._admission.begin(arrived, deadline)
            asked = read(body, routing, alias, form, max_rows)
            self._admission.scored(began)
            scored = await self._batcher.score(asked.version, asked.request.rows)
            return answer(asked, scored, form, request_id=request_id, arrived=arrived, ids=ids, logged=logged)

        def work() -> Predicted:
            began = self._admission.begin(arrived, deadline)
            made = predict(
                body,
                routing,
                alias,
                form,
                request_id=request_id,
                arrived=arrived,
                max_rows=max_rows,
                ids=ids,
                logged=logged,
            )
            self._admission.scored(began)
            return made

        if inline:
            return work()
        try:
            async with asyncio.timeout(deadline - perf_counter()):
                return await self.in_thread(carried(work) if tracing.on else work)
        except TimeoutError as error:
            raise RequestError(
                f"The answer took more than {deadline - arrived:g} seconds.", "Send fewer rows.", status=503
            ) from error

    def _shadowed(self, records: Sequence[Record]) -> None:
        if self.log is not None:
            self.log.append(records).add_done_callback(lambda commit: commit.cancelled() or commit.exception())


async def committed(commit: asyncio.Future[None]) -> None:
    """Wait until something is in the log.

    Raises
    ------
    RequestError
        503, if the log cannot be written; it has said so in the service's own log, once for all requests.
    """
    try:
        await commit
    except StorageError as error:
        raise RequestError(error.problem, error.remedy, status=503, retry_after_s=RETRY_AFTER_S) from error
