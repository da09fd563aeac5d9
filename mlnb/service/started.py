"""``deployment.json``: what was started as a service of this machine, and whether somebody stopped it.

Format 2; format 1 had no ``workers`` and no ``certificate``, and the first of format 2 no ``asked``.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from ipaddress import ip_address
from pathlib import Path

from mlnb.service.client import Client
from mlnb.service.process import ProcessMark, alive
from mlnb.service.tls import Certificate, client_context
from mlnb.store.manifest import read_json, write_json

FILE = "deployment.json"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Started:
    """What was started.

    Attributes
    ----------
    bento : str
        Folder of the Bento.
    host, port : str, int
        Where it listens.
    process : ProcessMark
        Its supervisor.
    started_at : str
        ISO 8601, UTC.
    stopped : bool
        Whether somebody stopped it.
    workers : int
        How many workers were asked for at the start; -1 where the configuration says it.
    certificate : Certificate
        That it shows, where it speaks TLS.
    asked : str
        The host that it was told to listen at, such as ``localhost``, of which `host` is the address.
    """

    bento: str
    host: str
    port: int
    process: ProcessMark
    started_at: str
    stopped: bool
    workers: int = -1
    certificate: Certificate = field(default_factory=Certificate)
    asked: str = ""

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return not self.stopped and alive(self.process)

    @property
    def url(self) -> str:
        """Where it answers."""
        return url_of(self.host, self.port, tls=bool(self.certificate.cert))

    def client(self, timeout_s: float = 60.0) -> Client:
        """Return a connection to it."""
        return Client(self.url, timeout_s, client_context(self.certificate))


def read_started(folder: Path) -> Started | None:
    """Return what was started for the service of a folder; None where nothing was."""
    try:
        fields = read_json(folder / FILE, FORMAT)
    except FileNotFoundError:
        return None
    return Started(
        bento=fields.text("bento"),
        host=fields.text("host"),
        port=fields.integer("port"),
        process=ProcessMark(fields.integer("pid"), fields.number("process_started")),
        started_at=fields.text("started_at"),
        stopped=fields.truth("stopped"),
        workers=fields.integer("workers") if "workers" in fields.mapping else -1,
        certificate=Certificate(*fields.texts("certificate")) if "certificate" in fields.mapping else Certificate(),
        asked=fields.text("asked" if "asked" in fields.mapping else "host"),
    )


def write_started(folder: Path, started: Started) -> None:
    """Write what was started."""
    write_json(
        folder / FILE,
        {
            "format": FORMAT,
            "bento": started.bento,
            "host": started.host,
            "port": started.port,
            "pid": started.process.pid,
            "process_started": started.process.started,
            "started_at": started.started_at,
            "stopped": started.stopped,
            "workers": started.workers,
            "certificate": list(astuple(started.certificate)),
            "asked": started.asked,
        },
    )


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """Return the address at which what listens on `host` is reached from this machine."""
    unspecified = ip_address(host).is_unspecified if host[:1] in "0123456789:" else False
    shown = ("::1" if ":" in host else "127.0.0.1") if unspecified else host
    return f"http{'s' if tls else ''}://{f'[{shown}]' if ':' in shown else shown}:{port}"
