"""Results of the verbs become lines of text: the one place for the command line, the magics and the widgets.

What ``--json`` prints is `mlnb.faces.plain`. Nothing here computes; a sentence about a fact comes with the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlnb.faces.board import SIGNS, seconds_text
from mlnb.faces.exported import export_lines
from mlnb.faces.lineage import lineage_lines
from mlnb.faces.tables import table

if TYPE_CHECKING:
    from mlnb.faces.check import Check
    from mlnb.faces.logs import CellLog
    from mlnb.monitor.report import Report
    from mlnb.registry.audit import AuditRow
    from mlnb.registry.gates import Verdict
    from mlnb.registry.registry import Registry
    from mlnb.registry.version import Promotion, Version
    from mlnb.run.record import RunRecord, StageRecord
    from mlnb.ship import Shipment

_RANKED = 15
_OUTPUTS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Listed:
    """Versions, and the aliases that point to them: alias names by ``delays/7``."""

    versions: tuple[Version, ...]
    aliases: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, registry: Registry, model: str = "") -> Listed:
        """Return the versions of one model, or of all."""
        return cls.over(registry, registry.list(model))

    @classmethod
    def over(cls, registry: Registry, versions: tuple[Version, ...]) -> Listed:
        """Return some versions."""
        pointing: dict[str, list[str]] = {}
        for name in dict.fromkeys(version.model for version in versions):
            for alias, number in registry.aliases(name).items():
                pointing.setdefault(f"{name}/{number}", []).append(alias)
        return cls(versions, {ref: tuple(names) for ref, names in pointing.items()})


def run_lines(record: RunRecord, *, stages: bool = True) -> Iterator[str]:
    """Yield a run's stages (unless a board shows them) and tests, where it failed, and what it was made of."""
    yield f"{record.notebook}: run {record.id} {record.state} in {seconds_text(record.seconds)}"
    if record.resumed:
        yield f"goes on from {record.resumed}"
    if stages:
        yield from table(("", "stage", "state", "time"), [_stage_row(stage) for stage in record.stages])
    for stage in record.stages:
        for case in stage.cases:
            sign = SIGNS["done" if case.state == "passed" else "failed"]
            yield f"  {sign} {stage.name}: {case.name}{_told(case.message)}"
        for warning in dict.fromkeys(stage.warnings):
            yield f"  warning: {stage.name}: {warning}"
        if stage.error:
            yield ""
            yield stage.error.problem
            yield stage.error.remedy
    if record.parameters:
        yield "parameters: " + ", ".join(f"{name}={value!r}" for name, value in record.parameters.items())
    if record.git_commit:
        yield f"commit: {record.git_commit[:12]}{' with local changes' if record.git_dirty else ''}"


def runs_lines(records: Sequence[RunRecord]) -> Iterator[str]:
    """Yield one line for each run."""
    if not records:
        yield "No runs yet. Try: mlnb run NOTEBOOK."
        return
    rows = [
        (one.id, one.notebook, one.state, seconds_text(one.seconds), moment(datetime.fromisoformat(one.started_at)))
        for one in records
    ]
    yield from table(("run", "notebook", "state", "time", "started"), rows)


def log_lines(logs: Sequence[CellLog]) -> Iterator[str]:
    """Yield what cells have printed, each under its stage and number."""
    from mlnb.faces.logs import cell_lines

    for log in logs:
        yield from cell_lines(log)


def shipment_lines(shipments: Sequence[Shipment]) -> Iterator[str]:
    """Yield what became of each model that was deployed."""
    for shipment in shipments:
        version = shipment.version
        yield f"{version.ref} {'is new' if shipment.changed else 'is as it was: nothing changed'}"
        yield from verdict_lines(shipment.verdicts)
        if "skew_max_abs" in shipment.evidence:
            worst = shipment.evidence["skew_max_abs"]
            yield f"  the sample through the service: largest difference to the pipeline {worst:.2g}"
        promotion = shipment.promotion
        if promotion.changed:
            yield f"  {promotion.alias}: {promotion.from_ref or 'nothing'} -> {promotion.to_ref}"
        yield f"  {shipment.deployment.state} at {shipment.deployment.url}/predict"


def promotion_lines(promotion: Promotion) -> Iterator[str]:
    """Yield where an alias stood and stands."""
    if not promotion.changed:
        yield f"{promotion.alias} is {promotion.to_ref} already"
        return
    yield f"{promotion.alias}: {promotion.from_ref or 'nothing'} -> {promotion.to_ref}"
    yield from verdict_lines(promotion.verdicts)


def version_table(listed: Listed) -> Iterator[str]:
    """Yield one line for each version, with its aliases and metrics."""
    if not listed.versions:
        yield "No versions yet. Try: mlnb deploy NOTEBOOK."
        return
    tagged = any(one.tags for one in listed.versions)
    rows = [
        (
            one.ref,
            ", ".join(listed.aliases.get(one.ref, ())),
            metrics_text(one.metrics),
            *([tags_text(one.tags)] if tagged else []),
            one.exporter,
            moment(one.created_at),
        )
        for one in listed.versions
    ]
    yield from table(("version", "aliases", "metrics", *(["tags"] if tagged else []), "exporter", "created"), rows)


def version_lines(version: Version, verdicts: Iterable[Verdict] = ()) -> Iterator[str]:
    """Yield everything about one version, except the bytes; `verdicts` is what its gates found."""
    yield f"{version.ref}, registered {moment(version.created_at)} by {version.created_by}"
    yield f"  metrics: {metrics_text(version.metrics) or 'none'}"
    yield from (f"  {line}" for line in export_lines(version))
    yield from verdict_lines(verdicts)
    yield "  inputs: " + ", ".join(column_texts(version.signature))
    yield f"  answers: {answer_text(version.signature)}"
    if version.tags:
        yield f"  tags: {tags_text(version.tags)}"
    yield from (f"  {line}" for line in lineage_lines(version.lineage))


def report_lines(report: Report) -> Iterator[str]:
    """Yield a drift report: its summary, its findings, the features ranked, volume and latency."""
    from mlnb.monitor.estimate_view import estimate_lines
    from mlnb.monitor.several import by_output

    yield report.summary()
    for alarm in report.standing:
        yield f"! alarm {alarm.id}, {alarm.kind} of {alarm.what}: {alarm.reason}"
    yield from (f"- {finding.sentence}" for finding in report.findings)
    rows = [
        (
            column.name,
            "drifted" if column.drift.drifted else "",
            column.drift.distance,
            column.drift.chance,
            column.drift.psi,
        )
        for column in [*report.features[:_RANKED], *report.answers]
    ]
    yield ""
    yield from table(("feature", "", "distance", "chance", "psi"), rows)
    total = report.total
    yield ""
    yield (
        f"{total.rows:,} rows in {len(report.windows)} windows of a {report.span}, {total.errors:,} refused; "
        f"latency p50 {total.latency_ms(50):.2f} ms, p99 {total.latency_ms(99):.2f} ms"
    )
    if report.joint is not None:
        yield report.joint.sentence()
    if report.overall.rows:
        yield f"labelled {report.overall.rows:,}: {metrics_text(report.overall.metrics)}"
        yield from by_output(report.overall)
    yield from estimate_lines(report)


def audit_lines(rows: Sequence[AuditRow]) -> Iterator[str]:
    """Yield one line for each act."""
    if not rows:
        yield "Nothing has been done yet."
        return
    shown = [
        (row.id, moment(row.at), row.actor, row.action, row.subject, str(row.detail.get("reason", ""))) for row in rows
    ]
    yield from table(("", "when", "who", "what", "subject", "reason"), shown)


def check_lines(checks: Iterable[Check]) -> Iterator[str]:
    """Yield what the doctor found."""
    for check in checks:
        yield f"{SIGNS['done' if check.ok else 'failed']} {check.name}: {check.found}"
        if check.remedy:
            yield f"    {check.remedy}"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Return ``auc 0.731, f1 0.604``; where ``auc`` is there, ``evaluate.auc`` is not repeated."""
    kept = {name: value for name, value in metrics.items() if name.rpartition(".")[2] not in metrics or "." not in name}
    return ", ".join(f"{name} {value:.4g}" for name, value in kept.items())


def tags_text(tags: Mapping[str, str]) -> str:
    """Return ``owner=ada, reviewed``."""
    return ", ".join(f"{name}={value}" if value else name for name, value in tags.items())


def column_texts(signature: Mapping[str, object]) -> list[str]:
    """Return ``distance float64``, or ``hours 48 x float64`` of a list column, for each input of a JSON signature."""
    inputs = signature.get("inputs")
    columns = inputs if isinstance(inputs, list) else []
    return [f"{column.get('name')} {_type_text(column)}" for column in columns if isinstance(column, Mapping)]


def answer_text(signature: Mapping[str, object]) -> str:
    """Return ``classifier``, ``ranker of airports`` or ``forecaster of h1, ..., h24`` of a signature in JSON."""
    outputs = signature.get("outputs")
    names = [str(one.get("name")) for one in outputs if isinstance(one, Mapping)] if isinstance(outputs, list) else []
    shown = names if len(names) <= _OUTPUTS_SHOWN else [*names[:2], "...", names[-1]]
    items = str(signature.get("items") or "")
    return " of ".join(filter(None, [str(signature.get("task")), items or ", ".join(shown)]))


def _type_text(column: Mapping[str, object]) -> str:
    if not column.get("many"):
        return str(column.get("dtype"))
    length = column.get("length")
    return f"{'any number' if length is None else length} x {column.get('dtype')}"


def moment(at: datetime) -> str:
    """Return a time as people read it, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _stage_row(stage: StageRecord) -> tuple[str, str, str, str]:
    seconds = seconds_text(stage.seconds) if stage.state in {"done", "failed"} else ""
    return SIGNS.get(stage.state, "?"), stage.name, stage.state, seconds


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Yield one line for each gate: whether it passed, and its sentence."""
    for verdict in verdicts:
        yield f"  {SIGNS['done' if verdict.passed else 'failed']} {verdict.sentence}"


def _told(message: str) -> str:
    return f"  {message.splitlines()[0]}" if message else ""
