"""A PostgreSQL server of its own, in a process of its own, on a unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


def program(name: str) -> str:
    """Return where a program of PostgreSQL is: on the path, or where Debian has it."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), "")
    assert found, f"{name} is not installed: apt-get install postgresql"
    return found


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server and yield the URL of its empty database; every client may do anything there."""
    folder = Path(tempfile.mkdtemp(prefix="mlnb-pg-"))  # short: a socket's path has 108 characters
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    who = {"user": user, "group": pwd.getpwnam(user).pw_gid} if os.getuid() == 0 else {}
    shutil.chown(folder, user)
    data, log = folder / "data", (folder / "log").open("wb")
    process = None
    try:
        made = [program("initdb"), "-D", data, "-U", "mlnb", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, stdout=log, stderr=log, cwd=folder, **who)
        options = [
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=60",
            "-c",
            "shared_buffers=32MB",
        ]
        process = subprocess.Popen(
            [program("postgres"), "-D", data, "-k", folder, *options], stdout=log, stderr=log, cwd=folder, **who
        )
        _await(f"host={folder} user=mlnb dbname=postgres", process)
        yield f"postgresql://mlnb@/postgres?host={folder}"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # "fast": it ends its sessions
            process.wait(timeout=30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < until, "the server does not start"
            time.sleep(0.02)
