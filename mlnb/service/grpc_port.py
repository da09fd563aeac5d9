"""``grpc_port`` and what is free on this machine become the port at which one service of a project answers gRPC.

A project's services share its settings, so that each takes the first port from there on that nobody has, and keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlnb.errors import PortError
from mlnb.service.configuration import FILE, FORMAT, configure
from mlnb.service.reserved import Reserved
from mlnb.service.started import read_started
from mlnb.store.manifest import read_json

_KEY, _VARIABLE = "grpc_port", "MLNB_GRPC_PORT"
_TRIED = 20


def grpc_settings(folder: Path, host: str, settings: Mapping[str, object]) -> dict[str, int]:
    """Return the setting that gives the service in a folder a port of its own; none where it answers no gRPC.

    Where no port is free it is the first; whoever starts the service says then what is wrong with it.
    """
    first = configure(settings, os.environ).grpc_port
    if not first:
        return {}
    ports = range(first, first + 1 if _VARIABLE in os.environ else min(first + _TRIED, 65536))
    known = grpc_port(folder)
    if known in ports and _runs(folder):
        return {_KEY: known}
    candidates = [known, *ports] if known in ports else ports
    return {_KEY: next((one for one in candidates if _free(host, one)), first)}


def grpc_port(folder: Path) -> int:
    """Return the port that the service in a folder was started with; 0 for none."""
    try:
        found = read_json(folder / FILE, FORMAT).one("settings").mapping.get(_KEY)
    except FileNotFoundError:
        return 0
    return found if isinstance(found, int) else 0


def _runs(folder: Path) -> bool:
    started = read_started(folder)
    return started is not None and started.runs


def _free(host: str, port: int) -> bool:
    probe = Reserved(host)
    try:
        probe.hold(port)
    except PortError:
        return False
    probe.close()
    return True
