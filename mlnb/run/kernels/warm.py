"""A live kernel or a server keeps the zygotes of its projects: the next run there finds its libraries loaded."""

from __future__ import annotations

from pathlib import Path

from mlnb.run.kernels.wire import Connection
from mlnb.store.folder import StateFolder

_projects: dict[Path, Connection | None] = {}


def keep_warm(state: StateFolder) -> None:
    """Let the zygote of a project outlive the runs of this process, until the process itself ends.

    Nothing is started: the first run that forks leaves its zygote. The next one replaces it where it is outdated.
    """
    _projects.setdefault(state.project)


def let_go() -> None:
    """Keep nothing any more."""
    for connection in _projects.values():
        if connection is not None:
            connection.close()
    _projects.clear()


def keeps_warm(project: Path, connection: Connection) -> bool:
    """Keep a connection to the zygote of `project`, if that was asked for; say whether it was."""
    if project not in _projects:
        return False
    before, _projects[project] = _projects[project], connection
    if before is not None:
        before.close()
    return True
