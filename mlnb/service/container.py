"""A Bento becomes an image: its own Dockerfile, built by buildah without a daemon, kept as one archive.

The archive (``docker-archive``) is what ``docker load``, ``podman load`` and skopeo take. buildah runs as root or in a
user namespace; its storage lies below the archive's folder only while it builds. Who has another builder runs it on the
context, which is the Bento's source folder: ``docker build CONTEXT``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlnb.errors import ServiceError
from mlnb.registry.registry import Registry
from mlnb.registry.version import Version
from mlnb.service.bento import build_bento
from mlnb.store.disk import make_folder, storing
from mlnb.store.folder import StateFolder

_TIMEOUT_S = 1800
_PASSED_ON = ("PIP_INDEX_URL", "PIP_CERT")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built.

    Attributes
    ----------
    tag : str
        Its name: ``delays:0123456789abcdef``.
    archive : Path
        The file that holds it.
    size_bytes : int
        Of the archive.
    """

    tag: str
    archive: Path
    size_bytes: int

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {"tag": self.tag, "archive": str(self.archive), "size_bytes": self.size_bytes}


def image_of(
    version: Version,
    alias: str,
    registry: Registry,
    state: StateFolder,
    environment: str,
    archive: Path,
    base: str = "",
    further: Sequence[str] = (),
) -> Image:
    """Build the image of a registered version, as `build_image` says; it answers with that version alone.

    Parameters
    ----------
    version : Version
        The version.
    alias : str
        The alias under which it answers.
    registry, state : Registry, StateFolder
        The project's.
    environment : {"locked", "installed"}
        See `mlnb.service.bento.build_bento`.
    further : sequence of str
        Distributions that the settings ask for.
    """
    with tempfile.TemporaryDirectory(prefix="mlnb-package-") as folder:
        package = Path(folder) / "package"
        registry.verify(version)  # its lock says what is installed
        registry.unpack(version, package)
        packages, aliases = {version.number: package}, {alias: version.number}
        bento = build_bento(version.model, packages, aliases, state, environment, further=further)
    return build_image(bento.path, bento.tag, archive, base)


def build_image(bento: Path, tag: str, archive: Path, base: str = "") -> Image:
    """Build the image of a Bento with buildah and write it as one file.

    Parameters
    ----------
    bento : Path
        The Bento's folder.
    tag : str
        The image's name.
    archive : Path
        Where it is written; what is there is replaced when the new one is whole.
    base : str
        The image that it is built on, as buildah names images (``oci-archive:base.tar`` is a file). Where it is empty,
        the Dockerfile's own: ``python:3.x-slim``. It must have that Python as ``python3``.

    Raises
    ------
    ServiceError
        If there is no buildah, or it fails.
    StorageError
        If the archive cannot be written.
    """
    builder = shutil.which("buildah")
    context = bento / "src"
    if builder is None:
        raise ServiceError(
            f"No image of {tag} can be built here: there is no buildah.",
            f"Install buildah, or use the builder that you have: docker build --tag {tag} {context}.",
            service=tag,
        )
    make_folder(archive.absolute().parent)
    with storing(archive):
        draft = Path(tempfile.mkdtemp(prefix=".image-", dir=archive.absolute().parent))
    try:
        place = [builder, "--root", str(draft / "storage"), "--runroot", str(draft / "run"), "--storage-driver", "vfs"]
        passed = [f"--build-arg={name}={os.environ[name]}" for name in _PASSED_ON if name in os.environ]
        if "PIP_CERT" in os.environ:
            certificates = Path(os.environ["PIP_CERT"]).resolve().parent
            passed.append(f"--volume={certificates}:{certificates}:ro")
        passed += [f"--build-arg=BASE={base}"] if base else []
        how = ["--isolation", "chroot", "--format", "docker", "--layers=false", "--tag", tag]
        _run([*place, "build-using-dockerfile", *how, *passed, str(context)], tag)
        _run([*place, "push", tag, f"docker-archive:{draft / 'image.tar'}:{tag}"], tag)
        with storing(archive):
            (draft / "image.tar").replace(archive)
        return Image(tag, archive, archive.stat().st_size)
    finally:
        _remove(builder, draft)


def _run(command: Sequence[str], tag: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unbuilt(tag, str(error)) from error
    if done.returncode != 0:
        raise _unbuilt(tag, " ".join((done.stderr or done.stdout).split())[-600:].rstrip("."))


def _remove(builder: str, draft: Path) -> None:
    """Remove the storage; what a user namespace owns, only buildah can remove."""
    shutil.rmtree(draft, ignore_errors=True)
    if draft.exists():
        subprocess.run([builder, "unshare", "rm", "-rf", str(draft)], capture_output=True, check=False)


def _unbuilt(tag: str, reason: str) -> ServiceError:
    return ServiceError(
        f"buildah could not build the image {tag}: {reason}.",
        "It needs root or a user namespace, the base image, and the package index; see its message.",
        service=tag,
    )
