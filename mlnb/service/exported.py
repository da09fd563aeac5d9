"""A deployment becomes a file for whoever runs it from then on: a hardened systemd unit, or a compose file.

References
----------
systemd.service(5), systemd.exec(5), systemd.syntax(7) for quoting; the Compose Specification, compose-spec.io.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from mlnb.errors import ServiceError
from mlnb.service.bento_seal import check_bento
from mlnb.service.configuration import configure
from mlnb.service.target import Deployment
from mlnb.settings import Settings

_KILLED_AFTER_S = 10  # the supervisor ends its workers itself by then
_IMAGE_PORT = 8080
_HEALTH = (
    "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=2)"
)


def systemd_unit(deployment: Deployment, folder: Path, predictions: Path, settings: Settings, *, user: bool) -> str:
    """Return the text of a unit that serves what a deployment serves.

    Parameters
    ----------
    deployment : Deployment
        Of the local target.
    folder, predictions : Path
        The service's folder and its prediction log, all that it may write.
    settings : Settings
        The project's: the host that it listens on, and how long it may take to end.
    user : bool
        Whether it is a unit of a user's own manager instead of the system's.
    """
    check_bento(Path(deployment.bento))
    source = Path(deployment.bento) / "src"
    for path in (source, folder, predictions):
        if not str(path).isprintable():
            raise ServiceError(
                f"The path {str(path)!r} holds a line break or another control character, which a unit cannot name.",
                "Rename the folder.",
                service=deployment.name,
            )
    command = [sys.executable, "-m", "mlnb.service.serve", "--host", settings.host, "--port", str(deployment.port)]
    environment = {
        "PYTHONPATH": str(source),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MLNB_SERVICE_STATE": str(folder),
        "MLNB_PREDICTIONS": str(predictions),
    }
    unit = f"mlnb-{deployment.name}"
    return _filled(
        "systemd.template",
        name=deployment.name,
        scope="--user " if user else "",
        unit=unit,
        start=_quoted(command).replace("$", "$$"),
        source=str(source).replace("%", "%%"),
        environment=_quoted(f"{key}={value}" for key, value in environment.items()),
        owner="" if user else f"User={pwd.getpwuid(os.getuid()).pw_name}",
        apart="PrivateUsers=yes" if user else "PrivateIPC=yes",
        writable=_quoted([str(folder), str(predictions)]),
        wanted_by="default.target" if user else "multi-user.target",
        stop_s=_stop_s(settings),
    )


def compose_file(deployment: Deployment, image: str, settings: Settings) -> str:
    """Return the text of a compose file that serves what a deployment serves.

    Parameters
    ----------
    deployment : Deployment
        Of the local target; its Bento is what the image is built from.
    image : str
        The image; where it is empty, named after the Bento.
    settings : Settings
        The project's; what is set for its services becomes variables.
    """
    bento = Path(deployment.bento)
    variables = {f"MLNB_{key.upper()}": _spelled(value) for key, value in settings.service.items()}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    published = [f"{host}:{deployment.port}:{_IMAGE_PORT}"]
    if deployment.grpc_port:
        published.append(f"{host}:{deployment.grpc_port}:{configure(settings.service, {}).grpc_port}")
    return _filled(
        "compose.template",
        name=deployment.name,
        service=deployment.name.lower(),
        image=_scalar(image or f"{bento.parent.name}:{bento.name}"),
        context=_scalar(str(bento / "src")),
        environment=_scalar(variables),
        published=_scalar(published),
        health=_scalar(["CMD", "/opt/service/bin/python", "-c", _HEALTH]),
        stop_s=_stop_s(settings),
    )


def _stop_s(settings: Settings) -> int:
    return int(configure(settings.service, {}).drain_s) + _KILLED_AFTER_S


def _filled(template: str, **values: object) -> str:
    text = (files("mlnb") / "templates" / "deploy" / template).read_text("utf-8")
    return Template(text).substitute(values)


def _quoted(words: Iterable[str]) -> str:
    """Return words as systemd takes them apart again (systemd.syntax(7)); its specifiers begin with a percent sign."""
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for word in words)
    return " ".join(f'"{word}"' for word in escaped)


def _scalar(value: object) -> str:
    """Return JSON, which is YAML; compose replaces what follows a dollar sign."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
