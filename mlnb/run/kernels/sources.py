"""Where kernels come from: forked from a zygote, taken from a pool of waiting processes, or spawned as ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlnb.run.kernels.forking import ForkedProcess, UnforkableError, Zygote
from mlnb.run.kernels.fresh import Request
from mlnb.run.kernels.say import say_once
from mlnb.run.kernels.zygotes import inherited

_AHEAD = max(1, min(4, (os.cpu_count() or 1) // 2))


class Spawn:
    """Starts a Python for each kernel when it is needed: slow, and the reference for the others."""

    ahead = False

    def prepare(self, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        """Do nothing."""

    def provision(self, manager: Any, log: Path) -> None:
        """Do nothing: jupyter_client starts kernels by itself."""

    def abort(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class _Standby:
    """A process that waits, and the pipe on which it does."""

    process: subprocess.Popen[bytes]
    ear: BinaryIO
    environ: Mapping[str, str]

    def become(self, message: Mapping[str, object]) -> subprocess.Popen[bytes]:
        """Let it become a kernel as soon as it has imported."""
        with suppress(BrokenPipeError), self.ear:  # where it has died, its kernel will be found dead
            self.ear.write(json.dumps(message).encode() + b"\n")
        return self.process

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self.ear.close()


class Pool:
    """Starts processes ahead that import and wait; each becomes one kernel.

    Parameters
    ----------
    project : Path
        Modules below it are left to the kernel.
    """

    ahead = False

    def __init__(self, project: Path) -> None:
        self._project = project
        self._modules: tuple[str, ...] = ()
        self._waiting: list[_Standby] = []
        self._lock = threading.Lock()

    def prepare(self, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start as many as may be needed at once."""
        with self._lock:
            self._modules = tuple(modules)
            effective = inherited(environ, self._project)
            self._waiting.extend(self._started(effective) for _ in range(_AHEAD - len(self._waiting)))

    def provision(self, manager: Any, log: Path) -> None:
        """Let the manager take its kernel from the pool."""
        from mlnb.run.kernels.provisioner import provide  # with jupyter_client, which starting ahead must not wait for

        provide(manager, lambda request, _: self.take(request, log))

    def take(self, request: Request, log: Path) -> subprocess.Popen[bytes]:
        """Make a waiting process the kernel that is asked for, and start another in its place."""
        effective = inherited(request.environ, Path(request.folder))
        with self._lock:
            standby = next((one for one in self._waiting if self._fits(one, effective)), None)
            if standby is not None:
                self._waiting.remove(standby)
                self._waiting.append(self._started(effective))
            else:
                standby = self._started(effective)
        return standby.become({**request.to_json(), "log": str(log)})

    def abort(self) -> None:
        """Do nothing: taking waits for nobody."""

    def close(self) -> None:
        """End those that nobody took."""
        with self._lock:
            for standby in self._waiting:
                standby.end()
            self._waiting.clear()

    def _fits(self, standby: _Standby, effective: Mapping[str, str]) -> bool:
        return standby.process.poll() is None and standby.environ == effective

    def _started(self, effective: Mapping[str, str]) -> _Standby:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlnb.run.kernels.standby", str(self._project), *self._modules],
            cwd=os.path.abspath(os.sep),  # noqa: PTH100  # the root of the current drive
            env={**effective, "PYTHONHASHSEED": "0", "JPY_PARENT_PID": str(os.getpid())},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return _Standby(process, cast("BinaryIO", process.stdin), effective)


class Fork:
    """Forks kernels from the project's zygote, and takes them from a pool from the first that cannot be forked.

    Parameters
    ----------
    project : Path
        The project's root.
    idle_s : float
        How long the zygote outlives its last client.
    """

    ahead = True

    def __init__(self, project: Path, idle_s: float) -> None:
        self._project = project
        self._zygote = Zygote(project, idle_s)
        self._modules: tuple[str, ...] = ()
        self._pool: Pool | None = None
        self._lock = threading.Lock()

    def prepare(self, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        """Let the zygote import."""
        self._modules = tuple(modules)
        try:
            self._zygote.prepare(modules, self._project, environ)
        except UnforkableError:
            return  # the first kernel will say so

    def provision(self, manager: Any, log: Path) -> None:
        """Let the manager get its kernel from the zygote."""
        from mlnb.run.kernels.provisioner import provide

        provide(manager, lambda request, output: self._take(request, output, log))

    def abort(self) -> None:
        """Let nobody wait for the zygote any more."""
        self._zygote.abort()

    def close(self) -> None:
        """Let the zygote go."""
        held = self._zygote.release()
        if held is not None:
            held.close()
        if self._pool is not None:
            self._pool.close()

    def _take(self, request: Request, output: Sequence[int], log: Path) -> ForkedProcess | subprocess.Popen[bytes]:
        if self._pool is None:
            try:
                return self._zygote.fork(request, output)
            except UnforkableError as error:
                say_once(f"Kernels are taken from a pool instead of forked: {error}.")
        with self._lock:
            if self._pool is None:
                self._pool = Pool(self._project)
                self._pool.prepare(self._modules, request.environ)
        return self._pool.take(request, log)
