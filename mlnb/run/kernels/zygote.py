"""A plain process that has imported what kernels import, and forks a kernel whenever it is asked: ``python -m`` this.

No event loop, no zmq context, no thread: what a fork would break does not exist yet. It lives for as long as somebody
holds a connection, and ``idle_s`` seconds longer, unless what it has imported has changed on disk. A connection that
ends takes the kernel with it that was forked for it; if the zygote ends, the system kills all of its kernels.

Messages (`mlnb.run.kernels.wire`)::

    {"load": [module, ...], "idle_s": n}            import, in this order; no answer
    {"keep": true}, with a socket                   stay for as long as its other end is open; no answer
    {"current": true}                           ->  {"current": whether a fork would still be granted}
    {"fork": {...}}, with stdout and stderr     ->  {"pid": n}, from the kernel itself; at its end {"exit": code}
                                                    {"refused": "changed"} | {"refused": "threads", "modules": [...]}

Arguments: the socket's path, the project's root, the descriptor of the first connection.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mlnb.run.kernels.fresh import Origin, Request, become, die_with, launch
from mlnb.run.kernels.loading import BEFORE_A_FORK, Loader, sources_outside
from mlnb.run.kernels.place import shared_folder, sweep
from mlnb.run.kernels.threads import native_threads, openblas_setters, openblas_threads
from mlnb.run.kernels.wire import Connection, Message

_BACKLOG = 128


@dataclass(slots=True)
class _Client:
    """A connection, what it waits for and what was forked for it."""

    connection: Connection
    wanted: Request | None = None
    output: tuple[int, ...] = ()
    kernel: int = 0


@dataclass(slots=True)
class _Zygote:
    path: Path
    listener: socket.socket
    loader: Loader
    clients: dict[int, _Client] = field(default_factory=dict)
    to_load: list[str] = field(default_factory=list)
    loaded: set[str] = field(default_factory=set)
    threaded: list[str] = field(default_factory=list)
    idle_s: float = 0.0
    idle_until: float = 0.0
    packages: dict[Path, int] = field(default_factory=dict)
    sources: dict[str, tuple[int, int]] = field(default_factory=dict)
    begun_ns: int = field(default_factory=time.time_ns)
    openblas: list[Callable[[int], object]] = field(default_factory=list)
    retired: bool = False
    wake: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)

    def serve(self) -> Request | None:
        """Serve until nobody is there any more (None), or until this is a forked child (its request)."""
        while not self._is_over():
            self._listen()
            if self.to_load:
                self._load(self.to_load.pop(0))
            else:
                for client in [client for client in self.clients.values() if client.wanted is not None]:
                    request = self._answer(client)
                    if request is not None:
                        return request
        return None

    def end(self) -> None:
        """Kill every kernel; leave no socket behind."""
        for client in list(self.clients.values()):
            self._drop(client)
        with shared_folder() as shared:
            self._remove_socket()
            sweep(shared)

    def _is_over(self) -> bool:
        if self.clients:
            self.idle_until = time.monotonic() + self.idle_s
            return False
        return self.retired or time.monotonic() >= self.idle_until

    def _listen(self) -> None:
        """Wait for something to happen and take note of it; do not wait while there is something to do."""
        poll = select.poll()
        poll.register(self.wake[0], select.POLLIN)
        if self.listener.fileno() >= 0:
            poll.register(self.listener, select.POLLIN)
        for number in self.clients:
            poll.register(number, select.POLLIN)
        left_ms = None if self.clients else max(0.0, self.idle_until - time.monotonic()) * 1000
        busy = self.to_load or any(client.wanted is not None for client in self.clients.values())
        for number, _ in poll.poll(0 if busy else left_ms):
            if number in self.clients:
                self._hear(self.clients[number])
            elif number == self.wake[0].fileno():
                if signal.SIGTERM in self.wake[0].recv(4096):
                    self.retired = True
                    for client in list(self.clients.values()):
                        self._drop(client)
            elif number == self.listener.fileno():
                self.add(Connection(self.listener.accept()[0]))
        self._reap()

    def add(self, connection: Connection) -> None:
        """Take note of somebody."""
        self.clients[connection.fileno()] = _Client(connection)

    def _hear(self, client: _Client) -> None:
        while (message := client.connection.waiting()) is not None:
            self._obey(client, message)
        if client.connection.ended:
            self._drop(client)

    def _obey(self, client: _Client, message: Message) -> None:
        if "load" in message:
            names = cast("Sequence[str]", message["load"])
            self.to_load.extend(name for name in names if name not in self.loaded and name not in self.to_load)
            self.idle_s = max(self.idle_s, cast("float", message.get("idle_s", 0)))
        elif "fork" in message:
            client.wanted = Request.from_json(cast("Message", message["fork"]))
            client.output = tuple(client.connection.files)
            client.connection.files.clear()
        elif "current" in message:
            self._reap()
            client.connection.send({"current": not self._is_outdated()})
        elif "keep" in message:
            for file in client.connection.files:
                self.add(Connection(socket.socket(fileno=file)))
            client.connection.files.clear()

    def _load(self, name: str) -> None:
        before = native_threads()
        self.loader.load(name)
        self.loaded.add(name)
        if native_threads() > before:
            self.threaded.append(name)
        if not self.to_load:
            self.look_around()

    def look_around(self) -> None:
        """Take note of what has been loaded; what changed meanwhile may have been loaded before it did."""
        for file, (modified_ns, size) in sources_outside().items():
            fresh = self.begun_ns <= modified_ns <= time.time_ns()
            self.sources.setdefault(file, (0, 0) if fresh else (modified_ns, size))
        self.openblas = openblas_setters()

    def _answer(self, client: _Client) -> Request | None:
        """Fork what a client wants, or refuse it. In the child return the request."""
        request, client.wanted = client.wanted, None
        if request is None or self._is_outdated() or native_threads() > 1:
            refusal = {"refused": "changed"} if self.retired else {"refused": "threads", "modules": self.threaded}
            client.connection.send(refusal)
            self._close_output(client)
            return None
        gc.freeze()
        zygote = os.getpid()
        client.kernel = os.fork()
        if client.kernel == 0:
            os.setsid()
            die_with(zygote)
            self._leave(client)
            return request
        self._close_output(client)
        return None

    def _leave(self, client: _Client) -> None:
        """In the child: close what is the zygote's, keep the client's connection and output."""
        for other in self.clients.values():
            if other is not client:
                self._close_output(other)
                other.connection.close()
        self.clients = {client.connection.fileno(): client}
        signal.set_wakeup_fd(-1)
        for end in (self.listener, *self.wake):
            end.close()

    def _is_outdated(self) -> bool:
        """Say whether what is in memory is no longer what is on disk, and if so, let the next one start anew."""
        if not self.retired and (_times(self.packages) != self.packages or _changed(self.sources)):
            self.retired = True
            self._remove_socket()
        return self.retired

    def _reap(self) -> None:
        """Tell how kernels ended; what they have started goes with them, while their number cannot be another's yet."""
        for client in [client for client in self.clients.values() if client.kernel]:
            ended = os.waitid(os.P_PID, client.kernel, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                client.connection.send({"exit": self._end_kernel(client)})

    def _drop(self, client: _Client) -> None:
        if client.kernel:
            self._end_kernel(client)
        self._close_output(client)
        del self.clients[client.connection.fileno()]
        client.connection.close()

    def _end_kernel(self, client: _Client) -> int:
        kernel, client.kernel = client.kernel, 0
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                kill(kernel, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1])

    def _close_output(self, client: _Client) -> None:
        for file in client.output:
            os.close(file)
        client.output = ()

    def _remove_socket(self) -> None:
        """Remove the socket, once: what lies there later is another zygote's."""
        if self.listener.fileno() >= 0:
            self.listener.close()
            self.path.unlink(missing_ok=True)


def main(path: str, project: str, first: int) -> None:
    """Listen, let the starter go on, and serve; in a forked child, run the kernel instead."""
    origin = Origin.here()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    Path(path).chmod(0o600)
    listener.listen(_BACKLOG)
    if os.fork():
        os._exit(0)
    gc.disable()
    folders = [Path(entry) for entry in origin.path if Path(entry).name in ("site-packages", "dist-packages")]
    zygote = _Zygote(Path(path), listener, Loader(Path(project), BEFORE_A_FORK), packages=_times(folders))
    zygote.add(Connection(socket.socket(fileno=first)))
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for end in zygote.wake:
        end.setblocking(False)
    signal.set_wakeup_fd(zygote.wake[1].fileno(), warn_on_full_buffer=False)
    zygote.loader.load_kernel()
    zygote.look_around()
    request = zygote.serve()
    if request is None:
        zygote.end()
    else:
        (client,) = zygote.clients.values()
        become(request, client.output, origin)
        for set_threads in zygote.openblas:
            set_threads(openblas_threads(request.environ))
        client.connection.send({"pid": os.getpid()})
        client.connection.close()
        gc.enable()
        launch(request)


def _times(folders: Sequence[Path] | dict[Path, int]) -> dict[Path, int]:
    return {folder: folder.stat().st_mtime_ns for folder in folders if folder.is_dir()}


def _changed(sources: dict[str, tuple[int, int]]) -> bool:
    for file, known in sources.items():
        try:
            status = Path(file).stat()
        except OSError:
            return True
        if (status.st_mtime_ns, status.st_size) != known:
            return True
    return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
