"""`models pmml` becomes a PMML file of a version, made from the values of its run and checked by a Java engine."""

from __future__ import annotations

from pathlib import Path

from mlnb.faces.verb import Asked


def pmml(asked: Asked, ref: str, file: Path) -> int:
    """Write a version as PMML, where it agrees with the estimator."""
    from mlnb.model.pmml import check_place

    check_place()
    from mlnb.model.hooks import compile_hooks
    from mlnb.model.inference import examine
    from mlnb.model.pmml import export_pmml
    from mlnb.run.values import artifact_of
    from mlnb.ship import chosen
    from mlnb.store.codec import decode

    project = asked.project()
    version = project.models.get(ref)
    record = project.runs.read(version.lineage.run)
    deploy = chosen(project.plan(project.root / record.notebook), version.model)[0]
    estimator, sample = (
        decode(artifact_of(record, one.name, one.giver), project.state.files) for one in (deploy.model, deploy.sample)
    )
    specimen = examine(sample, estimator, hooks=compile_hooks(deploy.hooks), variable=deploy.model.name)
    parity = export_pmml(estimator, specimen, file, project.settings.parity_limit)
    hooked = compile_hooks(deploy.hooks) is not None
    facts = {"ref": version.ref, "file": str(file), "hooks": hooked, "parity": parity.to_json()}
    told = ["It takes what preprocess of the deploy cell makes, not the raw rows."] * hooked
    return asked.answer(facts, lambda _: [f"{file}: {parity.sentence()}.", *told])
