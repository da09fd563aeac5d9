"""A Bento becomes a process on this machine: the target ``local``.

``.mlnb/services/<name>/`` holds ``deployment.json`` (what was started), ``aliases.json`` and ``versions/``
(what the process follows), ``service.log`` and ``lock``; ``.mlnb/predictions/<name>/`` the prediction log.
Commands that touch one service wait for each other at the lock.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from socket import socket

from filelock import FileLock

from mlnb.errors import PortError, ServiceError
from mlnb.registry.reference import check_name
from mlnb.service.access import GUARDED
from mlnb.service.awaited import await_ready, await_reload, await_revision, reloads_of
from mlnb.service.bento_seal import check_bento, folder_digest
from mlnb.service.canary import forget_event
from mlnb.service.configuration import FILE, NAMES_OF_FILES, configure
from mlnb.service.configuration import FORMAT as CONFIGURATION_FORMAT
from mlnb.service.grpc_port import grpc_port, grpc_settings
from mlnb.service.live import Live, read_live
from mlnb.service.log_roll import roll_closed
from mlnb.service.process import ProcessMark, bind, children, spawn, terminate
from mlnb.service.routing_files import Placed, check_trust, place, prune, read_aliases, write_aliases
from mlnb.service.started import FILE as STARTED
from mlnb.service.started import Started, read_started, write_started
from mlnb.service.tail import follow, tail
from mlnb.service.target import Deployment
from mlnb.service.tls import Certificate, certificate_of, client_context
from mlnb.service.tokens import check_guarded
from mlnb.service.traffic import Traffic
from mlnb.settings import Settings
from mlnb.store.disk import make_folder, storing, write_bytes
from mlnb.store.folder import StateFolder
from mlnb.store.hashed import digests_of
from mlnb.store.manifest import read_json, timestamp, write_json

_PORTS_TRIED = 20
# Of a trial, which answers nobody but us.
_PLAIN = {**{f"MLNB_{name.upper()}": "" for name in NAMES_OF_FILES}, "MLNB_GRPC_PORT": "0"}
_FREED_S = 2.0
_BEYOND_DRAIN_S = 8.0  # the supervisor kills its workers before it is killed itself
_POLL_S = 0.02


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

    def start(self, name: str, bento: Path | None = None, *, port: int = 0, workers: int = -1) -> Deployment:
        """Start a service, or return it where it runs already; see `mlnb.service.target.Target.start`."""
        folder = make_folder(self._folder(name))
        with _locked(folder):
            known = read_started(folder)
            chosen = bento or (Path(known.bento) if known else None)
            if chosen is None or not (chosen / "src" / "service.py").is_file():
                raise ServiceError(
                    f"The service {name} has no Bento{f' at {chosen}' if chosen else ''}.",
                    "Deploy the model first: mlnb deploy NOTEBOOK.",
                    service=name,
                )
            if known is not None and workers < 0:
                workers = known.workers
            if known is not None and port in (0, known.port) and self._goes_over(known):
                wanted = replace(known, bento=str(chosen), workers=workers)
                if not _serves(known, chosen, folder) or self._settings_of(workers, folder) != _configured(folder):
                    self._reload(name, folder, wanted)
                write_started(folder, wanted)
                return self._deployment(name)
            self._replace(name, folder, chosen, known, port, workers)
        roll_closed(self._state.predictions / name)
        return self._deployment(name)

    def restart(self, name: str) -> Deployment:
        """Replace what runs, one worker after another; see `mlnb.service.target.Target.restart`."""
        folder = self._known_folder(name)
        with _locked(folder):
            known = read_started(folder)
            if known is not None and self._goes_over(known):
                self._reload(name, folder, known)
                return self._deployment(name)
        return self.start(name)

    def stop(self, name: str) -> Deployment:
        """Stop a service: SIGTERM, and SIGKILL where that does not help."""
        folder = self._known_folder(name)
        with _locked(folder):
            started = read_started(folder)
            if started is not None and started.runs:
                terminate(started.process, configure(self._settings.service, os.environ).drain_s + _BEYOND_DRAIN_S)
                write_started(folder, replace(started, stopped=True))
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
        return tail(self._known_folder(name) / "service.log", lines)

    def follow(self, name: str, lines: int = 200) -> Iterator[str]:
        """Yield the last lines that the service wrote, then each that it writes, for ever."""
        return follow(self._known_folder(name) / "service.log", lines)

    def route(
        self,
        name: str,
        packages: Mapping[int, Path],
        aliases: Mapping[str, int],
        traffic: Mapping[str, Traffic] | None = None,
    ) -> Deployment | None:
        """Give a service another routing; see `mlnb.service.target.Target.route`."""
        folder = make_folder(self._folder(name))
        with _locked(folder):
            before = read_aliases(folder)
            revision = place(folder, name, packages, aliases, traffic)
            started = read_started(folder)
            if started is not None and started.runs:
                refused = await_revision(started, revision)
                if refused:
                    _restore(folder, before, revision)
                    raise ServiceError(
                        f"The service {name} cannot answer with the new routing: {refused}.",
                        "It goes on with the old one; repair the version and deploy again.",
                        service=name,
                    )
            prune(folder, set(aliases.values()))
            return None if started is None else self._deployment(name)

    def placed(self, name: str, numbers: Collection[int]) -> dict[int, dict[str, str]]:
        """Return what lies ready of some versions: the digest of each of their files."""
        versions = self._folder(name) / "versions"
        with storing(versions, "read"):
            return {number: digests_of(versions / str(number)) for number in numbers}

    def live(self, name: str) -> Live:
        """Return what is live in a service; see `mlnb.service.target.Target.live`."""
        return read_live(self._known_folder(name))

    def forget(self, name: str, event: str) -> None:
        """Remove an event that was taken into the audit log."""
        forget_event(self._known_folder(name), event)

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
                check_bento(bento)
                self._configure(folder, bento, -1)
                environ = {**_environment(folder, folder / "predictions"), **_PLAIN}
                mark = spawn(bento / "src", listener, log, environ, with_parent=True, python=python)
            now = timestamp(datetime.now(UTC))
            started = Started(str(bento), "127.0.0.1", port, mark, now, stopped=False)
            routed = await_ready(name, started, log)
            aliases = {alias: str(ref) for alias, ref in _mapping(routed, "aliases").items()}
            yield Deployment(name, started.url, "running", aliases, str(bento), mark.pid, port, now, str(log))
        finally:
            if mark is not None:
                terminate(mark)
            shutil.rmtree(folder, ignore_errors=True)

    def _goes_over(self, known: Started) -> bool:
        """Say whether what was started runs, and can go over to what is configured now without being ended."""
        same = known.asked == self._settings.host and known.certificate == self._certificate()
        return same and known.runs and reloads_of(known) >= 0

    def _check(self, name: str, folder: Path, bento: Path, workers: int) -> None:
        """Raise what keeps a service from being started, before anything that runs is touched."""
        check_bento(bento)
        check_trust(folder)
        configuration = configure(self._settings_of(workers), os.environ)
        check_guarded(name, self._settings.host, folder, configuration)
        client_context(certificate_of(configuration))  # says what is wrong with its files

    def _replace(self, name: str, folder: Path, bento: Path, known: Started | None, port: int, workers: int) -> None:
        """End what runs, if anything does, and start anew; the port that is asked for is taken first."""
        self._check(name, folder, bento, workers)
        running = known is not None and known.runs
        if known is not None and running and port == known.port:
            port = 0  # it keeps the port it has
        listener = bind(self._settings.host, port, name) if port else None
        if known is not None and running:
            terminate(known.process)
        with closing(listener or self._listen(name, known)) as listener:
            self._launch(name, folder, bento, listener, workers)

    def _launch(self, name: str, folder: Path, bento: Path, listener: socket, workers: int) -> None:
        host, port = listener.getsockname()[:2]
        log = folder / "service.log"
        self._configure(folder, bento, workers)
        with storing(folder):
            (folder / GUARDED).unlink(missing_ok=True)
        mark = spawn(bento / "src", listener, log, _environment(folder, self._state.predictions / name))
        listener.close()
        now = timestamp(datetime.now(UTC))
        started = Started(
            str(bento), str(host), int(port), mark, now, False, workers, self._certificate(), self._settings.host
        )
        write_started(folder, started)
        try:
            await_ready(name, started, log)
        except BaseException:
            terminate(mark)
            raise

    def _reload(self, name: str, folder: Path, wanted: Started) -> None:
        """Let each worker be replaced by a new one; what was configured stays where the new one cannot start."""
        self._check(name, folder, Path(wanted.bento), wanted.workers)
        before, reloads = (folder / FILE).read_bytes(), reloads_of(wanted)
        try:
            self._configure(folder, Path(wanted.bento), wanted.workers)
            os.kill(wanted.process.pid, signal.SIGHUP)
            problem = await_reload(wanted, reloads)
            if problem:
                raise ServiceError(
                    f"The service {name} cannot go over to what is new: {problem}",
                    "It goes on with what it had; repair that, and start it again.",
                    service=name,
                )
        except BaseException:
            write_bytes(folder / FILE, before)
            raise

    def _configure(self, folder: Path, bento: Path, workers: int) -> None:
        settings = self._settings_of(workers, folder)
        configure(settings, os.environ)  # refuses what the process could not tell anybody
        write_json(folder / FILE, {"format": CONFIGURATION_FORMAT, "settings": settings, "source": str(bento / "src")})

    def _settings_of(self, workers: int, folder: Path | None = None) -> dict[str, object]:
        project = self._state.project
        found = {
            key: str(project / str(value)) if key in NAMES_OF_FILES and value else value
            for key, value in self._settings.service.items()
        }
        if folder is not None:
            found |= grpc_settings(folder, self._settings.host, found)
        return {**found, **({"workers": workers} if workers >= 0 else {})}

    def _certificate(self) -> Certificate:
        return certificate_of(configure(self._settings_of(-1), os.environ))

    def _listen(self, name: str, known: Started | None) -> socket:
        """Bind the port that the service had; else the settings' or one of those above it; else any.

        Where its supervisor was killed, its workers may take a moment to let go of the port.
        """
        host = self._settings.host
        first = self._settings.port
        candidates = [known.port] if known and known.asked == host else []
        deadline = time.monotonic() + (_FREED_S if known and not known.stopped else 0.0)
        while candidates and time.monotonic() < deadline:
            try:
                return bind(host, candidates[0], name)
            except PortError:
                time.sleep(_POLL_S)
        candidates += range(first, min(first + _PORTS_TRIED, 65536)) if first else []
        for candidate in candidates:
            try:
                return bind(host, candidate, name)
            except PortError:
                continue
        return bind(host, 0, name)

    def _deployment(self, name: str) -> Deployment:
        folder = self._folder(name)
        started = read_started(folder)
        if started is None:
            raise _unknown(name, self.list())
        routing = read_aliases(folder) or read_aliases(Path(started.bento) / "src")
        aliases = {alias: f"{routing.model}/{number}" for alias, number in routing.aliases.items()} if routing else {}
        return Deployment(
            name=name,
            url=started.url,
            state="running" if started.runs else "stopped" if started.stopped else "failed",
            aliases=aliases,
            bento=started.bento,
            pid=started.process.pid,
            port=started.port,
            started_at=started.started_at,
            log=str(folder / "service.log"),
            workers=children(started.process) if started.runs else 0,
            grpc_port=grpc_port(folder),
        )

    def _folder(self, name: str) -> Path:
        return self._state.services / check_name("service", name)

    def _known_folder(self, name: str) -> Path:
        folder = self._folder(name)
        if not (folder / STARTED).is_file():
            raise _unknown(name, self.list())
        return folder


def _serves(started: Started, bento: Path, folder: Path) -> bool:
    """Return whether the running process needs no restart to stand for `bento`: the same code, routed by `folder`."""
    if Path(started.bento) == bento:
        return True
    old, new = Path(started.bento) / "src" / "mlnb", bento / "src" / "mlnb"
    return read_aliases(folder) is not None and old.is_dir() and folder_digest(old) == folder_digest(new)


def _environment(folder: Path, predictions: Path) -> dict[str, str]:
    return {"MLNB_SERVICE_STATE": str(folder), "MLNB_PREDICTIONS": str(predictions)}


def _configured(folder: Path) -> Mapping[str, object]:
    """Return the settings that the running workers were started with."""
    return read_json(folder / FILE, CONFIGURATION_FORMAT).one("settings").mapping


def _restore(folder: Path, before: Placed | None, revision: int) -> None:
    if before is None:
        (folder / "aliases.json").unlink(missing_ok=True)
    else:
        write_aliases(folder, before.model, revision + 1, before.aliases, before.traffic, before.warm)


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


def _unknown(name: str, known: tuple[Deployment, ...]) -> ServiceError:
    names = ", ".join(deployment.name for deployment in known) or "none"
    return ServiceError(
        f"There is no service {name!r} (services: {names}).",
        "Deploy the model first: mlnb deploy NOTEBOOK.",
        service=name,
    )
