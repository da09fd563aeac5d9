"""The seam behind which services run: a `Target` makes a Bento into a `Deployment`.

Entry points of the group ``mlnb.targets``; each is a callable taking the state folder and the settings. The built-in
is `mlnb.service.local.LocalTarget`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mlnb.service.live import Live
from mlnb.service.traffic import Traffic

DeploymentState = Literal["running", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A service somewhere.

    Attributes
    ----------
    name : str
        The service's name, which is its model's.
    url : str
        Where it answers, without a trailing slash.
    state : {"running", "stopped", "failed"}
        ``failed`` is a process that ended without being told to.
    aliases : Mapping of str to str
        Version behind each alias: ``{"production": "delays/7"}``.
    bento : str
        Folder of the Bento it was started from.
    pid, port : int
        Of its process, which supervises the workers; the port stays that of the last process while it is stopped.
    started_at : str
        ISO 8601, UTC.
    log : str
        File of the process's own messages.
    workers : int
        Processes that answer.
    grpc_port : int
        Where it answers gRPC as well; 0 for nowhere.
    """

    name: str
    url: str
    state: DeploymentState
    aliases: Mapping[str, str]
    bento: str
    pid: int
    port: int
    started_at: str
    log: str
    workers: int = 0
    grpc_port: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return {
            "name": self.name,
            "url": self.url,
            "state": self.state,
            "aliases": dict(self.aliases),
            "bento": self.bento,
            "pid": self.pid,
            "port": self.port,
            "started_at": self.started_at,
            "log": self.log,
            "workers": self.workers,
            "grpc_port": self.grpc_port,
        }


class Target(Protocol):
    """Where services run. `name` is the model's name everywhere."""

    def start(self, name: str, bento: Path | None = None, *, port: int = 0, workers: int = -1) -> Deployment:
        """Start a service, or return it where it runs already; without `bento` from the one it had last.

        Where it runs with other code, settings or workers, its workers are replaced as `restart` says. `workers` is how
        many there are, 0 one for each core; -1 what was asked for last, else what the settings say.
        `port` 0 keeps the port it had, or finds one. Raises `PortError` where a port that was asked for is taken,
        `ServiceError` where the process ends before it is ready.
        """
        ...

    def restart(self, name: str) -> Deployment:
        """Replace the workers of a service with new ones that read code and settings anew, and lose no request.

        One that does not run is started. Raises `ServiceError` where a new worker cannot start; the old ones go on.
        """
        ...

    def stop(self, name: str) -> Deployment:
        """Stop a service; one that does not run stays as it is."""
        ...

    def status(self, name: str) -> Deployment:
        """Return one service. Raises `ServiceError` where there is none of that name."""
        ...

    def list(self) -> tuple[Deployment, ...]:
        """Return all services, by name."""
        ...

    def logs(self, name: str, lines: int = 200) -> str:
        """Return the last lines that the service's process wrote."""
        ...

    def follow(self, name: str, lines: int = 200) -> Iterator[str]:
        """Yield the last lines that the service's process wrote, then each that it writes, for ever."""
        ...

    def route(
        self,
        name: str,
        packages: Mapping[int, Path],
        aliases: Mapping[str, int],
        traffic: Mapping[str, Traffic] | None = None,
    ) -> Deployment | None:
        """Give a service another routing and return when it answers with it.

        `traffic` spreads the requests of aliases over several versions; None leaves it as it was, except that of an
        alias which moves: that ends. `packages` has every version that is not there yet. Where it does not run the
        routing waits for it; None where it was never started. Raises `ServiceError` where the service cannot load it,
        and leaves the old routing in place.
        """
        ...

    def placed(self, name: str, numbers: Collection[int]) -> Mapping[int, Mapping[str, str]]:
        """Return what `route` already has of some versions: the digest of each of their files, none where it lacks one.

        It needs no package of a version whose files are all there as they were registered.
        """
        ...

    def live(self, name: str) -> Live:
        """Return what is live in a service, with what was counted. Raises `ServiceError` where there is none."""
        ...

    def forget(self, name: str, event: str) -> None:
        """Remove one of `live`'s events, which was taken into the audit log."""
        ...

    def trial(
        self, bento: Path, package: Path | None = None, number: int = 0, *, python: Path | None = None
    ) -> AbstractContextManager[Deployment]:
        """Run a Bento for the time of a ``with`` block, with a log of its own that is thrown away.

        With `package` it answers with that one version, `number`, under the alias ``trial``. `python` is the
        interpreter of the environment that it runs in, mlnb's own where none is given.
        """
        ...
