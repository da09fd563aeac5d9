"""A machine without a registry and without a container engine can still prove an image: its base, its root, its start.

The base image is made of this machine's own Python and what it is linked to. An archive is unpacked as an engine would,
and its entry point started as its configuration says: that user, that environment, a root that cannot be written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LEFT_OUT = ("test", "__pycache__", "site-packages", "idlelib", "tkinter", "turtledemo", "*.a")
_LOADED_LATER = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "librt.so.1", "libdl.so.2", "libutil.so.1"),
    *("libresolv.so.2", "libnss_dns.so.2"),
)
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def make_base(folder: Path) -> Path:
    """Return an archive of an image that holds this Python and nothing else."""
    root, archive = folder / "root", folder / "base.tar"
    _lay_out(root)
    buildah = [
        "buildah",
        "--root",
        str(folder / "storage"),
        "--runroot",
        str(folder / "run"),
        "--storage-driver",
        "vfs",
    ]
    made = _told([*buildah, "from", "scratch"])
    _told([*buildah, "copy", made, str(root), "/"])
    _told([*buildah, "commit", "--format", "docker", made, f"oci-archive:{archive}"])
    shutil.rmtree(folder / "storage")
    return archive


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image's root file system and its configuration, as the Docker image specification names its fields."""

    root: Path
    config: Mapping[str, object]

    def list(self, field: str) -> list[str]:
        value = self.config.get(field)
        return [str(one) for one in value] if isinstance(value, list) else []

    @contextmanager
    def started(
        self, volume: Path, environ: Mapping[str, str], cmd: Sequence[str] = ()
    ) -> Iterator[subprocess.Popen[str]]:
        """Run ``IMAGE CMD`` with a root that is read-only and a folder as its volume, for the time of a block."""
        command = [*self.list("Entrypoint"), *(cmd or self.list("Cmd"))]
        with subprocess.Popen(
            self._inside(command, volume, environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, command: Sequence[str], volume: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run another command in the image."""
        return subprocess.run(self._inside(command, volume, environ), capture_output=True, text=True, timeout=60)

    def _inside(self, command: Sequence[str], volume: Path, environ: Mapping[str, str]) -> list[str]:
        mounts = (
            'mount --bind "$1" "$1" && mount --bind "$2" "$1/var/lib/mlnb" && mount -o remount,bind,ro "$1" && '
            'root=$1 user=$3 && shift 3 && exec chroot --userspec="$user" "$root" "$@"'
        )
        variables = [*self.list("Env"), *(f"{name}={value}" for name, value in environ.items())]
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", mounts, "sh"]
        return ["env", "-i", *variables, *apart, str(self.root), str(volume), str(self.config["User"]), *command]


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpack a docker-archive: its layers over each other."""
    inner, root = folder / "archive", folder / "image"
    root.mkdir(parents=True)
    with tarfile.open(archive) as file:
        file.extractall(inner, filter="data")
    [manifest] = json.loads((inner / "manifest.json").read_bytes())
    for layer in manifest["Layers"]:
        with tarfile.open(inner / layer) as file:
            members = [one for one in file.getmembers() if not Path(one.name).name.startswith(".wh.")]
            file.extractall(root, members, numeric_owner=True, filter="fully_trusted")
    return Unpacked(root, json.loads((inner / manifest["Config"]).read_bytes())["config"])


def _lay_out(root: Path) -> None:
    prefix, target = Path(sys.base_prefix), root / "usr/local"
    (target / "bin").mkdir(parents=True)
    library = target / "lib" / _PYTHON
    shutil.copytree(prefix / "lib" / _PYTHON, library, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    (library / "site-packages").mkdir()
    shutil.copy(Path(sys.executable).resolve(), target / "bin" / _PYTHON)
    for name in ("python3", "python"):
        (target / "bin" / name).symlink_to(_PYTHON)
    programs = [target / "bin" / _PYTHON, *library.rglob("*.so")]
    needed = {path for program in programs for path in _linked(program)}
    places = {path.parent for path in needed}
    needed |= {place / name for place in places for name in _LOADED_LATER if (place / name).exists()}
    for path in sorted(needed):
        copy = root / str(path).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), copy)
    for name in ("tmp", "etc", "proc", "dev", "sys", "var/lib"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def _linked(program: Path) -> list[Path]:
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", told)]


def _told(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
