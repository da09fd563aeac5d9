"""A lock becomes an environment that holds just that.

Environments lie in the user's cache, ``~/.cache/mlnb/environments/<digest>``, named by the digest of the lock and of
the Python: whatever has the same lock shares one. Those that nothing has used for 30 days are removed when one is made.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

from mlnb.errors import ServiceError
from mlnb.service.lock import FILE, KEPT_S, cache_folder, has_digests, run_quietly, run_uv
from mlnb.store.disk import make_folder, storing

_WARMED = (
    *("msgspec", "numpy", "uvicorn.protocols.http.auto", "uvloop", "uvicorn.loops.auto"),
    *("onnxruntime", "pandas", "skops.io", "cloudpickle"),
)


def environment_of(text: str, subject: str) -> Path:
    """Return the interpreter of an environment that holds a lock and nothing more; made where it is missing.

    Parameters
    ----------
    text : str
        The lock.
    subject : str
        What it is for, for messages.

    Raises
    ------
    ServiceError
        If a file cannot be fetched, or is not the one that was locked.
    StorageError
        If the disk is full or not ours.
    """
    home = make_folder(environments_folder())
    python_here = f"{platform.python_implementation()} {platform.python_version()} {sysconfig_platform()}"
    name = hashlib.sha256(f"{python_here}\n{text}".encode()).hexdigest()[:16]
    folder = home / name
    with storing(folder):
        lock_file = FileLock(home / f".{name}.lock").acquire()
    with lock_file, storing(folder):
        if not (folder / "bin" / "python").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, text, subject)
            _remove_unused(home)
        os.utime(folder)
    return folder / "bin" / "python"


def environments_folder() -> Path:
    """Return the folder of all environments, in the user's cache."""
    return cache_folder() / "environments"


def site_packages(python: Path) -> Path:
    """Return the folder of an environment's distributions."""
    return next((python.parents[1] / "lib").glob("python3.*/site-packages"))


def sysconfig_platform() -> str:
    """Return the system and processor that files are built for."""
    import sysconfig

    return sysconfig.get_platform()


def _make(folder: Path, text: str, subject: str) -> None:
    draft = Path(tempfile.mkdtemp(prefix=".build-", dir=folder.parent))
    try:
        (draft / FILE).write_text(text, "utf-8")
        made = draft / "environment"
        told = run_uv(draft, "venv", "--python", sys.executable, "--relocatable", str(made))
        proved = ["--require-hashes"] if has_digests(text) else []
        python = made / "bin" / "python"
        told = told or run_uv(draft, "pip", "sync", str(draft / FILE), "--python", str(python), "--strict", *proved)
        if told:
            raise ServiceError(
                f"The environment of {subject} cannot be made from its lock: {told}.",
                "uv must reach the package index (UV_DEFAULT_INDEX, else PyPI), or have the files in its cache.",
                service=subject,
            )
        _warm(python, subject)
        shutil.copy(draft / FILE, made / FILE)
        made.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _warm(python: Path, subject: str) -> None:
    """Import what services import: it is compiled now, and a file that does not fit this machine is found here."""
    code = (
        "import importlib, importlib.util\n"
        f"for name in {_WARMED!r}:\n"
        "    if importlib.util.find_spec(name.partition('.')[0]):\n"
        "        importlib.import_module(name)\n"
    )
    told = run_quietly([str(python), "-I", "-c", code], python.parent, {"ORT_DISABLE_TELEMETRY": "1"})
    if told:
        raise ServiceError(
            f"What the lock of {subject} installs cannot be imported: {told}.",
            "Look at that distribution; `mlnb doctor` looks at the installation here.",
            service=subject,
        )


def _remove_unused(home: Path) -> None:
    for folder in home.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)
