"""A verb that takes time becomes a process of its own whose events are followed line by line.

A live kernel and the server never run papermill themselves: they run ``python -m mlnb VERB ... --events`` and listen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import GateError, MlnbError, RunError
from mlnb.faces.verb import stopped
from mlnb.run.kernels.warm import lent

Event = Mapping[str, object]
_STOP_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the process ended: its exit code, the answer in text, and the same as plain JSON values."""

    code: int
    text: str
    result: object


def follow(words: Sequence[str], notify: Callable[[Event], None], folder: Path) -> Outcome:
    """Run ``mlnb`` with `words` in `folder`, hand each event to `notify`, and return how it ended.

    Interrupting this process stops the other one first; it leaves a consistent state.

    Raises
    ------
    MlnbError
        What the verb refused, with its own exit code.
    """
    command = [sys.executable, "-P", "-m", "mlnb", *words, "--events"]
    environ = {key: value for key, value in os.environ.items() if key not in {"JPY_SESSION_NAME", "JPY_PARENT_PID"}}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints, lent() as (variables, files):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environ, **variables},
            pass_fds=files,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        try:
            last = _listen(process, notify)
            code = process.wait()
        except KeyboardInterrupt:
            raise stopped() from None
        finally:
            _stop(process)
        if last.get("event") == "error":
            raise _refusal(last)
        if last.get("event") != "result":
            complaints.seek(0)
            told = complaints.read().strip()[-2000:]
            raise RunError(
                f"mlnb {words[0]} ended with code {code} and without a result. {told}", "See its last words above."
            )
    return Outcome(code, str(last.get("text", "")), last.get("result"))


def _listen(process: subprocess.Popen[str], notify: Callable[[Event], None]) -> Event:
    """Hand on the events, and return the last line."""
    last: Event = {}
    for line in process.stdout or ():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # a library that prints
        if isinstance(event, dict) and "event" in event:
            last = event
            if event["event"] not in {"result", "error"}:
                notify(event)
    return last


def _stop(process: subprocess.Popen[str]) -> None:
    """Make sure that the process has ended: ask it, hear it out, and only then end it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=_STOP_TIMEOUT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _refusal(event: Event) -> MlnbError:
    problem, remedy = str(event.get("problem", "")), str(event.get("remedy", ""))
    kinds: dict[object, type[MlnbError]] = {1: RunError, 3: GateError}
    return kinds.get(event.get("code"), MlnbError)(problem, remedy)
