"""What a version consists of becomes an answer: `models sbom`, `models sign` and `services image`."""

from __future__ import annotations

import json
from pathlib import Path

from mlnb.errors import RegistryError
from mlnb.faces.verb import Asked


def answer_sbom(asked: Asked, ref: str) -> int:
    """Print what a version's service consists of, with licences; as JSON the CycloneDX document itself."""
    from mlnb.service.sbom import FILE, components

    project = asked.project()
    version = project.models.get(ref)
    if FILE not in version.files:
        raise RegistryError(
            f"{version.ref} has no bill of materials: an older mlnb registered it.",
            "Deploy the model again with --force.",
            model=version.model,
            version=version.number,
        )
    bill = json.loads(project.state.files.read(version.files[FILE]))
    rows = components(bill)
    widths = [
        max(len(text) for text in column) for column in zip(*((row.name, row.version) for row in rows), strict=True)
    ]
    lines = [f"{row.name:<{widths[0]}}  {row.version:<{widths[1]}}  {row.licence or 'not stated'}" for row in rows]
    return asked.answer(bill, lambda _: lines)


def answer_image(asked: Asked, ref: str, archive: Path | None, base: str) -> int:
    """Build a version's image and say where it is."""
    from mlnb.registry.reference import parse_reference
    from mlnb.service.container import image_of
    from mlnb.service.needs import asked_for

    project = asked.project()
    version = project.models.get(ref)
    alias = parse_reference(ref).alias or "production"
    place = archive or Path(f"{version.model}-{version.number}.tar")
    settings = project.settings
    further = asked_for(settings.service)
    image = image_of(version, alias, project.models, project.state, settings.environment, place, base, further)
    told = [
        f"{image.tag} is in {image.archive} ({image.size_bytes / 1e6:.0f} MB): docker load --input {image.archive}",
        f"docker run --read-only --publish 8080:8080 {image.tag}",
    ]
    return asked.answer(image, lambda _: told)


def answer_signed(asked: Asked, ref: str, folder: Path, key: Path) -> int:
    """Write a version's package with a signature for others' tools, and say how they check it."""
    from mlnb.registry.openssf import sign_version

    project = asked.project()
    version = project.models.get(ref)
    signature = sign_version(version, project.models, folder, key)
    package = signature.with_suffix("")
    told = [
        f"{version.ref} is in {package}, its signature in {signature}.",
        f"model_signing verify key {package} --signature {signature} --public_key KEY.pub",
    ]
    return asked.answer({"ref": version.ref, "package": str(package), "signature": str(signature)}, lambda _: told)
