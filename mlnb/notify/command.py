"""An event becomes JSON on the standard input of a command: a list of words, no shell, a limit of time.

It runs in the project's folder; ``MLNB_IDEMPOTENCY_KEY`` is the same at every try of an event. Exit code 0 means that
people were told. What it prints is not kept, but for the end of its standard error where it fails. What it leaves
running when it ends, or when its time is over, is stopped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, cast

from mlnb.errors import RemoteError
from mlnb.notify.table import Table
from mlnb.store.redaction import KNOWN

TIMEOUT_S = 30.0
KEPT_BYTES = 2_000
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Command:
    """Starts a program for each event.

    Attributes
    ----------
    argv : tuple of str
        The program and its words.
    folder : Path
        Where it runs.
    timeout_s : float
        Seconds after which it is stopped.
    """

    argv: tuple[str, ...]
    folder: Path
    timeout_s: float = TIMEOUT_S

    @classmethod
    def declared(cls, table: Table) -> Command:
        """Return that of a table; an entry point of ``mlnb.channels``."""
        table.guarded = True
        return cls(table.texts("argv", needed=True), table.folder, table.number("timeout_s", TIMEOUT_S))

    @property
    def place(self) -> str:
        """What may be told of it."""
        return self.argv[0]

    def send(self, event: Mapping[str, object], key: str) -> None:
        """Run the command once.

        Raises
        ------
        RemoteError
            If it cannot be started, takes too long, or ends with another code than 0.
        """
        with tempfile.TemporaryFile() as given:  # a program that reads none of it cannot block us, as a pipe could
            given.write(json.dumps(event).encode())
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self.argv,
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd=self.folder,
                    env={**os.environ, "MLNB_IDEMPOTENCY_KEY": key},
                    start_new_session=True,
                )
            except OSError as error:
                raise self._failed(f"cannot be started: {error.strerror}") from None
            code, said = self._awaited(process)
        if code is None:
            raise self._failed(f"was stopped after {self.timeout_s:g} seconds")
        if code:
            raise self._failed(f"ended with code {code}{': ' if said else ''}{said}")

    def _awaited(self, process: subprocess.Popen[bytes]) -> tuple[int | None, str]:
        """Return its exit code, None where its time was over, and the end of what it said of errors."""
        said: list[bytes] = []
        stream = cast("IO[bytes]", process.stderr)
        reader = Thread(target=_end_of, args=(stream, said), daemon=True)
        reader.start()
        try:
            code: int | None = process.wait(self.timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(1.0)  # a daemon of its own session may hold the pipe; we do not wait for it
            if not reader.is_alive():
                stream.close()
        return code, KNOWN.text(b"".join(said).decode("utf-8", "replace")).strip().rstrip(".")

    def _failed(self, why: str) -> RemoteError:
        return RemoteError(f"The command {self.argv[0]} {why}.", "It is run again later.", address=self.argv[0])


def _end_of(stream: IO[bytes], said: list[bytes]) -> None:
    kept = b""
    with suppress(OSError, ValueError):
        while chunk := os.read(stream.fileno(), _READ_BYTES):
            kept = (kept + chunk)[-KEPT_BYTES:]
    said.append(kept)
