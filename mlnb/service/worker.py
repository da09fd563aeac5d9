"""The application becomes a worker: a process that accepts at the shared socket and answers until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from mlnb.errors import MlnbError
from mlnb.service.access import warn_of_openness
from mlnb.service.app import Application
from mlnb.service.balance import Balance
from mlnb.service.configuration import Configuration, read_configuration
from mlnb.service.connection import server_options
from mlnb.service.crew import METRICS, Crew
from mlnb.service.door import Counted, Door, make_room
from mlnb.service.grpc_call import check_grpc
from mlnb.service.messages import write_to_standard_error
from mlnb.service.wire import FORMAT, Said, Wire

if TYPE_CHECKING:
    from mlnb.service.grpc_server import GrpcServer

_LOGGER = logging.getLogger("mlnb.service")
_LOOK_S = 0.05
_OBJECTS = 20_000


@dataclass(frozen=True, slots=True)
class Inherited:
    """The descriptors that a supervisor has handed down, and this worker's place in the table of connections."""

    listener: int
    wire: int
    table: int
    place: int


def work(source: Path, inherited: Inherited) -> int:
    """Answer with the Bento in `source` until told to end; return the exit code, 2 where nothing can be answered."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all; the supervisor heeds them for all
        signal.signal(number, signal.SIG_IGN)
    wire = Wire(socket.socket(fileno=inherited.wire))
    try:
        state = os.environ.get("MLNB_SERVICE_STATE")
        configuration = read_configuration(Path(state) if state else None, os.environ)
        write_to_standard_error(configuration.log_format, accesses=configuration.access_log)
        make_room(configuration.max_connections)
        application = Application.from_environment(source, os.environ)
        application.open()
        if configuration.grpc_port:
            check_grpc()
        _spare_collections()
    except (MlnbError, OSError) as error:
        print(f"mlnb.service: {error}", file=sys.stderr, flush=True)
        wire.send({"failed": str(error)})
        return 2
    worker = Worker(application, configuration, wire, inherited)
    worker.run()
    return 2 if worker.failed else 0


class Worker(uvicorn.Server):  # type: ignore[misc]  # uvicorn's types are not followed
    """uvicorn's server behind a door of its own, ended by the supervisor instead of by signals.

    Parameters
    ----------
    application : Application
        What answers; opened.
    configuration : Configuration
        The service's.
    wire : Wire
        To the supervisor.
    inherited : Inherited
        The listening socket, among others.
    """

    def __init__(
        self, application: Application, configuration: Configuration, wire: Wire, inherited: Inherited
    ) -> None:
        super().__init__(_settings(application, configuration))
        self._application = application
        self._wire = wire
        self._balance = Balance(inherited.table, inherited.place)
        self._listener = socket.socket(fileno=inherited.listener)
        self._connections = Counted(self._balance)
        self.server_state.connections = self._connections
        self._ends_at = 0.0
        self._draining = False
        self._grpc: GrpcServer | None = None
        self.failed = False

    async def startup(self, **_: object) -> None:
        """Start the application, accept, and tell the supervisor."""
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()
        limit = self._application.configuration.header_s
        self._door = Door(self._listener, self._balance, self._connections, self._protocol, self.config.ssl, limit)
        loop.add_signal_handler(signal.SIGTERM, self._drain, 0.0)
        # Accepted sockets inherit it; asyncio would set it only where it can tell that the socket is TCP.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._crew = Crew(self._wire, self._report, self._drain, self._orphaned)
        if self._application.configuration.grpc_port:
            self._bind_grpc()
            if self.failed:
                return
        self._crew.listen()
        self._crew.say({"ready": FORMAT})  # from now on it is asked with the others, so a routing waits for it as well
        await self._application.join(self._crew)
        if self._grpc is not None and not self._draining:
            await self._grpc.start()
        if self._draining:  # told so before it had accepted anything
            return
        self._door.open()
        configuration = self._application.configuration
        warn_of_openness(self._listener.getsockname()[0], self._application.access, configuration)

    async def shutdown(self, **_: object) -> None:
        """Accept no more, finish what runs, and leave the last counters."""
        self._door.close()
        if self._grpc is not None:
            await self._grpc.stopped()
        await super().shutdown(sockets=[])
        self._crew.say({"leaving": self._report(METRICS)})

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `startup`."""
        yield

    def _bind_grpc(self) -> None:
        """Listen for gRPC as well; where that cannot be, say why and end."""
        from mlnb.service.grpc_server import GrpcServer

        try:
            host = self._listener.getsockname()[0]
            self._grpc = GrpcServer(self._application, self._application.configuration, host)
        except MlnbError as error:
            self._crew.say({"failed": str(error)})
            self.failed = self.should_exit = True

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _report(self, what: str) -> Said:
        return self._application.report(what)

    def _drain(self, idle_s: float) -> None:
        """Accept no more; each connection ends with its next answer, or when it has been idle for so long."""
        self._draining = True
        self._door.close()
        if self._grpc is not None:
            self._grpc.drain(at_once=idle_s <= 0)
        if idle_s <= 0:
            self.should_exit = True
            return
        closing = (b"connection", b"close")
        self.config.encoded_headers.append(closing)
        self.server_state.default_headers = [*self.server_state.default_headers, closing]
        self._ends_at = asyncio.get_running_loop().time() + idle_s
        self._look()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if not (self._connections or self._door.greets) or loop.time() >= self._ends_at:
            self.should_exit = True
        else:
            loop.call_later(_LOOK_S, self._look)

    def _orphaned(self) -> None:
        _LOGGER.warning("The supervisor has ended; this worker finishes what runs and ends.")
        self._drain(0.0)


def _spare_collections() -> None:
    """Let Python look for cycles seldom, never in what is loaded: 1,000 rows are 10,000 objects and no cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 20, 20)


def _settings(application: Application, configuration: Configuration) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(configuration.drain_s)),
        **server_options(application),
    )
