"""A service in operation becomes an answer: `services list`, `restart`, `logs` and `export`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.faces.tables import table
from mlnb.faces.verb import Asked, write_out

if TYPE_CHECKING:
    from mlnb.service.target import Deployment


def service_lines(deployments: Sequence[Deployment]) -> Iterator[str]:
    """Yield one line for each service."""
    if not deployments:
        yield "No services yet. Try: mlnb deploy NOTEBOOK."
        return
    now = datetime.now(UTC)
    rows = []
    for one in deployments:
        aliases = ", ".join(f"{alias} -> {ref}" for alias, ref in one.aliases.items())
        running = one.state == "running"
        up = uptime_text((now - datetime.fromisoformat(one.started_at)).total_seconds()) if running else ""
        where = f"{one.url}, gRPC {one.grpc_port}" if one.grpc_port else one.url
        rows.append((one.name, one.state, where, aliases, str(one.workers) if running else "", up))
    yield from table(("service", "state", "url", "aliases", "workers", "up"), rows)


def uptime_text(seconds: float) -> str:
    """Return how long a service has run: ``40 s``, ``5 min``, ``3 h 12 min``, ``12 d 4 h``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def answer_logs(asked: Asked, name: str, lines: int, *, follow: bool) -> int:
    """Print the last lines that a service has written; with `follow` those that it writes, until Ctrl-C."""
    services = asked.project().services
    if not follow:
        told = {"name": name, "log": services.logs(name, lines)}
        return asked.answer(told, lambda one: [one["log"].rstrip("\n")])
    try:
        for line in services.follow(name, lines):
            asked.tell(_entry(line), lambda _, line=line: [line])  # type: ignore[misc]  # bound at once
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


def answer_export(asked: Asked, name: str, kind: str, out: Path | None, image: str) -> int:
    """Write a file for whoever runs or watches a service, or print it."""
    from mlnb.service.dashboard import grafana_dashboard
    from mlnb.service.exported import compose_file, scrape_config, systemd_unit

    project = asked.project()
    deployment = project.services.status(name)
    predictions = project.state.predictions / name
    folder = project.state.services / name
    if kind == "compose":
        text = compose_file(deployment, project.state.project, folder, image, project.settings)
    elif kind == "prometheus":
        text = scrape_config(deployment, project.state.project, folder, project.settings)
    elif kind == "grafana":
        text = grafana_dashboard(name)
    else:
        text = systemd_unit(deployment, folder, predictions, project.settings, user=kind == "systemd-user")
    if out is None:
        return asked.answer({"name": name, "text": text}, lambda one: [one["text"].rstrip("\n")])
    write_out(out, text)
    return asked.answer({"name": name, "file": str(out)}, lambda _: [f"{name} is written to {out}."])


def _entry(line: str) -> object:
    """Return a line of a log as JSON has it: an object as it is, text as text."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": line}
