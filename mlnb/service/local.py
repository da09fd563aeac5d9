"""A Bento becomes a process on this machine: the target ``local``.

``.mlnb/services/<name>/`` holds ``deployment.json`` (format 1: what was started), ``aliases.json`` and ``versions/``
(what the process follows), ``service.log`` and ``lock``; ``.mlnb/predictions/<name>/`` the prediction log.
Commands that touch one service wait for each other at the lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from socket import socket

from filelock import FileLock

from mlnb.errors import PortError, ServiceError
from mlnb.registry.reference import check_name
from mlnb.service.bento import folder_digest
from mlnb.service.client import Client
from mlnb.service.configuration import FILE, configure
from mlnb.service.configuration import FORMAT as CONFIGURATION_FORMAT
from mlnb.service.process import ProcessMark, alive, bind, spawn, terminate
from mlnb.service.routing_files import Placed, check_trust, place, prune, read_aliases, write_aliases
from mlnb.service.target import Deployment
from mlnb.settings import Settings
from mlnb.store.disk import make_folder, storing
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import read_json, timestamp, write_json

FORMAT = 1
_READY_S = 120.0
_POLL_S = 0.02
_PORTS_TRIED = 20


@dataclass(frozen=True, slots=True)
class _Started:
    """``deployment.json``: what was started, and whether somebody stopped it."""

    bento: str
    host: str
    port: int
    process: ProcessMark
    started_at: str
    stopped: bool


class LocalTarget:
    """Services as processes of this machine, on loopback unless the settings say otherwise.

    Parameters
    ----------
    state : StateFolder
        The project's state.
    settings : Settings
        ``host``, ``port`` and ``service`` are used.
    """

    def __init__(self, state: StateFolder, settings: Settings) -> None:
        self._state = state
        self._settings = settings

    def start(self, name: str, bento: Path | None = None, *, port: int = 0) -> Deployment:
        """Start a service, or return it where it runs already; see `mlnb.service.target.Target.start`."""
        folder = make_folder(self._folder(name))
        with _locked(folder):
            known = _read_started(folder)
            chosen = bento or (Path(known.bento) if known else None)
            if chosen is None or not (chosen / "src" / "service.py").is_file():
                raise ServiceError(
                    f"The service {name} has no Bento{f' at {chosen}' if chosen else ''}.",
                    "Deploy the model first: mlnb deploy NOTEBOOK.",
                    service=name,
                )
            running = known is not None and _runs(known)
            if known is not None and running and port in (0, known.port):
                if _serves(known, chosen, folder):
                    _write_started(folder, replace(known, bento=str(chosen)))
                    return self._deployment(name)
                port = 0  # it keeps the port it has
            listener = bind(self._settings.host, port, name) if port else None
            if known is not None and running:
                terminate(known.process)
            with closing(listener or self._listen(name, known)) as listener:
                self._launch(name, folder, chosen, listener)
            return self._deployment(name)

    def stop(self, name: str) -> Deployment:
        """Stop a service: SIGTERM, and SIGKILL where that does not help."""
        folder = self._known_folder(name)
        with _locked(folder):
            started = _read_started(folder)
            if started is not None and _runs(started):
                terminate(started.process)
                _write_started(folder, replace(started, stopped=True))
            return self._deployment(name)

    def status(self, name: str) -> Deployment:
        """Return one service."""
        self._known_folder(name)
        return self._deployment(name)

    def list(self) -> tuple[Deployment, ...]:
        """Return all services, by name."""
        folders = sorted(path.parent for path in self._state.services.glob("*/deployment.json"))
        return tuple(self._deployment(folder.name) for folder in folders)

    def logs(self, name: str, lines: int = 200) -> str:
        """Return the last lines that the service's process wrote."""
        return _tail(self._known_folder(name) / "service.log", lines)

    def route(self, name: str, packages: Mapping[int, Path], aliases: Mapping[str, int]) -> Deployment | None:
        """Give a service another routing; see `mlnb.service.target.Target.route`."""
        folder = make_folder(self._folder(name))
        with _locked(folder):
            before = read_aliases(folder)
            revision = place(folder, name, packages, aliases)
            started = _read_started(folder)
            if started is not None and _runs(started):
                refused = _await_revision(started, revision)
                if refused:
                    _restore(folder, before, revision)
                    raise ServiceError(
                        f"The service {name} cannot answer with the new routing: {refused}.",
                        "It goes on with the old one; repair the version and deploy again.",
                        service=name,
                    )
            prune(folder, set(aliases.values()))
            return None if started is None else self._deployment(name)

    @contextmanager
    def trial(
        self, bento: Path, package: Path | None = None, number: int = 0, *, python: Path | None = None
    ) -> Iterator[Deployment]:
        """Run a Bento for the time of a ``with`` block; see `mlnb.service.target.Target.trial`."""
        name = bento.parent.name
        folder = Path(tempfile.mkdtemp(prefix="mlnb-trial-"))
        mark: ProcessMark | None = None
        try:
            if package is not None:
                place(folder, name, {number: package}, {"trial": number})
            with closing(bind("127.0.0.1", 0, name)) as listener:
                port = int(listener.getsockname()[1])
                log = folder / "service.log"
                environ = self._environment(folder, folder / "predictions")
                mark = spawn(bento / "src", listener, log, environ, with_parent=True, python=python)
            routed = _await_ready(name, "127.0.0.1", port, mark, log)
            now = timestamp(datetime.now(UTC))
            aliases = {alias: str(ref) for alias, ref in _mapping(routed, "aliases").items()}
            url = _url("127.0.0.1", port)
            yield Deployment(name, url, "running", aliases, str(bento), mark.pid, port, now, str(log))
        finally:
            if mark is not None:
                terminate(mark)
            shutil.rmtree(folder, ignore_errors=True)

    def _launch(self, name: str, folder: Path, bento: Path, listener: socket) -> None:
        check_trust(folder)
        host, port = listener.getsockname()[:2]
        log = folder / "service.log"
        mark = spawn(bento / "src", listener, log, self._environment(folder, self._state.predictions / name))
        listener.close()
        started = _Started(str(bento), str(host), int(port), mark, timestamp(datetime.now(UTC)), stopped=False)
        _write_started(folder, started)
        try:
            _await_ready(name, str(host), int(port), mark, log)
        except BaseException:
            terminate(mark)
            raise

    def _environment(self, folder: Path, predictions: Path) -> dict[str, str]:
        configure(self._settings.service, os.environ)  # refuses what the process could not tell anybody
        write_json(folder / FILE, {"format": CONFIGURATION_FORMAT, "settings": dict(self._settings.service)})
        return {
            "MLNB_SERVICE_STATE": str(folder),
            "MLNB_PREDICTIONS": str(predictions),
        }

    def _listen(self, name: str, known: _Started | None) -> socket:
        """Bind the port that the service had; else the settings' or one of those above it; else any."""
        host = self._settings.host
        first = self._settings.port
        candidates = [known.port] if known and known.host == host else []
        candidates += range(first, min(first + _PORTS_TRIED, 65536)) if first else []
        for candidate in candidates:
            try:
                return bind(host, candidate, name)
            except PortError:
                continue
        return bind(host, 0, name)

    def _deployment(self, name: str) -> Deployment:
        folder = self._folder(name)
        started = _read_started(folder)
        if started is None:
            raise _unknown(name, self.list())
        routing = read_aliases(folder) or read_aliases(Path(started.bento) / "src")
        aliases = {alias: f"{routing.model}/{number}" for alias, number in routing.aliases.items()} if routing else {}
        return Deployment(
            name=name,
            url=_url(started.host, started.port),
            state="running" if _runs(started) else "stopped" if started.stopped else "failed",
            aliases=aliases,
            bento=started.bento,
            pid=started.process.pid,
            port=started.port,
            started_at=started.started_at,
            log=str(folder / "service.log"),
        )

    def _folder(self, name: str) -> Path:
        return self._state.services / check_name("service", name)

    def _known_folder(self, name: str) -> Path:
        folder = self._folder(name)
        if not (folder / "deployment.json").is_file():
            raise _unknown(name, self.list())
        return folder


def _runs(started: _Started) -> bool:
    return not started.stopped and alive(started.process)


def _serves(started: _Started, bento: Path, folder: Path) -> bool:
    """Return whether the running process needs no restart to stand for `bento`: the same code, routed by `folder`."""
    if Path(started.bento) == bento:
        return True
    old, new = Path(started.bento) / "src" / "mlnb", bento / "src" / "mlnb"
    return read_aliases(folder) is not None and old.is_dir() and folder_digest(old) == folder_digest(new)


def _await_ready(name: str, host: str, port: int, mark: ProcessMark, log: Path) -> Mapping[str, object]:
    """Return the first readiness answer; a service without any live alias counts as started."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            with Client(_url(host, port), timeout_s=max(1.0, deadline - time.monotonic())) as client:
                return client.get("/readyz").body
        except ServiceError:
            if not alive(mark):
                break
            time.sleep(_POLL_S)
    last = _tail(log, 5).strip() or "it wrote nothing"
    raise ServiceError(f"The service {name} did not start: {last}.", f"Its whole output is in {log}.", service=name)


def _await_revision(started: _Started, revision: int) -> str:
    """Wait until the process answers with `revision`; return why it cannot, "" where it does."""
    deadline = time.monotonic() + _READY_S
    with Client(_url(started.host, started.port), timeout_s=_READY_S) as client:
        while time.monotonic() < deadline:
            try:
                body = client.get("/readyz").body
            except ServiceError:
                if alive(started.process):
                    raise
                return ""  # it ended; the routing waits for the next start
            refused = body.get("refused")
            if isinstance(refused, dict) and refused.get("revision") == revision:
                return str(refused.get("problem"))
            if body.get("revision") == revision:
                return ""
            time.sleep(_POLL_S)
    return f"it did not take it within {_READY_S:g} seconds"


def _restore(folder: Path, before: Placed | None, revision: int) -> None:
    if before is None:
        (folder / "aliases.json").unlink(missing_ok=True)
    else:
        write_aliases(folder, before.model, revision + 1, before.aliases)


def _read_started(folder: Path) -> _Started | None:
    try:
        fields = read_json(folder / "deployment.json", FORMAT)
    except FileNotFoundError:
        return None
    return _Started(
        bento=fields.text("bento"),
        host=fields.text("host"),
        port=fields.integer("port"),
        process=ProcessMark(fields.integer("pid"), fields.number("process_started")),
        started_at=fields.text("started_at"),
        stopped=fields.truth("stopped"),
    )


def _write_started(folder: Path, started: _Started) -> None:
    write_json(
        folder / "deployment.json",
        {
            "format": FORMAT,
            "bento": started.bento,
            "host": started.host,
            "port": started.port,
            "pid": started.process.pid,
            "process_started": started.process.started,
            "started_at": started.started_at,
            "stopped": started.stopped,
        },
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / "lock"
    with storing(path):
        lock = FileLock(path).acquire()
    with lock:
        yield


def _mapping(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 400 * lines))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _url(host: str, port: int) -> str:
    unspecified = ip_address(host).is_unspecified if host[:1] in "0123456789:" else False
    shown = ("::1" if ":" in host else "127.0.0.1") if unspecified else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _unknown(name: str, known: tuple[Deployment, ...]) -> ServiceError:
    names = ", ".join(deployment.name for deployment in known) or "none"
    return ServiceError(
        f"There is no service {name!r} (services: {names}).",
        "Deploy the model first: mlnb deploy NOTEBOOK.",
        service=name,
    )
