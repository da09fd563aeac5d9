"""What a service says of itself becomes: it has started, it answers with that routing, its workers are new."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from mlnb.errors import ServiceError
from mlnb.service.client import Client
from mlnb.service.process import alive
from mlnb.service.started import Started
from mlnb.service.tail import tail

_READY_S = 120.0
_POLL_S = 0.02


def await_ready(name: str, started: Started, log: Path) -> Mapping[str, object]:
    """Return the first readiness with all workers there; a service without any live alias counts as started.

    Raises
    ------
    ServiceError
        If the process ends instead, with the last that it wrote.
    """
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            with started.client(max(1.0, deadline - time.monotonic())) as client:
                body = client.get("/readyz").body
                if "revision" in body and _complete(body):
                    return body
        except ServiceError:
            if not alive(started.process):
                break
        time.sleep(_POLL_S)
    last = tail(log, 5).strip() or "it wrote nothing"
    raise ServiceError(f"The service {name} did not start: {last}.", f"Its whole output is in {log}.", service=name)


def await_revision(started: Started, revision: int) -> str:
    """Wait until all workers answer with `revision`; return why they cannot, "" where they do."""
    deadline = time.monotonic() + _READY_S
    with started.client(_READY_S) as client:
        while time.monotonic() < deadline:
            body = _readiness(client, started)
            if body is None:
                return ""  # it ended; the routing waits for the next start
            refused = body.get("refused")
            if isinstance(refused, dict) and refused.get("revision") == revision:
                return str(refused.get("problem"))
            if body.get("revision") == revision and "silent" not in _states(body):
                return ""
            time.sleep(_POLL_S)
    return f"it did not take it within {_READY_S:g} seconds"


def reloads_of(started: Started) -> int:
    """Return how often a service was told to reload; -1 where it has no supervisor, being of an older mlnb."""
    with started.client() as client:
        return _count(_supervisor(client.get("/readyz").body), "reloads", -1)


def await_reload(started: Started, before: int) -> str:
    """Wait until the workers of a service are new; return why they are not, "" where they are.

    Parameters
    ----------
    started : Started
        The service, told to reload.
    before : int
        What `reloads_of` returned before.
    """
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        with started.client(_READY_S) as client:  # its own: an old worker lets go of idle ones
            body = _readiness(client, started)
        if body is None:
            return "it ended"
        told = _supervisor(body)
        if _count(told, "reloads", 0) > before and not told.get("reloading"):
            return str(told.get("problem", ""))
        time.sleep(_POLL_S)
    return f"its workers were not new within {_READY_S:g} seconds"


def _readiness(client: Client, started: Started) -> Mapping[str, object] | None:
    """Return what a service says; None where it has ended."""
    try:
        return client.get("/readyz").body
    except ServiceError:
        if not alive(started.process):
            return None
    try:
        return client.get("/readyz").body  # the worker behind the connection has ended: another one answers
    except ServiceError:
        if alive(started.process):
            raise
        return None


def _complete(body: Mapping[str, object]) -> bool:
    states = _states(body)
    return states.count("ready") >= _count(_supervisor(body), "wanted", len(states))


def _states(body: Mapping[str, object]) -> list[str]:
    workers = body.get("workers")
    return [str(one.get("state")) for one in workers if isinstance(one, dict)] if isinstance(workers, list) else []


def _supervisor(body: Mapping[str, object]) -> Mapping[str, object]:
    found = body.get("supervisor")
    return found if isinstance(found, dict) else {}


def _count(told: Mapping[str, object], key: str, default: int) -> int:
    value = told.get(key, default)
    return value if isinstance(value, int) else default
