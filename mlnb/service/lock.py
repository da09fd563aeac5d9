"""Needed distributions become an exact lock: asked for once, then known for as long as the same is needed.

``lock.txt``, format 1, is a requirements file that pip and uv read: behind its first line (``# mlnb lock 1``), one
``name==version`` a distribution with its marker and the SHA-256 digests of all its files (universal: for every system
and Python that the distributions know). uv resolves it; what is installed here is preferred, so a version's service
computes with what its pipeline computed with.

A lock that the index has answered is kept in the user's cache, ``~/.cache/mlnb/locks/<digest>.txt`` (its own digest in
the first line, then the lock), named by the digest of all that it follows from: what is needed, what of it is installed
here, the Python, uv, and where uv looks (its variables and settings). For 30 days nobody is asked again; then new files
of the same versions are looked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mlnb.errors import CorruptError, ServiceError, SettingsError
from mlnb.service.needs import installed_closure
from mlnb.store.disk import storing, write_bytes

LOCKED, INSTALLED = "locked", "installed"
FILE = "lock.txt"
_HEAD = "# mlnb lock 1"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]*))?\\?")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_TIMEOUT_S = 600
KEPT_S = 30 * 86_400
_ELSEWHERE = ("UV_CACHE_DIR", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_OFFLINE")  # no lock follows from these


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
        ``locked`` asks the package index (or uv's cache) for what they need in turn, and for the digests of the files,
        unless it was asked the same before. ``installed`` asks nobody: it pins what is installed here, without digests.
    subject : str
        What it is for, for messages.

    Raises
    ------
    ServiceError
        If the index cannot be asked, or has not what is needed.
    SettingsError
        If `how` is something else.
    StorageError
        If the disk is full or not ours.
    """
    if how not in (LOCKED, INSTALLED):
        raise SettingsError(
            f"The setting environment is {how!r}.", f"Set it to {LOCKED!r} or {INSTALLED!r}.", key="environment"
        )
    preferred = installed_closure(needed)
    if how == INSTALLED:
        return "\n".join([_HEAD, *preferred, ""])
    path = cache_folder() / "locks" / f"{_identity(needed, preferred)}.txt"
    known = _kept(path)
    if known:
        return known
    text = _resolved(needed, preferred, subject)
    write_bytes(path, f"{digest_of_lock(text)}\n{text}".encode())
    _remove_old(path.parent)
    return text


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


def has_digests(text: str) -> bool:
    """Say whether a lock proves the files that it names."""
    return _HASH.search(text) is not None


def cache_folder() -> Path:
    """Return mlnb's folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mlnb"


def run_uv(folder: Path, *arguments: str) -> str:
    """Run uv; return why it failed, "" where it did not."""
    from uv import find_uv_bin

    index = os.environ.get("PIP_INDEX_URL", "")
    environ = {} if "UV_DEFAULT_INDEX" in os.environ or not index else {"UV_DEFAULT_INDEX": index}
    return run_quietly([find_uv_bin(), *arguments, "--quiet", "--color", "never"], folder, environ)


def run_quietly(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> str:
    """Run a command without what leads Python elsewhere; return why it failed, "" where it did not."""
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


def _identity(needed: Sequence[str], preferred: Sequence[str]) -> str:
    """Return the digest of all that a lock follows from."""
    asked = {name: value for name, value in os.environ.items() if name.startswith("UV_") and name not in _ELSEWHERE}
    places = [Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"), Path("/etc")]
    settings = [path.read_text("utf-8") for place in places if (path := place / "uv" / "uv.toml").is_file()]
    whole = [
        [_HEAD, metadata.version("uv"), platform.python_implementation(), *platform.python_version_tuple()[:2]],
        [sorted(needed), list(preferred)],
        [os.environ.get("PIP_INDEX_URL", ""), asked, settings],
    ]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def _kept(path: Path) -> str:
    """Return the lock that was made of the same; empty where there is none, it is old, or it is damaged."""
    with storing(path, "read"), suppress(FileNotFoundError, UnicodeDecodeError):
        if time.time() - path.stat().st_mtime < KEPT_S:
            digest, _, text = path.read_text("utf-8").partition("\n")
            return text if digest == digest_of_lock(text) else ""
    return ""


def _remove_old(folder: Path) -> None:
    for path in folder.glob("*.txt"):
        with suppress(OSError):  # another process removes them too
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()


def _resolved(needed: Sequence[str], preferred: Sequence[str], subject: str) -> str:
    with tempfile.TemporaryDirectory(prefix="mlnb-lock-") as name:
        folder = Path(name)
        asked, locked = folder / "needed.txt", folder / FILE
        asked.write_text("\n".join([*needed, ""]), "utf-8")
        # uv keeps the versions of the file that it writes, where they fit; a local version is on no index
        locked.write_text("".join(f"{row}\n" for row in preferred if "+" not in row), "utf-8")
        asking = ["pip", "compile", str(asked), "--output-file", str(locked), "--universal", "--generate-hashes"]
        asking += ["--no-header", "--no-annotate", "--python", sys.executable]
        asking += ["--python-version", ".".join(platform.python_version_tuple()[:2])]
        told = run_uv(folder, *asking)
        if told and run_uv(folder, *asking, "--offline"):  # uv's cache may know all that is needed
            raise ServiceError(
                f"The environment of {subject} cannot be locked: {told}.",
                "uv must reach the package index (UV_DEFAULT_INDEX, else PyPI) once; without one, set environment = "
                '"installed" in [tool.mlnb], which pins what is installed here and proves less.',
                service=subject,
            )
        return f"{_HEAD}\n{locked.read_text('utf-8')}"


def _damaged(how: str) -> CorruptError:
    return CorruptError(f"A lock is damaged: {how}.", "Deploy the model again.", path=FILE, digest="")
