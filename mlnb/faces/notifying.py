"""The channels by which people are told become a list of checks: which are set up, whether a test event arrives."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.check import Check
from mlnb.notify.allowed import allow
from mlnb.notify.channel import Channel, channels
from mlnb.project import Project
from mlnb.registry.canonical import time_text, utc_now


def allow_channel(folder: Path | None, name: str) -> Check:
    """Let a channel use its secrets, or run its command, from now on, as this user, until its table changes.

    Raises
    ------
    UsageError
        If no channel of that name is declared.
    """
    project = _project(folder)
    table = _named(project, name).table
    if table is None or not table.guarded:
        return Check(f"notify {name}", True, "uses no secret and runs no command: it needs no permission")
    allow(project.root, name, table.options)
    return Check(f"notify {name}", True, "is allowed from now on, until its table changes")


def try_channels(folder: Path | None) -> Iterator[Check]:
    """Send a test event by every channel, whatever it is limited to."""
    project = _project(folder)
    found = channels(project.settings, project.root)
    if not found:
        yield Check("notify", True, "nobody is told: [tool.mlnb.notify] declares no channel")
    event = {
        "event": "test",
        "text": f"This is a test of mlnb, sent by {project.actor} from {project.root.name}.",
        "by": project.actor,
        "at": time_text(utc_now()),
    }
    for name, channel in found.items():
        try:
            channel.tell(event, f"test-{secrets.token_hex(16)}")
        except MlnbError as error:
            yield Check(f"notify {name}", False, error.problem, error.remedy)
        except Exception as error:  # a notifier is a plug-in
            yield Check(f"notify {name}", False, f"{type(error).__name__}: {error}", "Repair its package.")
        else:
            yield Check(f"notify {name}", True, f"{channel.described()}; the test event was taken")


def channel_checks(project: Project) -> Iterator[Check]:
    """Tell which channels are set up; nothing is sent."""
    try:
        for name, channel in channels(project.settings, project.root).items():
            if channel.allowed:
                yield Check(f"notify {name}", True, channel.described())
            else:
                remedy = f"It uses secrets or runs a command. Read its table, then: mlnb doctor --allow {name}."
                yield Check(f"notify {name}", False, f"{channel.described()}; not allowed yet", remedy)
    except MlnbError as error:
        yield Check("notify", False, error.problem, error.remedy)


def _project(folder: Path | None) -> Project:
    return Project(folder) if folder else Project.find()


def _named(project: Project, name: str) -> Channel:
    found = channels(project.settings, project.root)
    if name not in found:
        raise UsageError(
            f"No channel {name!r} is declared.", f"Declared in [tool.mlnb.notify]: {', '.join(found) or 'none'}."
        )
    return found[name]
