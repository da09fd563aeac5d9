"""A deployment becomes a file for whoever runs it from then on: a hardened systemd unit, or a compose file.

And for whoever watches it: what Prometheus must know to scrape it (`mlnb.service.dashboard` has Grafana's part).

References
----------
systemd.service(5), systemd.exec(5), systemd.syntax(7) for quoting; the Compose Specification, compose-spec.io;
Prometheus's configuration, ``scrape_config``.
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
from urllib.parse import urlsplit

from mlnb.errors import ServiceError
from mlnb.service.access import FILE as TOKENS
from mlnb.service.bento_seal import check_bento
from mlnb.service.configuration import NAMES_OF_FILES, configure
from mlnb.service.target import Deployment
from mlnb.service.tokens import check_guarded
from mlnb.settings import Settings

_KILLED_AFTER_S = 10  # the supervisor ends its workers itself by then
_IMAGE_PORT = 8080
_HEALTH = (
    "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=2)"
)
_HEALTH_TLS = (  # it knows itself by its own certificate, whatever name that has
    "import os, ssl, urllib.request; c = ssl.create_default_context(); c.check_hostname = False; "
    "c.verify_mode = ssl.CERT_NONE; c.load_cert_chain(os.environ['MLNB_TLS_CERT'], os.environ['MLNB_TLS_KEY']); "
    "urllib.request.urlopen('https://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=2, context=c)"
)
_LOG = "predictions:/var/lib/mlnb"
_MOUNTED = "/run/mlnb"
_SECRET = ("log_redact_key",)


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
    check_guarded(deployment.name, settings.host, folder, configure(settings.service, {}))
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
    return filled(
        "systemd.template",
        name=deployment.name,
        scope="--user " if user else "",
        unit=unit,
        start=quoted(command).replace("$", "$$"),
        source=str(source).replace("%", "%%"),
        environment=quoted(f"{key}={value}" for key, value in environment.items()),
        owner="" if user else f"User={pwd.getpwuid(os.getuid()).pw_name}",
        apart="PrivateUsers=yes" if user else "PrivateIPC=yes",
        writable=quoted([str(folder), str(predictions)]),
        wanted_by="default.target" if user else "multi-user.target",
        stop_s=_stop_s(settings),
    )


def compose_file(deployment: Deployment, project: Path, folder: Path, image: str, settings: Settings) -> str:
    """Return the text of a compose file that serves what a deployment serves, guarded as it is.

    The tokens, the certificate and the key are mounted; a key that masks what is logged is asked of the environment.

    Parameters
    ----------
    deployment : Deployment
        Of the local target; its Bento is what the image is built from.
    project, folder : Path
        What the files are named from that the settings name, and the service's folder, where its tokens are.
    image : str
        The image; where it is empty, named after the Bento.
    settings : Settings
        The project's; what is set for its services becomes variables.

    Raises
    ------
    ServiceError
        If others than this machine would reach it without a token, and nobody meant it.
    """
    bento, configuration = Path(deployment.bento), configure(settings.service, {})
    check_guarded(deployment.name, settings.host, folder, configuration)
    files = {key: project / str(settings.service[key]) for key in NAMES_OF_FILES if settings.service.get(key)}
    if "tokens_file" not in files and (folder / TOKENS).is_file():
        files["tokens_file"] = folder / TOKENS
    variables = {key: _spelled(value).replace("$", "$$") for key, value in settings.service.items()}
    variables |= {key: f"{_MOUNTED}/{key}" for key in files}
    variables |= {key: f"${{MLNB_{key.upper()}:?is not in the environment}}" for key in _SECRET if variables.get(key)}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    published = [f"{host}:{deployment.port}:{_IMAGE_PORT}"]
    if deployment.grpc_port:
        published.append(f"{host}:{deployment.grpc_port}:{configuration.grpc_port}")
    return filled(
        "compose.template",
        name=deployment.name,
        service=deployment.name.lower(),
        image=_scalar(image or f"{bento.parent.name}:{bento.name}"),
        context=_scalar(str(bento / "src")),
        environment=json.dumps({f"MLNB_{key.upper()}": text for key, text in variables.items()}, ensure_ascii=False),
        volumes=_scalar([_LOG, *(_mount(path, f"{_MOUNTED}/{key}") for key, path in files.items())]),
        published=_scalar(published),
        health=_scalar(["CMD", "/opt/service/bin/python", "-c", _HEALTH_TLS if configuration.tls_cert else _HEALTH]),
        stop_s=_stop_s(settings),
    )


def scrape_config(deployment: Deployment, project: Path, folder: Path, settings: Settings) -> str:
    """Return what Prometheus needs to scrape a service: ``job`` is its name, as the dashboard expects.

    A guarded service is asked with a token that lies in a file on Prometheus's machine; none is written here.

    Parameters
    ----------
    deployment : Deployment
        Of the local target.
    project, folder : Path
        What the files are named from that the settings name, and the service's folder, where its tokens are.
    settings : Settings
        The project's.
    """
    configuration = configure(settings.service, {})
    job: dict[str, object] = {"job_name": deployment.name}
    if configuration.tls_cert:
        certificate = str(project / configuration.tls_cert)
        job |= {"scheme": "https", "tls_config": {"ca_file": certificate}}
    guarded = bool(configuration.tokens_file) or (folder / TOKENS).is_file()
    if guarded and "metrics" not in configuration.public.split():
        job["authorization"] = {"credentials_file": f"/etc/prometheus/mlnb-{deployment.name}.token"}
    job["static_configs"] = [{"targets": [urlsplit(deployment.url).netloc]}]
    return filled("prometheus.template", name=deployment.name, jobs=json.dumps([job], ensure_ascii=False))


def _mount(path: Path, target: str) -> dict[str, object]:
    there: dict[str, object] = {"create_host_path": False}
    return {"type": "bind", "source": str(path), "target": target, "read_only": True, "bind": there}


def _stop_s(settings: Settings) -> int:
    return int(configure(settings.service, {}).drain_s) + _KILLED_AFTER_S


def filled(template: str, **values: object) -> str:
    """Return a template of ``templates/deploy`` with its names replaced."""
    text = (files("mlnb") / "templates" / "deploy" / template).read_text("utf-8")
    return Template(text).substitute(values)


def quoted(words: Iterable[str]) -> str:
    """Return words as systemd takes them apart again (systemd.syntax(7)); its specifiers begin with a percent sign."""
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for word in words)
    return " ".join(f'"{word}"' for word in escaped)


def _scalar(value: object) -> str:
    """Return JSON, which is YAML; compose replaces what follows a dollar sign."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
