"""What mlnb needs of a machine and a project becomes a list of checks, each with what to do where it fails."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.errors import MlnbError, UsageError
from mlnb.faces.check import Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from mlnb.project import Project

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def examine(folder: Path | None) -> tuple[Check, ...]:
    """Look at Python, the packages, the kernel, the browser, the user's keys, the project's state and its services."""
    return (_python(), *_packages(), _kernel(), _browser(), _keys(), *_project(folder))


def trust_key(file: Path) -> Check:
    """Trust a public key from now on, as this user, in all projects."""
    from mlnb.store.signing import trust

    return Check("trust", True, f"the key {trust(file)} of {file.name} is trusted from now on")


def _python() -> Check:
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("python", ok, platform.python_version(), "" if ok else "Use Python 3.11, 3.12 or 3.13.")


def _packages() -> Iterator[Check]:
    """Compare what mlnb's own metadata asks for with what is installed; what is as it should be shares one line."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires("mlnb") or ()]
    except PackageNotFoundError:
        yield Check("packages", False, "mlnb itself is not installed", "Install it: pip install mlnb.")
        return
    core = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [check for check in map(_package, core) if check]
    yield from wrong
    if not wrong:
        yield Check("packages", True, f"mlnb {version('mlnb')} and the {len(core)} packages that it needs")


def _package(asked: Requirement) -> Check | None:
    try:
        installed = version(asked.name)
    except PackageNotFoundError:
        return Check(asked.name, False, "is not installed", f'Install it: pip install "{asked}".')
    if asked.specifier.contains(installed, prereleases=True):
        return None
    return Check(asked.name, False, f"{installed} is installed", f'Another is needed: pip install "{asked}".')


def _kernel() -> Check:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        found = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Check(
            "kernel", False, "there is no kernel python3", "Install one: python -m ipykernel install --sys-prefix."
        )
    return Check("kernel", True, f"python3 in {found.resource_dir}")


def _browser() -> Check:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return Check("browser", True, found or "no chromium; only the browser tests need one")


def _keys() -> Check:
    from mlnb.store.signing import own_public_key

    try:
        own = own_public_key()
    except MlnbError as error:
        return Check("keys", False, error.problem, error.remedy)
    others = len(list((own.parent / "trusted").glob("*.pub")))
    return Check("keys", True, f"{own} to give to colleagues; {others} of others trusted")


def _project(folder: Path | None) -> Iterator[Check]:
    from mlnb.project import Project

    try:
        try:
            project = Project(folder) if folder else Project.find()
        except UsageError:
            yield Check("state", True, f"{Path.cwd()} is in no project yet; the first run makes one")
            return
        yield from _channels(project)
        if not (project.root / ".mlnb").is_dir():
            yield Check("state", True, f"{project.root} has none yet; the first run makes it")
            return
        noted = json.loads((project.state.root / "format.json").read_text("utf-8"))
        yield Check("state", True, f"{project.state.root}, format {noted['format']}, made by mlnb {noted['mlnb']}")
        yield from _elsewhere(project)
        for one in project.services.list():
            ok = one.state != "failed"
            remedy = "" if ok else f"See mlnb services logs {one.name}, then mlnb services restart {one.name}."
            yield Check(f"service {one.name}", ok, f"{one.state} {one.url}", remedy)
    except MlnbError as error:
        yield Check("state", False, error.problem, error.remedy)


def _channels(project: Project) -> Iterator[Check]:
    from mlnb.faces.notifying import channel_checks

    yield from channel_checks(project)


def _elsewhere(project: Project) -> Iterator[Check]:
    """Try the places that the settings name: the ledger's server, the depot, the key."""
    if project.settings.ledger:
        try:
            yield Check("ledger", True, f"{project.ledger.name} answers")
        except MlnbError as error:
            yield Check("ledger", False, error.problem, error.remedy)
    if project.settings.artifacts or project.settings.encryption_key:
        try:
            files = project.state.files
            if files.depot is not None:
                files.depot.try_out()
                yield Check("artifacts", True, f"{files.depot.name} can be written and read")
            if files.vault is not None:
                yield Check("encryption", True, f"new packages are encrypted with the key {files.vault.key}")
        except MlnbError as error:
            yield Check("artifacts", False, error.problem, error.remedy)
