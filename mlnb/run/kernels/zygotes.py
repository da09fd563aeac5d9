"""A project and its environment become a connection to their zygote, which is started where none is listening.

One zygote serves every run of a project that would start the same kernel: same Python, same inherited environment and
limits. Two starters at once meet at the lock of the sockets' folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlnb.run.kernels.place import connected, shared_folder
from mlnb.run.kernels.threads import SINGLE
from mlnb.run.kernels.wire import Connection

_START_TIMEOUT_S = 60
_VOLATILE = frozenset(
    {"_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES", "WINDOWID", "TERM_SESSION_ID", "PYTEST_CURRENT_TEST"}
    | {
        "JPY_PARENT_PID",
        "JPY_SESSION_NAME",
        "JPY_API_TOKEN",
        "PYDEVD_DISABLE_FILE_VALIDATION",
        "PYTHONHASHSEED",
        "FORCE_COLOR",
        "CLICOLOR",
    }
)
"""Variables that no library reads when it is imported: they reach the kernel, but need no zygote of their own."""


class StartError(Exception):
    """No zygote can be started here; the text says why."""


def connect(project: Path, folder: Path, environ: Mapping[str, str]) -> Connection:
    """Return a connection to the zygote of a project.

    Parameters
    ----------
    project : Path
        Its root: modules below it are never loaded beforehand.
    folder : Path
        Where the kernels will work; only relative entries of PYTHONPATH depend on it.
    environ : mapping of str to str
        The kernels' environment.

    Raises
    ------
    StartError
        If it does not start.
    StorageError
        If there is no place for its socket.
    """
    environ = inherited(environ, folder)
    with shared_folder() as shared:
        path = shared / f"z-{_key(project, environ)}"
        end = connected(path)
        if end is None:
            path.unlink(missing_ok=True)
            end = _start(path, project, environ)
    return Connection(end)


def inherited(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what of a kernel's environment libraries may read when they are imported.

    Relative entries of PYTHONPATH are those of the kernel's working directory, `folder`.
    """
    kept = {name: value for name, value in environ.items() if name not in _VOLATILE}
    if kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(folder / entry) for entry in kept["PYTHONPATH"].split(os.pathsep))
    return kept


def _start(path: Path, project: Path, environ: Mapping[str, str]) -> socket.socket:
    """Start a zygote; the process that is waited for ends as soon as the zygote listens."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "mlnb.run.kernels.zygote", str(path), str(project), str(theirs.fileno())]
        prepared = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", **environ, **SINGLE}
        try:
            done = subprocess.run(
                command,
                cwd="/",
                env={**prepared, "PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                timeout=_START_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            ours.close()
            raise StartError(str(error)) from error
    if done.returncode != 0:
        ours.close()
        raise StartError(f"it ended with exit code {done.returncode}")
    return ours


def _key(project: Path, environ: Mapping[str, str]) -> str:
    """Return a short name for everything that a process inherits from the one that starts it."""
    import resource  # POSIX only, as forks are

    facts = [
        sys.executable,
        sys.version,
        str(project),
        dict(environ),
        [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")],
        sorted(os.sched_getaffinity(0)),
        os.getpriority(os.PRIO_PROCESS, 0),
        _umask(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _umask() -> str:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next((line for line in lines if line.startswith("Umask")), "")
