"""A listening socket becomes workers that share it, and that are there again when one dies.

The supervisor owns the socket and loads nothing that answers: it starts ``python -m mlnb.service.serve --worker`` for
each worker and speaks with it over a `mlnb.service.wire`. SIGTERM and SIGINT end the service: workers accept no more,
finish what runs, commit the log. SIGHUP replaces all workers, one after another: a new one answers before an old one
lets go, with ``service.json`` and the code as they are now. Where the supervisor is killed, each worker sees its wire
end, finishes what runs and ends; no process and no socket remains.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from mlnb.errors import MlnbError
from mlnb.service.balance import Balance
from mlnb.service.configuration import Configuration, read_configuration, read_source
from mlnb.service.footprint import usable_cores
from mlnb.service.hub import Hub
from mlnb.service.launch import Launched, launch
from mlnb.service.member import DRAINING, READY, STARTING, Member, Plan, delay_after
from mlnb.service.messages import line
from mlnb.service.reserved import LINGERS, Reserved

_START_S = 120.0
_HEARTBEAT_S = 5.0
_HUNG_S = 60.0
_PARENT_POLL_S = 0.2
_RETRY_S = 1.0
_IDLE_S = 5.0
_BEYOND_DRAIN_S = 5.0
_HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """One service.

    Parameters
    ----------
    listener : socket
        Bound and listening; inherited by the workers.
    table : int
        Descriptor of the table of their connections.
    first : Launched
        The first worker, which loads already.
    state : Path or None
        The service's folder, whose ``service.json`` says what is configured.
    parent : int
        The process with which the service ends; 0 for none.
    reserved : Reserved, optional
        The port of gRPC.
    """

    def __init__(
        self,
        listener: socket.socket,
        table: int,
        first: Launched,
        state: Path | None,
        parent: int = 0,
        reserved: Reserved | None = None,
    ) -> None:
        self._listener = listener
        self._state = state
        self._parent = parent
        self._table = table
        self._balance = Balance(table)
        self._first = first
        self._reserved = reserved or Reserved(listener.getsockname()[0])
        self._configuration = Configuration()
        self._plan = Plan(1, 1, "")
        self._before: tuple[Plan, Configuration] | None = None  # what held until a reload that is not yet proved
        self._generations = 1  # that there were plans of; none is reused
        self._members: dict[int, Member] = {}
        self._selector = DefaultSelector()
        self._hub = Hub(self._members)
        self._asked: set[int] = set()  # signals
        self._stopping = 0.0
        self._started = False
        self._terminal = os.isatty(0)
        self._wanted_end = False
        self._next_start = 0.0
        self._next_beat = time.monotonic() + _HEARTBEAT_S

    def run(self) -> int:
        """Serve until told to end; return the exit code."""
        handlers = self._catch_signals()
        try:
            return self._serve()
        finally:
            self._let_go(handlers)

    def _serve(self) -> int:
        self._take_in(self._first, 0)
        with suppress(MlnbError):  # the worker says it, and cannot start
            self._configuration = read_configuration(self._state, os.environ)
        self._intend(Plan(1, worker_count(self._configuration), ""))
        while True:
            self._watch_writes()
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._heed_signals()
            self._reap()
            if self._stopping and not self._members:
                return 0 if self._wanted_end else 2
            self._tend()

    def _intend(self, plan: Plan) -> None:
        self._plan, self._hub.wanted = plan, plan.count

    def _tend(self) -> None:
        now = time.monotonic()
        if self._parent and os.getppid() != self._parent and not self._stopping:
            self._wanted_end = True
            self._stop("the process that started this service has ended")
        self._hub.settle(now)
        if now >= self._next_beat:
            self._next_beat = now + _HEARTBEAT_S
            self._hub.beat()
            self._end_hung(now)
        if self._stopping:
            if now > self._stopping:
                self._kill_all()
            return
        self._advance(now)

    def _advance(self, now: float) -> None:
        """Bring the workers nearer to what is planned, by the next step."""
        current = [one for one in self._members.values() if one.generation == self._plan.generation]
        starting = [one for one in current if one.state == STARTING]
        ready = [one for one in current if one.state == READY]
        old = [one for one in self._members.values() if one.state != DRAINING and one not in current]
        if old and len(ready) + len(old) > self._plan.count:
            self._drain(old[0])
        if len(ready) > self._plan.count:
            self._drain(ready[0])
        if len(ready) == self._plan.count and not self._started:
            self._started = True
            _notify("READY=1")
            host, port = self._listener.getsockname()[:2]
            grpc = f" and, gRPC, {self._configuration.grpc_port}" if self._configuration.grpc_port else ""
            self._say("info", f"Answering at {host} port {port}{grpc}; workers: {len(ready)}.")
        if len(ready) == self._plan.count and not old and self._hub.reloading:
            self._before, self._hub.reloading = None, False
            self._reserved.keep(self._configuration.grpc_port)
            self._say("info", f"Reloaded: {len(ready)} of {self._plan.count} workers are new.")
        missing = self._plan.count - len(ready) - len(starting)
        at_once = 1 if old else missing  # a reload takes one worker more than planned at any time, not twice as many
        if missing > 0 and now >= self._next_start and not (old and starting):
            for _ in range(at_once):
                self._spawn()  # one that cannot be started sets `_next_start`

    def _spawn(self) -> None:
        try:
            self._start_worker()
        except OSError as error:  # no process, no descriptor, or the code is gone: those that are there go on
            self._say("error", f"No worker can be started: {error}.")
            self._next_start = time.monotonic() + _RETRY_S
            if not self._members:
                self._stop("there is no worker")

    def _start_worker(self) -> None:
        place = min(set(range(len(self._members) + 1)) - {one.place for one in self._members.values()})
        self._take_in(launch(self._listener, self._table, place, self._plan.source), place)

    def _take_in(self, launched: Launched, place: int) -> None:
        member = Member(launched.pid, place, self._plan.generation, launched.end)
        self._members[launched.pid] = member
        self._selector.register(launched.end, EVENT_READ, partial(self._hear, member))

    def _hear(self, member: Member) -> None:
        member.wire.flush()
        said, alive = member.wire.receive()
        for message in said:
            if "ready" in message:
                if member.state == STARTING:
                    member.become(READY)
            else:
                self._hub.take(member, message)
        if not alive:
            self._forget_wire(member)

    def _watch_writes(self) -> None:
        for member in self._members.values():
            if member.connected:
                events = EVENT_READ | EVENT_WRITE if member.wire.pending else EVENT_READ
                self._selector.modify(member.end, events, partial(self._hear, member))

    def _forget_wire(self, member: Member) -> None:
        if member.connected:
            self._selector.unregister(member.end)
            member.disconnect()

    def _drain(self, member: Member, idle_s: float = _IDLE_S) -> None:
        member.become(DRAINING)
        member.wire.send({"drain": idle_s})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)  # as the first process of a container it has others' children
            except ChildProcessError:
                return
            if not pid:
                return
            member = self._members.pop(pid, None)
            if member is not None:
                self._ended(member, os.waitstatus_to_exitcode(status))

    def _ended(self, member: Member, code: int) -> None:
        if member.connected:
            self._hear_last(member)
        self._balance.bury(member.place)
        self._hub.bury(member)
        if member.state == DRAINING or self._stopping:
            return
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        reason = f" {member.failure}" if member.failure else ""
        told = f"Worker {member.pid} ended {how}{'' if member.ever_ready else ' before it was ready'}.{reason}"
        if not self._started:
            self._say("error", told)
            self._stop("a worker could not be started")
        elif self._before and not member.ever_ready and member.generation == self._plan.generation:
            self._say("error", told)
            self._give_up_reload(told)
        else:
            delay = delay_after(member, self._hub.failures)
            self._say("error", f"{told} Another one is started{f' in {delay:g} s' if delay else ''}.")
            self._hub.restarts += 1
            self._hub.failures = 0 if member.lived_long else self._hub.failures + 1
            self._next_start = time.monotonic() + delay

    def _hear_last(self, member: Member) -> None:
        for message in member.wire.receive()[0]:
            self._hub.take(member, message)
        self._forget_wire(member)

    def _give_up_reload(self, reason: str) -> None:
        """Go on with what held before; those that are new already are replaced as well."""
        assert self._before is not None  # noqa: S101  # who calls has looked
        plan, self._configuration = self._before
        self._intend(plan)
        self._before = None
        self._reserved.keep(self._configuration.grpc_port)
        self._hub.reloading, self._hub.problem = False, reason
        self._say("error", "The reload is given up; the workers that there were go on.")

    def _reload(self) -> None:
        self._hub.reloads += 1
        self._hub.problem = ""
        try:
            configuration = read_configuration(self._state, os.environ)
            source = read_source(self._state) or self._plan.source
            self._reserved.hold(configuration.grpc_port)
        except MlnbError as error:
            self._hub.problem = str(error)
            self._say("error", f"Not reloaded: {error}")
            return
        self._before, self._hub.reloading = (self._plan, self._configuration), True
        self._configuration = configuration
        self._generations += 1
        self._next_start, self._hub.failures = 0.0, 0
        self._intend(Plan(self._generations, worker_count(configuration), source))
        self._say("info", f"Reloading: {self._plan.count} workers, one after another.")

    def _stop(self, reason: str) -> None:
        self._say("info", f"Ending: {reason}.")
        _notify("STOPPING=1")
        self._stopping = time.monotonic() + self._configuration.drain_s + _BEYOND_DRAIN_S
        for member in self._members.values():
            if member.state == STARTING:
                _kill(member.pid)  # it has answered nothing
            else:
                self._drain(member, 0.0)

    def _kill_all(self) -> None:
        for pid in self._members:
            _kill(pid)

    def _end_hung(self, now: float) -> None:
        for member in self._members.values():
            if member.state == DRAINING:
                lingers = self._configuration.grpc_age_s * LINGERS if self._reserved.used else 0.0
                limit, since = _IDLE_S + lingers + self._configuration.drain_s + _BEYOND_DRAIN_S, member.since
            else:
                limit, since = _START_S if member.state == STARTING else _HUNG_S, member.heard
            if now - since > limit:
                self._say(
                    "error", f"Worker {member.pid}, {member.state}, is stuck for {limit:g} seconds and is killed."
                )
                _kill(member.pid)

    def _timeout(self) -> float:
        """Return how long nothing is due."""
        now = time.monotonic()
        due = [self._next_beat]
        due += [self._hub.next_due()] if self._hub.next_due() else []
        due += [self._next_start] if self._next_start > now else []
        due += [now + _PARENT_POLL_S] if self._parent else []
        due += [self._stopping] if self._stopping > now else []
        return max(0.0, min(due) - now)

    def _catch_signals(self) -> dict[int, object]:
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        reader.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._waker = (reader, writer)
        self._selector.register(reader, EVENT_READ, lambda: reader.recv(4096))
        return {number: signal.signal(number, lambda number, _: self._asked.add(number)) for number in _HEEDED}

    def _let_go(self, handlers: dict[int, object]) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal has returned
        self._selector.close()
        for end in (*self._waker, self._listener):
            end.close()
        self._balance.close()
        self._reserved.close()
        os.close(self._table)

    def _heed_signals(self) -> None:
        if (self._asked & {signal.SIGTERM, signal.SIGINT}) and not self._stopping:
            self._wanted_end = True
            self._stop("told to")
        if signal.SIGHUP in self._asked and self._terminal and not self._stopping:
            self._wanted_end = True
            self._stop("its terminal was closed")
        if signal.SIGHUP in self._asked and self._started and not self._hub.reloading and not self._stopping:
            self._asked.discard(signal.SIGHUP)
            self._reload()

    def _say(self, level: str, message: str) -> None:
        text = line(self._configuration.log_format, level, message, {"pid": os.getpid()})
        with suppress(OSError):  # a full disk ends no service
            print(text, file=sys.stderr, flush=True)


def worker_count(configuration: Configuration) -> int:
    """Return how many workers are wanted; 0 is one for each core that this process may use."""
    return configuration.workers or usable_cores()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _notify(state: str) -> None:
    """Tell systemd, if it is what has started this (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
