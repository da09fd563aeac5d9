"""A notebook of the server becomes a subprocess that runs its pipeline, and a run that can be followed or cancelled.

A front end takes a snapshot, then the changes after it, and may come back at any time. The notebook runs in the
subprocess (and its kernels in theirs), never in the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from mlnb.faces.fold import RunFold
from mlnb.faces.messages import Fault, RunChange
from mlnb.faces.request import RefusedError
from mlnb.run.kernels.warm import lent

KEPT_RUNS = 100
LINE_LIMIT_BYTES = 64 * 1024 * 1024  # the result line holds a whole run record
STDERR_TAIL_BYTES = 2000
GRACE_S = 10.0  # after SIGINT, before SIGKILL


def command(*words: str) -> list[str]:
    """Return the command line of a verb in a fresh interpreter; ``-P`` keeps the notebook's folder off its path."""
    return [sys.executable, "-P", "-m", "mlnb", *words]


class LiveRun:
    """A run of this server: its process, its progress, and whoever listens."""

    def __init__(self, id: str, path: str) -> None:
        self.fold = RunFold(id, path)
        self._changed = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None
        self._cancelled = False
        self._lent = contextlib.ExitStack()

    @property
    def running(self) -> bool:
        """Whether the run has not ended yet."""
        return self.fold.state == "running"

    async def start(self, words: Sequence[str], folder: Path) -> None:
        """Start the subprocess in `folder` and follow its lines in the background."""
        variables, files = self._lent.enter_context(lent())
        try:
            self._process = await self._started(words, folder, variables, files)
        except BaseException:
            self._lent.close()
            raise
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is not None and stderr is not None:  # always: both are pipes
            self._following = asyncio.create_task(self._follow(self._process, stdout, stderr))

    async def _started(
        self, words: Sequence[str], folder: Path, variables: Mapping[str, str], files: Sequence[int]
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            pass_fds=files,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
            start_new_session=True,
        )

    async def changes(self, after: int = 0) -> AsyncIterator[RunChange]:
        """Yield every change after number `after`, past and future, until the run has ended."""
        while True:
            for change in self.fold.changes[after:]:
                after = change["sequence"]
                yield change
            async with self._changed:
                while self.running and len(self.fold.changes) <= after:
                    await self._changed.wait()
            if len(self.fold.changes) <= after:
                return

    async def stop(self) -> None:
        """Interrupt the run as Ctrl-C does, give it `GRACE_S` to put its things in order, and end it by force else."""
        process, following = self._process, self._following
        if process is None or following is None:
            return
        self._cancelled = True
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(GRACE_S):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        await following

    async def _follow(
        self, process: asyncio.subprocess.Process, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        tail = asyncio.create_task(_tail(stderr))
        async for line in stdout:
            with contextlib.suppress(ValueError):  # what a library prints between our lines is not ours
                event = json.loads(line)
                if isinstance(event, dict):
                    await self._tell(event)
        said = await tail
        code = await process.wait()
        self._lent.close()
        async with self._changed:
            if self._cancelled:
                self.fold.end("cancelled")
            self.fold.end("failed", _broken_off(code, said))
            self._changed.notify_all()

    async def _tell(self, event: Mapping[str, object]) -> None:
        async with self._changed:
            if self._cancelled and event.get("event") in ("error", "result"):
                self.fold.end("cancelled")
            self.fold.take(event)
            self._changed.notify_all()


class LiveRuns:
    """The runs that this server started, the newest `KEPT_RUNS` of them."""

    def __init__(self) -> None:
        self._runs: dict[str, LiveRun] = {}

    async def start(self, path: str, file: Path, assignments: Sequence[str]) -> LiveRun:
        """Run the notebook `file`, called `path` by the front end, in a subprocess."""
        newest = self.newest(path)
        if newest is not None and newest.running:
            raise RefusedError(409, f"{path} is running already.", "Wait for it, or cancel it first.")
        run = LiveRun(secrets.token_hex(8), path)
        self._runs[run.fold.id] = run
        for old in [id for id, other in self._runs.items() if not other.running][: max(0, len(self._runs) - KEPT_RUNS)]:
            del self._runs[old]
        words = [word for assignment in assignments for word in ("-p", assignment)]
        try:
            await run.start(command("run", str(file), "--events", *words), file.parent)
        except OSError:
            del self._runs[run.fold.id]
            raise
        return run

    def get(self, id: str) -> LiveRun:
        """Return one run by its id."""
        if id not in self._runs:
            raise RefusedError(
                404, "This server knows no such run.", "It may have been restarted: run the pipeline again."
            )
        return self._runs[id]

    def newest(self, path: str) -> LiveRun | None:
        """Return the newest run of a notebook."""
        return next((run for run in reversed(self._runs.values()) if run.fold.path == path), None)

    async def stop(self) -> None:
        """Cancel every run and wait until its process has gone."""
        await asyncio.gather(*(run.stop() for run in self._runs.values()))


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while block := await stream.read(65536):
        kept = (kept + block)[-STDERR_TAIL_BYTES:]
    return kept.decode("utf-8", "replace").strip()


def _broken_off(code: int, said: str) -> Fault:
    last = said.splitlines()[-1] if said else "it said nothing"
    return {
        "problem": f"The run broke off with exit code {code}: {last}.",
        "remedy": "Run `mlnb doctor` in a terminal, then run again.",
        "stage": "",
        "cell": 0,
        "line": 0,
    }
