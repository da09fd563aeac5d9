"""One TCP connection becomes requests, within limits: how long its parts may take, how large a head is, how many.

Carried into the service: uvicorn and httptools. `server_options` plugs it into `uvicorn.Config`; a host with a server
of its own (``bentoml serve``) has that server's limits, and `mlnb.service.admission` from within the application.

- **Slow callers.** One sweep a second looks at every connection, so a request pays for no timer: a head that is not
  whole after ``header_s``, a body after ``body_s`` more, an answer that is not taken within ``send_s`` ends the
  connection (408 where nothing was answered yet). Between requests ``idle_s``, by the sweep or uvicorn's timer.
- **Heads.** More than ``max_header_bytes`` or 100 fields are refused with 431; what contradicts itself about its length
  (RFC 9112, section 6.1) or is no HTTP with 400, and the connection is closed, so nothing can be smuggled behind it.
  What follows a chunked body (trailers) may be as large and is not looked at.
- **Requests sent ahead.** Of those beyond the one that is answered a connection may have `_AHEAD`; they are answered,
  and the connection is closed: what came behind them is to be sent again.
- **Overload.** A POST beyond the worker's limit is refused from its head alone, without a task, with bytes that lie
  ready; health, readiness, metrics and every other GET are always answered (`mlnb.service.guard`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlnb.errors import RequestError
from mlnb.service.admission import ARRIVED, RETRY_AFTER_S
from mlnb.service.guard import Guard, Served
from mlnb.service.one_write import OneWrite
from mlnb.service.protocols import encode_refusal, request_id_of
from mlnb.service.whole import Whole, written

_HEADER_FIELDS = 100
_AHEAD = 16
_PLAIN = (b"/v1/", b"/v2/")
_LATE = RequestError("The request did not arrive in time.", "Send it again, whole.", status=408)
_MANY = RequestError("Too many connections are open.", "Use fewer, kept alive, or another replica.", status=503)
_LARGE = RequestError("The request's head is too large.", "Send fewer or shorter headers.", status=431)
_BROKEN = RequestError("That is not HTTP/1.1, or it contradicts itself.", "Correct the request.", status=400)


def server_options(application: Served) -> dict[str, object]:
    """Return keywords for `uvicorn.Config` that put the limits of an application in front of it."""
    guard = Guard(application)
    options: dict[str, object] = {
        "http": partial(GuardedProtocol, guard),
        "timeout_keep_alive": application.configuration.idle_s,
        "proxy_headers": False,
        "log_level": "error",  # callers that speak no HTTP are counted; a line for each would fill the disk
    }
    if application.configuration.tls_cert:
        from mlnb.service.tls import certificate_of, context_factory

        options["ssl_context_factory"] = context_factory(certificate_of(application.configuration))
    return options


class GuardedProtocol(HttpToolsProtocol):  # type: ignore[misc]  # uvicorn's types are not followed
    """A connection of uvicorn's that keeps to the limits."""

    loop: asyncio.AbstractEventLoop
    cycle: Any  # uvicorn's `RequestResponseCycle`, or `Whole`

    def __init__(self, guard: Guard, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._guard = guard
        self._admission = guard.admission
        self._since = 0.0  # when the part that is awaited began; 0 between requests
        self._in_head = True  # from the end of one request to the end of the next one's head
        self._head_bytes = 0  # that have come since the last head or part of a body: of a head, or of trailers
        self._unsent_since = 0.0
        self.only_looks = False
        self._refused = False  # the present request was refused from its head; its body is dropped
        self._parts: list[bytes] | None = None  # of its body, until it is known whether all of it has come
        self._idle_since = 0.0  # when the last answer was sent in one write; 0 where uvicorn's timer runs
        self._held = False  # and its refusal is not sent yet

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take a connection in, or refuse it."""
        super().connection_made(transport)
        self.transport: OneWrite = OneWrite(transport)
        self._since = perf_counter()
        if not self._guard.add(self):
            self._end(_MANY)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._guard.remove(self)
        for cycle, _ in self.pipeline:  # whole requests that nobody will answer
            if ARRIVED in cycle.scope:
                self._admission.leave(cycle.scope[ARRIVED])
        self.pipeline.clear()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if not self._since:
            self._since = perf_counter()
        self._idle_since = 0.0
        self._head_bytes += len(data)
        super().data_received(data)
        if self._parts is not None:
            self._begin()
        if self._head_bytes > self._guard.limits.max_header_bytes and not self.transport.is_closing():
            self._end(_LARGE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head, as uvicorn does; trailers are none."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer a request, or refuse it."""
        large = self._head_bytes > self._guard.limits.max_header_bytes and self._head_size() > (
            self._guard.limits.max_header_bytes
        )
        self._head_bytes = 0
        self._since = perf_counter()
        if self._held or self.transport.is_closing():
            self._refused = True  # a pipelined request behind a refusal that waits: answering it would be out of turn
            self.transport.close()
        elif self.pipeline and (len(self.pipeline) >= _AHEAD or not self.cycle.keep_alive):
            self._refused = True
            self.cycle.keep_alive = False  # of the last one that is answered
        elif large or len(self.headers) > _HEADER_FIELDS:
            self._refused = True
            self._end(_LARGE)
        elif self.only_looks and self.parser.get_method() not in (b"GET", b"HEAD"):
            self._refused = True
            self._end(_MANY)
        elif self._admission.under_way >= self._admission.limit and self._sheds():
            self._refused = True
            self._admission.refuse()
            self._guard.send_refusal(self)
        else:
            self._refused = False
            self._parts = []
            if not self._may_be_whole():
                self._begin()
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._head_bytes = 0
        if self._parts is not None:
            self._parts.append(body)
        elif not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Count the request that has arrived whole, where it may ask for a prediction."""
        self._since = 0.0
        self._in_head = True
        if self._refused:
            return
        if self._parts is not None:
            self._answer_whole(b"".join(self._parts))
            return
        if self.scope["method"] == "POST" and not self.cycle.response_complete:
            self.scope[ARRIVED] = perf_counter()
            self._admission.enter()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send what is left of an answer, and go on with the next request."""
        self.transport.flush()
        super().on_response_complete()

    def _may_be_whole(self) -> bool:
        """Say whether the present request may be answered in one write, if all of it comes in the present read."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.pipeline
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and self.url.startswith(b"/")
            and self.url.isascii()
            and b"%" not in self.url
            and b"?" not in self.url
            and self._guard.application.direct
        )

    def _begin(self) -> None:
        """Answer the present request by way of ASGI."""
        parts, self._parts = self._parts or (), None
        super().on_headers_complete()
        if self.expect_100_continue:
            self.cycle.on_response = self._expected_answered
        for part in parts:
            super().on_body(part)

    def _answer_whole(self, body: bytes) -> None:
        """Answer the present request in one write."""
        self._parts = None
        scope = self.scope
        scope["method"] = "POST"
        scope["path"] = self.root_path + self.url.decode("ascii")
        scope[ARRIVED] = perf_counter()
        self._admission.enter()
        self.cycle = cycle = Whole(scope, body, keep_alive=self.parser.should_keep_alive())
        task = self.loop.create_task(self._respond(cycle))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _respond(self, cycle: Whole) -> None:
        try:
            status, headers, body = await self._guard.application.respond(cycle.scope, cycle.receive)
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
        except BaseException:  # also where the worker ends: nobody is to wait for what does not come
            self.transport.close()
            raise
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_started = cycle.response_complete = True
        close = not cycle.keep_alive
        self.transport.write_whole(written(status, self.server_state.default_headers, headers, body, close=close))
        if close:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle_since = perf_counter()

    def hold(self) -> None:
        """Read nothing until the refusal is sent."""
        self._held = True
        self.flow.pause_reading()

    def send_refusal(self) -> None:
        """Refuse the present request; the connection goes on."""
        if self.transport.is_closing():
            return
        body = self._guard.bodies[self.url.startswith(_PLAIN)]
        made = request_id_of(self.headers) or self._guard.ids.take(1)[0]
        keeps = self.parser.should_keep_alive()
        self.transport.write(_answer(503, body, made, keeps=keeps, retry=True))
        if not keeps:
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._held:
            self._held = False
            self._since = perf_counter() if self._since else 0.0  # the rest of the body was not read meanwhile
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in our own form."""
        if self._parts is not None:
            self._begin()
        self._end(_BROKEN)

    def look(self, now: float) -> None:
        """End the connection where its caller is too slow."""
        limits = self._guard.limits
        if self.transport.get_write_buffer_size():
            self._unsent_since = self._unsent_since or now
            if now - self._unsent_since > limits.send_s:
                self.transport.abort()
            return
        self._unsent_since = 0.0
        if self._idle_since and now - self._idle_since > limits.idle_s:
            self.transport.close()
        elif self._since and not self._held:
            allowed = limits.header_s if self._in_head else limits.body_s + limits.header_s
            if now - self._since > allowed:
                self._end(_LATE)

    def _expected_answered(self) -> None:
        """End the connection where a caller that waits for ``100 Continue`` was answered instead of told so."""
        if self._since and not self._in_head:
            self.transport.close()
        self.on_response_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _sheds(self) -> bool:
        """Say whether the present request may be refused from its head: its answer comes next and its body is sent."""
        waits = self.cycle is not None and not self.cycle.response_complete
        return self.parser.get_method() == b"POST" and not waits and not self.expect_100_continue

    def _end(self, error: RequestError) -> None:
        """Say why, where nothing else is being said, and close."""
        if self.transport.is_closing():
            return
        self._admission.ended[error.status] = self._admission.ended.get(error.status, 0) + 1
        cycle = self.cycle
        if self._in_head:  # of a request that is not answered; those before it may not be answered yet either
            tells = cycle is None or cycle.response_complete
        else:
            tells = not self._refused and cycle is not None and not cycle.response_started
        if tells:
            made = self._guard.ids.take(1)[0]
            self.transport.write(_answer(error.status, encode_refusal(error), made, keeps=False))
        self.transport.close()


def _answer(status: int, body: bytes, request_id: str, *, keeps: bool, retry: bool = False) -> bytes:
    further = b"retry-after: %d\r\n" % RETRY_AFTER_S if retry else b""
    if not keeps:
        further += b"connection: close\r\n"
    return b"%scontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\n%s\r\n%s" % (
        STATUS_LINE[status],
        len(body),
        request_id.encode(),
        further,
        body,
    )
