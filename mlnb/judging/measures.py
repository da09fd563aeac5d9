"""A number that a gate names and a case become a `Finding`: the measures that mlnb brings, by family."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from mlnb.errors import MlnbError, MonitorError, UsageError
from mlnb.judging.case import Case, Measure
from mlnb.model.gains import Gain, Gains
from mlnb.model.gate_words import GAIN, TRIAL, family
from mlnb.model.parity import Parity
from mlnb.registry.callers import callers_of
from mlnb.registry.card_words import facts_of
from mlnb.registry.gates import Finding
from mlnb.registry.policy import approvers
from mlnb.registry.reference import hint

DRIFT_DAYS = 7
"""Drift is looked for in what was asked in so many days."""
_MB = 1_000_000


def measure_of(name: str) -> Measure | None:
    """Return the built-in measure that gives a number of that name; None where none does."""
    return _MEASURES.get(family(name))


def champion(name: str, case: Case) -> Finding:
    """Measure by how much the candidate is better than the champion, on the same rows."""
    asked = GAIN.fullmatch(name)
    if asked is None:
        raise UsageError(f"{name!r} is no gain.", "Write auc_gain, auc_gain_low, auc_gain[origin=JFK].")
    if case.champion is None:
        return Finding(waived=case.unopposed())
    metric, end = asked["metric"], asked["end"] or ""
    found = case.gains()
    if isinstance(found, str):
        return Finding(missing=found)
    gains, where = found
    on = f"{gains.rows:,} rows that both have scored: {where}"
    whole = gains.of(metric, asked["part"] or "")
    if asked["slices"]:
        return _worst_slice(metric, end, gains, case, on)
    if whole is None:
        return _by_run(metric, end, asked["part"] or "", gains, case)
    if not whole.sign:
        return Finding(on=on, missing=f"{metric} is neither better where it is higher nor where it is lower")
    return Finding(_end(whole, end), on, _told(whole, case, gains.level))


def _worst_slice(metric: str, end: str, gains: Gains, case: Case, on: str) -> Finding:
    every = gains.slices(metric)
    usable = [one for one in every if not one.small and not math.isnan(_end(one, end))]
    if not usable:
        none = f"the evaluations of {case.version.ref} tell no rows apart: name columns with --slices"
        return Finding(on=on, missing="all of its slices are too small, or it is not defined there" if every else none)
    worst = min(usable, key=lambda one: _end(one, end))
    left = len(every) - len(usable)
    out = f", {left} small or undefined ones left out" if left else ""
    told = f"{_told(worst, case, gains.slice_level)} It is the worst of {len(usable)} slices{out}."
    return Finding(_end(worst, end), on, told)


def _end(gain: Gain, end: str) -> float:
    """Return the number that a name with that ending means; where both answer alike the interval is 0 to 0."""
    if not end:
        return gain.gain
    if gain.value == 0.0 and math.isnan(gain.low):
        return 0.0
    return gain.ends[0 if end == "_low" else 1]


def _told(gain: Gain, case: Case, level: float) -> str:
    before = case.champion.ref if case.champion else ""
    low, high = gain.ends
    span = "" if math.isnan(low) else f", {low:+.4g} to {high:+.4g} at {100 * level:.4g} %"
    what = f"{gain.metric}{gain.part}"
    return (
        f"{what} of {case.version.ref} is {gain.second:.4g}, that of {before} {gain.first:.4g}: "
        f"a gain of {gain.gain:+.4g}{span}."
    )


def _by_run(metric: str, end: str, part: str, gains: Gains, case: Case) -> Finding:
    """Compare what each version's own run has measured, where no rows can tell."""
    versions = case.champion, case.version
    first, second = (one.metrics.get(metric, math.nan) if one else math.nan for one in versions)
    if end or part or math.isnan(first) or math.isnan(second):
        known = dict.fromkeys(gain.metric for gain in gains.gains if not gain.part)
        return Finding(
            missing=f"{metric}{part} is not measured of rows that both have scored. {hint(metric, known)}"[:-1]
        )
    refs = [one.ref for one in versions if one]
    told = f"{metric} of {refs[1]} is {second:.4g}, that of {refs[0]} {first:.4g}, each as its own run has measured it."
    return Finding(second - first, "the rows of two runs, perhaps not the same", told)


def callers(name: str, case: Case) -> Finding:
    """Count what who calls the alias would have to change."""
    if case.champion is None:
        return Finding(0.0, told=f"Nobody has to change anything: {case.unopposed()}.")
    found = callers_of(case.bench.registry, case.version, case.alias)
    return Finding(
        float(len(found.broken)), f"the signatures of {case.champion.ref} and {case.version.ref}", found.sentence()
    )


def parity(name: str, case: Case) -> Finding:
    """Tell how faithful the export is."""
    known = Parity.from_json(case.version.parity)
    numbers = {"parity_passed": float(known.passed), **known.evidence()}
    if name not in numbers:
        return Finding(missing=f"there is no such number. {hint(name, numbers)}"[:-1])
    told = known.sentence()
    on = f"{known.rows:,} rows of the sample, against the estimator"
    return Finding(numbers[name], on, f"{told[:1].upper()}{told[1:]}.")


def tests(name: str, case: Case) -> Finding:
    """Count the cases of the notebook's tests, in the run and with the package in the model's place."""
    if TRIAL.fullmatch(name) and name in case.evidence:
        return Finding(case.evidence[name], "the notebook's tests, with the package in the model's place")
    states = [state for step in case.version.lineage.steps for _, state in step.cases]
    failed = sum(state != "passed" for state in states)
    numbers = {"tests_passed": len(states) - failed, "tests_failed": failed}
    if name not in numbers:
        return Finding(missing=f"the package was not tested. {hint(name, numbers)}"[:-1])
    steps = sum(1 for step in case.version.lineage.steps if step.cases)
    if not states:
        told = "Its notebook has no tests: mark a cell with %%test STAGE."
        return Finding(float(numbers[name]), told=told)
    cases = "1 case" if len(states) == 1 else f"{len(states)} cases"
    cells = "1 test" if steps == 1 else f"{steps} tests"
    return Finding(float(numbers[name]), f"{cases} of {cells} in run {case.version.lineage.run}")


def load(name: str, case: Case) -> Finding:
    """Tell what the load test of the version's Bento has measured."""
    if not TRIAL.fullmatch(name) or name not in case.evidence:
        told = hint(name, [one for one in case.evidence if TRIAL.fullmatch(one)])
        return Finding(missing=f"its Bento was not tried on this ledger: deploy it. {told}"[:-1])
    rate = case.evidence.get("load_rps", math.nan)
    requests = case.bench.settings.latency_requests
    on = "its own Bento" if math.isnan(rate) else f"its own Bento, {requests} single rows at {rate:.4g} a second"
    return Finding(case.evidence[name], on)


def drift(name: str, case: Case) -> Finding:
    """Compare what the champion was asked lately with what the candidate has learned from."""
    from mlnb.monitor.reference import Reference
    from mlnb.monitor.report import build_report
    from mlnb.service.log_reader import read_predictions

    if case.champion is None:
        return Finding(waived=f"{case.unopposed()}, so nobody has asked it anything")
    digest = case.version.files.get("reference.json")
    if digest is None:
        return Finding(missing=f"{case.version.ref} has no summary of its sample")
    reference = Reference.from_json(json.loads(case.bench.state.files.verify(digest).read_bytes()))
    now, number = datetime.now(UTC), case.champion.number
    folder = case.bench.state.predictions / case.version.model
    asked = read_predictions(folder, since=now - timedelta(days=DRIFT_DAYS), version=number)
    try:
        report = build_report(reference, asked, model=case.version.model, version=number, at=now)
    except MonitorError:
        return Finding(missing=f"{case.champion.ref} was asked nothing in the last {DRIFT_DAYS} days")
    except MlnbError as error:
        return Finding(missing=f"what {case.champion.ref} was asked cannot be read: {error.problem}".removesuffix("."))
    if not report.features:
        return Finding(missing=f"{case.version.ref} has no column that is watched")
    worst = report.features[0]
    numbers = {"drift_max": worst.drift.distance, "drift_columns": float(len(report.drifted))}
    if name not in numbers:
        return Finding(missing=f"there is no such number. {hint(name, numbers)}"[:-1])
    on = (
        f"{report.total.rows:,} rows that {case.champion.ref} was asked in {DRIFT_DAYS} days, "
        f"against the {reference.rows:,} that {case.version.ref} was made with"
    )
    told = (
        f"The column that differs most is {worst.name}: Jensen-Shannon distance {worst.drift.distance:.3g}, "
        f"by chance {worst.drift.chance:.3g}."
    )
    return Finding(numbers[name], on, told)


def fairness(name: str, case: Case) -> Finding:
    """Tell the largest difference between the groups of a sensitive column, or of all of them."""
    facts = facts_of(case.version, case.bench.state.files)
    wanted, _, column = name.rstrip("]").partition("[column=")
    found: dict[str, tuple[float, str]] = {}
    for one in facts.fairness:
        if column in ("", one.column):
            labels = f", labels {one.labels}" if one.labels else ""
            on = f"{sum(group.rows for group in one.groups):,} rows in {len(one.groups)} groups of {one.column}{labels}"
            for key, value in _gaps(one.differences):
                if not math.isnan(value) and value >= found.get(key, (-math.inf, ""))[0]:
                    found[key] = (value, on)
    if wanted in found:
        return Finding(*found[wanted])
    if not facts.fairness:
        return Finding(missing="no groups were compared: write a line 'Sensitive columns: ...' into the model's card")
    return Finding(missing=f"it was not measured. {hint(wanted, found)}"[:-1])


def _gaps(differences: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, value in differences.items():
        yield (name if name.endswith("_difference") else f"{name}_gap"), value
    rates = [differences.get(name, math.nan) for name in ("true_positive_rate", "false_positive_rate")]
    defined = [value for value in rates if not math.isnan(value)]
    others = ("selection_rate", "mean_absolute_error", "accuracy", "mean_prediction")
    rest = [differences[name] for name in others if name in differences]
    if defined or rest:
        yield "fairness_gap", max(defined) if defined else rest[0]


def size(name: str, case: Case) -> Finding:
    """Weigh the package, or the model file in it, in megabytes of 10**6 bytes."""
    with case.package() as package:
        files = {path.name: path.stat().st_size for path in package.iterdir()}
        model = str(json.loads((package / "package.json").read_bytes())["model_file"])
    if name == "model_mb":
        return Finding(files[model] / _MB, f"{model} of {case.version.ref}")
    return Finding(sum(files.values()) / _MB, f"the {len(files)} files of {case.version.ref}")


def signature(name: str, case: Case) -> Finding:
    """Check every signature of the version: 1 where all hold and are of keys that this user trusts, else 0."""
    try:
        case.bench.registry.verify(case.version)
    except MlnbError as error:
        return Finding(0.0, f"the record and the files of {case.version.ref}", error.problem)
    return Finding(1.0, f"the record and the {len(case.version.files)} files of {case.version.ref}")


def approvals(name: str, case: Case) -> Finding:
    """Count the people who approved it and neither registered nor promote it."""
    given = case.bench.registry.approvals(case.version.ref, case.alias)
    counted = approvers(given, case.by, case.version.created_by)
    told = f"Approved by {', '.join(counted)}." if counted else ""
    if len(given) > len(counted):
        told = f"{told} An approval by who registered or promotes it, or a second one, does not count.".lstrip()
    return Finding(float(len(counted)), f"the approvals of {case.version.ref} for {case.alias}", told)


_MEASURES: Mapping[str, Callable[[str, Case], Finding]] = {
    "champion": champion,
    "callers": callers,
    "parity": parity,
    "tests": tests,
    "load": load,
    "drift": drift,
    "fairness": fairness,
    "size": size,
    "signature": signature,
    "approvals": approvals,
}
