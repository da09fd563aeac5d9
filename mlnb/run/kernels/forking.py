"""A request for a kernel becomes a process that a zygote has forked, and that jupyter_client takes for a Popen."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from mlnb.run.kernels.fresh import Request
from mlnb.run.kernels.warm import owner
from mlnb.run.kernels.wire import Connection
from mlnb.run.kernels.zygotes import StartError, connect

_ATTEMPTS = 3


class UnforkableError(Exception):
    """A kernel cannot be forked; the text says why."""


class ForkedProcess:
    """A kernel that was forked for us; its connection to the zygote says when it has ended, and how.

    Attributes
    ----------
    pid : int
        Also the number of its process group.
    returncode : int or None
        As of Popen: minus the signal's number where a signal ended it.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        if self.returncode is None:
            self._note(self._connection.waiting())
        return self.returncode

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        if self.returncode is None:
            self._note(self._connection.receive())
        return cast("int", self.returncode)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def is_current(self) -> bool:
        """Say whether it lives, and a kernel that is forked now would have loaded the same."""
        self._connection.send({"current": True})
        while self.returncode is None:
            message = self._connection.receive()
            if message is not None and "current" in message:
                return bool(message["current"])
            self._note(message)
        return False

    def _note(self, message: Mapping[str, object] | None) -> None:
        if message is not None:
            self.returncode = cast("int", message["exit"])
        elif self._connection.ended:  # the zygote was killed, and the system has killed its kernels
            self.returncode = -signal.SIGKILL
        if self.returncode is not None:
            self._connection.close()


class Zygote:
    """The zygote of a project, as one client sees it.

    Parameters
    ----------
    project : Path
        The project's root.
    idle_s : float
        How long the zygote stays when nobody holds a connection any more.
    """

    def __init__(self, project: Path, idle_s: float) -> None:
        self._project = project
        self._idle_s = idle_s
        self._modules: tuple[str, ...] = ()
        self._held: Connection | None = None
        self._asking: set[Connection] = set()
        self._aborted = False
        self._lock = threading.Lock()

    def prepare(self, modules: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        """Start the zygote if there is none, let it import, and keep it until `release`.

        Raises
        ------
        UnforkableError
            If it does not start.
        """
        self._modules = tuple(dict.fromkeys((*self._modules, *modules)))
        connection = self._connect(folder, environ)
        inherited = owner(os.environ)
        if inherited is not None:
            connection.send({"keep": True}, [inherited])
        self._hold(connection)

    def fork(self, request: Request, output: Sequence[int]) -> ForkedProcess:
        """Return a new kernel.

        Parameters
        ----------
        output : sequence of int
            Descriptors of its standard output and error; they stay open here.

        Raises
        ------
        UnforkableError
            If the zygote has threads, or does not answer.
        RuntimeError
            If somebody has called `abort`.
        """
        for _ in range(_ATTEMPTS):
            connection = self._connect(Path(request.folder), request.environ)
            answer = self._asked(connection, request, output)
            if answer is not None and "pid" in answer:
                return ForkedProcess(cast("int", answer["pid"]), connection)
            connection.close()
            if answer is not None and answer.get("refused") == "threads":
                modules = ", ".join(cast("list[str]", answer["modules"])) or "the environment"
                raise UnforkableError(f"{modules} starts threads when it is imported")
            if self._aborted:
                raise RuntimeError("nobody wants it any more")
            if self._held is not None:  # it has retired, or is dead: the next one begins with our modules too
                self.prepare((), Path(request.folder), request.environ)
        raise UnforkableError("the process that forks them ended")

    def abort(self) -> None:
        """Let every `fork` that waits, and every later one, fail at once."""
        with self._lock:
            self._aborted = True
            for connection in self._asking:
                connection.abort()

    def release(self) -> Connection | None:
        """Let go of the zygote; return the connection that kept it, still open."""
        with self._lock:
            held, self._held = self._held, None
        return held

    def _asked(self, connection: Connection, request: Request, output: Sequence[int]) -> Mapping[str, object] | None:
        with self._lock:
            if self._aborted:
                return None
            self._asking.add(connection)
        connection.send({"fork": request.to_json()}, output)
        answer = connection.receive()
        with self._lock:
            self._asking.discard(connection)
        return answer

    def _connect(self, folder: Path, environ: Mapping[str, str]) -> Connection:
        try:
            connection = connect(self._project, folder, environ)
        except StartError as error:
            raise UnforkableError(f"the process that forks kernels does not start: {error}") from error
        connection.send({"load": list(self._modules), "idle_s": self._idle_s})
        return connection

    def _hold(self, connection: Connection) -> None:
        with self._lock:
            before, self._held = self._held, connection
        if before is not None:
            before.close()
