"""A finished run becomes a version that answers: export, register, package, try, judge, promote, serve.

One act that can be repeated: every step first looks for what an earlier try has left, so a second `ship` of the same
values does nothing, and one that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlnb.batch.trust import load_trusted
from mlnb.effects import Courier
from mlnb.errors import MlnbError, RunError, StageError, UsageError
from mlnb.judging.case import Bench
from mlnb.judging.judgement import ACTION, Judgement, gates_of, judge_version, last_judgement
from mlnb.model.evaluation_codec import FILE as EVALUATIONS
from mlnb.model.evaluation_codec import write_all
from mlnb.model.gate_words import TRIAL
from mlnb.model.parity import Parity
from mlnb.registry.audit import Audit
from mlnb.registry.callers import callers_of
from mlnb.registry.card_words import renew_words
from mlnb.registry.gates import Verdict, parse_gate
from mlnb.registry.registry import Registry
from mlnb.registry.trace import trace
from mlnb.registry.version import Draft, Promotion, Version
from mlnb.run.record import RunRecord
from mlnb.run.values import artifact_of, evaluations, every_number, numbers
from mlnb.service.bento import Bento, build_bento
from mlnb.service.builder import Builder
from mlnb.service.integration import rehearse
from mlnb.service.needs import asked_for
from mlnb.service.package_tests import run_package_tests
from mlnb.service.target import Deployment, Target
from mlnb.settings import Settings
from mlnb.store.codec import decode
from mlnb.store.folder import StateFolder
from mlnb.store.manifest import write_json
from mlnb.store.seal import seal

if TYPE_CHECKING:
    from mlnb.model.scorer import Scorer
    from mlnb.model.signature import Values
    from mlnb.pipeline.graph import Deploy, Input, Pipeline

Notify = Callable[[object], None]


@dataclass(frozen=True, slots=True)
class ShipStep:
    """What `ship` is doing.

    Attributes
    ----------
    model : str
        Name of the model.
    step : str
        ``register``, ``package``, ``trial``, ``gate``, ``promote`` or ``serve``.
    state : str
        ``started``, ``done`` or ``failed``.
    detail : str
        One line for a person; empty where there is nothing to say.
    """

    model: str
    step: str
    state: str
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {"event": "ship", "model": self.model, "step": self.step, "state": self.state, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Shipment:
    """What became of one ``%%deploy``.

    Attributes
    ----------
    version : Version
        The registered version.
    bento : str
        Tag of the Bento that holds it.
    evidence : mapping of str to float
        Everything that was measured: the run's numbers, parity, skew and latency in milliseconds.
    verdicts : tuple of Verdict
        What the gates found.
    promotion : Promotion
        The move of the alias.
    deployment : Deployment
        The service that answers.
    changed : bool
        False where everything was there already.
    """

    version: Version
    bento: str
    evidence: Mapping[str, float]
    verdicts: tuple[Verdict, ...]
    promotion: Promotion
    deployment: Deployment
    changed: bool

    def to_json(self) -> dict[str, object]:
        """Return a mapping that JSON can spell."""
        return {
            "model": self.version.model,
            "version": self.version.ref,
            "exporter": self.version.exporter,
            "bento": self.bento,
            "evidence": dict(self.evidence),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "promotion": self.promotion.to_json(),
            "deployment": self.deployment.to_json(),
            "changed": self.changed,
        }


@dataclass(frozen=True, slots=True)
class Yard:
    """Where things are shipped: the places that `ship` writes to.

    Attributes
    ----------
    state, settings, registry, audit, target, effects
        The project's own.
    by : str
        Who ships.
    notify : callable
        Told of every step.
    """

    state: StateFolder
    settings: Settings
    registry: Registry
    audit: Audit
    target: Target
    effects: Courier
    by: str
    notify: Notify


def chosen(pipeline: Pipeline, name: str) -> tuple[Deploy, ...]:
    """Return the notebook's ``%%deploy`` marks of one model, or all of them where `name` is empty.

    Raises
    ------
    UsageError
        If there is none.
    """
    found = tuple(deploy for deploy in pipeline.deploys if name in ("", deploy.name))
    if not found:
        names = ", ".join(deploy.name for deploy in pipeline.deploys) or "none"
        asked = f"no %%deploy {name}" if name else "no %%deploy cell"
        raise UsageError(
            f"{pipeline.document.path} has {asked} (deploys: {names}).",
            "Mark a cell: %%deploy NAME --model MODEL --sample SAMPLE.",
        )
    return found


def check_done(record: RunRecord) -> None:
    """Refuse to ship what a run that failed has left.

    Raises
    ------
    StageError
        If one of its stages failed.
    RunError
        If it did not end well for another reason.
    """
    for stage in record.stages:
        if stage.state == "failed" and stage.error is not None:
            raise StageError(
                stage.error.problem, stage.error.remedy, stage=stage.name, cell=stage.error.cell, line=stage.error.line
            )
    if record.state != "done":
        raise RunError(f"The run {record.id} ended {record.state}.", f"See mlnb runs show {record.id}.")


def ship(
    deploy: Deploy, record: RunRecord, yard: Yard, builder: Builder, *, to: str = "", port: int = 0, force: str = ""
) -> Shipment:
    """Make one ``%%deploy`` of a finished run true.

    Parameters
    ----------
    deploy : Deploy
        The mark: model, sample, gates, alias.
    record : RunRecord
        The run whose values are shipped.
    yard : Yard
        Where to.
    builder : Builder
        What builds the Bento, from `mlnb.service.bento.builder_for`.
    to : str
        The alias, where not the mark's own.
    port : int
        Port of the service; 0 keeps the one it has or finds one.
    force : str
        The reason for going on although a gate failed; empty stops there.

    Raises
    ------
    ModelError
        If the value is no model, or the sample has other columns.
    GateError
        If a gate failed; the version stays registered, the alias where it was.
    ServiceError
        If the Bento cannot be built, or answers differently from the pipeline.
    """
    alias = to or deploy.to
    version, registered = _register(deploy, record, yard, builder)
    with _step(yard, version.model, "package") as say:
        bento = _package(version, alias, yard, builder)
        say(bento.tag)
    evidence, measured = _evidence(deploy.model, version, bento, record, yard)
    callers = callers_of(yard.registry, version, alias)
    evidence |= _gated(deploy, alias, record, yard)
    judgement = _judge(deploy, version, alias, evidence, yard)
    with _step(yard, version.model, "promote") as say:
        with yard.effects.planned(version.model) as effects:
            promotion = yard.registry.promote(
                version.ref,
                alias,
                by=yard.by,
                verdicts=judgement.verdicts,
                force=bool(force),
                reason=force,
                held=judgement.held,
                effects=effects,
            )
        say(". ".join(filter(None, [f"{version.model}@{alias} is {version.ref}", callers.sentence()])))
    with _step(yard, version.model, "serve") as say:
        deployment, started = _serve(promotion, bento, port, yard)
        say(deployment.url)
    changed = registered or measured or promotion.changed or started
    return Shipment(version, bento.tag, judgement.evidence, judgement.verdicts, promotion, deployment, changed)


def _register(deploy: Deploy, record: RunRecord, yard: Yard, builder: Builder) -> tuple[Version, bool]:
    model = artifact_of(record, deploy.model.name, deploy.model.giver)
    sample = artifact_of(record, deploy.sample.name, deploy.sample.giver)
    identity = json.dumps([1, model.identity, sample.identity, deploy.hooks, yard.settings.parity_limit])
    content = "sha256:" + hashlib.sha256(identity.encode()).hexdigest()
    with _step(yard, deploy.name, "register") as say:
        known = yard.registry.find(deploy.name, content)
        if known is not None:
            renew_words(known, record, yard.state, yard.audit, yard.by)
            say(f"{known.ref} holds the same")
            return known, False
        builder.start()
        from mlnb.model.export import export_model
        from mlnb.monitor.estimate import freeze_estimator
        from mlnb.registry.portrait import Sitter, portray
        from mlnb.service.sbom import freeze_environment

        with tempfile.TemporaryDirectory(prefix="mlnb-export-") as folder:
            package = Path(folder) / "package"
            estimator, rows = decode(model, yard.state.files), decode(sample, yard.state.files)
            export = export_model(
                estimator,
                rows,
                package,
                model=deploy.name,
                hooks=deploy.hooks,
                parity_limit=yard.settings.parity_limit,
            )
            sitter = Sitter(estimator, rows, *freeze_reference(package, rows, deploy.sample.name))
            labels = portray(package, sitter, deploy, record, yard.state)
            freeze_estimator(package, sitter.scorer, sitter.columns, labels)
            further = asked_for(yard.settings.service)
            freeze_environment(package, yard.settings.environment, deploy.name, further)
            measured = evaluations(record, yard.state.files)
            if measured:
                write_all(package / EVALUATIONS, measured)
            seal(package)
            files = {path.name: yard.state.files.put(path)[0] for path in sorted(package.iterdir())}
        draft = Draft(
            model=deploy.name,
            by=yard.by,
            exporter=export.exporter,
            files=files,
            metrics=numbers(record, yard.state.files),
            lineage=trace(record, deploy, yard.state),
            signature=export.signature.to_json(),
            parity={**export.parity.to_json(), "reason": export.reason, "choice": export.choice.to_json()},
            content=content,
        )
        version = yard.registry.register(draft)
        say(f"{version.ref} as {export.exporter}: {export.reason}")
        return version, True


def freeze_reference(package: Path, sample: object, name: str) -> tuple[Scorer, dict[str, Values]]:
    """Summarise the whole sample and its scores, what later ones are compared with; return scorer and checked rows."""
    from mlnb.model.inference import as_frame, checked_columns
    from mlnb.monitor.reference import summarise

    scorer = load_trusted(package)
    columns = checked_columns(as_frame(sample, name), scorer.signature.inputs)
    scores = scorer.score(columns)
    reference = summarise(scorer.signature, columns, scores.predictions, scores.probabilities)
    write_json(package / "reference.json", reference.to_json())
    return scorer, columns


def _package(version: Version, alias: str, yard: Yard, builder: Builder) -> Bento:
    with tempfile.TemporaryDirectory(prefix="mlnb-package-") as folder:
        package = Path(folder) / "package"
        yard.registry.verify(version)  # its lock says what is installed
        yard.registry.unpack(version, package)
        packages, aliases = {version.number: package}, {alias: version.number}
        further = asked_for(yard.settings.service)
        return build_bento(version.model, packages, aliases, yard.state, yard.settings.environment, builder, further)


def _evidence(
    model: Input, version: Version, bento: Bento, record: RunRecord, yard: Yard
) -> tuple[dict[str, float], bool]:
    """Return everything that is known of a version; try its Bento where that was not done on this machine before."""
    known = last_judgement(version, yard.audit).evidence
    measured = {name: known[name] for name in known if TRIAL.fullmatch(name)}
    fresh = not measured
    if fresh:
        with _step(yard, version.model, "trial") as say:
            unpack = partial(yard.registry.unpack, version)
            tested = run_package_tests(model, unpack, version.ref, record, yard.state, yard.settings)
            tried = rehearse(bento.path, version.number, version.ref, yard.target, yard.settings)
            measured = {**tested.numbers(), **tried.numbers}
            say(tested.sentence() + tried.sentence())
    parity = Parity.from_json(version.parity).evidence()
    by_run = {**version.metrics, **numbers(record, yard.state.files)}
    return {**_untried(by_run), **parity, **measured}, fresh


def _gated(deploy: Deploy, alias: str, record: RunRecord, yard: Yard) -> dict[str, float]:
    """Return those ends of intervals and numbers of slices that a gate names: evidence is what was looked at."""
    known = _untried(every_number(record, yard.state.files))
    texts = (*deploy.gates, *gates_of(alias, deploy.name, yard.settings))
    return {name: known[name] for name in (parse_gate(text).metric for text in texts) if name in known}


def _untried(found: Mapping[str, float]) -> dict[str, float]:
    """Leave out what a notebook calls as if the trial of the Bento had measured it."""
    return {name: value for name, value in found.items() if not TRIAL.fullmatch(name)}


def _judge(deploy: Deploy, version: Version, alias: str, evidence: Mapping[str, float], yard: Yard) -> Judgement:
    with _step(yard, version.model, "gate") as say:
        bench = Bench(yard.registry, yard.audit, yard.state, yard.settings)
        found = judge_version(version, alias, deploy.gates, evidence, yard.by, bench)
        last = last_judgement(version, yard.audit)
        if found.text != last.text:
            yard.audit.record(yard.by, ACTION, version.ref, found.to_json())
        passed = sum(verdict.passed for verdict in found.verdicts)
        say(f"{passed} of {len(found.verdicts)} gates passed")
    return found


def _serve(promotion: Promotion, bento: Bento, port: int, yard: Yard) -> tuple[Deployment, bool]:
    model = promotion.model
    before = next((deployment for deployment in yard.target.list() if deployment.name == model), None)
    yard.effects.settle(promotion)
    deployment = yard.target.start(model, bento.path, port=port)
    return deployment, before is None or before.state != "running" or before.pid != deployment.pid


@contextmanager
def _step(yard: Yard, model: str, step: str) -> Iterator[Callable[[str], None]]:
    """Tell of a step's beginning and end; the caller says what came of it."""
    said: list[str] = []
    tell = partial(ShipStep, model, step)
    yard.notify(tell("started"))
    try:
        yield said.append
    except MlnbError as error:
        yard.notify(tell("failed", error.problem))
        raise
    yard.notify(tell("done", " ".join(said)))
