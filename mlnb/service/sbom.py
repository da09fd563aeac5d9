"""A lock and the environment that was made from it become a software bill of materials: CycloneDX 1.6, as JSON.

Its components are exactly the distributions of the lock that this system installs, each with its package URL, its
licence as the distribution itself states it, and what it needs in turn; beside them the interpreter, mlnb's carried
code, and the package's own files by digest. The same package gives the same bytes: no time, no random number.

References
----------
CycloneDX 1.6 (ECMA-424), https://cyclonedx.org/docs/1.6/json/; package URLs, ECMA-427; core metadata 2.4 (PEP 639).
"""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path
from typing import TypeAlias

from mlnb.errors import ServiceError
from mlnb.service.environment import environment_of, site_packages
from mlnb.service.lock import FILE as LOCK
from mlnb.service.lock import INSTALLED, digest_of_lock, lock, read_lock
from mlnb.service.needs import requirements
from mlnb.store.disk import write_bytes
from mlnb.store.hashed import digest_of

FILE = "sbom.json"
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
_NAMESPACE = uuid.UUID("0b6f4a3e-8f0c-5d0b-9a53-6d1f7f7f6a1e")
_OSI = "License :: OSI Approved :: "
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the inventory, for people.

    Attributes
    ----------
    name, version : str
        Of the distribution.
    licence : str
        An SPDX expression or the licence's name, as the distribution states it; empty where it states none.
    """

    name: str
    version: str
    licence: str


def freeze_environment(package: Path, how: str, model: str, further: Sequence[str] = ()) -> None:
    """Write ``lock.txt`` and ``sbom.json`` into a package: what its service needs and nothing more.

    Parameters
    ----------
    package : Path
        The package's folder.
    how : {"locked", "installed"}
        See `mlnb.service.lock.lock`.
    model : str
        Name of the model.
    further : sequence of str
        Distributions that the settings ask for; see `mlnb.service.needs.asked_for`.

    Raises
    ------
    ServiceError
        If it cannot be locked, or the environment cannot be made from the lock.
    StorageError
        If the disk is full or read-only.
    """
    text = lock(requirements([package], further), how, model)
    folder = None if how == INSTALLED else site_packages(environment_of(text, model))
    bill = make_bill(text, model, {path.name: digest_of(path) for path in sorted(package.iterdir())}, folder)
    write_bytes(package / LOCK, text.encode())
    write_bytes(package / FILE, (json.dumps(bill, indent=1, sort_keys=True) + "\n").encode())


def make_bill(text: str, model: str, files: Mapping[str, str], folder: Path | None) -> dict[str, Json]:
    """Return the bill of materials.

    Parameters
    ----------
    text : str
        The lock.
    model : str
        What it is the bill of.
    files : mapping of str to str
        Digest of each file of the package.
    folder : Path or None
        Where the lock's distributions are installed; None for this process's own.

    Raises
    ------
    ServiceError
        If that is not what the lock says.
    """
    found = _installed(text, folder, model)
    refs = {name: one.purl for name, one in found.items()}
    needs: list[Json] = []
    for name, one in found.items():
        asked: list[Json] = [refs[need] for need in one.needs if need in refs]
        needs.append({"ref": refs[name], "dependsOn": asked})
    contents: list[Json] = [
        {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [_hash(digest)]}
        for name, digest in files.items()
    ]
    tool: Json = {"type": "application", "name": "mlnb", "version": metadata.version("mlnb")}
    identity = json.dumps([model, digest_of_lock(text), dict(files)])
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, identity)}",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [tool]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": f"model:{model}",
                "name": model,
                "components": contents,
            },
            "properties": [{"name": "mlnb:lock", "value": digest_of_lock(text)}],
        },
        "components": [*(_component(one) for one in found.values()), *_surroundings()],
        "dependencies": [{"ref": f"model:{model}", "dependsOn": [*sorted(refs.values())]}, *needs],
    }


def components(bill: Mapping[str, object]) -> tuple[Component, ...]:
    """Return the inventory of a bill that `make_bill` has made, by name: what ``mlnb models sbom`` shows."""
    rows = bill.get("components")
    found = []
    for row in rows if isinstance(rows, list) else []:
        named = [one.get("expression") or _named(one.get("license", {})) for one in row.get("licenses", [])]
        found.append(Component(row["name"], row["version"], " AND ".join(named)))
    return tuple(sorted(found, key=lambda one: one.name.lower()))


class _Installed:
    """A distribution whose metadata is parsed once: ``importlib.metadata`` parses it for each question."""

    def __init__(self, distribution: Distribution) -> None:
        self._told = distribution.metadata
        self._distribution = distribution
        self.name: str = self._told["Name"]
        self.version: str = self._told["Version"]

    @property
    def purl(self) -> str:
        """Its package URL."""
        from packaging.utils import canonicalize_name

        return f"pkg:pypi/{canonicalize_name(self.name)}@{self.version.replace('+', '%2B')}"

    @property
    def needs(self) -> Sequence[str]:
        """What it asks for on this machine, by canonical name, sorted."""
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        rows: Iterable[Requirement] = map(Requirement, self._distribution.requires or ())
        asked = {row.name for row in rows if row.marker is None or row.marker.evaluate({"extra": ""})}
        return sorted(canonicalize_name(name) for name in asked)

    @property
    def licences(self) -> list[Json]:
        """By PEP 639's expression, else by its classifiers, else by the old field if it is short."""
        for expression in self._told.get_all("License-Expression") or []:
            return [{"expression": expression}]
        classified = [text for text in self._told.get_all("Classifier") or [] if text.startswith("License ::")]
        names = [text.removeprefix(_OSI).removeprefix("License :: ") for text in classified if text + " :: " != _OSI]
        free = next(iter(self._told.get_all("License") or []), "").strip().partition("\n")[0]
        if not names and free and len(free) <= _LONGEST_NAME and free.upper() != "UNKNOWN":
            names = [free]
        return [{"license": {"name": name}} for name in sorted(set(names))]


def _installed(text: str, folder: Path | None, model: str) -> dict[str, _Installed]:
    """Return the lock's distributions as they are installed; refuse an environment that is not the lock's."""
    from packaging.markers import Marker
    from packaging.utils import canonicalize_name

    wanted = {
        canonicalize_name(pin.name): pin.version
        for pin in read_lock(text)
        if not pin.marker or Marker(pin.marker).evaluate()
    }
    there = metadata.distributions() if folder is None else metadata.distributions(path=[str(folder)])
    found: dict[str, _Installed] = {}
    for one in map(_Installed, there):
        found.setdefault(canonicalize_name(one.name), one)
    other = {name for name in found if name not in wanted} if folder is not None else set()
    other |= {name for name, version in wanted.items() if name not in found or found[name].version != version}
    if other:
        raise ServiceError(
            f"The environment of {model} is not what its lock says: {', '.join(sorted(other))}.",
            "Remove ~/.cache/mlnb/environments, and deploy again.",
            service=model,
        )
    return {name: found[name] for name in sorted(wanted)}


def _component(installed: _Installed) -> dict[str, Json]:
    described: dict[str, Json] = {
        "type": "library",
        "bom-ref": installed.purl,
        "name": installed.name,
        "version": installed.version,
        "purl": installed.purl,
    }
    licences = installed.licences
    return {**described, "licenses": licences} if licences else described


def _surroundings() -> list[Json]:
    version = metadata.version("mlnb")
    return [
        {
            "type": "library",
            "bom-ref": "carried:mlnb",
            "name": "mlnb",
            "version": version,
            "description": "The modules that answer, carried in the Bento.",
            "licenses": [{"expression": "Apache-2.0"}],
        },
        {
            "type": "platform",
            "bom-ref": "platform:python",
            "name": platform.python_implementation(),
            "version": platform.python_version(),
            "licenses": [{"expression": "PSF-2.0"}],
        },
    ]


def _hash(digest: str) -> dict[str, Json]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _named(licence: object) -> str:
    return str(licence.get("id") or licence.get("name") or "") if isinstance(licence, dict) else ""
