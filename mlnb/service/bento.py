"""Version packages and aliases become a genuine Bento that needs no mlnb to run.

Layout of the Bento's source, format 2 (format 1 had no ``lock.txt`` and no ``Dockerfile``)::

    service.py                the BentoML face
    Dockerfile                the image's recipe; this folder is its context
    lock.txt                  what its environment holds (`mlnb.service.lock`)
    aliases.json              the routing it was built with
    versions/<number>/        one model package for each version
    mlnb/                     the modules that answer, copied: `carried`

The tag is ``<model>:<first 16 digits of the digest of that source>``, so the same content is the same Bento,
whenever it is built.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from filelock import FileLock

from mlnb.errors import ServiceError
from mlnb.service.bento_seal import folder_digest, seal_bento, sealed
from mlnb.service.builder import Builder
from mlnb.service.lock import FILE as LOCK
from mlnb.service.lock import LOCKED, lock, read_lock
from mlnb.service.needs import pinned, requirements
from mlnb.service.recipe import dockerfile
from mlnb.service.routing_files import write_aliases
from mlnb.store.disk import make_folder, storing
from mlnb.store.folder import StateFolder

_ENTRY = "service/serve.py"


@dataclass(frozen=True, slots=True)
class Bento:
    """A built Bento.

    Attributes
    ----------
    tag : str
        ``delays:0123456789abcdef``.
    path : Path
        Its folder in the project's own BentoML store; ``bentoml serve`` takes it.
    """

    tag: str
    path: Path

    @property
    def source(self) -> Path:
        """The folder that the service runs from."""
        return self.path / "src"


def builder_for(state: StateFolder) -> Builder:
    """Return what builds the next Bento of a project: who starts it early does not wait for BentoML to load."""
    return Builder(state.root / "bentoml")


def build_bento(
    model: str,
    packages: Mapping[int, Path],
    aliases: Mapping[str, int],
    state: StateFolder,
    environment: str = LOCKED,
    builder: Builder | None = None,
    further: Sequence[str] = (),
) -> Bento:
    """Build the Bento of a model, or return the one that holds the same already.

    Parameters
    ----------
    model : str
        Name of the model.
    packages : Mapping of int to Path
        Package folder of each version number.
    aliases : Mapping of str to int
        The routing it answers with until it is told another; each number is in `packages`.
    state : StateFolder
        The project's state; the store is its ``bentoml/``.
    environment : {"locked", "installed"}
        How the lock is made where the packages bring none, or not the same; see `mlnb.service.lock.lock`.
    builder : Builder, optional
        What builds it, from `builder_for`; one of its own by default.
    further : sequence of str
        Distributions that the settings ask for; see `mlnb.service.needs.asked_for`.

    Raises
    ------
    ServiceError
        If BentoML cannot build it, or its environment cannot be locked.
    StorageError
        If the disk is full or read-only.
    """
    home = make_folder(state.root / "bentoml")
    name = bento_name(model)
    with FileLock(home / ".lock"):
        context = Path(tempfile.mkdtemp(prefix=".build-", dir=home))
        try:
            with storing(context):
                _lay_out(context, model, name, packages, aliases, further)
                text = _lock(name, packages, environment, further)
                (context / LOCK).write_text(text, "utf-8")
                (context / "Dockerfile").write_text(dockerfile(model, packages, text), "utf-8")
            digest = folder_digest(context)[7:23]
            path = home / "bentos" / name / digest
            if not (path / "bento.yaml").is_file() or not sealed(path):
                shutil.rmtree(path, ignore_errors=True)
                with builder or Builder(home) as started:
                    _build(context, name, digest, home, packages, started)
                seal_bento(path)
            return Bento(f"{name}:{digest}", path)
        finally:
            shutil.rmtree(context, ignore_errors=True)


def bento_name(model: str) -> str:
    """Return a model's name as BentoML takes it: lower case, letters and digits at both ends."""
    return model.lower().strip("._-") or "model"


@cache
def carried(entry: str = _ENTRY) -> tuple[str, ...]:
    """Return the modules that answer, as paths below mlnb's folder: the application and all that it imports, sorted.

    Parameters
    ----------
    entry : str
        The module that is started, where it is not the service's.
    """
    folder = Path(str(files("mlnb")))
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        for node in ast.walk(ast.parse((folder / module).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlnb."):
                waiting.append(str(node.module).removeprefix("mlnb.").replace(".", "/") + ".py")
    return tuple(sorted(found))


def _lay_out(
    context: Path,
    model: str,
    name: str,
    packages: Mapping[int, Path],
    aliases: Mapping[str, int],
    further: Sequence[str],
) -> None:
    package_data = files("mlnb")
    template = Template((package_data / "templates" / "service" / "service.py.template").read_text("utf-8"))
    (context / "service.py").write_text(template.substitute(model=model, name=name), "utf-8")
    for folder in sorted({"", *(module.rpartition("/")[0] for module in carried())}):
        target = context / "mlnb" / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text(f'"""The part of mlnb{folder and "." + folder} that answers."""\n', "utf-8")
    for module in carried():
        (context / "mlnb" / module).write_bytes((package_data / module).read_bytes())
    for number, package in packages.items():
        shutil.copytree(package, context / "versions" / str(number))
    write_aliases(context, model, 0, aliases)
    bentofile = {
        "service": "service:Service",
        "name": name,
        "labels": {"mlnb": "1"},
        "include": ["service.py", "aliases.json", "Dockerfile", LOCK, "mlnb/", "versions/"],
        "exclude": ["__pycache__/"],
        "python": {"packages": requirements(packages.values(), further), "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(json.dumps(bentofile, indent=1) + "\n", "utf-8")  # JSON is YAML


def _lock(name: str, packages: Mapping[int, Path], environment: str, further: Sequence[str]) -> str:
    """Return the lock that all packages were registered with; made anew where they differ, bring none, or lack a thing.

    What was locked stays in it where only something else is asked for today.
    """
    brought = {(package / LOCK).read_text("utf-8") for package in packages.values() if (package / LOCK).is_file()}
    if len(brought) == 1 and all((package / LOCK).is_file() for package in packages.values()):
        text = brought.pop()
        pins = read_lock(text)
        lacking = pinned(set(further) - {pin.name for pin in pins})
        rows = [f"{pin.name}=={pin.version}" + (f" ; {pin.marker}" if pin.marker else "") for pin in pins]
        return lock([*rows, *lacking], environment, name) if lacking else text
    return lock(requirements(packages.values(), further), environment, name)


def _build(context: Path, name: str, digest: str, home: Path, packages: Mapping[int, Path], builder: Builder) -> None:
    try:
        wrong = builder.build(context, name, digest)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unbuilt(name, packages, str(error)) from error
    if wrong or not (home / "bentos" / name / digest / "bento.yaml").is_file():
        raise _unbuilt(name, packages, wrong)


def _unbuilt(name: str, packages: Mapping[int, Path], reason: str) -> ServiceError:
    versions = ", ".join(str(number) for number in sorted(packages))
    return ServiceError(
        f"BentoML could not build {name} with version {versions}: {reason}.",
        "Check the message above; `mlnb doctor` looks at the installation.",
        service=name,
    )
