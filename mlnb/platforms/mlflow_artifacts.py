"""Where MLflow keeps a run's or a model's files becomes a place to put a folder into, and to take one from.

Known are the server's own proxy (``mlflow-artifacts:``, the default of ``mlflow server``), buckets (`BUCKETS`; with
the credentials of the environment), and folders, but those only where the server is on this machine: what another
machine calls a path must not become a path here, by whichever of fsspec's names for one. What a server lists is not
trusted either: names that lead out of the folder are refused, as are more files and bytes than a model has.

References
----------
CVE-2023-1177, CVE-2024-0520: files that MLflow let a name or an address lead to.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from mlnb.errors import PlatformError
from mlnb.platforms.mlflow_server import MlflowServer
from mlnb.store.disk import make_folder, storing
from mlnb.store.remote import open_address, reaching, shown

BUCKETS = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "hdfs"))
"""Schemes of storage that is elsewhere for every machine."""
_PROXY = "mlflow-artifacts"
_AT_ONCE = 8
_MOST_FILES = 1_000
_MOST_BYTES = 20_000_000_000


class ArtifactPlace(Protocol):
    """A folder of files, here or elsewhere."""

    def put(self, folder: Path) -> None:
        """Copy everything below a folder into it."""

    def names(self) -> list[str]:
        """Return the relative paths of its files, checked, sorted."""

    def get(self, name: str, target: Path) -> None:
        """Copy one of them to a new file."""


def artifact_place(uri: str, server: MlflowServer) -> ArtifactPlace:
    """Return the place that an artifact address of a server means.

    Raises
    ------
    PlatformError
        If it is on another server than that, a path of another machine, or nothing that is known to be a bucket.
    """
    parts = urlsplit(uri)
    proxied = f"{server.address}/api/2.0/mlflow-artifacts/artifacts/"
    if uri.startswith(proxied):
        return _Proxied(server, _checked(unquote(uri.removeprefix(proxied)), uri))
    if parts.scheme == _PROXY:
        if parts.netloc and parts.netloc != urlsplit(server.address).netloc:
            raise _refused(uri, "is on another server")
        return _Proxied(server, _checked(parts.path.strip("/"), uri))
    if parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        if not server.loopback or parts.netloc not in ("", "localhost") or not folder.is_absolute():
            raise _refused(uri, f"is a path of the machine {urlsplit(server.address).hostname}")
        return _Folder(folder)
    if parts.scheme.lower() not in BUCKETS:
        raise _refused(uri, "is no bucket that mlnb knows")
    return _Bucket(uri.rstrip("/"))


@dataclass(frozen=True, slots=True)
class _Proxied:
    server: MlflowServer
    root: str

    def put(self, folder: Path) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sent = [pool.submit(self.server.put_file, f"{self.root}/{name}", path) for path, name in _below(folder)]
        for one in sent:
            one.result()

    def names(self) -> list[str]:
        found: list[str] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for one in self.server.list_files(f"{self.root}/{folder}".rstrip("/")):
                said = str(one.get("path", ""))
                name = _checked(f"{folder}/{said}" if folder and said else said, self.root)
                (waiting if one.get("is_dir") is True else found).append(name)
                _check_count(len(found) + len(waiting), self.root)
        return sorted(found)

    def get(self, name: str, target: Path) -> None:
        self.server.get_file(f"{self.root}/{_checked(name, self.root)}", target, _MOST_BYTES)


@dataclass(frozen=True, slots=True)
class _Folder:
    root: Path

    def put(self, folder: Path) -> None:
        for path, name in _below(folder):
            target = self.root / name
            make_folder(target.parent)
            with storing(target):
                shutil.copyfile(path, target)

    def names(self) -> list[str]:
        found = [name for path, name in _below(self.root) if path.is_file()]
        _check_count(len(found), str(self.root))
        return sorted(found)

    def get(self, name: str, target: Path) -> None:
        path = (self.root / _checked(name, str(self.root))).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise _refused(name, f"leads out of {self.root}")
        _check_size(path.stat().st_size if path.is_file() else 0, name)
        with storing(target):
            shutil.copyfile(path, target)


@dataclass(frozen=True, slots=True)
class _Bucket:
    root: str

    def put(self, folder: Path) -> None:
        with reaching(self.root):
            system, root = open_address(self.root)
            for path, name in _below(folder):
                system.put_file(str(path), f"{root}/{name}")

    def names(self) -> list[str]:
        with reaching(self.root):
            system, root = open_address(self.root)
            found = list(system.find(root))
        _check_count(len(found), self.root)
        prefix = root.rstrip("/") + "/"
        return sorted(_checked(name.removeprefix(prefix), self.root) for name in found)

    def get(self, name: str, target: Path) -> None:
        with reaching(self.root):
            system, root = open_address(self.root)
            there = f"{root}/{_checked(name, self.root)}"
            size = system.size(there)
        _check_size(size or 0, name)
        with reaching(self.root):
            system.get_file(there, str(target))


def member(files: Mapping[str, object], name: object) -> str:
    """Return a file that a model's own description names, if it is one of the model's files.

    Raises
    ------
    PlatformError
        If it is not.
    """
    if not isinstance(name, str) or name not in files:
        raise _refused(str(name)[:200], "is not among the model's files")
    return name


def _below(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.relative_to(folder).as_posix()


def _checked(name: str, place: str) -> str:
    """Return a relative path that stays below its folder whatever unquotes it once more."""
    plain = name
    while unquote(plain) != plain:
        plain = unquote(plain)
    pure = PurePosixPath(plain)
    wrong = not name or pure.is_absolute() or ".." in pure.parts or "\\" in plain or ":" in plain
    if wrong or not plain.isprintable() or len(name) > 1_000:
        raise _refused(name[:200], f"is no plain path below {shown(place)}")
    return name


def _check_count(count: int, place: str) -> None:
    if count > _MOST_FILES:
        raise _refused(place, f"holds more than {_MOST_FILES} files, which no model does")


def _check_size(size_bytes: int, name: str) -> None:
    if size_bytes > _MOST_BYTES:
        raise _refused(name, f"has more than {_MOST_BYTES:,} bytes, which no model's file does")


def _refused(uri: str, why: str) -> PlatformError:
    return PlatformError(
        f"{shown(uri)!r} {why}: it is not touched.",
        "Let the server keep its artifacts itself (mlflow server --serve-artifacts) or in a bucket.",
        platform="mlflow",
    )
