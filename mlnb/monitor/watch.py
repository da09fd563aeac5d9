"""A version and its service's log become the report on how it fares.

Windows of time are the stored ones, to which is added what was logged since the last time. Windows of rows depend on
the order of all rows: for them the log is read from its beginning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from mlnb.errors import MonitorError
from mlnb.model.signature import Signature
from mlnb.monitor.answered import answered
from mlnb.monitor.concept import errors_of, find_changes
from mlnb.monitor.estimate import FILE as ESTIMATOR
from mlnb.monitor.estimate import Estimator, estimate_windows
from mlnb.monitor.joint import Joint, compare_joint
from mlnb.monitor.labels import read_labels as read_label_file
from mlnb.monitor.reference import Reference
from mlnb.monitor.report import Report, build_report, make_report
from mlnb.monitor.span import parse_span
from mlnb.monitor.stored import StoredWindows, stored_at
from mlnb.monitor.weight import weigh
from mlnb.monitor.window import REFUSED, parse_texts
from mlnb.registry.alarms import Alarm
from mlnb.registry.card import importance_of
from mlnb.registry.version import Version
from mlnb.service.log_choice import Choice
from mlnb.service.log_content import REDACTED
from mlnb.service.log_query import find_newest
from mlnb.service.log_reader import LabelValue, read_labels, read_predictions
from mlnb.service.log_roll import roll_closed
from mlnb.store.folder import StateFolder


def watch(
    version: Version,
    state: StateFolder,
    *,
    at: datetime,
    span: str,
    labels: Path | None,
    alarms: Iterable[Alarm] = (),
    joint: bool = False,
) -> Report:
    """Compare what was asked of a model with what one of its versions was made from.

    Parameters
    ----------
    at : datetime
        Now, aware.
    span : str
        A window: ``hour``, ``day``, ``week``, ``month`` or ``500 rows``.
    labels : Path or None
        CSV or JSON file of true values by prediction id, beside those in the log.
    alarms : iterable of Alarm
        Of the model; those of other versions are left out.
    joint : bool
        Compare all columns together as well: the newest rows with the version's sample.

    Raises
    ------
    MonitorError
        If nothing was logged, or the labels cannot be read, or if there are too few rows to compare all columns.
    """
    if "reference.json" not in version.files:
        raise MonitorError(
            f"{version.ref} has no summary of what it was made from, with which rows could be compared.",
            "Deploy the model again.",
            model=version.model,
        )
    digest = version.files["reference.json"]
    reference = Reference.from_json(json.loads(state.files.read(digest)))
    folder = state.predictions / version.model
    given = {} if labels is None else read_label_file(labels)
    logged = read_labels(folder)
    known = logged | given
    length = parse_span(span)
    outputs = [one.name for one in Signature.from_json(version.signature).outputs]
    if length.unit == "rows" or not folder.is_dir():
        batches = read_predictions(folder)
        report = build_report(
            reference,
            batches,
            model=version.model,
            version=version.number,
            at=at,
            span=span,
            labels=known,
            outputs=outputs,
        )
    else:
        with StoredWindows(stored_at(folder, version.number), reference, version=version.number, digest=digest) as ours:
            ours.update(folder)
            counted, realised = ours.windows(length), ours.realised(folder, logged, given, length)
        report = make_report(
            reference, length, counted, realised, model=version.model, version=version.number, at=at, outputs=outputs
        )
    roll_closed(folder)
    report = _judged(report, version, state, known)
    report = replace(report, alarms=tuple(alarm for alarm in alarms if alarm.number == version.number))
    if joint:
        together = _joint(version, state, folder, reference)
        report = replace(report, joint=together, findings=(*report.findings, *together.findings()))
    importance = importance_of(version, state.files)
    return weigh(report, importance.shares() if importance else {})


def _judged(report: Report, version: Version, state: StateFolder, labels: Mapping[str, LabelValue]) -> Report:
    """Return the report with what single answers tell: what is to be expected of them, and since when they err more."""
    frozen, reference = version.files.get(ESTIMATOR), report.reference
    if frozen is None and not report.overall.rows:
        return report
    rows = answered(
        read_predictions(state.predictions / version.model, version=version.number),
        version.number,
        len(reference.classes),
        labels,
    )
    estimates = report.estimates
    if frozen is not None:
        estimator = Estimator.from_json(json.loads(state.files.read(frozen)))
        starts = np.array([window.start for window in report.windows], dtype=np.int64)
        estimates = estimate_windows(estimator, reference, rows, starts)
    errors, at, share = errors_of(reference, rows)
    changes = find_changes(errors, at, share=share, usual=estimates.unchanged.get("mae", math.nan))
    findings = (*report.findings, *(change.finding() for change in changes))
    return replace(report, estimates=estimates, changes=changes, findings=findings)


def _joint(version: Version, state: StateFolder, folder: Path, reference: Reference) -> Joint:
    """Compare the newest rows that a version answered with its sample; a column that is redacted takes no part."""
    document = json.loads(state.files.read(version.files["sample.json"]))
    sample = dict(zip(document["columns"], map(list, zip(*document["data"], strict=True)), strict=False))
    newest = find_newest(folder, Choice(version=version.number, statuses=(0, REFUSED - 1)), (), len(document["data"]))
    logged = [row for row in parse_texts([record.inputs for record in newest]) if isinstance(row, dict)]
    hidden = {name for row in logged for name in row.get(REDACTED, ())}
    names = [feature.name for feature in reference.features if feature.name not in hidden]
    rows = {name: [row.get(name) for row in logged] for name in names}
    return compare_joint(reference, {name: sample[name] for name in names if name in sample}, rows)
