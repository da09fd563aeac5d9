"""Needed distributions become an exact lock, and a lock becomes an environment that holds just that.

``lock.txt``, format 1, is a requirements file that pip and uv read: behind its first line (``# mlnb lock 1``), one
``name==version`` a distribution with its marker and the SHA-256 digests of all its files (universal: for every system
and Python that the distributions know). uv resolves it; what is installed here is preferred, so a version's service
computes with what its pipeline computed with.

Environments lie in the user's cache, ``~/.cache/mlnb/environments/<digest>``, named by the digest of the lock and of
the Python: whatever has the same lock shares one. Those that nothing has used for 30 days are removed when one is made.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from mlnb.errors import CorruptError, ServiceError, SettingsError
from mlnb.service.needs import installed_closure
from mlnb.store.disk import make_folder, storing

LOCKED, INSTALLED = "locked", "installed"
FILE = "lock.txt"
_HEAD = "# mlnb lock 1"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]*))?\\?")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_TIMEOUT_S = 600
_KEPT_S = 30 * 86_400
_WARMED = ("msgspec", "numpy", "uvicorn.protocols.http.auto", "onnxruntime", "pandas", "skops.io", "cloudpickle")


@dataclass(frozen=True, slots=True)
class Pin:
    """One distribution of a lock.

    Attributes
    ----------
    name, version : str
        As the index spells them.
    marker : str
        Where it is needed (PEP 508); empty for everywhere.
    hashes : tuple of str
        ``sha256:<hex>`` of each of its files; empty in a lock of what is installed.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def lock(needed: Sequence[str], how: str, subject: str) -> str:
    """Return the text of a lock.

    Parameters
    ----------
    needed : sequence of str
        ``name==version``, as `mlnb.service.needs.requirements` gives them.
    how : {"locked", "installed"}
        ``locked`` asks the package index (or uv's cache) for what they need in turn, and for the digests of the files.
        ``installed`` asks nobody: it pins what is installed here, without digests.
    subject : str
        What it is for, for messages.

    Raises
    ------
    ServiceError
        If the index cannot be asked, or has not what is needed.
    SettingsError
        If `how` is something else.
    """
    if how not in (LOCKED, INSTALLED):
        raise SettingsError(
            f"The setting environment is {how!r}.", f"Set it to {LOCKED!r} or {INSTALLED!r}.", key="environment"
        )
    if how == INSTALLED:
        return "\n".join([_HEAD, *installed_closure(needed), ""])
    with tempfile.TemporaryDirectory(prefix="mlnb-lock-") as folder:
        asked, locked = Path(folder) / "needed.txt", Path(folder) / FILE
        asked.write_text("\n".join([*needed, ""]), "utf-8")
        locked.write_text(_preferred(), "utf-8")  # uv keeps the versions of the file that it writes, where they fit
        asking = ["pip", "compile", str(asked), "--output-file", str(locked), "--universal", "--generate-hashes"]
        asking += ["--no-header", "--no-annotate", "--python", sys.executable]
        asking += ["--python-version", ".".join(platform.python_version_tuple()[:2])]
        told = _uv(folder, *asking)
        if told and _uv(folder, *asking, "--offline"):  # uv's cache may know all that is needed
            raise ServiceError(
                f"The environment of {subject} cannot be locked: {told}.",
                "uv must reach the package index (UV_DEFAULT_INDEX, else PyPI) once; without one, set environment = "
                '"installed" in [tool.mlnb], which pins what is installed here and proves less.',
                service=subject,
            )
        return f"{_HEAD}\n{locked.read_text('utf-8')}"


def read_lock(text: str) -> tuple[Pin, ...]:
    """Return the distributions of a lock, sorted by name.

    Raises
    ------
    CorruptError
        If it is not what `lock` writes.
    """
    head, _, body = text.partition("\n")
    if head != _HEAD:
        raise _damaged(f"it begins with {head[:40]!r}")
    pins: list[Pin] = []
    for line in body.splitlines():
        row = line.strip()
        digests = _HASH.findall(row)
        if digests and row.startswith("--hash=") and pins:
            last = pins[-1]
            pins[-1] = Pin(last.name, last.version, last.marker, (*last.hashes, *digests))
            continue
        match = _PIN.fullmatch(row)
        if match is None and row:
            raise _damaged(f"it holds the line {row[:60]!r}")
        if match is not None:
            pins.append(Pin(match[1], match[2], (match[3] or "").strip(), ()))
    return tuple(sorted(pins, key=lambda pin: pin.name))


def digest_of_lock(text: str) -> str:
    """Return ``sha256:<hex>`` of a lock."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


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
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mlnb" / "environments"


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
        told = _uv(draft, "venv", "--python", sys.executable, "--relocatable", str(made))
        proved = ["--require-hashes"] if _HASH.search(text) else []
        python = made / "bin" / "python"
        told = told or _uv(draft, "pip", "sync", str(draft / FILE), "--python", str(python), "--strict", *proved)
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
    told = _run([str(python), "-I", "-c", code], python.parent, {"ORT_DISABLE_TELEMETRY": "1"})
    if told:
        raise ServiceError(
            f"What the lock of {subject} installs cannot be imported: {told}.",
            "Look at that distribution; `mlnb doctor` looks at the installation here.",
            service=subject,
        )


def _remove_unused(home: Path) -> None:
    for folder in home.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _preferred() -> str:
    """Return what is installed here as the pins that a new lock keeps where they fit."""
    found = {str(one.name).lower().replace("_", "-"): one.version for one in metadata.distributions() if one.name}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if "+" not in version)


def _uv(folder: Path | str, *arguments: str) -> str:
    """Run uv; return why it failed, "" where it did not."""
    from uv import find_uv_bin

    index = os.environ.get("PIP_INDEX_URL", "")
    environ = {} if "UV_DEFAULT_INDEX" in os.environ or not index else {"UV_DEFAULT_INDEX": index}
    return _run([find_uv_bin(), *arguments, "--quiet", "--color", "never"], Path(folder), environ)


def _run(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    dropped = ("UV_PYTHON", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "UV_SYSTEM_PYTHON")
    inherited = {key: value for key, value in os.environ.items() if key not in dropped}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**inherited, **environ},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    words = " ".join((done.stderr or done.stdout).split()).rstrip(".")
    return words[-600:] or f"exit code {done.returncode}"


def _damaged(how: str) -> CorruptError:
    return CorruptError(f"A lock is damaged: {how}.", "Deploy the model again.", path=FILE, digest="")
