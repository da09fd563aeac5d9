"""Version packages and aliases become a genuine Bento that needs no mlnb to run.

Layout of the Bento's source, format 1::

    service.py                the BentoML face
    aliases.json              the routing it was built with
    versions/<number>/        one model package for each version
    mlnb/                     the modules that answer, copied: `CARRIED`

The tag is ``<model>:<first 16 digits of the digest of that source>``, so the same content is the same Bento.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from string import Template

from filelock import FileLock

from mlnb.errors import ServiceError
from mlnb.service.routing_files import write_aliases
from mlnb.store.disk import make_folder, storing
from mlnb.store.folder import StateFolder

FORMAT = 1
CARRIED = (
    "errors.py",
    "model/hooks.py",
    "model/scorer.py",
    "model/signature.py",
    "service/app.py",
    "service/body.py",
    "service/log.py",
    "service/metrics.py",
    "service/predict.py",
    "service/protocols.py",
    "service/router.py",
)
_RUNTIME = ("msgspec", "numpy", "uvicorn")
_EXPORTER_RUNTIMES = {
    "onnx": ("onnxruntime",),
    "skops": ("scikit-learn", "skops", "pandas"),
    "native": ("scikit-learn", "cloudpickle", "pandas"),
}
_BUILD_TIMEOUT_S = 300


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


def build_bento(model: str, packages: Mapping[int, Path], aliases: Mapping[str, int], state: StateFolder) -> Bento:
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

    Raises
    ------
    ServiceError
        If BentoML cannot build it.
    StorageError
        If the disk is full or read-only.
    """
    home = make_folder(state.root / "bentoml")
    name = bento_name(model)
    with FileLock(home / ".lock"):
        context = Path(tempfile.mkdtemp(prefix=".build-", dir=home))
        try:
            with storing(context):
                _lay_out(context, model, name, packages, aliases)
            digest = folder_digest(context)[7:23]
            path = home / "bentos" / name / digest
            if not (path / "bento.yaml").is_file():
                shutil.rmtree(path, ignore_errors=True)
                _build(context, name, digest, home, packages)
            return Bento(f"{name}:{digest}", path)
        finally:
            shutil.rmtree(context, ignore_errors=True)


def bento_name(model: str) -> str:
    """Return a model's name as BentoML takes it: lower case, letters and digits at both ends."""
    return model.lower().strip("._-") or "model"


def folder_digest(folder: Path) -> str:
    """Return the digest of the names and bytes of all files below `folder`, compiled ones excepted."""
    digest = hashlib.sha256(f"{FORMAT}\n".encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode())
            digest.update(content)
    return "sha256:" + digest.hexdigest()


def requirements(packages: Mapping[int, Path]) -> list[str]:
    """Return what the image installs, pinned to what is installed here: the application's and the packages' runtimes.

    A hook adds the distributions that it imports.
    """
    needed = set(_RUNTIME)
    for package in packages.values():
        exporter = json.loads((package / "package.json").read_bytes())["exporter"]
        needed.update(_EXPORTER_RUNTIMES.get(exporter, ()))
        hooks = package / "hooks.py"
        if hooks.is_file():
            needed.update(_imported_distributions(hooks.read_text("utf-8")))
    return [f"{name}=={metadata.version(name)}" for name in sorted(needed)]


def _imported_distributions(source: str) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    known = metadata.packages_distributions()
    return {known[module][0] for module in modules - set(sys.stdlib_module_names) if module in known}


def _lay_out(context: Path, model: str, name: str, packages: Mapping[int, Path], aliases: Mapping[str, int]) -> None:
    package_data = files("mlnb")
    template = Template((package_data / "templates" / "service" / "service.py.template").read_text("utf-8"))
    (context / "service.py").write_text(template.substitute(model=model, name=name), "utf-8")
    for folder in ("", "model", "service"):
        target = context / "mlnb" / folder
        target.mkdir(parents=True, exist_ok=True)
        (target / "__init__.py").write_text(f'"""The part of mlnb{folder and "." + folder} that answers."""\n', "utf-8")
    for module in CARRIED:
        (context / "mlnb" / module).write_bytes((package_data / module).read_bytes())
    for number, package in packages.items():
        shutil.copytree(package, context / "versions" / str(number))
    write_aliases(context, model, 0, aliases)
    bentofile = {
        "service": "service:Service",
        "name": name,
        "labels": {"mlnb": "1"},
        "include": ["service.py", "aliases.json", "mlnb/", "versions/"],
        "exclude": ["__pycache__/"],
        "python": {"packages": requirements(packages), "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(json.dumps(bentofile, indent=1) + "\n", "utf-8")  # JSON is YAML


def _build(context: Path, name: str, digest: str, home: Path, packages: Mapping[int, Path]) -> None:
    # The file is named because BentoML looks for none below a hidden folder such as .mlnb.
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", str(context / "bentofile.yaml")]
    command += ["--name", name, "--version", digest, "--output", "tag", str(context)]
    environ = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    environ |= {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        built = subprocess.run(
            command, cwd=context, env=environ, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unbuilt(name, packages, str(error)) from error
    if built.returncode != 0 or not (home / "bentos" / name / digest / "bento.yaml").is_file():
        raise _unbuilt(name, packages, (built.stderr or built.stdout).strip().rpartition("\n")[2])


def _unbuilt(name: str, packages: Mapping[int, Path], reason: str) -> ServiceError:
    versions = ", ".join(str(number) for number in sorted(packages))
    return ServiceError(
        f"BentoML could not build {name} with version {versions}: {reason}.",
        "Check the message above; `mlnb doctor` looks at the installation.",
        service=name,
    )
